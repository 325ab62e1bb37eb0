//! What other frameworks for federated learning get wrong, each as a guarantee of ours that fails without its defence.
//!
//! Tests are named after the guarantee; the comment names who lacks it and how.

use std::collections::BTreeSet;

use super::masked::{bustle_until, config, world};
use super::table::{ME, Table, name, plan, seed};
use super::world::{Action, Dies, Said, World, secrets_on};
use crate::checkpoint::bytes_of;
use crate::config::FederationConfig;
use crate::encoding::{Codec, Contribution};
use crate::evaluation::EvaluationPolicy;
use crate::fault::Fault;
use crate::ids::{Digest, Round};
use crate::message::ToServer;
use crate::packed::Packed;
use crate::privacy::cost::{Cost, Noise, Spend};
use crate::privacy::ledger::{Budget, Ledger, Refusal};
use crate::secagg::mask::{Mask, Sign, apply};
use crate::secagg::shamir::Weights;
use crate::secagg::{Advertisement, Parameters, Roster, RoundSecrets, RoundSeed, Share, Subset, Violation};
use crate::seed::Seed;
use crate::sum::MAX_EXAMPLES;
use crate::update::{Sections, UpdateLayout};

const ROUND: Round = Round(7);

/// So many draws that a generator of 32 bits would repeat itself 8 times, and not at all with a probability of e^-8.
const DRAWS: u64 = 1 << 18;

fn assert_no_two_alike(mut draws: Vec<u64>) {
    draws.sort_unstable();
    let alike = draws.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!(alike, 0, "of {} draws", draws.len());
}

fn codec(weights: usize, members: u32) -> Codec {
    let plan = plan();
    plan.codec(UpdateLayout::new(weights, Sections::default()), members, &plan.public(1), None).unwrap()
}

fn contribution(update: &[u8], examples: u32) -> Contribution<'_> {
    Contribution { update, examples, loss: 1.0, evaluation: None, residual: None }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Flower SecAgg+ folds the seed of a mask to 32 bits (effectively 28 or fewer) and runs MT19937: one mask falls in about
/// ten core-hours.
#[test]
fn masks_have_seeds_of_256_bits() {
    let (roster, mut rng) = (Digest::of(b"roster"), Seed::from_number(1).rng());
    let first_word = |_| {
        let mut seed = [0; 32];
        rand::RngCore::fill_bytes(&mut rng, &mut seed);
        let mut word = [0];
        apply(&mut word, &mut [Mask::own(&seed, &roster, Sign::Plus)]);
        word[0]
    };
    assert_no_two_alike((0..DRAWS).map(first_word).collect());
}

/// Flower's clients do not check that the lists of active and dropped clients are disjoint: an active server collects both
/// shares of one client. Ours get one list, and answer one list.
#[test]
fn a_client_reveals_one_secret_of_each_member_whatever_lists_it_is_shown() {
    let mut table = Table::of(7);
    let assignment = table.assignment(ROUND);
    let roster = table.upload(&assignment);
    let own = secrets_on(&table.kept).unwrap().0;
    let everybody = Subset::all(7);
    let lists = [Subset::of(7, 0..6), everybody.clone(), Subset::of(7, [0, 2, 3, 4, 5, 6])];
    for survivors in lists.iter().chain(&lists) {
        table.unmask(&roster, &everybody, survivors);
        table.restart();
        table.train(&assignment);
        table.show(ROUND, &roster);
        table.present(&roster, &everybody);
    }
    let all: Vec<(u32, Share)> =
        table.revealed().into_iter().flatten().map(|it| (it.owner, it.share.clone())).collect();
    assert_eq!(all.len(), 2 * 7, "the first list is answered each time");
    for owner in 0..7 {
        let secrets = RoundSecrets::new(&if owner == ME { own.clone() } else { seed(ROUND, owner) });
        let (mask_key, self_mask) = secrets.split(plan().parameters(7).threshold());
        let due = if owner == 6 { mask_key.share(ME) } else { self_mask.share(ME) };
        assert!(all.iter().all(|(of, share)| *of != owner || *share == due), "of member {owner}");
    }
}

/// Flower relays public keys that nobody signed: its server can stand in the middle. Fed-BioMed and OpenFL relay them too.
#[test]
fn no_key_is_believed_that_its_owner_did_not_sign() {
    let mut table = Table::of(5);
    let assignment = table.assignment(ROUND);
    let mine = table.train(&assignment);
    let mut members = table.roster(&assignment, &mine).members().to_vec();
    // Keys of which the server knows the secrets.
    members[2].advertisement = RoundSecrets::new(&seed(ROUND, 99)).advertisement();
    table.show(ROUND, &Roster::new(ROUND, assignment.promise(), members).unwrap());
    let fault = Violation::NotSigned { client: name(2) };
    assert_eq!(table.declined, [format!("this round's roster: {fault}")]);
    assert_eq!(table.count(|message| matches!(message, ToServer::Shares { .. })), 0);
}

/// Flower sends sample counts and metrics in the clear beside masked updates.
#[test]
fn what_a_client_trained_on_is_in_the_sum_and_nowhere_else() {
    let mut world = world(5, 2);
    world.settle();
    // Every upload is compared with its plain encoding here.
    world.check();
    assert!(!world.witness.visible, "an offer says how many examples there were");
    let round = world.rounds()[0];
    assert!(round.examples >= 5 * 100 && (round.loss - 1.0).abs() < 1e-2);
}

/// Flower masks whatever a client hands in: no check of finiteness, no bound on the norm.
#[test]
fn an_update_is_finite_and_no_longer_than_the_clip_norm_before_it_is_masked() {
    let codec = codec(100, 5);
    let mut update = vec![1000.0f32; 100];
    let encode =
        |update: &[f32]| codec.encode(&contribution(&bytes_of(update), MAX_EXAMPLES), &Seed::from_number(1));
    let decoded = codec.decode(&encode(&update).unwrap().packed, 1).unwrap();
    assert_eq!(decoded.clipped, 1);
    let (long, clip) = (norm(&decoded.mean), plan().encoding.clip_norm);
    assert!((0.98 * clip..=1.001 * clip).contains(&long), "{long} where {clip} is allowed");
    for wrong in [f32::NAN, f32::INFINITY] {
        update[7] = wrong;
        assert_eq!(encode(&update).err(), Some(Fault::NotFinite { index: 7 }));
    }
}

/// Flower uploads 8 bytes a weight.
#[test]
fn an_upload_takes_less_than_three_bytes_a_weight_up_to_64_clients() {
    for members in [3, 30, 64] {
        let bytes = codec(1_000_000, members).bytes();
        assert!(bytes <= 3_000_000, "{bytes} bytes for a million weights of {members} clients");
    }
}

/// Flower's noise assumes that all clients weigh the same, while its averaging weighs them by their examples.
#[test]
fn a_clients_examples_are_within_what_noise_is_made_for() {
    let codec = codec(100, 5);
    let update = bytes_of(&[1000.0; 100]);
    let bound = codec.sensitivity();
    let mut reach: f64 = 0.0;
    for examples in [1, 960, MAX_EXAMPLES] {
        let encoded = codec.encode(&contribution(&update, examples), &Seed::from_number(1)).unwrap();
        let mean = codec.decode(&encoded.packed, 1).unwrap().mean;
        // What this client adds to the sum, in units of lanes: its mean times its weight.
        let moved = norm(&mean) * f64::from(examples) / f64::from(MAX_EXAMPLES) / bound.unit;
        assert!(moved <= bound.l2, "{moved} by {examples} examples, {} at most", bound.l2);
        reach = reach.max(moved);
    }
    assert!(reach > 0.95 * bound.l2, "the bound is not much more than what can happen: {reach}");
}

/// Flower's local mode composes nothing: every round costs the same anew, for ever.
#[test]
fn what_rounds_tell_adds_up_until_a_round_is_refused() {
    let mut ledger = Ledger::new(Budget { epsilon: 4.0, delta: 1e-5 });
    let cost = || Cost::of(Spend::everybody(Noise::Gaussian { multiplier: 4.0 }), 1);
    let (mut before, mut rounds) = (0.0, 0);
    let refusal = loop {
        assert!(rounds < 100, "a hundred rounds, and epsilon is {before}");
        match ledger.reserve(Round(rounds), cost()) {
            Ok(reservation) => drop(reservation.spend(&mut ledger)),
            Err(refusal) => break refusal,
        }
        rounds += 1;
        assert!(ledger.epsilon() > before && ledger.epsilon() <= 4.0);
        before = ledger.epsilon();
    };
    assert!(rounds >= 2 && matches!(refusal, Refusal::Overspent(_)), "{refusal} after {rounds}");
}

/// Flower and NVFlare draw noise from generators that are no cryptographic ones, with small seeds.
#[test]
fn noise_has_seeds_of_256_bits() {
    let mut rng = Seed::from_number(1).rng();
    let first = |_| {
        let mut seed = [0; 32];
        rand::RngCore::fill_bytes(&mut rng, &mut seed);
        rand::RngCore::next_u64(&mut Seed::new(seed).rng())
    };
    assert_no_two_alike((0..DRAWS).map(first).collect());
}

/// The masks of the client under test with these members, as whoever has `secrets` would make them.
fn pairs<'a>(
    roster: &'a Roster,
    with: impl IntoIterator<Item = u32> + 'a,
    secrets: impl Fn(u32) -> RoundSeed + 'a,
) -> impl Iterator<Item = Mask> + 'a {
    with.into_iter().map(move |other| {
        let agreed = RoundSecrets::new(&secrets(other)).mask_key().diffie_hellman(&roster.mask_key(ME));
        Mask::pair(&agreed, roster.digest(), ME, other, Sign::of_pair(ME, other).flip())
    })
}

fn without(upload: &Packed, masks: impl IntoIterator<Item = Mask>) -> Packed {
    let mut words = upload.words().to_vec();
    apply(&mut words, &mut masks.into_iter().collect::<Vec<_>>());
    Packed::from_words(words)
}

/// NVFlare ships one symmetric secret key to every client: the server and any one client read all updates. (With all the
/// colluders that are allowed: `the_server_with_all_colluders_that_are_allowed_sees_only_the_sum_of_the_honest`.)
#[test]
fn the_server_and_one_client_read_nobody_elses_update() {
    let mut table = Table::of(5);
    let roster = table.upload(&table.assignment(ROUND));
    let codec = codec(10, 5);
    let upload = Packed::from_bytes(&table.uploaded(ROUND), codec.words()).unwrap();
    let mine = secrets_on(&table.kept).unwrap().0;
    // The self-mask is known to the server once the round is over.
    let own = || Mask::own(RoundSecrets::new(&mine).self_mask(), roster.digest(), Sign::Minus);
    let plain = without(&upload, pairs(&roster, 1..5, |other| seed(ROUND, other)).chain([own()]));
    assert_eq!(codec.decode(&plain, 1).unwrap().updates, 1);
    let read = |masks: Vec<Mask>| {
        let left = without(&upload, masks.into_iter().chain([own()]));
        left.words().iter().zip(plain.words()).filter(|(left, plain)| left == plain).count()
    };
    // Client 1 knows its own mask with this client, and no secret that makes the others'.
    assert_eq!(read(pairs(&roster, [1], |_| seed(ROUND, 1)).collect()), 0);
    assert_eq!(read(pairs(&roster, 1..5, |_| seed(ROUND, 1)).collect()), 0);
}

/// NVFlare calls the clipping of a percentile differential privacy.
#[test]
fn without_noise_nothing_is_private() {
    for multiplier in [0.0, -1.0, f64::NAN] {
        let cost = Cost::of(Spend::everybody(Noise::Gaussian { multiplier }), 1);
        assert_eq!(cost.epsilon(1e-5), f64::INFINITY);
        let mut ledger = Ledger::new(Budget { epsilon: 1e6, delta: 1e-5 });
        assert!(matches!(ledger.reserve(Round(1), cost), Err(Refusal::Overspent(_))));
    }
}

/// NVFlare removed the persistence of snapshots: a server that dies loses the run. (At every other moment:
/// `a_server_that_is_killed_at_any_flush_makes_the_same_releases_in_the_same_rounds`.)
#[test]
fn a_server_that_dies_goes_on_with_the_same_round() {
    let mut world = world(7, 1);
    // Roster, shares, survivors; who does not come back after that is in the sum nevertheless.
    world.dies_at = Some((3, Dies::After));
    world.gone.insert(6);
    world.settle();
    world.check();
    assert_eq!(world.rounds().len(), 1);
    assert_eq!((world.rounds()[0].round, world.rounds()[0].counted.len()), (Round(1), 7));
    assert_eq!(world.trained, 7, "nobody trained twice");
}

/// NVFlare's server holds (clients + 2) models. (In bytes: `cargo bench -p somnus-protocol`, column `peak`.)
#[test]
fn a_server_takes_in_no_more_uploads_at_a_time_than_it_has_slots() {
    let mut world = slots(9, 2);
    world.settle();
    world.check();
    assert_eq!((world.rounds()[0].counted.len(), world.most_uploads), (9, 2));
}

fn slots(clients: u32, upload_slots: u32) -> World {
    let config = FederationConfig { upload_slots, ..config(clients, 1) };
    super::masked::with_policy(config, Default::default())
}

/// OpenFL 1.9 adds one scalar from a generator that is no cryptographic one to all weights of a collaborator.
#[test]
fn a_mask_is_as_long_as_what_it_hides() {
    let roster = Digest::of(b"roster");
    let mut words = vec![0u64; 4000];
    apply(&mut words, &mut [Mask::own(&[1; 32], &roster, Sign::Plus)]);
    assert_no_two_alike(words);
}

/// OpenFL 1.9's aggregator reconstructs every private key during set-up.
#[test]
fn the_server_gets_no_share_of_the_mask_key_of_a_client_that_is_in_the_sum() {
    let mut world = world(7, 1);
    bustle_until(&mut world, |world| world.server().phase() == "unmasking");
    assert!(world.witness.revealed.is_empty(), "shares before the survivors are fixed");
    world.settle();
    world.check();
    // One round that makes a release, and one that counts it.
    assert_eq!(world.witness.revealed.len(), 2 * 7 * 7);
    let threshold = plan().parameters(7).threshold();
    for seed in world.witness.seeds.values() {
        let secrets = RoundSecrets::new(&RoundSeed::new(*seed));
        let (_, self_mask) = secrets.split(threshold);
        for who in 0..7 {
            let share = &world.witness.revealed[&(world.client(who), secrets.advertisement().commitment)];
            assert!(*share == self_mask.share(who as u32), "of the mask key, by client {who}");
        }
    }
}

/// OpenFL and Fed-BioMed tolerate no drop-out. (In every phase:
/// `a_client_that_is_lost_in_any_phase_leaves_the_exact_sum_of_the_others`.)
#[test]
fn a_client_that_vanishes_does_not_cost_the_others_their_round() {
    let mut world = world(7, 1);
    bustle_until(&mut world, |world| world.server().phase() == "collecting");
    world.step(Action::Cut(3));
    world.gone.insert(3);
    world.settle();
    world.check();
    assert_eq!((world.rounds().len(), world.rounds()[0].counted.len()), (1, 6));
}

/// Fed-BioMed makes a round's keys by XOR of one key with the round's number.
#[test]
fn the_secrets_of_two_rounds_have_nothing_in_common() {
    let mut world = world(5, 2);
    world.settle();
    for who in 0..5 {
        let of = |round: u64| (world.client(who), Round(round));
        let (one, two) = (world.witness.seeds[&of(1)], world.witness.seeds[&of(2)]);
        let different: u32 = one.iter().zip(two).map(|(one, two)| (one ^ two).count_ones()).sum();
        // 128 of 256 bits with a standard deviation of 8.
        assert!((80..176).contains(&different), "{different} bits");
        let keys = |round| {
            let Advertisement { mask, seal, commitment } = world.witness.advertised[&of(round)].clone();
            BTreeSet::from([mask, seal, commitment])
        };
        assert!(keys(1).is_disjoint(&keys(2)));
    }
}

/// Fed-BioMed's clients are not authenticated by TLS. (Ours are: `strangers_do_not_get_through_the_handshake` in the client's
/// loopback tests.) Here: not even a connected one takes part under keys that no enrolled identity signed.
#[test]
fn keys_of_a_stranger_take_no_part_in_a_round() {
    let evaluation = Some(EvaluationPolicy::None);
    let config = FederationConfig { evaluation, ..config(5, 1) };
    let mut world = super::masked::with_policy(config, Default::default());
    bustle_until(&mut world, |world| world.server().phase() == "keying");
    let keys = world.stranger(0);
    world.say(0, ToServer::Ready { round: Round(1), keys });
    assert_eq!(world.refused, [Violation::NotEnrolled { client: world.client(0) }.into()]);
    world.settle();
    world.check();
    assert_eq!((world.rounds().len(), world.rounds()[0].counted.len()), (1, 4));
    assert!(!world.witness.has_heard(&world.client(0), Said::Shares));
}

/// Fed-BioMed's secure aggregation fails with ten nodes and more.
#[test]
fn two_dozen_clients_make_one_masked_release() {
    let mut world = world(24, 1);
    world.settle();
    world.check();
    assert_eq!((world.rounds().len(), world.rounds()[0].counted.len()), (2, 24));
}

/// xaynet shows all seeds to each of its sum participants: the coordinator and one of them unmask everyone.
#[test]
fn as_many_colluders_as_are_allowed_know_no_secret_of_anybody() {
    for members in [3u32, 5, 10, 30, 200] {
        let parameters = Parameters::choose(members, 0.05, 0.1);
        let (colluders, threshold) = (parameters.colluders(), parameters.threshold());
        assert!(colluders >= 1 && colluders < threshold, "{colluders} of {members}");
        let secrets = RoundSecrets::new(&seed(ROUND, 0));
        let (mask_key, self_mask) = secrets.split(threshold);
        let recover = |holders: u32, polynomial: &crate::secagg::shamir::Polynomial| {
            let holders: Vec<u32> = (1..=holders).collect();
            let shares: Vec<Share> = holders.iter().map(|&holder| polynomial.share(holder)).collect();
            *Weights::of(&holders).recover(&shares)
        };
        for (polynomial, secret) in
            [(&mask_key, secrets.mask_key().as_bytes()), (&self_mask, secrets.self_mask())]
        {
            let known = |holders: u32| recover(holders, polynomial) == *secret;
            assert!(known(threshold) && !(1..threshold).any(known), "with {members} clients");
        }
    }
}
