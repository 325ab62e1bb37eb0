//! Rounds whose updates are reduced: what one leaves out comes with a later one, whatever happens in between.

use proptest::prelude::*;

use super::masked::{bustle_until, config, lose, phase, until_heard};
use super::schedules::{ROLES, action, traced};
use super::world::{Action, Said, World};
use crate::config::FederationConfig;
use crate::encoding::{EncodingConfig, Reduce};
use crate::ids::{Round, Version};
use crate::message::Role;
use crate::record::{Outcome, Record};
use crate::robust::RobustConfig;
use crate::secure::SecureConfig;
use crate::strategy::StrategyConfig;
use crate::sum::Weighting;

const WAYS: [Reduce; 2] = [Reduce::TopK { fraction: 0.3 }, Reduce::LowRank { rank: 4 }];

/// Nothing is clipped, all clients count the same, releases are means.
fn reduced(reduce: Reduce, clients: u32, rounds: u64) -> FederationConfig {
    let encoding = EncodingConfig { reduce, clip_norm: 500.0, ..EncodingConfig::default() };
    FederationConfig {
        secure: SecureConfig { patience_seconds: 20.0, encoding, ..SecureConfig::default() },
        weighting: Weighting::Uniform,
        average_late: 0.0,
        ..config(clients, rounds)
    }
}

fn world(reduce: Reduce, clients: u32, rounds: u64) -> World {
    let mut world = World::new(reduced(reduce, clients, rounds), &vec![Role::Trains; clients as usize], 60);
    world.gather();
    world
}

/// `nothing-lost`: what came out of all releases and what is still at home is what all updates in them said.
fn check(world: &World) {
    // Each release bit for bit, from the residuals that clients must have had.
    world.check();
    let ([released, at_home, said], slack) = world.balance();
    let parts = released.iter().zip(&at_home).zip(&said);
    let gap =
        parts.map(|((released, at_home), said)| (released + at_home - said).powi(2)).sum::<f64>().sqrt();
    let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    // Sums of single precision on the way.
    assert!(gap <= slack + 1e-5 * norm(&said), "nothing-lost: {gap} of {}, {slack} by rounding", norm(&said));
}

fn replay(reduce: Reduce, actions: &[Action]) {
    let config = FederationConfig { over_select: 1.3, upload_slots: 2, ..reduced(reduce, 3, 5) };
    let mut world = World::new(config, &ROLES, 60);
    actions.iter().for_each(|action| world.step(*action));
    check(&world);
    world.settle();
    check(&world);
    assert_eq!(world.server().version(), Version(5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_or_said_twice(
        way in 0..WAYS.len(), actions in prop::collection::vec(action(), 0..400),
    ) {
        traced(&actions, || replay(WAYS[way], &actions))?;
    }
}

#[test]
fn a_residual_is_kept_and_used() {
    for reduce in WAYS {
        let mut world = world(reduce, 4, 3);
        world.settle();
        check(&world);
        assert!(world.left_out().iter().all(Option::is_some), "{reduce:?}");
        let ([_, at_home, said], _) = world.balance();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm(&at_home) > 0.1 * norm(&said), "there is something at stake");
    }
}

/// It was counted, and nobody has told it: its next assignment does.
#[test]
fn a_client_that_dies_after_its_upload_learns_later_that_it_counted() {
    for reduce in WAYS {
        let mut world = world(reduce, 5, 3);
        bustle_until(&mut world, phase("keying"));
        until_heard(&mut world, 5, 2, Said::Part);
        lose(&mut world, 2);
        world.settle_until(|world| world.server().version() == Version(1));
        assert!(world.rounds()[0].counted.contains(&world.client(2)), "{:?}", world.rounds()[0].dropped);
        let first = world.left_out()[2].clone();
        world.step(Action::KillClient(2));
        world.gone.clear();
        world.settle();
        assert_eq!(world.server().version(), Version(3));
        assert!(first.is_some() && world.left_out()[2] != first);
        check(&world);
    }
}

/// A round that came to nothing never happened: its updates are made again, and what was left out before them stays.
#[test]
fn a_round_that_is_aborted_after_the_uploads_changes_no_residual() {
    for reduce in WAYS {
        let mut world = world(reduce, 5, 3);
        bustle_until(&mut world, |world| world.server().version() == Version(1));
        bustle_until(&mut world, phase("unmasking"));
        let before = world.left_out();
        (0..4).for_each(|who| lose(&mut world, who));
        world.settle_until(|world| matches!(world.rounds().last().unwrap().outcome, Outcome::Aborted(_)));
        assert_eq!(world.left_out(), before);
        (0..4).for_each(|who| world.step(Action::KillClient(who)));
        world.gone.clear();
        world.settle();
        assert_eq!(world.server().version(), Version(3));
        check(&world);
    }
}

/// Clients of a group that is left out after their uploads go on as if there had been no round.
#[test]
fn a_group_that_is_left_out_keeps_what_it_had() {
    for reduce in WAYS {
        let groups =
            FederationConfig { groups: 4, robust: RobustConfig::Median {}, ..reduced(reduce, 16, 3) };
        let mut world = World::new(FederationConfig { min_reports: 12, ..groups }, &[Role::Trains; 16], 60);
        world.gather();
        bustle_until(&mut world, |world| world.server().version() == Version(1));
        bustle_until(&mut world, phase("unmasking"));
        let roster = &world.rosters(world.server().round())[1];
        let lost: Vec<usize> =
            (0..16).filter(|who| roster.index_of(&world.client(*who)).is_some()).take(2).collect();
        let before = world.left_out();
        lost.iter().for_each(|who| lose(&mut world, *who));
        let second = Round(2);
        world.settle_until(|world| world.rounds().iter().any(|round| round.round == second));
        let counted = world.rounds()[1].counted.clone();
        assert_eq!(counted.len(), 12, "one group of four is out");
        for (who, before) in before.iter().enumerate() {
            let counts = counted.contains(&world.client(who));
            assert_eq!(world.left_out()[who] != *before, counts, "client {who} under {reduce:?}");
        }
        world.gone.clear();
        world.settle();
        assert_eq!(world.server().version(), Version(3));
        world.check();
    }
}

#[test]
fn a_server_that_dies_anywhere_makes_the_same_releases() {
    use super::world::Dies;
    let releases = |world: &World| -> Vec<Record> {
        world.disk.iter().filter(|record| matches!(record, Record::Release(_))).cloned().collect()
    };
    let reduce = WAYS[0];
    let mut calm = world(reduce, 4, 3);
    calm.settle();
    for flush in 1..=calm.flushes {
        for dies in [Dies::Before, Dies::After] {
            let mut world = world(reduce, 4, 3);
            world.dies_at = Some((flush, dies));
            world.settle();
            check(&world);
            // Before its roster is fixed, a round begins anew under its number: all are the same, byte for byte.
            assert_eq!(releases(&world), releases(&calm), "{dies:?} flush {flush}");
        }
    }
}

#[test]
fn a_reduction_goes_with_every_rule_but_one_that_divides_by_steps() {
    let nova = FederationConfig { strategy: StrategyConfig::FedNova { rate: 1.0 }, ..reduced(WAYS[0], 4, 3) };
    let error = nova.check().unwrap_err().to_string();
    assert!(error.starts_with("`secure.encoding.reduce`: what is left out returns"), "{error}");
    let momentum = StrategyConfig::FedAvgM { momentum: 0.9, rate: 1.0 };
    for reduce in WAYS {
        let config = FederationConfig { strategy: momentum, ..reduced(reduce, 4, 3) };
        let mut world = World::new(config, &[Role::Trains; 4], 60);
        world.settle();
        world.check();
    }
}
