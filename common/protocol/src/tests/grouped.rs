//! Masked rounds of groups: each is summed on its own, and none knows of another.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::masked::{bustle_until, config, lose, phase, releases, until_heard, with_policy};
use super::schedules::{action, traced};
use super::world::{Action, Dies, Said, World, secrets_on};
use crate::checkpoint::floats;
use crate::config::FederationConfig;
use crate::encoding::EncodingConfig;
use crate::evaluation::EvaluationPolicy;
use crate::fault::Fault;
use crate::ids::{ClientId, Round, Version};
use crate::message::{Role, ToServer};
use crate::participant::Policy;
use crate::record::{Outcome, Record, RoundRecord};
use crate::robust::RobustConfig;
use crate::secagg::Parameters;
use crate::secure::SecureConfig;

const ROUND: Round = Round(1);

/// The mean of the groups' means: it says something of every one of them.
const ALL: RobustConfig = RobustConfig::TrimmedMean { fraction: 0.0 };

pub(super) const MEDIAN: RobustConfig = RobustConfig::Median {};

pub(super) fn grouped(clients: u32, groups: u32, rounds: u64, robust: RobustConfig) -> FederationConfig {
    let secure = SecureConfig {
        encoding: EncodingConfig { clip_norm: 64.0, ..EncodingConfig::default() },
        ..config(clients, rounds).secure
    };
    FederationConfig { robust, groups, min_reports: 3 * groups, secure, ..config(clients, rounds) }
}

/// With nothing but rounds that make releases.
fn world(clients: u32, groups: u32, rounds: u64, robust: RobustConfig) -> World {
    let evaluation = Some(EvaluationPolicy::None);
    let config = FederationConfig { evaluation, ..grouped(clients, groups, rounds, robust) };
    with_policy(config, Policy::default())
}

/// Who is in which group of the first round.
fn groups(world: &World) -> Vec<BTreeSet<ClientId>> {
    let members = |roster: &crate::secagg::Roster| {
        roster.members().iter().map(|member| member.client.clone()).collect()
    };
    world.rosters(ROUND).iter().map(members).collect()
}

/// The places of clients in the world.
fn places(world: &World, clients: u32, members: &BTreeSet<ClientId>) -> Vec<usize> {
    (0..clients as usize).filter(|who| members.contains(&world.client(*who))).collect()
}

fn first(world: &World) -> &RoundRecord {
    world.rounds()[0]
}

/// That nobody could open what was left out: of no secret of a member that does not count has the server a threshold of
/// shares, unless it is in a sum that was opened.
fn nothing_is_known_of_lost_groups(world: &World) {
    let counted: BTreeSet<ClientId> = first(world).counted.iter().cloned().collect();
    for roster in world.rosters(ROUND) {
        if roster.members().iter().any(|member| counted.contains(&member.client)) {
            continue;
        }
        let threshold = Parameters::choose(roster.size(), 0.05, 0.1).threshold() as usize;
        for member in roster.members() {
            let secret = &member.advertisement.commitment;
            // What was said on a connection that broke has not arrived.
            let arrived = |holder: &ClientId| world.witness.has_heard(holder, Said::Revealed);
            let shares = world.witness.revealed.keys();
            let shares = shares.filter(|(holder, owner)| owner == secret && arrived(holder)).count();
            assert!(shares < threshold, "{shares} shares of a secret of {}", member.client);
        }
    }
}

/// Goes on, whoever died, until something is true or nothing that was under way is any more.
fn towards(world: &mut World, done: impl Fn(&World) -> bool) {
    for step in 0..200 {
        if done(world) || !world.rounds().is_empty() {
            return;
        }
        (0..24).for_each(|who| world.step(Action::Connect(who)));
        world.step(if step % 50 == 49 { Action::Pass(5) } else { Action::Bustle(1) });
    }
}

#[derive(Clone, Debug)]
struct Trouble {
    groups: u32,
    clients: u32,
    /// Who is lost, and after what it has said.
    lost: Vec<(usize, Said)>,
    /// Who is killed, and after how many steps.
    killed: Vec<(usize, usize)>,
    server: Option<(usize, Dies)>,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let said =
        || prop::sample::select(vec![Said::CheckIn, Said::Ready, Said::Shares, Said::Part, Said::Confirm]);
    (3u32..=4, 0u32..10).prop_flat_map(move |(groups, more)| {
        let clients = 3 * groups + more;
        let who = 0..clients as usize;
        let lost = prop::collection::vec((who.clone(), said()), 0..4);
        let killed = prop::collection::vec((who, 0usize..60), 0..3);
        let server = prop::option::of((1usize..5, prop::sample::select(vec![Dies::Before, Dies::After])));
        (lost, killed, server).prop_map(move |(mut lost, killed, server)| {
            // In the order of the steps, each client once.
            let mut seen = BTreeSet::new();
            lost.retain(|(who, _)| seen.insert(*who));
            lost.sort_by_key(|(_, said)| *said);
            Trouble { groups, clients, lost, killed, server }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_group_s_sum_is_the_plain_sum_whoever_drops_out_or_dies_and_whenever(trouble in trouble()) {
        let Trouble { groups: planned, clients, lost, killed, server } = trouble;
        let least = 3 * planned;
        let config = FederationConfig { min_clients: least, ..grouped(clients, planned, 1, ALL) };
        let mut world = with_policy(config, Policy::default());
        world.dies_at = server;
        for (who, said) in lost {
            match said {
                Said::CheckIn => towards(&mut world, phase("keying")),
                _ => towards(&mut world, |world| world.witness.has_heard(&world.client(who), said)),
            }
            lose(&mut world, who);
        }
        for (who, after) in killed {
            world.step(Action::Bustle(after));
            world.step(Action::KillClient(who));
        }
        // A server that died before it wrote anything may have to wait for clients that never come back.
        let few = |world: &World| world.gone.len() + least as usize > clients as usize;
        let stuck = |world: &World| world.server().phase() == "selecting" && few(world);
        world.settle_until(|world| !world.rounds().is_empty() || stuck(world));
        // `exact-sum`, `one-vector`, `one-secret`, `hidden`.
        world.check();
        let rounds = world.rounds();
        if let Some(round) = rounds.first().filter(|round| round.outcome == Outcome::Released(Version(1))) {
            nothing_is_known_of_lost_groups(&world);
            let all = groups(&world);
            prop_assert_eq!(all.len(), planned as usize);
            for group in &all {
                let counted = group.iter().filter(|client| round.counted.contains(client)).count();
                let least = Parameters::choose(group.len() as u32, 0.05, 0.1).threshold() as usize;
                prop_assert!(counted == 0 || counted >= least, "{counted} of {group:?}");
            }
            prop_assert!(round.counted.is_sorted() && round.counted.len() >= 3 * planned as usize);
        }
    }

    #[test]
    fn every_schedule_of_groups_keeps_the_invariants_and_ends(
        actions in prop::collection::vec(action(), 0..150)
    ) {
        traced(&actions, || {
            let mut world = World::new(grouped(11, 3, 2, MEDIAN), &[Role::Trains; 11], 10);
            actions.iter().for_each(|action| world.step(*action));
            world.check();
            // All are needed to begin: whoever's word was lost on a connection that stands says it again on the next.
            (0..11).for_each(|who| world.step(Action::Cut(who)));
            world.settle();
            world.check();
            assert_eq!(world.server().version(), Version(2));
        })?;
    }
}

/// Releases of ten clients in three groups, and how often the server wrote and the federation bustled.
fn undisturbed() -> (Vec<Record>, usize, usize) {
    let (mut world, mut bustles) = (world(10, 3, 1, ALL), 0);
    while !world.server().is_finished() {
        world.step(Action::Bustle(1));
        bustles += 1;
        assert!(bustles < 1000);
    }
    world.check();
    (releases(&world), world.flushes, bustles)
}

#[test]
fn a_server_that_is_killed_at_any_flush_deals_and_releases_the_same() {
    let (expected, flushes, _) = undisturbed();
    // Rosters, shares, survivors, release and evaluation: one flush each, for all groups.
    assert_eq!((expected.len(), flushes), (1, 5));
    for at in 1..=flushes {
        for dies in [Dies::Before, Dies::After] {
            let mut world = world(10, 3, 1, ALL);
            world.dies_at = Some((at, dies));
            world.settle();
            world.check();
            assert!(releases(&world) == expected, "killed at flush {at}, {dies:?}");
            assert_eq!(first(&world).counted.len(), 10);
        }
    }
}

#[test]
fn everything_may_be_killed_at_any_moment_and_everybody_counts() {
    let (_, _, bustles) = undisturbed();
    for at in 0..bustles {
        let mut world = world(10, 3, 1, ALL);
        world.step(Action::Bustle(at));
        world.step(Action::KillServer);
        (0..10).for_each(|who| world.step(Action::KillClient(who)));
        world.settle();
        world.check();
        // Who is killed before its keys are on its disk comes with others, and then the deal is another one.
        assert_eq!((world.rounds().len(), first(&world).counted.len()), (1, 10), "killed after {at} steps");
    }
}

#[test]
fn a_group_below_its_threshold_is_left_out_and_the_others_are_released() {
    assert_eq!(Parameters::choose(4, 0.05, 0.1).threshold(), 3);
    for (said, killed) in [
        (Said::Ready, false),
        (Said::Shares, false),
        (Said::Shares, true),
        (Said::Part, false),
        (Said::Part, true),
        (Said::Confirm, false),
        (Said::Confirm, true),
    ] {
        let mut world = world(16, 4, 1, MEDIAN);
        bustle_until(&mut world, phase("sharing"));
        let lost = groups(&world)[2].clone();
        let two = places(&world, 16, &lost)[..2].to_vec();
        two.iter().for_each(|who| until_heard(&mut world, 16, *who, said));
        two.iter().for_each(|who| lose(&mut world, *who));
        if killed {
            world.step(Action::KillServer);
        }
        world.settle();
        world.check();
        let round = first(&world);
        assert_eq!(round.outcome, Outcome::Released(Version(1)), "lost after {said:?}");
        let others: BTreeSet<ClientId> =
            (0..16).map(|who| world.client(who)).filter(|client| !lost.contains(client)).collect();
        assert!(round.counted.iter().eq(&others), "{:?}", round.counted);
        nothing_is_known_of_lost_groups(&world);
        for who in places(&world, 16, &lost) {
            assert!(round.dropped.contains_key(&world.client(who)));
            if !two.contains(&who) {
                assert!(secrets_on(world.kept(who)).is_none(), "it was not told");
                if !killed {
                    let why = &round.dropped[&world.client(who)];
                    let known = ["its group is left out: ", "too few of its neighbours shared"];
                    assert!(known.iter().any(|known| why.starts_with(known)), "{why}");
                }
            }
        }
        if said < Said::Part {
            let revealed = world.witness.has_heard(&world.client(two[0]), Said::Revealed);
            let confirmed = lost.iter().any(|client| world.witness.has_heard(client, Said::Confirm));
            assert!(!revealed && !confirmed, "somebody of the group was asked");
        }
    }
}

#[test]
fn with_fewer_groups_than_the_rule_needs_nothing_is_released() {
    for (robust, planned) in [(MEDIAN, 3), (RobustConfig::MultiKrum { fraction: 0.2 }, 5)] {
        // Enough are left for `min_reports`, but not for the rule.
        let clients = 4 * planned;
        let mut config = grouped(clients, planned, 1, robust);
        config.min_reports = 3 * planned;
        let mut world = with_policy(config, Policy::default());
        bustle_until(&mut world, phase("sharing"));
        let lost = places(&world, clients, &groups(&world)[0]);
        lost[..2].iter().for_each(|who| lose(&mut world, *who));
        world.settle_until(|world| !world.rounds().is_empty());
        world.check();
        let Outcome::Aborted(why) = first(&world).outcome.clone() else { panic!("a release of too few") };
        let left = planned - 1;
        let expected =
            format!("{left} of {planned} groups are left, {planned} are needed: 0 of 3 clients shared");
        assert!(why.starts_with(&expected), "{why}");
        assert!(world.witness.revealed.is_empty(), "somebody was asked");
    }
}

/// How far the first release is from where it began, at most.
fn reach(mut world: World, liar: Option<usize>) -> (f32, World) {
    if let Some(liar) = liar {
        world.boosts.insert(world.client(liar), 40.0);
    }
    world.settle();
    world.check();
    let moved = floats(world.server().weights()).into_iter().map(|weight| (weight - 0.25).abs());
    (moved.fold(0.0, f32::max), world)
}

#[test]
fn a_liar_is_outvoted_with_its_group() {
    // Honest updates are within .5, and so are their means.
    let mean = FederationConfig { groups: 1, robust: RobustConfig::default(), ..grouped(15, 5, 1, MEDIAN) };
    let (moved, _) = reach(with_policy(mean, Policy::default()), Some(7));
    assert!(moved > 0.7, "a lie of {moved} is none");
    let (moved, _) = reach(world(15, 5, 1, MEDIAN), Some(7));
    assert!(moved < 0.5, "{moved}");
}

#[test]
fn the_verdict_on_a_group_is_one_on_each_of_its_members() {
    let krum = || world(15, 5, 1, RobustConfig::MultiKrum { fraction: 0.2 });
    let (moved, world) = reach(krum(), Some(7));
    assert!(moved < 0.5, "{moved}");
    let liar = world.client(7);
    let group = groups(&world).into_iter().find(|group| group.contains(&liar)).unwrap();
    assert_eq!(world.judged, group);
    assert_eq!(first(&world).counted.len(), 15, "they count: the rule has seen them");
}

#[test]
fn nonsense_costs_its_own_group_and_not_the_round() {
    let mut world = world(16, 4, 1, MEDIAN);
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
    world.settle();
    world.check();
    let (round, liar) = (first(&world), world.client(0));
    let group = groups(&world).into_iter().find(|group| group.contains(&liar)).unwrap();
    assert_eq!(round.counted.len(), 12);
    assert!(group.iter().all(|client| round.dropped[client].contains("clients can have given")));
}

#[test]
fn the_deal_hangs_on_the_keys_and_cannot_be_chosen() {
    let dealt = |change: &dyn Fn(&mut World)| {
        let mut world = world(12, 3, 1, MEDIAN);
        change(&mut world);
        world.settle();
        let all = groups(&world);
        assert_eq!(all.iter().flatten().collect::<BTreeSet<_>>().len(), 12);
        assert!(all.iter().all(|group| group.len() == 4));
        all
    };
    let deal = dealt(&|_| {});
    assert_eq!(dealt(&|_| {}), deal);
    // One client that comes with other keys moves everybody.
    let mut others = BTreeSet::from([deal]);
    for who in 0..12 {
        assert!(others.insert(dealt(&|world| world.wipe(who))), "another key of {who}, an old deal");
    }
}

#[test]
fn a_client_sees_the_roster_of_its_own_group_only() {
    let mut world = world(12, 3, 1, MEDIAN);
    bustle_until(&mut world, phase("sharing"));
    let (own, client) = (groups(&world), world.client(0));
    for (group, roster) in own.iter().zip(world.rosters(ROUND)) {
        let refused = world.refused.len();
        world.say(0, ToServer::Fetch { digest: *roster.digest(), offset: 0 });
        assert_eq!(world.refused.len() == refused, group.contains(&client));
    }
    assert!(matches!(world.refused[..], [Fault::NoSuchBlob, Fault::NoSuchBlob]));
}

#[test]
fn a_client_hides_among_no_fewer_of_its_group_than_it_wants() {
    let mut world = with_policy(grouped(12, 3, 1, MEDIAN), Policy { min_cohort: 5, ..Policy::default() });
    world.settle_until(|world| !world.rounds().is_empty());
    assert!(matches!(first(&world).outcome, Outcome::Aborted(_)));
    let why = "this round's roster: a cohort of 4, this client hides among no fewer than 5";
    assert_eq!(world.declined, [why; 12]);
}

#[test]
fn each_step_is_written_once_for_every_group() {
    let mut world = world(15, 5, 1, MEDIAN);
    world.settle();
    let step = |record: &Record| match record {
        Record::Masked(_, group, step) => Some((*group, step.step())),
        _ => None,
    };
    let steps: Vec<(u32, u8)> = world.disk.iter().filter_map(step).collect();
    let expected: Vec<(u32, u8)> = (0..3).flat_map(|step| (0..5).map(move |group| (group, step))).collect();
    assert_eq!(steps, expected);
}
