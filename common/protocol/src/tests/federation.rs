//! Named situations, one test each.

use super::world::{Action, World};
use crate::config::FederationConfig;
use crate::fault::Fault;
use crate::message::Role;
use crate::record::Outcome;

fn config(clients: u32) -> FederationConfig {
    FederationConfig {
        rounds: 2,
        cohort: clients,
        min_clients: clients,
        min_reports: clients - 1,
        danger_plain_aggregation: true,
        ..FederationConfig::default()
    }
}

#[test]
fn a_peaceful_federation_counts_everybody_and_evaluates_everywhere() {
    let mut world = World::new(config(3), &[Role::Trains, Role::Evaluates, Role::Trains, Role::Trains], 10);
    world.settle();
    world.check();
    assert_eq!(world.rounds().len(), 2);
    for round in world.rounds() {
        assert_eq!(round.counted.len(), 3);
        assert_eq!(round.evaluations.len(), 4);
        assert!(round.dropped.is_empty() && round.examples > 300 && round.loss == 1.0);
        assert_eq!(round.bytes_up, 3 * 40);
    }
    assert_eq!(world.trained, 6);
    assert!(world.refused.is_empty(), "{:?}", world.refused);
}

#[test]
fn a_client_that_never_comes_back_costs_the_round_its_deadline_and_nothing_else() {
    let mut world = World::new(config(3), &[Role::Trains; 3], 10);
    (0..3).for_each(|who| world.step(Action::Connect(who)));
    (0..3).for_each(|who| world.step(Action::Deliver(2 * who)));
    assert_eq!(world.server().phase(), "collecting");
    world.step(Action::Cut(1));
    for _ in 0..20 {
        [0, 1, 4, 5].into_iter().for_each(|link| world.step(Action::Deliver(link)));
        [0, 2, 3].into_iter().for_each(|who| world.step(Action::Job(who)));
    }
    assert_eq!(world.server().phase(), "collecting", "the round waits for its third client");
    world.step(Action::Pass(3600));
    world.step(Action::Job(3));
    assert_eq!(world.server().version().0, 1);
    world.settle();
    world.check();
    assert_eq!(world.rounds()[0].dropped.len(), 1);
}

#[test]
fn a_round_below_its_threshold_is_aborted_and_leaves_nothing_behind() {
    let mut world = World::new(config(3), &[Role::Trains; 3], 10);
    (0..3).for_each(|who| world.step(Action::Connect(who)));
    (0..3).for_each(|who| world.step(Action::Deliver(2 * who)));
    (0..3).for_each(|who| world.step(Action::Cut(who)));
    world.step(Action::Pass(3600));
    assert_eq!(world.server().version().0, 0);
    assert_eq!(world.rounds()[0].outcome, Outcome::Aborted("0 of 2 updates needed".into()));
    assert_eq!(world.server().phase(), "idle");
    world.settle();
    world.check();
}

#[test]
fn after_a_server_crash_clients_offer_what_they_have_and_do_not_train_again() {
    let mut world = World::new(config(3), &[Role::Trains; 3], 10);
    (0..3).for_each(|who| world.step(Action::Connect(who)));
    for _ in 0..8 {
        (0..6).for_each(|link| world.step(Action::Deliver(link)));
        (0..3).for_each(|who| world.step(Action::Job(who)));
    }
    assert_eq!(world.trained, 3);
    assert_eq!(world.server().version().0, 0);
    world.step(Action::KillServer);
    world.settle();
    world.check();
    assert_eq!(world.trained, 6, "two rounds of three clients, though the first one began twice");
}

#[test]
fn lies_are_refused_by_name_and_change_nothing() {
    let mut quiet = World::new(config(3), &[Role::Trains; 3], 10);
    quiet.settle();
    let mut noisy = World::new(config(3), &[Role::Trains; 3], 10);
    (0..3).for_each(|who| noisy.step(Action::Connect(who)));
    (0..400).for_each(|n| noisy.step(Action::Lie(n)));
    noisy.settle();
    noisy.check();
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::WrongProtocol { .. })));
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::Stale { .. })));
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::NoSuchBlob)));
    assert_eq!(noisy.server().version(), quiet.server().version());
}
