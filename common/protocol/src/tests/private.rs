//! Rounds that promise privacy: what comes out, what is written down, and when it ends.

use proptest::prelude::*;

use super::schedules::{ROLES, action, hasty, traced};
use super::world::{Action, World};
use crate::checkpoint::floats;
use crate::config::FederationConfig;
use crate::fault::ConfigError;
use crate::message::Role;
use crate::plan::{Invariance, TrainPlan};
use crate::privacy::clip::{Adaptive, Clip};
use crate::privacy::ledger::Entry;
use crate::privacy::mechanism::{Distributed, Mechanism, PrivacyConfig, Sampling};
use crate::record::{Outcome, Record};
use crate::robust::RobustConfig;
use crate::strategy::StrategyConfig;
use crate::sum::Weighting;

const DISTRIBUTED: Distributed = Distributed { survivors: 3, colluders: 0, units: 200.0 };

fn privacy(mechanism: Mechanism) -> PrivacyConfig {
    PrivacyConfig {
        epsilon: 8.0,
        delta: Some(1e-3),
        population: 100,
        sampling: Sampling::Fixed,
        mechanism,
        clip: Clip::Fixed { norm: 0.5 },
    }
}

fn config(mechanism: Mechanism, plain: bool) -> FederationConfig {
    FederationConfig {
        weighting: Weighting::Uniform,
        privacy: Some(privacy(mechanism)),
        strategy: StrategyConfig::FedAvgM { momentum: 0.9, rate: 1.0 },
        ..hasty(plain)
    }
}

fn adaptive(config: FederationConfig) -> FederationConfig {
    let clip = Clip::Adaptive(Adaptive { initial: 0.5, ..Adaptive::default() });
    let privacy = config.privacy.map(|privacy| PrivacyConfig { clip, ..privacy });
    FederationConfig { privacy, ..config }
}

/// Every way of making a round private.
fn ways() -> Vec<FederationConfig> {
    vec![
        config(Mechanism::Gaussian, true),
        config(Mechanism::Gaussian, false),
        config(Mechanism::Skellam(DISTRIBUTED), false),
        config(Mechanism::DiscreteGaussian(DISTRIBUTED), false),
        config(Mechanism::Ftrl { separation: 1 }, true),
        config(Mechanism::Ftrl { separation: 1 }, false),
        adaptive(config(Mechanism::Gaussian, true)),
        adaptive(config(Mechanism::Gaussian, false)),
    ]
}

/// `exact-sum` in the world recomputes each release from clipped, rounded and noisy encodings.
#[test]
fn every_way_makes_the_release_that_it_should_and_the_same_one_again() {
    for config in ways() {
        let run = || {
            let mut world = World::new(config.clone(), &ROLES, 300);
            world.settle();
            world.check();
            world
        };
        let (one, two) = (run(), run());
        assert_eq!(one.server().version().0, 3, "{config:?}");
        assert_eq!(one.server().weights(), two.server().weights(), "{config:?}");
        assert!(floats(one.server().weights()).iter().all(|weight| weight.is_finite()));
        let epsilons: Vec<f64> = one.rounds().iter().map(|round| round.epsilon.unwrap()).collect();
        assert!(epsilons.is_sorted() && epsilons[0] > 0.0 && epsilons[2] <= 8.0, "{epsilons:?}");
        for round in one.rounds() {
            assert_eq!((round.examples, round.loss), (3, 0.0), "nothing but how many there were");
        }
        let norms = one.disk.iter().filter_map(|record| match record {
            Record::Release(release) => Some(release.norm),
            _ => None,
        });
        let adapts = matches!(config.privacy.unwrap().clip, Clip::Adaptive(_));
        assert!(norms.into_iter().all(|norm| norm.is_some() == adapts));
    }
}

#[test]
fn a_person_rests_between_the_sums_of_a_tree() {
    let config =
        FederationConfig { rounds: 2, over_select: 1.0, ..config(Mechanism::Ftrl { separation: 2 }, true) };
    let mut world = World::new(config, &[Role::Trains; 6], 20);
    (0..30).for_each(|_| {
        world.gather();
        world.step(Action::Bustle(1));
    });
    // What the server knows of the first round has to come from its disk.
    world.step(Action::KillServer);
    world.settle();
    world.check();
    let rounds = world.rounds();
    assert_eq!((world.server().version().0, rounds.len()), (2, 2));
    assert!(rounds[0].counted.iter().all(|client| !rounds[1].counted.contains(client)));
}

fn replay(actions: &[Action]) {
    let ways = ways();
    let mut world = World::new(ways[actions.len() % ways.len()].clone(), &ROLES, 300);
    world.endure(actions);
    let (made, ended) = (world.server().version().0, &world.ended);
    assert!(
        made == 3
            || ended.iter().all(|why| why.starts_with("the privacy budget is spent")) && !ended.is_empty()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_schedule_spends_more_than_it_writes_down(actions in prop::collection::vec(action(), 0..400)) {
        traced(&actions, || replay(&actions))?;
    }
}

#[test]
fn an_upload_that_a_lie_made_begin_anywhere_is_read_whole() {
    let trace = "d0 d0 d0 b1 c8 b1 d0 d0 b1 d0 d0 d0 d0 b1 b1 d0 d0 d0 d0 d0 d0 d0 d0 d0 u1 c9 d7 d6 j11 j0 d10 c1 d0 j11 j6 \
        j4 j2 j11 c10 d6 c10 d3 b4 d9 d4 j5 b3 j0 b2 d9 d4 j8 d0 d2 d2 c2 d2 b5 j10 d1 c1 F1905 d11 d1 c7 d6 j10 u10 d5 j4 \
        d4 c1 j8 b1 d8 b3 d3 d1 d0 d5 f1182";
    let actions: Vec<Action> = trace.split_whitespace().map(|step| step.parse().unwrap()).collect();
    replay(&actions);
}

/// Three clients of a masked federation, whose first round is in `phase`.
fn masked_in(phase: &str) -> World {
    let config = FederationConfig { over_select: 1.0, ..config(Mechanism::Skellam(DISTRIBUTED), false) };
    let mut world = World::new(config, &[Role::Trains; 3], 50);
    world.gather();
    for _ in 0..4000 {
        if world.server().phase() == phase {
            return world;
        }
        for link in 0..6 {
            world.step(Action::Deliver(link));
            if world.server().phase() == phase {
                return world;
            }
        }
        (0..4).for_each(|who| world.step(Action::Job(who)));
    }
    panic!("never {phase}");
}

fn entries(world: &World) -> Vec<&Entry> {
    let entries = world.disk.iter().filter_map(|record| match record {
        Record::Privacy(entry) => Some(entry),
        _ => None,
    });
    entries.collect()
}

#[test]
fn a_round_that_ends_before_anybody_is_asked_costs_nothing() {
    let mut world = masked_in("unmasking");
    assert!(matches!(entries(&world)[..], [Entry::Reserved { .. }]));
    (0..3).for_each(|who| world.step(Action::Cut(who)));
    world.step(Action::Pass(100));
    assert!(matches!(entries(&world)[..], [Entry::Reserved { .. }, Entry::Returned { .. }]));
    assert_eq!(world.rounds()[0].epsilon, Some(0.0));
    world.settle();
    world.check();
    assert_eq!((world.server().version().0, world.ended.len()), (3, 0));
}

#[test]
fn a_round_that_a_crash_interrupts_counts_and_the_one_too_many_is_refused() {
    let mut world = masked_in("unmasking");
    // In an earlier life shares may have been asked for.
    world.step(Action::KillServer);
    world.step(Action::Pass(100));
    assert!(matches!(
        entries(&world)[..],
        [Entry::Reserved { .. }, Entry::Reserved { .. }, Entry::Spent { .. }]
            | [Entry::Reserved { .. }, Entry::Spent { .. }]
    ));
    world.settle();
    world.check();
    let why = "the privacy budget is spent: epsilon is ";
    assert!(world.ended.len() == 1 && world.ended[0].starts_with(why), "{:?}", world.ended);
    assert_eq!((world.server().version().0, world.server().phase()), (2, "ended early"));
    let last = world.rounds().last().unwrap().outcome.clone();
    assert!(matches!(last, Outcome::Aborted(ref text) if text.starts_with(why)));
    let rounds = world.rounds().len();
    // Nor does another life begin one more, or repeat what is written down.
    world.step(Action::KillServer);
    world.settle();
    world.check();
    assert_eq!((world.server().version().0, world.rounds().len()), (2, rounds));
}

#[test]
fn a_budget_that_an_operator_lowers_holds_from_then_on() {
    let mut world = World::new(config(Mechanism::Gaussian, true), &[Role::Trains; 4], 20);
    while world.server().version().0 < 1 {
        world.gather();
        world.step(Action::Bustle(1));
    }
    world.configure(|config| config.privacy.as_mut().unwrap().epsilon = 0.5);
    world.step(Action::KillServer);
    world.settle();
    assert_eq!((world.server().version().0, world.ended.len()), (1, 1));
}

/// Six clients, of whom one drops out after it has shared its secrets: the noise is that of five, and at least what was
/// planned for four.
#[test]
fn the_noise_in_a_sum_is_as_planned_whoever_drops_out() {
    let distributed = Distributed { survivors: 4, colluders: 0, units: 2000.0 };
    for mechanism in [Mechanism::Skellam(distributed), Mechanism::DiscreteGaussian(distributed)] {
        let weights = 20_000;
        let config = FederationConfig {
            rounds: 1,
            cohort: 6,
            over_select: 1.0,
            min_clients: 6,
            min_reports: 4,
            strategy: StrategyConfig::FedAvg { rate: 1.0 },
            average_late: 0.0,
            ..config(mechanism, false)
        };
        let mut world = World::new(config, &[Role::Trains; 6], weights);
        let bustle = |world: &mut World| {
            (0..12).for_each(|link| world.step(Action::Deliver(link)));
            (0..7).for_each(|who| world.step(Action::Job(who)));
        };
        world.gather();
        while world.server().phase() != "collecting" {
            bustle(&mut world);
        }
        world.step(Action::Cut(2));
        while world.server().phase() == "collecting" {
            (0..40).for_each(|_| bustle(&mut world));
            world.step(Action::Pass(10));
        }
        while world.server().version().0 == 0 {
            bustle(&mut world);
        }
        world.check();
        let terms = world.terms().unwrap();
        assert_eq!(world.rounds()[0].counted.len(), 5);
        let noise = world.noise_of_first_release();
        let share = terms.plan.share.unwrap();
        // In lane units: a release is a sum over the cohort's six.
        let unit = terms.config.clip.initial() / share.units;
        let squares = noise.iter().map(|value| (value * 6.0 / unit).powi(2)).sum::<f64>();
        let variance = squares / weights as f64;
        let error = (2.0 / weights as f64).sqrt();
        assert!((variance / (5.0 * share.variance) - 1.0).abs() < 3.3 * error, "{mechanism:?}: {variance}");
        let planned = (terms.plan.multiplier * share.units).powi(2);
        assert!((4.0 * share.variance / planned - 1.0).abs() < 1e-9 && variance > planned);
    }
}

#[test]
fn what_has_no_guarantee_beside_it_is_refused_by_name() {
    let key = |config: FederationConfig| match config.check() {
        Err(ConfigError::Value { key, why }) => (key, why),
        other => panic!("{other:?}"),
    };
    let base = || config(Mechanism::Gaussian, true);
    let names = |config, expected: &str, word: &str| {
        let (key, why) = key(config);
        assert!(key == expected && why.contains(word), "{key}: {why}");
    };
    let invariance = Some(Invariance { weight: 0.1, from_round: 1 });
    let plan = TrainPlan { invariance, ..TrainPlan::default() };
    names(FederationConfig { plan, ..base() }, "plan.invariance", "moments");
    let scaffold = StrategyConfig::Scaffold { rate: 1.0, population: 9 };
    names(FederationConfig { strategy: scaffold, ..base() }, "strategy", "SCAFFOLD");
    let nova = StrategyConfig::FedNova { rate: 1.0 };
    names(FederationConfig { strategy: nova, ..base() }, "strategy", "FedNova");
    names(FederationConfig { robust: RobustConfig::Median {}, ..base() }, "robust", "one sum");
    names(FederationConfig { weighting: Weighting::Examples, ..base() }, "weighting", "uniform");
    names(config(Mechanism::Skellam(DISTRIBUTED), true), "privacy.mechanism.skellam", "masked");
    let many = Distributed { survivors: 4, ..DISTRIBUTED };
    let four = FederationConfig { cohort: 4, ..config(Mechanism::DiscreteGaussian(many), false) };
    names(four, "privacy.mechanism.discrete-gaussian.survivors", "min_reports");
    names(adaptive(config(Mechanism::Skellam(DISTRIBUTED), false)), "privacy.clip", "fixed");
    let mut poisson = base();
    poisson.privacy.as_mut().unwrap().sampling = Sampling::Poisson;
    names(poisson, "privacy.sampling", "fixed");
    let mut few = base();
    few.privacy.as_mut().unwrap().population = 2;
    names(few, "privacy.population", "cohort");
}

/// A promise that cannot be kept is none that is broken: no round begins.
#[test]
fn what_no_noise_can_do_ends_the_federation_at_once() {
    let fine = Distributed { units: 1e9, ..DISTRIBUTED };
    let config = config(Mechanism::Skellam(fine), false);
    let error = config.clone().check().unwrap().terms(300).unwrap_err().to_string();
    assert!(error.starts_with("`privacy.mechanism.skellam.units`"), "{error}");
    let mut world = World::new(config, &[Role::Trains; 3], 300);
    world.step(Action::Connect(0));
    assert!(world.server().is_finished());
    assert_eq!(world.ended, [error]);
    assert_eq!(world.server().version().0, 0);
}
