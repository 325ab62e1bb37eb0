//! Whole rounds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngCore;

use super::*;
use crate::ids::{ClientId, Digest, Round};
use crate::packed::Packed;
use crate::seed::{Label, Seed};

const ROUND: Round = Round(7);

fn assignment() -> Digest {
    Digest::of(b"assignment")
}

/// A cohort that has joined, before anybody shares.
struct Cohort {
    identities: Vec<Enrolled>,
    seeds: Vec<RoundSeed>,
    roll: SimulatedRoll,
    roster: Roster,
    parameters: Parameters,
}

fn seed_bytes(seed: &Seed, context: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    seed.derive(Label::World, context).rng().fill_bytes(&mut bytes);
    bytes
}

impl Cohort {
    fn new(n: u32, number: u64, parameters: Parameters) -> Self {
        let seed = Seed::from_number(number);
        let authority = SimulatedAuthority::new(seed.clone());
        let names: Vec<ClientId> = (0..n).map(|i| format!("c{i:04}").parse().unwrap()).collect();
        let identities: Vec<Enrolled> = names.iter().map(|name| authority.enrol(name)).collect();
        let seeds: Vec<RoundSeed> =
            (0..n).map(|i| RoundSeed::new(seed_bytes(&seed, &i.to_le_bytes()))).collect();
        let members = names
            .into_iter()
            .zip(&identities)
            .zip(&seeds)
            .map(|((name, identity), seed)| {
                Member::new(name, identity, RoundSecrets::new(seed).advertisement(), ROUND, &assignment())
            })
            .collect();
        let roster = Roster::new(ROUND, assignment(), members).unwrap();
        Self { identities, seeds, roll: authority.roll(), roster, parameters }
    }

    fn joining(&self, me: u32) -> Joining {
        let member = &self.roster.members()[me as usize];
        Joining {
            round: ROUND,
            assignment: assignment(),
            client: member.client.clone(),
            advertisement: member.advertisement.clone(),
            minimum: 2,
        }
    }

    fn join(&self, me: u32) -> Session {
        let seed = &self.seeds[me as usize];
        Session::join(seed, self.roster.clone(), self.parameters, &self.roll, &self.joining(me)).unwrap()
    }

    /// Everybody of `present` shares, and takes the shares.
    fn share(&self, present: &Subset) -> BTreeMap<u32, Holding> {
        let sessions: BTreeMap<u32, Session> = present.iter().map(|me| (me, self.join(me))).collect();
        let mut inboxes: BTreeMap<u32, Vec<(u32, SealedShare)>> = BTreeMap::new();
        for (&sender, session) in &sessions {
            for (receiver, sealed) in session.shares() {
                inboxes.entry(receiver).or_default().push((sender, sealed));
            }
        }
        let receive = |(me, session): (u32, Session)| {
            let mut inbox = inboxes.remove(&me).unwrap_or_default();
            inbox.retain(|(sender, _)| present.contains(*sender));
            let (holding, faults) = session.receive(present.clone(), inbox).unwrap();
            assert_eq!(faults, []);
            (me, holding)
        };
        sessions.into_iter().map(receive).collect()
    }

    /// `answering` confirm the survivors and reveal.
    fn reveal(
        &self,
        holdings: &mut BTreeMap<u32, Holding>,
        survivors: &Subset,
        answering: &Subset,
    ) -> BTreeMap<u32, Vec<Revealed>> {
        let confirmations: BTreeMap<u32, Signature> = answering
            .iter()
            .map(|me| {
                let statement = holdings.get_mut(&me).unwrap().confirm(survivors).unwrap();
                (me, Signature(self.identities[me as usize].sign(&statement)))
            })
            .collect();
        answering.iter().map(|me| (me, holdings[&me].reveal(&confirmations, &self.roll).unwrap())).collect()
    }

    fn unmask(&self, present: &Subset, survivors: &Subset, revealed: BTreeMap<u32, Vec<Revealed>>) -> Unmask {
        Unmask {
            roster: self.roster.clone(),
            parameters: self.parameters,
            present: present.clone(),
            survivors: survivors.clone(),
            revealed,
        }
    }
}

fn vector(seed: u64, words: usize) -> Packed {
    let mut rng = Seed::from_number(seed).rng();
    Packed::from_words((0..words).map(|_| rng.next_u64()).collect())
}

/// Some of `from`, never fewer than `least`.
fn thinned(from: &Subset, least: u32, rng: &mut impl RngCore) -> Subset {
    let mut left: Vec<u32> = from.iter().collect();
    let spare = (left.len() as u32).saturating_sub(least);
    let gone = if spare == 0 { 0 } else { rng.next_u32() % (spare + 1) };
    for _ in 0..gone {
        let at = rng.next_u32() as usize % left.len();
        left.swap_remove(at);
    }
    Subset::of(from.members(), left)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_masked_sum_is_the_plain_sum_whoever_drops_out_and_whenever(n in 2u32..=40, words in 0usize..150, number: u64) {
        let cohort = Cohort::new(n, number, Parameters::choose(n, 0.1, 0.1));
        let threshold = cohort.parameters.threshold();
        let mut rng = Seed::from_number(!number).rng();
        let present = thinned(&Subset::all(n), threshold, &mut rng);
        let survivors = thinned(&present, threshold, &mut rng);
        let answering = thinned(&survivors, threshold, &mut rng);
        let mut holdings = cohort.share(&present);
        let (mut plain, mut masked) = (Packed::zero(words), Packed::zero(words));
        for me in survivors.iter() {
            let mut vector = vector(number ^ u64::from(me), words);
            plain.add_assign(&vector);
            holdings[&me].mask(&mut vector);
            masked.add_assign(&vector);
        }
        let revealed = cohort.reveal(&mut holdings, &survivors, &answering);
        let unmask = cohort.unmask(&present, &survivors, revealed);
        prop_assert!(unmask.enough());
        prop_assert_eq!(unmask.run(&mut masked).unwrap(), Unmasked::default());
        prop_assert_eq!(masked, plain);
    }
}
