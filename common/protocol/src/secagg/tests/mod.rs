//! Whole rounds: a cohort in memory, played against by its server and its members.

mod lies;
mod rounds;
mod secrecy;

use std::collections::BTreeMap;

use rand::RngCore;

use super::*;
use crate::fault::Fault;
use crate::ids::{ClientId, Digest, Round};
use crate::packed::Packed;
use crate::seed::{Label, Seed};

const ROUND: Round = Round(7);

fn assignment() -> Digest {
    Digest::of(b"assignment")
}

/// Believes every signature: for properties of large cohorts that are not about signatures.
struct Credulous;

impl Roll for Credulous {
    fn verify(&self, _: Claim<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

/// A cohort that has joined, before anybody shares.
struct Cohort {
    identities: Vec<Enrolled>,
    seeds: Vec<RoundSeed>,
    roll: Box<dyn Roll>,
    roster: Roster,
    parameters: Parameters,
}

fn seed_bytes(seed: &Seed, context: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    seed.derive(Label::World, context).rng().fill_bytes(&mut bytes);
    bytes
}

impl Cohort {
    fn new(n: u32, number: u64) -> Self {
        Self::with(Parameters::choose(n, 0.02, 0.05), number)
    }

    fn with(parameters: Parameters, number: u64) -> Self {
        let n = parameters.members();
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
        Self { identities, seeds, roll: Box::new(authority.roll()), roster, parameters }
    }

    fn client(&self, index: u32) -> ClientId {
        self.roster.client(index).clone()
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
        Session::join(seed, self.roster.clone(), self.parameters, &*self.roll, &self.joining(me)).unwrap()
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

    /// Those of `answering` confirm the survivors and reveal.
    fn reveal(
        &self,
        holdings: &mut BTreeMap<u32, Holding>,
        survivors: &Subset,
        answering: &Subset,
    ) -> BTreeMap<u32, Vec<Revealed>> {
        let confirmations: BTreeMap<u32, Signature> = answering
            .iter()
            .map(|me| (me, self.sign(me, &holdings.get_mut(&me).unwrap().confirm(survivors).unwrap())))
            .collect();
        answering.iter().map(|me| (me, holdings[&me].reveal(&confirmations, &*self.roll).unwrap())).collect()
    }

    fn sign(&self, me: u32, statement: &[u8]) -> Signature {
        Signature(self.identities[me as usize].sign(statement))
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
