//! Named situations, one test each.

use super::world::{Action, World};
use crate::config::FederationConfig;
use crate::fault::Fault;
use crate::ids::{Round, UpdateId};
use crate::message::{CHUNK, Role, ToClient, ToServer, Visible};
use crate::plan::{Invariance, TrainPlan};
use crate::record::{Outcome, Record};
use crate::robust::RobustConfig;

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
    let mut world = collecting_of(10);
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
    let mut world = collecting_of(10);
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
    world.gather();
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
    noisy.gather();
    (0..400).for_each(|n| noisy.step(Action::Lie(n)));
    noisy.settle();
    noisy.check();
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::WrongProtocol { .. })));
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::Stale { .. })));
    assert!(noisy.refused.iter().any(|f| matches!(f, Fault::NoSuchBlob)));
    assert_eq!(noisy.server().version(), quiet.server().version());
}

/// Weights of a model whose update is one whole chunk and a rest.
const LARGE: usize = 10_000;

/// Three clients whose round is open, none of them trained yet.
fn collecting() -> World {
    collecting_of(10)
}

fn collecting_of(weights: usize) -> World {
    let mut world = World::new(config(3), &[Role::Trains; 3], weights);
    world.gather();
    (0..3).for_each(|who| world.step(Action::Deliver(2 * who)));
    assert_eq!(world.server().phase(), "collecting");
    world
}

#[test]
fn a_rule_that_is_chosen_makes_the_release() {
    let release = |robust, crash| {
        let config = FederationConfig { robust, min_reports: 3, ..config(3) };
        let mut world = World::new(config, &[Role::Trains; 3], 10);
        if crash {
            world.gather();
            (0..40).for_each(|link| world.step(Action::Deliver(link % 6)));
            world.step(Action::KillServer);
        }
        world.settle();
        assert_eq!(world.server().version().0, 2);
        world.server().weights().clone()
    };
    let median = release(RobustConfig::Median {}, false);
    assert_eq!(median, release(RobustConfig::Median {}, true));
    assert_ne!(median, release(RobustConfig::Mean {}, false));
}

#[test]
fn doubled_messages_do_no_harm() {
    let mut world = collecting();
    for _ in 0..12 {
        (0..6).for_each(|link| world.step(Action::Double(link)));
        (0..6).for_each(|link| world.step(Action::Deliver(link)));
        (0..4).for_each(|who| world.step(Action::Job(who)));
    }
    world.settle();
    world.check();
    assert!(world.rounds().iter().all(|round| round.counted.len() == 3 && round.dropped.is_empty()));
}

#[test]
fn an_offer_for_another_round_is_stale() {
    let mut world = collecting();
    let update = UpdateId::of(&[0; 40]);
    for round in [Round(0), Round(2)] {
        world.say(0, ToServer::Offer { round, update, visible: Some(Visible { examples: 1, loss: 0.0 }) });
        assert_eq!(world.refused.last(), Some(&Fault::Stale { got: round }));
    }
    world.say(
        0,
        ToServer::Offer {
            round: Round(1),
            update: UpdateId::of(&[0; 44]),
            visible: Some(Visible { examples: 1, loss: 0.0 }),
        },
    );
    assert_eq!(world.refused.last(), Some(&Fault::WrongLength { expected: 40, got: 44 }));
}

#[test]
fn an_update_that_is_no_number_drops_its_client_and_not_the_round() {
    let mut world = collecting();
    let update = [0xff; 40];
    world.say(
        0,
        ToServer::Offer {
            round: Round(1),
            update: UpdateId::of(&update),
            visible: Some(Visible { examples: 1, loss: 0.0 }),
        },
    );
    world.say(0, ToServer::Part { round: Round(1), offset: 0, bytes: update.to_vec().into() });
    world.step(Action::Job(3));
    assert_eq!(world.refused, [Fault::NotFinite { index: 0 }]);
    world.settle();
    world.check();
    assert_eq!(world.rounds()[0].counted.len(), 2);
    assert_eq!(world.rounds()[0].dropped.len(), 1);
}

#[test]
fn a_part_that_comes_twice_is_taken_once() {
    let mut world = collecting_of(LARGE);
    let update = vec![0u8; 4 * LARGE];
    let part = |from: usize, to: usize| ToServer::Part {
        round: Round(1),
        offset: from as u64,
        bytes: update[from..to].to_vec().into(),
    };
    let (first, second) = ((0, CHUNK), (CHUNK, update.len()));
    world.say(
        0,
        ToServer::Offer {
            round: Round(1),
            update: UpdateId::of(&update),
            visible: Some(Visible { examples: 1, loss: 0.0 }),
        },
    );
    [first, first, second, second].into_iter().for_each(|(from, to)| world.say(0, part(from, to)));
    world.step(Action::Job(3));
    assert!(world.refused.is_empty(), "{:?}", world.refused);
    // A part that leaves a hole is refused, and the upload goes on where it was.
    world.say(
        1,
        ToServer::Offer {
            round: Round(1),
            update: UpdateId::of(&update),
            visible: Some(Visible { examples: 1, loss: 0.0 }),
        },
    );
    world.say(1, part(second.0, second.1));
    assert_eq!(world.refused, [Fault::WrongOffset { expected: 0, got: CHUNK as u64 }]);
    // A trickle that would hold its slot for ever is not an upload.
    world.say(1, part(0, 0));
    assert_eq!(world.refused[1], Fault::WrongLength { expected: CHUNK as u64, got: 0 });
}

#[test]
fn an_upload_that_stands_still_keeps_what_has_arrived_until_somebody_waits_for_its_place() {
    let offer = || ToServer::Offer {
        round: Round(1),
        update: UpdateId::of(&vec![0u8; 4 * LARGE]),
        visible: Some(Visible { examples: 1, loss: 0.0 }),
    };
    let part = |from: usize, to: usize| ToServer::Part {
        round: Round(1),
        offset: from as u64,
        bytes: vec![0; to - from].into(),
    };
    for wanted in [false, true] {
        let config = FederationConfig { upload_slots: 1, ..config(3) };
        let mut world = World::new(config, &[Role::Trains; 3], LARGE);
        world.gather();
        (0..3).for_each(|who| world.step(Action::Deliver(2 * who)));
        world.say(0, offer());
        world.say(0, part(0, CHUNK));
        if wanted {
            world.say(1, offer());
        }
        world.step(Action::Pass(600));
        // Nobody wants the place: it goes on where it was. Somebody does: the place, and what has arrived, is gone.
        world.say(0, part(CHUNK, 4 * LARGE));
        world.say(1, part(0, CHUNK));
        world.say(1, part(CHUNK, 4 * LARGE));
        world.step(Action::Job(3));
        assert!(world.refused.is_empty(), "{:?}", world.refused);
        let counted = |who| world.inbox(who).contains(&ToClient::Counted { round: Round(1) });
        assert_eq!([0, 1].map(counted), [!wanted, wanted]);
    }
}

#[test]
fn a_client_that_offers_something_else_uploads_that() {
    let mut world = collecting_of(LARGE);
    let (old, new) = (vec![1u8; 4 * LARGE], vec![0u8; 4 * LARGE]);
    let offer = |update: &[u8]| ToServer::Offer {
        round: Round(1),
        update: UpdateId::of(update),
        visible: Some(Visible { examples: 1, loss: 0.0 }),
    };
    let part = |update: &[u8], from: usize, to: usize| ToServer::Part {
        round: Round(1),
        offset: from as u64,
        bytes: update[from..to].to_vec().into(),
    };
    world.say(0, offer(&old));
    world.say(0, part(&old, 0, CHUNK));
    world.say(0, offer(&new));
    world.say(0, part(&new, 0, CHUNK));
    world.say(0, part(&new, CHUNK, 4 * LARGE));
    world.step(Action::Job(3));
    assert!(world.refused.is_empty(), "{:?}", world.refused);
}

#[test]
fn a_server_that_is_killed_during_an_evaluation_goes_on_with_it() {
    let mut world = World::new(config(3), &[Role::Trains; 3], 10);
    // Dies right after the last release is on disk, before anybody hears of it.
    while world.server().version().0 < 1 {
        world.gather();
        world.step(Action::Bustle(1));
    }
    world.step(Action::KillAfterFlush);
    for _ in 0..40 {
        world.gather();
        world.step(Action::Bustle(1));
    }
    world.settle();
    world.check();
    assert!(world.rounds().iter().all(|round| round.evaluations.len() == 3 && !round.evaluating));
}

#[test]
fn a_deadline_that_passes_while_an_update_is_added_does_not_make_the_server_spin() {
    let mut world = collecting();
    world.say(
        0,
        ToServer::Offer {
            round: Round(1),
            update: UpdateId::of(&[0; 40]),
            visible: Some(Visible { examples: 1, loss: 0.0 }),
        },
    );
    world.say(0, ToServer::Part { round: Round(1), offset: 0, bytes: vec![0; 40].into() });
    // The invariant `no-busy-wait` is checked after every step.
    world.step(Action::Pass(4000));
    world.step(Action::Job(3));
    world.settle();
    world.check();
}

/// Three clients and a companion beside each release.
fn with_companion() -> World {
    let invariance = Some(Invariance { weight: 0.1, from_round: 2 });
    let config = FederationConfig { plan: TrainPlan { invariance, ..TrainPlan::default() }, ..config(3) };
    World::new(config, &[Role::Trains; 3], 10)
}

#[test]
fn each_release_has_its_companion_and_a_restart_brings_it_back() {
    let mut world = with_companion();
    let (mut bare, mut last) = (World::new(config(3), &[Role::Trains; 3], 10), 0);
    while world.server().version().0 < 1 {
        world.gather();
        world.step(Action::Bustle(1));
    }
    world.step(Action::KillServer);
    world.settle();
    world.check();
    bare.settle();
    for record in &world.disk {
        if let Record::Release(release) = record {
            // Two classes, each a count and two sums of two numbers.
            assert_eq!(release.companion.as_ref().map(|bytes| bytes.len()), Some(4 * 2 * 5));
            last += 1;
        }
    }
    assert_eq!(last, 2);
    assert_eq!(world.rounds()[0].bytes_up, 3 * 4 * (10 + 10));
    let alone = |record: &Record| matches!(record, Record::Release(release) if release.companion.is_none());
    assert_eq!(bare.disk.iter().filter(|record| alone(record)).count(), 2);
}

#[test]
fn a_client_that_dies_between_training_and_counted_goes_on_with_its_old_memory() {
    let mut world = with_companion();
    // The first round counts everybody; the second one is trained.
    while world.trained < 6 {
        world.gather();
        world.step(Action::Bustle(1));
        assert!(world.server().version().0 <= 1);
    }
    assert_eq!(world.remembers(), [1, 1, 1]);
    (0..3).for_each(|who| world.step(Action::KillClient(who)));
    assert_eq!(world.remembers(), [1, 1, 1]);
    // The invariant `repeatable` is checked as they train again.
    world.settle();
    world.check();
    assert_eq!((world.trained, world.remembers()), (9, vec![2, 2, 2]));
}

#[test]
fn a_round_that_a_crash_of_everything_repeats_is_trained_from_the_same_memory() {
    let mut world = with_companion();
    world.gather();
    while world.remembers() != [1, 1, 1] {
        assert_eq!(world.server().version().0, 0, "counted, and the round is still open");
        (0..6).for_each(|link| world.step(Action::Deliver(link)));
        (0..3).for_each(|who| world.step(Action::Job(who)));
        if world.server().phase() == "collecting" {
            world.step(Action::Job(3));
        }
    }
    world.step(Action::KillServer);
    (0..3).for_each(|who| world.step(Action::KillClient(who)));
    world.settle();
    world.check();
    assert_eq!((world.trained, world.remembers()), (9, vec![2, 2, 2]));
}
