//! What a server gets to know of evaluations: sums, nothing, or everything, and only what owners allow.

use proptest::prelude::*;

use super::grouped::{MEDIAN, grouped};
use super::masked::{bustle_until, config, with_policy};
use super::world::{Action, Dies, World};
use crate::config::FederationConfig;
use crate::evaluation::{EvaluationPolicy, Tally};
use crate::fault::Fault;
use crate::ids::Version;
use crate::message::{Role, ToServer};
use crate::participant::Policy;
use crate::record::{Evaluation, Outcome};

fn asking(clients: u32, rounds: u64, evaluation: EvaluationPolicy) -> FederationConfig {
    FederationConfig { evaluation: Some(evaluation), ..config(clients, rounds) }
}

fn every(clients: u32, rounds: u64, evaluate_every: u64) -> World {
    with_policy(FederationConfig { evaluate_every, ..config(clients, rounds) }, Policy::default())
}

fn tallies(world: &World) -> Vec<Tally> {
    world.rounds().into_iter().filter_map(|round| round.tally.clone()).collect()
}

/// Five clients of [`Arithmetic`](super::world::hands::Arithmetic) that have counted in each release until this one.
fn of_five(version: u64) -> Tally {
    Tally {
        version: Version(version),
        clients: 5,
        classes: 2,
        confusion: vec![5 * version, 5 * version, 0, 5],
    }
}

/// `exact-tally` in the world recomputes each sum from those who are in it.
#[test]
fn each_round_counts_the_release_that_it_starts_from_and_a_closing_one_the_last() {
    for (evaluate_every, versions) in [(1, vec![1, 2, 3, 4]), (2, vec![2, 4]), (3, vec![3, 4]), (0, vec![4])]
    {
        let mut world = every(5, 4, evaluate_every);
        world.settle();
        world.check();
        let expected: Vec<Tally> = versions.into_iter().map(of_five).collect();
        assert_eq!(tallies(&world), expected, "every {evaluate_every}");
        let last = world.rounds().last().map(|round| round.outcome.clone());
        assert_eq!(last, Some(Outcome::Evaluated(Version(4))));
        assert_eq!((world.rounds().len(), world.trained), (5, 20), "nobody trains for counts alone");
        assert!(world.refused.is_empty() && world.declined.is_empty());
    }
}

#[test]
fn those_who_only_evaluate_are_in_the_last_sum_and_in_no_other() {
    let mut config = config(4, 2);
    config.min_clients = 3;
    let mut world = World::new(config, &[Role::Trains, Role::Evaluates, Role::Trains, Role::Trains], 10);
    world.settle();
    world.check();
    let clients: Vec<u32> = tallies(&world).iter().map(|tally| tally.clients).collect();
    assert_eq!(clients, [3, 4]);
}

#[test]
fn a_server_that_is_killed_at_any_flush_counts_the_same() {
    let mut quiet = every(5, 2, 1);
    quiet.settle();
    let expected = tallies(&quiet);
    assert_eq!(expected, [of_five(1), of_five(2)]);
    for at in 1..=quiet.flushes {
        for dies in [Dies::Before, Dies::After] {
            let mut world = every(5, 2, 1);
            world.dies_at = Some((at, dies));
            world.settle();
            world.check();
            assert_eq!(tallies(&world), expected, "killed at flush {at}, {dies:?}");
        }
    }
}

#[test]
fn a_closing_round_that_fails_is_not_repeated_and_one_for_which_nobody_is_there_is_not_waited_for() {
    // Of five, three cannot unmask; of the first three, none is there to begin with.
    for (phase, rounds) in [("collecting", 2), ("evaluating", 1)] {
        let mut world = every(5, 1, 1);
        bustle_until(&mut world, |world| {
            world.server().version() == Version(1) && world.server().phase() == phase
        });
        for who in 0..3 {
            world.step(Action::Cut(who));
            world.gone.insert(who);
        }
        world.settle();
        world.check();
        assert_eq!((world.rounds().len(), tallies(&world).len()), (rounds, 0), "lost while {phase}");
        world.step(Action::KillServer);
        assert_eq!(
            world.server().is_finished(),
            rounds == 2,
            "a try that was not begun is made by the next life"
        );
    }
}

#[test]
fn a_client_that_cannot_evaluate_trains_and_is_not_in_the_count() {
    let mut world = every(5, 2, 1);
    world.blind.insert(2);
    world.settle();
    world.check();
    let clients: Vec<u32> = tallies(&world).iter().map(|tally| tally.clients).collect();
    assert_eq!(clients, [4, 4]);
    let counted: Vec<usize> = world.rounds().iter().map(|round| round.counted.len()).collect();
    assert_eq!(counted, [5, 5, 4], "it takes no part where there is nothing but counts");
    assert!(world.declined.contains(&"nothing was counted of the release: no epoch has a label".into()));
}

#[test]
fn with_none_owners_get_evaluations_and_the_server_nothing() {
    let mut world = with_policy(asking(5, 2, EvaluationPolicy::None), Policy::default());
    world.settle();
    world.check();
    assert_eq!((world.rounds().len(), tallies(&world).len(), world.evaluated), (2, 0, 10));
    let mut summed = every(5, 2, 1);
    summed.settle();
    assert_eq!(summed.evaluated, 10, "owners get as much where counts are summed");
}

#[test]
fn a_client_declines_to_tell_its_own_counts_unless_its_owner_allows_it() {
    for evaluation in [EvaluationPolicy::Aggregate, EvaluationPolicy::PerClient] {
        let allowed = evaluation == EvaluationPolicy::PerClient;
        let policy = Policy { evaluation, ..Policy::default() };
        let mut world = with_policy(asking(3, 1, EvaluationPolicy::PerClient), policy);
        world.settle();
        world.check();
        assert_eq!(world.rounds()[0].evaluations.len(), if allowed { 3 } else { 0 });
        assert_eq!((world.witness.counts, world.evaluated), (allowed, if allowed { 3 } else { 0 }));
        let why = "the server wants this hub's own counts (`evaluation = \"per-client\"`), and `evaluation = \"aggregate\"` \
                   does not allow it here";
        assert_eq!(world.declined, vec![why; if allowed { 0 } else { 3 }]);
    }
}

#[test]
fn an_owner_who_tells_nothing_has_a_hub_that_trains_and_is_not_counted() {
    let policy = Policy { evaluation: EvaluationPolicy::None, ..Policy::default() };
    let mut world = with_policy(config(3, 2), policy);
    world.settle();
    assert_eq!((world.server().version(), world.trained), (Version(2), 6));
    let told: Vec<(u32, u64)> =
        tallies(&world).iter().map(|tally| (tally.clients, tally.confusion.iter().sum())).collect();
    assert_eq!(told, [(0, 0)], "of the release that the second round starts from");
    let why = "the server wants this hub's counts in a cohort's sum (`evaluation = \"aggregate\"`), and \
               `evaluation = \"none\"` does not allow it here";
    let withheld = format!("nothing was counted of the release: {why}");
    let times = |text: &str| world.declined.iter().filter(|declined| *declined == text).count();
    assert_eq!((times(&withheld), times(why)), (3, 3), "{:?}", world.declined);
    assert!(
        matches!(world.rounds()[2].outcome, Outcome::Aborted(_)),
        "nothing but counts, and nobody counts"
    );
}

#[test]
fn counts_that_nobody_asked_for_are_refused_and_kept_nowhere() {
    let mut world = every(3, 1, 1);
    bustle_until(&mut world, |world| world.server().phase() == "evaluating");
    let counts = Some(Evaluation { classes: 2, confusion: vec![1, 2, 3, 4] });
    world.say(0, ToServer::Evaluated { version: Version(1), counts });
    assert_eq!(world.refused, [Fault::Unsolicited("a single client's counts")]);
    world.settle();
    world.check();
}

/// Each group's sum is opened by itself, and what is told is the sum of these.
#[test]
fn groups_count_together() {
    let mut world = with_policy(grouped(10, 3, 2, MEDIAN), Policy::default());
    world.settle();
    world.check();
    let clients: Vec<u32> = tallies(&world).iter().map(|tally| tally.clients).collect();
    assert_eq!(clients, [10, 10]);
}

/// The last words of an upload are the confusion matrix, from a new word on. Masks add, so a lie does too.
fn inflate(world: &mut World, who: usize) {
    let part = |message: &ToServer| matches!(message, ToServer::Part { .. });
    while !world.outbox(who).iter().any(part) {
        world.step(Action::Bustle(1));
    }
    for message in world.outbox(who).iter_mut() {
        if let ToServer::Part { bytes, .. } = message {
            let mut lie = bytes.to_vec();
            let at = lie.len() - 16;
            let sum = u128::from_le_bytes(lie[at..].try_into().unwrap());
            // Five clients count 5 << 22 at most.
            lie[at..].copy_from_slice(&sum.wrapping_add(6 << 22).to_le_bytes());
            *bytes = lie.into();
        }
    }
}

#[test]
fn a_count_beyond_what_clients_can_have_counted_aborts_its_round() {
    for (phase, version) in [("keying", 1), ("collecting", 2)] {
        let mut world = every(5, 2, 1);
        let there =
            |world: &World| world.server().version() == Version(version) && world.server().phase() == phase;
        bustle_until(&mut world, there);
        inflate(&mut world, 3);
        let before = world.rounds().len();
        world.settle_until(|world| world.rounds().len() > before);
        let Outcome::Aborted(why) = world.rounds()[before].outcome.clone() else {
            panic!("a lie is counted")
        };
        assert!(why.contains("lane 0 of the confusion holds"), "{why}");
        world.settle();
        world.check();
        assert_eq!(world.server().version(), Version(2), "the model does not suffer");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Drop-outs and crashes wherever they come: each sum is that of the survivors, cell by cell.
    #[test]
    fn sums_are_exact_whoever_is_lost(
        clients in 5u32..9,
        evaluate_every in 0u64..3,
        faults in prop::collection::vec((0usize..60, 0usize..4, 0usize..9), 0..5),
    ) {
        let config = FederationConfig { evaluate_every, min_clients: clients - 1, ..config(clients, 2) };
        let mut world = with_policy(config, Policy::default());
        let mut lost = None;
        for (steps, what, who) in faults {
            world.step(Action::Bustle(steps));
            let who = who % clients as usize;
            match what {
                0 if lost.is_none() => {
                    world.step(Action::Cut(who));
                    world.gone.insert(who);
                    lost = Some(who);
                }
                1 => world.step(Action::KillServer),
                2 => world.step(Action::KillAfterFlush),
                _ => world.step(Action::KillClient(who)),
            }
        }
        world.settle();
        world.check();
        let evaluated = world.rounds().iter().any(|round| matches!(round.outcome, Outcome::Evaluated(_)));
        let aborted = world.rounds().iter().any(|round| matches!(round.outcome, Outcome::Aborted(_)));
        prop_assert!(evaluated || aborted);
    }
}
