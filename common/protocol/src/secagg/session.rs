//! The client's side, from the roster to the shares that it reveals. Pure: the same calls give the same bytes, so a
//! client that was restarted goes on from its [`RoundSeed`] and what it received.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use x25519_dalek::SharedSecret;

use super::graph::Graph;
use super::keys::{Roll, RoundSecrets, RoundSeed, Signature};
use super::labels::CONFIRMATION;
use super::mask::{Mask, Sign, apply};
use super::parameters::Parameters;
use super::roster::{Joining, Roster};
use super::sealed::{Envelope, Pair, SealedShare};
use super::shamir::Share;
use super::subset::Subset;
use super::violation::Violation;
use crate::fault::Fault;
use crate::ids::Digest;
use crate::packed::Packed;

/// A client that has checked the roster and shares its secrets.
pub struct Session {
    secrets: RoundSecrets,
    roster: Roster,
    parameters: Parameters,
    me: u32,
    minimum: u32,
    /// Neighbours, ascending, and the agreement of our sealing keys.
    neighbours: Vec<(u32, SharedSecret)>,
}

/// One share of another member's secret, or of the client's own: of the self-mask seed if that member survived, of the
/// mask key if not. Which one, the confirmed survivors say.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// Whose secret.
    pub owner: u32,
    /// The revealing client's share of it.
    pub share: Share,
}

impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a share of member {}", self.owner)
    }
}

impl Session {
    /// Checks the roster ([`Roster::check`]) and agrees with every neighbour.
    ///
    /// `parameters` have to be what [`Parameters::choose`] gives for the roster's size, by the client's own reckoning.
    ///
    /// # Errors
    /// The rule that the roster breaks.
    ///
    /// # Panics
    /// If `parameters` are for another size.
    pub fn join(
        seed: &RoundSeed,
        roster: Roster,
        parameters: Parameters,
        roll: &dyn Roll,
        joining: &Joining,
    ) -> Result<Self, Fault> {
        assert_eq!(parameters.members(), roster.size(), "parameters of another roster");
        let me = roster.check(roll, joining)?;
        let secrets = RoundSecrets::new(seed);
        let neighbours = Graph::new(&parameters, roster.digest())
            .neighbours(me)
            .into_iter()
            .map(|other| (other, secrets.seal_key().diffie_hellman(&roster.seal_key(other))))
            .collect();
        Ok(Self { secrets, roster, parameters, me, minimum: joining.minimum, neighbours })
    }

    /// This client's index.
    pub fn me(&self) -> u32 {
        self.me
    }

    /// The roster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// One sealed pair of shares for every neighbour, ascending.
    pub fn shares(&self) -> Vec<(u32, SealedShare)> {
        let (mask_key, self_mask) = self.secrets.split(self.parameters.threshold());
        let seal = |(receiver, agreed): &(u32, SharedSecret)| {
            let pair = Pair { mask_key: mask_key.share(*receiver), self_mask: self_mask.share(*receiver) };
            (*receiver, self.envelope(self.me, *receiver).seal(agreed, &pair))
        };
        self.neighbours.iter().map(seal).collect()
    }

    /// Takes the shares of the neighbours. `present` are all members that have shared, as the server tells everybody.
    ///
    /// A share that does not open is the sender's loss and comes back as a fault: its pairwise mask is applied all the
    /// same, or one bad sender could spoil the sum; what is lost is one of the shares that could recover its secrets.
    ///
    /// # Errors
    /// The rule that `present` breaks: of this roster, with this client, not below its minimum or its threshold.
    pub fn receive(
        self,
        present: Subset,
        sealed: impl IntoIterator<Item = (u32, SealedShare)>,
    ) -> Result<(Holding, Vec<Fault>), Fault> {
        self.check_subset(&present)?;
        let (mut held, mut faults) = (BTreeMap::new(), vec![]);
        for (sender, share) in sealed {
            let place = self.neighbours.binary_search_by_key(&sender, |(other, _)| *other);
            let Some((_, agreed)) = place.ok().map(|at| &self.neighbours[at]) else {
                faults.push(Fault::Unsolicited("a share of somebody who is no neighbour"));
                continue;
            };
            match self.envelope(sender, self.me).open(agreed, &share) {
                Some(pair) if present.contains(sender) => drop(held.insert(sender, pair)),
                Some(_) => faults.push(Fault::Unsolicited("a share of somebody who is not present")),
                None => {
                    let client = self.roster.client(sender).clone();
                    faults.push(Violation::SealBroken { client }.into());
                }
            }
        }
        let self_mask = self.secrets.split(self.parameters.threshold()).1.share(self.me);
        Ok((Holding { session: self, present, held, self_mask, confirmed: None }, faults))
    }

    fn envelope(&self, sender: u32, receiver: u32) -> Envelope<'_> {
        Envelope { round: self.roster.round(), roster: self.roster.digest(), sender, receiver }
    }

    /// What any list of members has to satisfy before this client goes on.
    fn check_subset(&self, subset: &Subset) -> Result<(), Violation> {
        let (got, expected) = (subset.members(), self.roster.size());
        if got != expected {
            return Err(Violation::WrongSubset { expected, got });
        }
        if !subset.contains(self.me) {
            return Err(Violation::LeftOut);
        }
        if subset.len() < self.minimum {
            return Err(Violation::CohortTooSmall { got: subset.len(), minimum: self.minimum });
        }
        let others = self.neighbours.iter().filter(|(other, _)| subset.contains(*other)).count();
        let (got, threshold) = (others as u32 + 1, self.parameters.threshold());
        if got < threshold { Err(Violation::BelowThreshold { got, threshold }) } else { Ok(()) }
    }
}

/// A client that holds shares of its neighbours: it masks one vector, and reveals for one list of survivors.
pub struct Holding {
    session: Session,
    present: Subset,
    held: BTreeMap<u32, Pair>,
    /// The share of its own self-mask seed.
    self_mask: Share,
    confirmed: Option<Subset>,
}

impl Holding {
    /// The session that this came from.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Adds the self-mask and one mask for every neighbour that is present.
    ///
    /// Mask **one** vector in a round: two under the same masks would give away their difference. Keep the masked vector
    /// or the means to make the same one again, before it is sent.
    pub fn mask(&self, vector: &mut Packed) {
        let Session { secrets, roster, me, neighbours, .. } = &self.session;
        let digest = roster.digest();
        let mut masks = vec![Mask::own(secrets.self_mask(), digest, Sign::Plus)];
        for (other, _) in neighbours.iter().filter(|(other, _)| self.present.contains(*other)) {
            let agreed = secrets.mask_key().diffie_hellman(&roster.mask_key(*other));
            masks.push(Mask::pair(&agreed, digest, *me, *other, Sign::of_pair(*me, *other)));
        }
        apply(vector.words_mut(), &mut masks);
    }

    /// Checks a list of survivors, and commits to nothing.
    ///
    /// # Errors
    /// The rule that the list breaks: of this roster, with this client, only of members who shared, not below its
    /// minimum or threshold, and no other list than the one it confirmed before.
    pub fn check(&self, survivors: &Subset) -> Result<(), Fault> {
        self.session.check_subset(survivors)?;
        let roster = &self.session.roster;
        if let Some(absent) = survivors.iter().find(|&member| !self.present.contains(member)) {
            return Err(Violation::NeverShared { client: roster.client(absent).clone() }.into());
        }
        if self.confirmed.as_ref().is_some_and(|confirmed| confirmed != survivors) {
            return Err(Violation::Equivocation.into());
        }
        Ok(())
    }

    /// Checks a list of survivors and commits to it; returns what this client's identity has to sign. The same list
    /// gives the same bytes again; a client that was restarted confirms the list from its disk first.
    ///
    /// # Errors
    /// As [`Holding::check`].
    pub fn confirm(&mut self, survivors: &Subset) -> Result<Vec<u8>, Fault> {
        self.check(survivors)?;
        let roster = &self.session.roster;
        self.confirmed = Some(survivors.clone());
        Ok(confirmation(roster.digest(), &self.present, survivors))
    }

    /// One share per holder's duty: for every member whose shares this client holds, and for itself, the share of the
    /// self-mask seed if it survived, of the mask key if it did not. Never both, as the list cannot change.
    ///
    /// `confirmations` are signatures of members under the survivors; a threshold of those who hold this client's
    /// shares, itself included, has to be among them. Those of other members are ignored.
    ///
    /// # Errors
    /// [`Violation::NotConfirmed`], [`Violation::BadConfirmation`] or [`Violation::NoQuorum`].
    pub fn reveal(
        &self,
        confirmations: &BTreeMap<u32, Signature>,
        roll: &dyn Roll,
    ) -> Result<Vec<Revealed>, Fault> {
        let survivors = self.confirmed.as_ref().ok_or(Violation::NotConfirmed)?;
        let Session { roster, parameters, neighbours, me, .. } = &self.session;
        let statement = confirmation(roster.digest(), &self.present, survivors);
        let needed = parameters.threshold();
        let mut got = 1;
        for (other, _) in neighbours {
            let Some(signature) = confirmations.get(other).filter(|_| got < needed) else { continue };
            let member = &roster.members()[*other as usize];
            roll.verify(member.claim(&statement, signature))
                .map_err(|_| Violation::BadConfirmation { client: member.client.clone() })?;
            got += 1;
        }
        if got < needed {
            return Err(Violation::NoQuorum { got, needed }.into());
        }
        let of_others = self.held.iter().map(|(&owner, pair)| {
            let share = if survivors.contains(owner) { &pair.self_mask } else { &pair.mask_key };
            Revealed { owner, share: share.clone() }
        });
        let own = Revealed { owner: *me, share: self.self_mask.clone() };
        Ok(of_others.chain([own]).collect())
    }
}

/// The bytes that survivors sign: who shared and who survived, in this roster (and so in this round).
pub fn confirmation(roster: &Digest, present: &Subset, survivors: &Subset) -> Vec<u8> {
    // Both bitmaps are as long as the roster says.
    [CONFIRMATION, roster.as_bytes(), present.as_bytes(), survivors.as_bytes()].concat()
}
