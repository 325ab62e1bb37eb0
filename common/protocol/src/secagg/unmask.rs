//! The server's side: what the masks of a round left in the sum is recovered from revealed shares and taken out of it.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::decode::false_shares;
use super::graph::Graph;
use super::mask::{Mask, Sign, apply};
use super::parameters::Parameters;
use super::roster::Roster;
use super::session::Revealed;
use super::shamir::{Share, Weights};
use super::subset::Subset;
use super::violation::Violation;
use crate::fault::Fault;
use crate::packed::Packed;

/// All that is needed to unmask a sum.
///
/// In the sum of the survivors' uploads, the masks of two survivors have cancelled. Each survivor's self-mask is left,
/// and for every drop-out (who shared, but is not in the sum) its pairwise mask with each surviving neighbour.
#[derive(Debug)]
pub struct Unmask {
    /// The cohort.
    pub roster: Roster,
    /// Its graph's degree and threshold.
    pub parameters: Parameters,
    /// Who shared.
    pub present: Subset,
    /// Whose uploads are in the sum.
    pub survivors: Subset,
    /// What each survivor revealed.
    pub revealed: BTreeMap<u32, Vec<Revealed>>,
}

/// How it went.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unmasked {
    /// Members that revealed a false share, and were outvoted. Right as long as, of the `m` shares of one secret, no
    /// more than `max(1, (m - t) / 2)` are false.
    pub liars: BTreeSet<u32>,
}

impl Unmask {
    /// Subtracts from `sum` the masks that are left in it. On an error the sum is unchanged.
    ///
    /// Time: one keystream per survivor and one per drop-out and surviving neighbour. Memory: that of the sum, and some
    /// 200 bytes per keystream.
    ///
    /// # Errors
    /// [`Violation::TooFewShares`] or [`Violation::Unrecoverable`], naming the member whose secret is missing.
    pub fn run(&self, sum: &mut Packed) -> Result<Unmasked, Fault> {
        let graph = Graph::new(&self.parameters, self.roster.digest());
        let mut recovery = Recovery::new(self, &graph);
        let mut masks = vec![];
        let digest = self.roster.digest();
        for owner in self.present.iter() {
            let public = &self.roster.members()[owner as usize].advertisement;
            if self.survivors.contains(owner) {
                let secret = recovery.secret(owner, |secret| public.commits_to(secret))?;
                masks.push(Mask::own(&secret, digest, Sign::Minus));
                continue;
            }
            let bereft: Vec<u32> =
                graph.neighbours(owner).into_iter().filter(|&other| self.survivors.contains(other)).collect();
            if bereft.is_empty() {
                continue;
            }
            let secret = recovery.secret(owner, |secret| public.mask_secret(secret).is_some())?;
            let key = public.mask_secret(&secret).expect("recovery checked it");
            for other in bereft {
                let agreed = key.diffie_hellman(&self.roster.mask_key(other));
                let sign = Sign::of_pair(other, owner).flip();
                masks.push(Mask::pair(&agreed, digest, owner, other, sign));
            }
        }
        apply(sum.words_mut(), &mut masks);
        Ok(Unmasked { liars: recovery.liars })
    }

    /// Whether enough has been revealed to try: every secret that is needed has a threshold of shares.
    pub fn enough(&self) -> bool {
        let graph = Graph::new(&self.parameters, self.roster.digest());
        let shares = self.shares(&graph);
        let threshold = self.parameters.threshold() as usize;
        self.present.iter().all(|owner| {
            shares.get(&owner).is_some_and(|shares| shares.len() >= threshold)
                || !self.survivors.contains(owner)
                    && !graph.neighbours(owner).into_iter().any(|other| self.survivors.contains(other))
        })
    }

    /// Owner -> (holder, share), one of each survivor that does hold one.
    fn shares(&self, graph: &Graph) -> BTreeMap<u32, Vec<(u32, &Share)>> {
        let mut shares: BTreeMap<u32, Vec<(u32, &Share)>> = BTreeMap::new();
        for (&holder, revealed) in
            self.revealed.iter().filter(|(holder, _)| self.survivors.contains(**holder))
        {
            let owners = graph.holders(holder);
            for Revealed { owner, share } in revealed {
                if owners.binary_search(owner).is_err() {
                    continue;
                }
                let shares = shares.entry(*owner).or_default();
                // Holders come in ascending order, so a second share of the same holder would be next to its first.
                if shares.last().is_none_or(|(last, _)| *last != holder) {
                    shares.push((holder, share));
                }
            }
        }
        shares
    }
}

/// Recovers one secret after the other, and remembers who lied.
struct Recovery<'a> {
    roster: &'a Roster,
    threshold: u32,
    shares: BTreeMap<u32, Vec<(u32, &'a Share)>>,
    liars: BTreeSet<u32>,
    /// The weights of the last holders: in a complete graph they are those of the next as well.
    weights: Weights,
}

impl<'a> Recovery<'a> {
    fn new(unmask: &'a Unmask, graph: &Graph) -> Self {
        Self {
            roster: &unmask.roster,
            threshold: unmask.parameters.threshold(),
            shares: unmask.shares(graph),
            liars: BTreeSet::new(),
            weights: Weights::of(&[]),
        }
    }

    /// The secret of `owner` that passes `good`.
    fn secret(
        &mut self,
        owner: u32,
        good: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Zeroizing<[u8; 32]>, Violation> {
        let client = || self.roster.client(owner).clone();
        let all = self.shares.remove(&owner).unwrap_or_default();
        let trusted: Vec<_> =
            all.iter().filter(|(holder, _)| !self.liars.contains(holder)).copied().collect();
        let (got, threshold) = (trusted.len() as u32, self.threshold);
        if got < threshold {
            return Err(Violation::TooFewShares { client: client(), got, threshold });
        }
        if let Some(secret) = self.interpolate(&trusted).filter(|secret| good(secret)) {
            return Ok(secret);
        }
        // Somebody lied. Either the others outvote the liars, or one share more than needed is there and each is
        // suspected in turn.
        let nobody = trusted.len();
        for suspect in std::iter::once(nobody).chain(0..trusted.len()) {
            let mut rest = trusted.clone();
            if suspect < nobody {
                rest.remove(suspect);
            }
            let Some(places) = false_shares(&rest, threshold) else { continue };
            let lied: BTreeSet<u32> = places.iter().map(|&place| rest[place].0).collect();
            rest.retain(|(holder, _)| !lied.contains(holder));
            if let Some(secret) = self.interpolate(&rest).filter(|secret| good(secret)) {
                self.liars.extend(lied);
                self.liars.extend(trusted.get(suspect).map(|(holder, _)| *holder));
                return Ok(secret);
            }
        }
        Err(Violation::Unrecoverable { client: client() })
    }

    /// From the first shares, as many as the threshold; nothing if there are fewer.
    fn interpolate(&mut self, shares: &[(u32, &Share)]) -> Option<Zeroizing<[u8; 32]>> {
        let used = shares.get(..self.threshold as usize)?;
        let holders: Vec<u32> = used.iter().map(|(holder, _)| *holder).collect();
        if self.weights.members() != holders {
            self.weights = Weights::of(&holders);
        }
        Some(self.weights.recover(used.iter().map(|(_, share)| *share)))
    }
}
