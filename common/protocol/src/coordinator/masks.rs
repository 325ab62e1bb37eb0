//! What the server knows of the masks of a group: who is in it, and what it has carried without being able to open it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Held;
use super::job::Opener;
use crate::encoding::Codec;
use crate::fault::Fault;
use crate::ids::ClientId;
use crate::packed::Packed;
use crate::privacy::veil::Veil;
use crate::secagg::session::confirmation;
use crate::secagg::{Graph, Parameters, Revealed, Roll, Roster, SealedShare, Signature, Subset};

/// The masks of one group of a round; of everybody, where there are no groups.
pub(super) struct Masks {
    group: u32,
    roster: Roster,
    blob: Held,
    parameters: Parameters,
    graph: Graph,
    codec: Arc<Codec>,
    /// Who has shared.
    present: Subset,
    /// What each has shared, for each of its neighbours in order.
    shares: BTreeMap<u32, Vec<(u32, SealedShare)>>,
}

impl Masks {
    pub(super) fn new(group: u32, roster: Roster, parameters: Parameters, codec: Codec) -> Self {
        let graph = Graph::new(&parameters, roster.digest());
        Self {
            group,
            blob: Held::new(roster.to_bytes().into()),
            present: Subset::none(roster.size()),
            shares: BTreeMap::new(),
            codec: Arc::new(codec),
            graph,
            parameters,
            roster,
        }
    }

    /// Which of the round's groups it is, counted from 0.
    pub(super) fn group(&self) -> u32 {
        self.group
    }

    /// The roster, as clients fetch it.
    pub(super) fn blob(&self) -> &Held {
        &self.blob
    }

    pub(super) fn index(&self, client: &ClientId) -> Option<u32> {
        self.roster.index_of(client)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &ClientId> {
        self.roster.members().iter().map(|member| &member.client)
    }

    /// The members that have shared.
    pub(super) fn present(&self) -> impl Iterator<Item = &ClientId> {
        self.present.iter().map(|index| self.roster.client(index))
    }

    /// Fewest members that can recover a secret.
    pub(super) fn threshold(&self) -> usize {
        self.parameters.threshold() as usize
    }

    pub(super) fn has_shared(&self, client: &ClientId) -> bool {
        self.index(client).is_some_and(|index| self.shares.contains_key(&index))
    }

    /// Takes what a member has shared.
    pub(super) fn share(&mut self, client: &ClientId, shares: Vec<(u32, SealedShare)>) -> Result<(), Fault> {
        let index = self.index(client).ok_or(Fault::Unsolicited("a share"))?;
        let neighbours = self.graph.neighbours(index);
        if !shares.iter().map(|(to, _)| *to).eq(neighbours.iter().copied()) {
            return Err(Fault::Unsolicited("a share for other members than the neighbours"));
        }
        self.shares.insert(index, shares);
        self.present.insert(index);
        Ok(())
    }

    /// Nobody shares any more: leaves out those whose secrets too few could recover. Returns who they are.
    pub(super) fn close(&mut self) -> Vec<ClientId> {
        let mut left_out = Vec::new();
        loop {
            let few = |index: &u32| {
                let holders = self.graph.holders(*index);
                let there = holders.iter().filter(|holder| self.present.contains(**holder)).count();
                there < self.threshold()
            };
            let lost: Vec<u32> = self.present.iter().filter(few).collect();
            if lost.is_empty() {
                return left_out;
            }
            let rest = self.present.iter().filter(|index| !lost.contains(index));
            self.present = Subset::of(self.roster.size(), rest);
            lost.iter().for_each(|index| drop(self.shares.remove(index)));
            left_out.extend(lost.iter().map(|index| self.roster.client(*index).clone()));
        }
    }

    pub(super) fn shares(&self) -> &BTreeMap<u32, Vec<(u32, SealedShare)>> {
        &self.shares
    }

    /// Goes on from shares that were written down.
    pub(super) fn resume(&mut self, shares: BTreeMap<u32, Vec<(u32, SealedShare)>>) {
        self.present = Subset::of(self.roster.size(), shares.keys().copied());
        self.shares = shares;
    }

    /// Who has shared, and what they have shared with `client`, if it has too.
    pub(super) fn shares_for(&self, client: &ClientId) -> Option<(Subset, Vec<(u32, SealedShare)>)> {
        let me = self.index(client).filter(|index| self.present.contains(*index))?;
        let from = |other: u32| {
            let all = self.shares.get(&other)?;
            let place = all.binary_search_by_key(&me, |(to, _)| *to).ok()?;
            Some((other, all[place].1.clone()))
        };
        let shares = self.graph.neighbours(me).into_iter().filter_map(from).collect();
        Some((self.present.clone(), shares))
    }

    /// Bytes of one masked update.
    pub(super) fn update_bytes(&self) -> u64 {
        self.codec.bytes()
    }

    pub(super) fn empty_sum(&self) -> Packed {
        Packed::zero(self.codec.words())
    }

    /// A sum that was written down.
    pub(super) fn read_sum(&self, bytes: &[u8]) -> Result<Packed, Fault> {
        Packed::from_bytes(bytes, self.codec.words())
    }

    pub(super) fn subset(&self, clients: &[ClientId]) -> Subset {
        Subset::of(self.roster.size(), clients.iter().filter_map(|client| self.index(client)))
    }

    pub(super) fn clients(&self, subset: &Subset) -> Vec<ClientId> {
        subset.iter().map(|index| self.roster.client(index).clone()).collect()
    }

    /// Checks a member's signature under the survivors.
    pub(super) fn verify(
        &self,
        roll: &dyn Roll,
        index: u32,
        survivors: &Subset,
        signature: &Signature,
    ) -> Result<(), Fault> {
        let member = &self.roster.members()[index as usize];
        let statement = confirmation(self.roster.digest(), &self.present, survivors);
        roll.verify(member.claim(&statement, signature))
    }

    /// Whether every survivor can be shown a threshold of signatures of those who hold its shares.
    pub(super) fn is_confirmed(&self, survivors: &Subset, signatures: &BTreeMap<u32, Signature>) -> bool {
        let shown = |index: u32| {
            let signed = |holder: &&u32| **holder == index || signatures.contains_key(holder);
            self.graph.holders(index).iter().filter(signed).count() >= self.threshold()
        };
        signatures.len() >= self.threshold() && survivors.iter().all(shown)
    }

    /// The signatures that `client` needs to see.
    pub(super) fn signatures_for(
        &self,
        client: &ClientId,
        signatures: &BTreeMap<u32, Signature>,
    ) -> BTreeMap<u32, Signature> {
        let neighbours = self.index(client).map(|index| self.graph.neighbours(index)).unwrap_or_default();
        let known = |index: &u32| signatures.get(index).map(|signature| (*index, *signature));
        neighbours.iter().filter_map(known).collect()
    }

    /// What removes the masks from the sum of `survivors`.
    pub(super) fn opener(
        &self,
        survivors: &Subset,
        revealed: &BTreeMap<u32, Vec<Revealed>>,
        veil: Option<Veil>,
    ) -> Opener {
        let unmask = crate::secagg::Unmask {
            roster: self.roster.clone(),
            parameters: self.parameters,
            present: self.present.clone(),
            survivors: survivors.clone(),
            revealed: revealed.clone(),
        };
        Opener { unmask, codec: Arc::clone(&self.codec), veil }
    }
}
