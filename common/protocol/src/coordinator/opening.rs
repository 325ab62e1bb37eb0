//! One group of a masked round while its masks are removed.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Lost;
use super::job::{GroupSum, Opener, Revelation};
use super::masks::Masks;
use crate::encoding::Decoded;
use crate::fault::Fault;
use crate::ids::ClientId;
use crate::packed::Packed;
use crate::privacy::veil::Veil;
use crate::secagg::{Revealed, Roll, Signature, Subset, Violation};

/// A group whose survivors are fixed.
pub(super) struct Opening {
    pub(super) masks: Masks,
    pub(super) survivors: Subset,
    pub(super) counted: Vec<ClientId>,
    sum: SumAt,
    signatures: BTreeMap<u32, Signature>,
    revealed: BTreeMap<u32, Vec<Revealed>>,
    /// Of the survivors, who has said that it will not take part.
    declined: BTreeSet<ClientId>,
    /// Reveals that a try had which found too many lies among them, and what it said.
    tried: usize,
    trouble: Option<Fault>,
}

/// Where the group's sum is.
enum SumAt {
    /// Here, masked.
    Here(Packed),
    WithJob,
    Opened(Box<Decoded>),
    /// It will never be known, and why.
    Lost(String),
}

/// Signatures to be shown to a survivor, so that it reveals.
pub(super) type Shown = (ClientId, BTreeMap<u32, Signature>);

impl Opening {
    pub(super) fn new(masks: Masks, survivors: Subset, sum: Packed) -> Self {
        Self {
            counted: masks.clients(&survivors),
            masks,
            survivors,
            sum: SumAt::Here(sum),
            signatures: BTreeMap::new(),
            revealed: BTreeMap::new(),
            declined: BTreeSet::new(),
            tried: 0,
            trouble: None,
        }
    }

    /// Whether enough have signed: more than could sign two lists.
    fn is_confirmed(&self) -> bool {
        self.masks.is_confirmed(&self.survivors, &self.signatures)
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.sum, SumAt::WithJob)
    }

    /// Whether nothing that comes in can change anything any more.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.sum, SumAt::Opened(_) | SumAt::Lost(_))
    }

    /// A survivor will not take part.
    pub(super) fn decline(&mut self, client: &ClientId) {
        self.declined.insert(client.clone());
    }

    /// A survivor has signed the list. Returns who can be asked to reveal now.
    pub(super) fn sign(
        &mut self,
        roll: &dyn Roll,
        client: &ClientId,
        signature: Signature,
    ) -> Result<Vec<Shown>, Fault> {
        let index = self.masks.index(client).filter(|_| self.counted.contains(client));
        let index = index.ok_or(Fault::Unsolicited("a signature"))?;
        let before = self.is_confirmed();
        self.masks.verify(roll, index, &self.survivors, &signature)?;
        self.signatures.insert(index, signature);
        if !self.is_confirmed() {
            return Ok(Vec::new());
        }
        // Whoever signs later is answered then; all others now, once.
        let signed = Subset::of(self.survivors.members(), self.signatures.keys().copied());
        let told = if before { vec![client.clone()] } else { self.masks.clients(&signed) };
        let show = |client: ClientId| {
            let signatures = self.masks.signatures_for(&client, &self.signatures);
            (client, signatures)
        };
        Ok(told.into_iter().map(show).collect())
    }

    /// A survivor has revealed its shares.
    pub(super) fn reveal(&mut self, client: &ClientId, shares: Vec<Revealed>) -> Result<(), Fault> {
        let index = self.masks.index(client).filter(|index| self.signatures.contains_key(index));
        let index = index.filter(|_| self.is_confirmed()).ok_or(Fault::Unsolicited("a share"))?;
        self.revealed.entry(index).or_insert(shares);
        Ok(())
    }

    /// What a job needs to open the sum, as soon as everybody who is `here` has revealed, or enough have and it is `late`.
    /// When it is late and enough have not, the sum is lost.
    pub(super) fn attempt(
        &mut self,
        here: impl Fn(&ClientId) -> bool,
        late: bool,
        veil: Option<Veil>,
    ) -> Option<(Opener, Packed)> {
        if !matches!(self.sum, SumAt::Here(_)) {
            return None;
        }
        let expected = |client: &&ClientId| here(client) && !self.declined.contains(*client);
        let answered = |client: &ClientId| {
            self.masks.index(client).is_some_and(|index| self.revealed.contains_key(&index))
        };
        let everybody = self.counted.iter().filter(expected).all(answered);
        if self.revealed.len() > self.tried && (everybody || late) {
            let opener = self.masks.opener(&self.survivors, &self.revealed, veil);
            if opener.unmask.enough()
                && let SumAt::Here(sum) = std::mem::replace(&mut self.sum, SumAt::WithJob)
            {
                self.tried = self.revealed.len();
                return Some((opener, sum));
            }
        }
        if late {
            let got = self.revealed.len();
            self.sum = SumAt::Lost(match &self.trouble {
                Some(fault) => format!("the sum cannot be unmasked: {fault}"),
                None => format!("{got} clients have revealed, too few to unmask the sum"),
            });
        }
        None
    }

    /// The job is done. Returns who revealed something that was not its share.
    pub(super) fn opened(&mut self, masked: Packed, outcome: Result<Revelation, Fault>) -> Vec<ClientId> {
        let (sum, liars) = match outcome {
            Ok(Revelation { decoded, liars }) => (SumAt::Opened(Box::new(decoded)), liars),
            Err(fault @ Fault::Secagg(Violation::Unrecoverable { .. } | Violation::TooFewShares { .. })) => {
                // Somebody lies; more shares can tell who.
                self.trouble = Some(fault);
                (SumAt::Here(masked), Vec::new())
            }
            Err(fault) => (SumAt::Lost(fault.to_string()), Vec::new()),
        };
        self.sum = sum;
        liars
    }

    /// What the group said together.
    ///
    /// # Errors
    /// The group, if nobody will ever know.
    pub(super) fn finish(self) -> Result<GroupSum, Lost> {
        let members = self.counted;
        match self.sum {
            SumAt::Opened(decoded) => Ok(GroupSum { members, decoded: *decoded }),
            SumAt::Lost(why) => Err(Lost { members, why }),
            SumAt::Here(_) | SumAt::WithJob => {
                Err(Lost { members, why: "the sum was not unmasked in time".into() })
            }
        }
    }
}
