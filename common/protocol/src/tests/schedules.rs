//! Random schedules: deliver, double, lose, delay, cut, crash, lie; then peace, and the federation must end.

use std::panic::UnwindSafe;

use proptest::prelude::*;

use super::world::{Action, World};
use crate::asynchronous::AsynchronousConfig;
use crate::config::FederationConfig;
use crate::message::Role;
use crate::plan::{Invariance, Optimiser, TrainPlan};
use crate::secure::SecureConfig;
use crate::strategy::StrategyConfig;

/// Rules with a memory of their own, which has to survive crashes; the second sends it to clients and has them remember.
const RULES: [StrategyConfig; 2] = [
    StrategyConfig::FedAvgM { momentum: 0.9, rate: 1.0 },
    StrategyConfig::Scaffold { rate: 1.0, population: 4 },
];

/// A federation of three rounds, so hasty that schedules run into its deadlines.
pub(super) fn hasty(danger_plain_aggregation: bool) -> FederationConfig {
    FederationConfig {
        rounds: 3,
        cohort: 3,
        over_select: 1.3,
        min_clients: 3,
        min_reports: 3,
        selection_seconds: 5.0,
        training_seconds: 90.0,
        evaluation_seconds: 20.0,
        stall_seconds: 15.0,
        pause_seconds: 3.0,
        upload_slots: 2,
        danger_plain_aggregation,
        secure: SecureConfig { patience_seconds: 20.0, ..SecureConfig::default() },
        average_late: 0.5,
        ..FederationConfig::default()
    }
}

fn config(strategy: StrategyConfig, plain: bool) -> FederationConfig {
    FederationConfig {
        min_reports: if plain { 2 } else { 3 },
        strategy,
        plan: TrainPlan {
            optimiser: Optimiser::Sgd { momentum: 0.0 },
            // A companion beside each release: it has to survive crashes too.
            invariance: Some(Invariance { weight: 0.1, from_round: 2 }),
            ..TrainPlan::default()
        },
        ..hasty(plain)
    }
}

/// Rounds that do not wait: what they begin, a later one ends.
fn asynchronous(plain: bool) -> FederationConfig {
    FederationConfig {
        rounds: 4,
        over_select: 1.0,
        min_reports: if plain { 2 } else { 3 },
        asynchronous: Some(AsynchronousConfig { concurrency: 4, max_staleness: 2, exponent: 0.5 }),
        strategy: RULES[0],
        ..hasty(plain)
    }
}

pub(super) const ROLES: [Role; 5] = [Role::Trains, Role::Trains, Role::Evaluates, Role::Trains, Role::Trains];

pub(super) fn action() -> impl Strategy<Value = Action> {
    let who = 0usize..12;
    prop_oneof![
        30 => who.clone().prop_map(Action::Deliver),
        2 => who.clone().prop_map(Action::Double),
        2 => who.clone().prop_map(Action::Lose),
        12 => who.clone().prop_map(Action::Job),
        8 => who.clone().prop_map(Action::Connect),
        1 => who.clone().prop_map(Action::Cut),
        1 => who.prop_map(Action::KillClient),
        1 => Just(Action::KillServer),
        1 => Just(Action::KillAfterFlush),
        12 => (1usize..6).prop_map(Action::Bustle),
        3 => (1usize..40).prop_map(Action::Pass),
        2 => (0usize..2000).prop_map(Action::Lie),
        1 => (0usize..2000).prop_map(Action::LieBack),
    ]
}

/// Replays a schedule; if that panics, its trace is the failure.
pub(super) fn traced(actions: &[Action], replay: impl FnOnce() + UnwindSafe) -> Result<(), TestCaseError> {
    std::panic::catch_unwind(replay).map_err(|_| {
        let trace: Vec<String> = actions.iter().map(ToString::to_string).collect();
        TestCaseError::fail(format!("the trace is \"{}\"", trace.join(" ")))
    })
}

fn replay(actions: &[Action]) {
    // The rule, whether updates are masked and whether rounds wait are part of the trace: a federation under each takes its time.
    let (rule, plain) = (RULES[actions.len() % RULES.len()], (actions.len() / 2).is_multiple_of(3));
    let late = (actions.len() / 6) % 2 == 1;
    // Plain updates and releases of more than one chunk, and masked ones.
    let weights = if plain { 70_000 } else { 100_000 };
    let config = if late { asynchronous(plain) } else { config(rule, plain) };
    let rounds = config.rounds;
    let mut world = World::new(config, &ROLES, weights);
    world.endure(actions);
    assert_eq!(world.server().version().0, rounds);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_keeps_the_invariants_and_ends(actions in prop::collection::vec(action(), 0..400)) {
        traced(&actions, || replay(&actions))?;
    }
}

/// Replays the trace in `SOMNUS_TRACE`; without one, a schedule that walks through every kind of step.
#[test]
fn a_trace_replays() {
    let default =
        "c0 c1 c2 c3 c4 d0 d2 d4 d6 d8 u1 d1 l3 d1 j0 t31 d0 d1 d0 P0 d1 j0 k3 c3 d6 b9 K0 c0 c1 f700 x1 t20";
    let text = std::env::var("SOMNUS_TRACE").unwrap_or_else(|_| default.to_owned());
    let actions: Vec<Action> = text.split_whitespace().map(|step| step.parse().unwrap()).collect();
    let written: Vec<String> = actions.iter().map(ToString::to_string).collect();
    assert_eq!(written.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
    replay(&actions);
}
