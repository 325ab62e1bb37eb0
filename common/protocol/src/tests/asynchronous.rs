//! Rounds that do not wait, in named situations: who goes on, who begins anew, what a crash leaves.

use super::masked::phase;
use super::world::{Action, World};
use crate::asynchronous::AsynchronousConfig;
use crate::config::FederationConfig;
use crate::ids::{Round, Version};
use crate::message::Role;
use crate::record::Outcome;
use crate::secure::SecureConfig;

/// Four at work, of whom the first three make a release.
fn config(plain: bool, max_staleness: u64) -> FederationConfig {
    FederationConfig {
        rounds: 4,
        cohort: 3,
        min_clients: 4,
        min_reports: 3,
        training_seconds: 1000.0,
        evaluate_every: 0,
        danger_plain_aggregation: plain,
        secure: SecureConfig { patience_seconds: 20.0, ..SecureConfig::default() },
        asynchronous: Some(AsynchronousConfig { concurrency: 4, max_staleness, exponent: 0.5 }),
        ..FederationConfig::default()
    }
}

const SLOW: usize = 3;

fn world(plain: bool, max_staleness: u64) -> World {
    let mut world = World::new(config(plain, max_staleness), &[Role::Trains; 4], 10);
    world.gather();
    world
}

/// Everything happens but the training of the slow client.
fn without_slow(world: &mut World, done: impl Fn(&World) -> bool) {
    for _ in 0..2000 {
        if done(world) {
            return;
        }
        (0..8).for_each(|link| world.step(Action::Deliver(link)));
        [0, 1, 2, 4].into_iter().for_each(|who| world.step(Action::Job(who)));
    }
    panic!("it never comes to that; the server is {}", world.server().phase());
}

fn version(number: u64) -> impl Fn(&World) -> bool {
    move |world| world.server().version() == Version(number)
}

/// The round in which the slow client was first counted.
fn counted(world: &World) -> Round {
    let slow = world.client(SLOW);
    let rounds = world.rounds();
    rounds.iter().find(|round| round.counted.contains(&slow)).expect("it counts sometime").round
}

#[test]
fn who_is_slow_holds_nobody_up_and_counts_later_for_less() {
    for plain in [false, true] {
        let mut world = world(plain, 10);
        without_slow(&mut world, version(2));
        let slow = world.client(SLOW);
        for round in &world.rounds()[..2] {
            assert_eq!(round.counted.len(), 3);
            assert_eq!(round.dropped[&slow], "goes on for a later round", "plain {plain}");
        }
        // Round 3 is open, or will be, and somebody else is slow then.
        world.step(Action::Job(SLOW));
        world.step(Action::Cut(0));
        world.settle();
        world.check();
        let round = counted(&world);
        assert_eq!(world.witness.bases[&(slow.clone(), round)], (Round(1), Version(0)), "plain {plain}");
        assert!(round > Round(2));
        // At most one was still at it at the end; nobody trained in vain.
        let counted: u32 = world.rounds().iter().take(4).map(|round| round.counted.len() as u32).sum();
        assert!(
            (counted..=counted + 1).contains(&world.trained),
            "{} trainings, plain {plain}",
            world.trained
        );
        assert!(world.refused.is_empty(), "{:?}", world.refused);
    }
}

#[test]
fn who_is_too_late_begins_anew() {
    for plain in [false, true] {
        let mut world = world(plain, 0);
        without_slow(&mut world, version(1));
        without_slow(&mut world, phase(if plain { "collecting" } else { "keying" }));
        without_slow(&mut world, |world| world.server().round() == Round(2));
        world.step(Action::Cut(0));
        world.settle();
        world.check();
        let slow = world.client(SLOW);
        let (base, _) = world.witness.bases[&(slow.clone(), counted(&world))];
        assert!(base > Round(1), "plain {plain}");
    }
}

#[test]
fn what_is_trained_outlasts_a_power_cut_and_the_server() {
    for (plain, server) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = world(plain, 10);
        without_slow(&mut world, version(1));
        // It is done between two rounds, or for one that has begun; then the power goes.
        world.step(Action::Job(SLOW));
        world.step(if server { Action::KillServer } else { Action::KillClient(SLOW) });
        world.settle();
        world.check();
        let slow = world.client(SLOW);
        let (base, _) = world.witness.bases[&(slow.clone(), counted(&world))];
        assert_eq!(base, Round(1), "plain {plain}, server {server}");
    }
}

#[test]
fn a_client_that_is_gone_costs_no_round_more_than_its_place() {
    for plain in [false, true] {
        let mut world = world(plain, 10);
        without_slow(&mut world, version(1));
        world.step(Action::Cut(SLOW));
        world.gone.insert(SLOW);
        // Four are needed to begin, and three are there: nothing is released without them, nothing is lost.
        world.configure(|config| config.min_clients = 3);
        world.step(Action::KillServer);
        world.settle();
        world.check();
        let released = |round: &&crate::record::RoundRecord| matches!(round.outcome, Outcome::Released(_));
        assert_eq!(world.rounds().into_iter().filter(released).count(), 4, "plain {plain}");
    }
}

#[test]
fn nobody_counts_a_release_beside_updates_of_several_and_all_count_the_last() {
    let mut world =
        World::new(FederationConfig { evaluate_every: 1, ..config(false, 10) }, &[Role::Trains; 4], 10);
    world.settle();
    world.check();
    let tallies: Vec<Version> =
        world.rounds().iter().filter_map(|round| round.tally.as_ref()).map(|tally| tally.version).collect();
    assert_eq!(tallies, [Version(4)]);
    assert!(world.evaluated > 0);
}
