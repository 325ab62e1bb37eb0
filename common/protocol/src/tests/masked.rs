//! Masked rounds in named situations: who is lost when, what a crash leaves, who lies.

use bytes::Bytes;

use super::world::{Action, Dies, Said, World, secrets_on};
use crate::config::FederationConfig;
use crate::fault::Fault;
use crate::ids::{ClientId, Round, UpdateId, Version};
use crate::message::{Role, ToServer};
use crate::participant::Policy;
use crate::record::{Outcome, Record};
use crate::secagg::Parameters;
use crate::secure::SecureConfig;

pub(super) fn config(clients: u32, rounds: u64) -> FederationConfig {
    FederationConfig {
        rounds,
        cohort: clients,
        min_clients: clients,
        min_reports: 3,
        training_seconds: 100.0,
        secure: SecureConfig { patience_seconds: 20.0, ..SecureConfig::default() },
        ..FederationConfig::default()
    }
}

/// Clients that refuse plain rounds, all connected, in a masked federation.
pub(super) fn world(clients: u32, rounds: u64) -> World {
    with_policy(config(clients, rounds), Policy::default())
}

pub(super) fn with_policy(config: FederationConfig, policy: Policy) -> World {
    let clients = config.cohort as usize;
    let mut world = World::new(config, &vec![Role::Trains; clients], 10);
    world.policy = policy;
    (0..clients).for_each(|who| world.step(Action::KillClient(who)));
    world.gather();
    world
}

/// One message on every link and one job everywhere at a time, until something is true.
pub(super) fn bustle_until(world: &mut World, done: impl Fn(&World) -> bool) {
    for _ in 0..1000 {
        if done(world) {
            return;
        }
        world.step(Action::Bustle(1));
    }
    panic!("it never comes to that");
}

pub(super) fn phase(name: &'static str) -> impl Fn(&World) -> bool {
    move |world| world.server().phase() == name
}

/// Until the server has this from that client; messages are delivered one by one, so that nothing that follows is.
pub(super) fn until_heard(world: &mut World, clients: usize, who: usize, said: Said) {
    let client = world.client(who);
    for _ in 0..1000 {
        for link in 0..2 * clients {
            world.step(Action::Deliver(link));
            if world.witness.has_heard(&client, said) {
                return;
            }
        }
        (0..=clients).for_each(|who| world.step(Action::Job(who)));
    }
    panic!("{client} never says {said:?}");
}

pub(super) fn lose(world: &mut World, who: usize) {
    world.step(Action::Cut(who));
    world.gone.insert(who);
}

fn weights(world: &World) -> Bytes {
    world.server().weights().clone()
}

/// All steps of a client, and whether its update is in the sum if it is lost right after.
const STEPS: [(Said, bool); 5] = [
    // Which it has said when the round begins.
    (Said::CheckIn, false),
    (Said::Ready, false),
    (Said::Shares, false),
    (Said::Part, true),
    (Said::Confirm, true),
];

#[test]
fn a_client_that_is_lost_in_any_phase_leaves_the_exact_sum_of_the_others() {
    for (said, counts) in STEPS {
        let mut world = world(7, 1);
        bustle_until(&mut world, phase("keying"));
        until_heard(&mut world, 7, 2, said);
        lose(&mut world, 2);
        world.settle();
        // `exact-sum` is checked over those who counted.
        world.check();
        let counted: Vec<ClientId> =
            (0..7).filter(|who| *who != 2 || counts).map(|who| world.client(who)).collect();
        assert_eq!(world.rounds().len(), 1, "{said:?}");
        assert_eq!(world.rounds()[0].counted, counted, "lost after {said:?}");
        assert_eq!(world.server().version(), Version(1));
        assert!(world.refused.is_empty(), "{:?}", world.refused);
    }
}

#[test]
fn below_the_threshold_the_round_is_aborted_and_the_server_has_too_few_shares_of_everything() {
    let threshold = Parameters::choose(5, 0.0, 0.0).threshold() as usize;
    assert_eq!(threshold, 4);
    for (said, _) in STEPS {
        let mut world = world(5, 1);
        bustle_until(&mut world, phase("keying"));
        (0..3).for_each(|who| until_heard(&mut world, 5, who, said));
        (0..3).for_each(|who| lose(&mut world, who));
        world.settle_until(|world| !world.rounds().is_empty());
        world.check();
        let round = world.rounds()[0].clone();
        assert!(matches!(round.outcome, Outcome::Aborted(_)), "lost after {said:?}: {:?}", round.outcome);
        assert!(!world.disk.iter().any(|record| matches!(record, Record::Release(_))));
        let owners: Vec<[u8; 32]> = world.witness.revealed.keys().map(|(_, owner)| *owner).collect();
        let most = owners.iter().map(|owner| owners.iter().filter(|other| *other == owner).count()).max();
        assert!(most.unwrap_or_default() < threshold, "{most:?} shares of one secret after {said:?}");
        if said < Said::Confirm {
            assert!(owners.is_empty(), "shares after {said:?}, though too few could confirm");
        }
        // Nobody keeps secrets of a round that is over.
        assert!((3..5).all(|who| secrets_on(world.kept(who)).is_none()));
    }
}

/// Two rounds of five clients, and how often the server wrote and the federation bustled.
fn undisturbed() -> (Vec<Record>, usize, usize) {
    let (mut world, mut bustles) = (world(5, 2), 0);
    while !world.server().is_finished() {
        if bustles % 40 == 39 {
            world.step(Action::Pass(5));
        }
        world.step(Action::Bustle(1));
        bustles += 1;
        assert!(bustles < 1000);
    }
    world.check();
    let releases = releases(&world);
    assert_eq!(releases.len(), 2);
    (releases, world.flushes, bustles)
}

pub(super) fn releases(world: &World) -> Vec<Record> {
    world.disk.iter().filter(|record| matches!(record, Record::Release(_))).cloned().collect()
}

#[test]
fn a_server_that_is_killed_at_any_flush_makes_the_same_releases_in_the_same_rounds() {
    let (expected, flushes, _) = undisturbed();
    // Roster, shares, survivors, release and evaluation of each round.
    assert!(flushes >= 10, "{flushes}");
    for at in 1..=flushes {
        for dies in [Dies::Before, Dies::After] {
            let mut world = world(5, 2);
            world.dies_at = Some((at, dies));
            world.settle();
            world.check();
            assert!(releases(&world) == expected, "killed at flush {at}, {dies:?}");
            assert!(world.rounds().iter().all(|round| round.counted.len() == 5));
        }
    }
}

#[test]
fn a_server_that_is_killed_at_any_moment_makes_the_same_releases() {
    let (expected, _, bustles) = undisturbed();
    for at in 0..bustles {
        let mut world = world(5, 2);
        world.step(Action::Bustle(at));
        world.step(Action::KillServer);
        world.settle();
        world.check();
        assert!(releases(&world) == expected, "killed after {at} steps");
    }
}

#[test]
fn everything_may_be_killed_at_any_moment_and_everybody_counts_in_every_round() {
    let (expected, _, bustles) = undisturbed();
    for at in 0..bustles {
        let mut world = world(5, 2);
        world.step(Action::Bustle(at));
        world.step(Action::KillServer);
        (0..5).for_each(|who| world.step(Action::KillClient(who)));
        world.settle();
        world.check();
        let rounds = world.rounds();
        // Two releases, and the counts of the last.
        assert!(rounds.len() == 3 && rounds.iter().all(|round| round.counted.len() == 5), "{at} steps");
        // In the second one clients may go on with an old memory: they died before they heard that they counted.
        assert!(releases(&world)[0] == expected[0], "killed after {at} steps");
    }
}

#[test]
fn a_client_that_is_killed_after_its_upload_still_confirms_and_reveals() {
    let mut world = world(5, 1);
    until_heard(&mut world, 5, 1, Said::Part);
    world.step(Action::KillClient(1));
    world.settle();
    world.check();
    let client = world.client(1);
    assert!(world.rounds()[0].counted.contains(&client));
    assert!(world.witness.has_heard(&client, Said::Confirm));
    assert!(world.witness.has_heard(&client, Said::Revealed));
}

#[test]
fn a_client_that_is_killed_uploads_the_same_bytes_again() {
    let mut world = world(5, 1);
    until_heard(&mut world, 5, 1, Said::Part);
    assert_eq!(world.server().phase(), "collecting");
    world.step(Action::KillClient(1));
    world.step(Action::KillServer);
    world.settle();
    // `one-vector` compares every piece with what was sent before.
    assert!(world.witness.again > 0, "the server forgot the upload, so it came twice");
    assert_eq!(world.rounds()[0].counted.len(), 5);
    world.check();
}

#[test]
fn a_client_that_loses_its_disk_takes_no_part_in_the_rest_of_the_round() {
    let mut world = world(7, 1);
    until_heard(&mut world, 7, 1, Said::Shares);
    let client = world.client(1);
    world.wipe(1);
    world.settle();
    world.check();
    let round = world.rounds()[0];
    assert_eq!((round.counted.len(), round.counted.contains(&client)), (6, false));
    assert!(
        world.declined.iter().any(|why| why.contains("this client's own round keys")),
        "{:?}",
        world.declined
    );
}

#[test]
fn a_client_that_reveals_false_shares_is_outvoted_and_named() {
    let mut quiet = world(7, 1);
    quiet.settle();
    let mut world = world(7, 1);
    let revealed = |message: &ToServer| matches!(message, ToServer::Revealed { .. });
    while !world.outbox(4).iter().any(revealed) {
        world.step(Action::Bustle(1));
    }
    for message in world.outbox(4).iter_mut() {
        if let ToServer::Revealed { shares, .. } = message {
            shares.iter_mut().for_each(|revealed| revealed.share.0[3] ^= 1);
        }
    }
    world.settle();
    world.check();
    assert_eq!(weights(&world), weights(&quiet));
    assert_eq!(world.refused, [Fault::Unsolicited("a share of another secret")]);
    assert!(world.blamed.iter().eq([&world.client(4)]));
}

/// The server cannot tell whose upload was nonsense: that is what masks are for. It can tell that the sum is none, and
/// then nothing is released.
#[test]
fn a_masked_upload_of_nonsense_aborts_its_round_and_leaves_the_model_as_it_was() {
    let mut world = world(5, 1);
    bustle_until(&mut world, phase("collecting"));
    let part = |message: &ToServer| matches!(message, ToServer::Part { .. });
    while !world.outbox(0).iter().any(part) {
        world.step(Action::Bustle(1));
    }
    for message in world.outbox(0).iter_mut() {
        if let ToServer::Part { bytes, .. } = message {
            *bytes = vec![0x5a; bytes.len()].into();
        }
    }
    let before = weights(&world);
    world.settle_until(|world| !world.rounds().is_empty());
    let Outcome::Aborted(why) = world.rounds()[0].outcome.clone() else { panic!("a release of nonsense") };
    assert!(why.contains("clients can have given"), "{why}");
    assert_eq!(weights(&world), before);
    assert!(world.blamed.is_empty() && world.rounds()[0].counted.is_empty());
    // The next round has new masks and goes on.
    world.settle();
    assert_eq!(world.server().version(), Version(1));
}

#[test]
fn a_masked_upload_of_another_length_drops_its_client_and_not_the_round() {
    let mut world = world(7, 1);
    bustle_until(&mut world, phase("collecting"));
    let update = UpdateId::of(&[0; 9]);
    world.say(0, ToServer::Offer { round: Round(1), update, visible: None });
    assert!(matches!(world.refused[..], [Fault::WrongLength { got: 9, .. }]));
    world.settle();
    world.check();
    assert_eq!(world.rounds()[0].counted.len(), 6);
}

#[test]
fn a_client_refuses_a_plain_round_unless_its_owner_allows_it() {
    for allowed in [false, true] {
        let config = FederationConfig { danger_plain_aggregation: true, ..config(3, 1) };
        let mut world =
            with_policy(config, Policy { danger_plain_aggregation: allowed, ..Policy::default() });
        world.settle_until(|world| !world.rounds().is_empty());
        assert_eq!(matches!(world.rounds()[0].outcome, Outcome::Released(_)), allowed);
        let refused = world.declined.iter().filter(|why| why.contains("`danger_plain_aggregation = true`"));
        assert_eq!(refused.count(), if allowed { 0 } else { 3 });
        assert_eq!(world.trained, if allowed { 3 } else { 0 }, "it does not even train");
    }
}

#[test]
fn a_client_refuses_a_cohort_below_its_own_minimum() {
    let mut world = with_policy(config(5, 1), Policy { min_cohort: 6, ..Policy::default() });
    world.settle_until(|world| !world.rounds().is_empty());
    assert!(matches!(world.rounds()[0].outcome, Outcome::Aborted(_)));
    let why = "this round's roster: a cohort of 5, this client hides among no fewer than 6";
    assert_eq!(world.declined, [why; 5]);
    assert!((0..5).all(|who| !world.witness.has_heard(&world.client(who), Said::Shares)));
}
