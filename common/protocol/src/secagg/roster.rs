//! A cohort with its round keys, fixed before anybody shares a secret.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use x25519_dalek::PublicKey;

use super::keys::{Advertisement, Claim, Identity, Roll, Signature, statement};
use super::violation::Violation;
use crate::fault::Fault;
use crate::ids::{ClientId, Digest, Round};
use crate::wire;

/// The most members of a roster.
pub const MAX_MEMBERS: u32 = 4096;

/// The longest certificate in a roster, bytes.
pub const MAX_CERTIFICATE: usize = 2048;

/// The longest roster, bytes: per member its name, certificate, three keys, a signature, and lengths.
pub const MAX_ROSTER: usize = MAX_MEMBERS as usize * (64 + MAX_CERTIFICATE + 96 + 64 + 16) + 64;

/// One client of a roster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub client: ClientId,
    /// The certificate of its identity.
    pub certificate: Bytes,
    /// Its round keys.
    pub advertisement: Advertisement,
    /// Its identity's signature under [`statement`].
    pub signature: Signature,
}

impl Member {
    /// A client that joins a round.
    pub fn new(
        client: ClientId,
        identity: &impl Identity,
        advertisement: Advertisement,
        round: Round,
        assignment: &Digest,
    ) -> Self {
        let signature = Signature(identity.sign(&statement(round, &client, &advertisement, assignment)));
        Self { client, certificate: identity.certificate().clone(), advertisement, signature }
    }

    /// That this client has signed `message`.
    pub(crate) fn claim<'a>(&'a self, message: &'a [u8], signature: &'a Signature) -> Claim<'a> {
        let Self { client, certificate, .. } = self;
        Claim { client, certificate, message, signature: &signature.0 }
    }

    /// Checks that the enrolled identity of this client signed these keys for this round and assignment, and that they
    /// are of use.
    ///
    /// # Errors
    /// What [`Roll::verify`] says, or [`Violation::LowOrderKey`].
    pub fn verify(&self, roll: &dyn Roll, round: Round, assignment: &Digest) -> Result<(), Fault> {
        let Self { client, advertisement, signature, .. } = self;
        if [&advertisement.mask, &advertisement.seal].into_iter().any(low_order) {
            return Err(Violation::LowOrderKey { client: client.clone() }.into());
        }
        let message = statement(round, client, advertisement, assignment);
        roll.verify(self.claim(&message, signature))
    }
}

/// The members of a round in the order of their names; an index means a place in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roster {
    content: Content,
    digest: Digest,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Content {
    round: Round,
    assignment: Digest,
    members: Vec<Member>,
}

/// What a client knows before it sees a roster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joining {
    /// The round that it joins.
    pub round: Round,
    /// Digest of the assignment that it was given.
    pub assignment: Digest,
    /// Its own name.
    pub client: ClientId,
    /// Its own round keys.
    pub advertisement: Advertisement,
    /// The smallest cohort, and the fewest survivors, among which it hides.
    pub minimum: u32,
}

impl Roster {
    /// A roster of these members, in any order.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if a client appears twice, a certificate is too long, or there are none or too many.
    pub fn new(round: Round, assignment: Digest, mut members: Vec<Member>) -> Result<Self, Fault> {
        members.sort_by(|a, b| a.client.cmp(&b.client));
        Self::from_content(Content { round, assignment, members })
    }

    fn from_content(content: Content) -> Result<Self, Fault> {
        let malformed = |why: String| Err(Fault::Malformed(why));
        let members = &content.members;
        if members.is_empty() || members.len() > MAX_MEMBERS as usize {
            return malformed(format!("a roster of {} members, 1 to {MAX_MEMBERS} allowed", members.len()));
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0].client >= pair[1].client) {
            return malformed(format!("{} is twice or out of order in the roster", pair[1].client));
        }
        if let Some(member) = members.iter().find(|member| member.certificate.len() > MAX_CERTIFICATE) {
            return malformed(format!(
                "the certificate of {} has {} bytes, at most {MAX_CERTIFICATE} allowed",
                member.client,
                member.certificate.len()
            ));
        }
        let digest = Digest::of(&wire::to_disk(&content));
        Ok(Self { content, digest })
    }

    /// The roster as a blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::to_disk(&self.content)
    }

    /// The inverse of [`Roster::to_bytes`].
    ///
    /// # Errors
    /// [`Fault::Malformed`] if the bytes are not exactly what [`Roster::to_bytes`] gives for some roster.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > MAX_ROSTER {
            return Err(Fault::Oversized { len: bytes.len() as u64, limit: MAX_ROSTER as u64 });
        }
        let roster = Self::from_content(wire::from_disk(bytes)?)?;
        // A number can be written in several ways; a roster has one digest.
        if roster.digest != Digest::of(bytes) {
            return Err(Fault::Malformed("a roster in another than its shortest form".into()));
        }
        Ok(roster)
    }

    /// SHA-256 of [`Roster::to_bytes`]: everything that is derived from now on hangs on it.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The round.
    pub fn round(&self) -> Round {
        self.content.round
    }

    /// Digest of the assignment that all members were given.
    pub fn assignment(&self) -> &Digest {
        &self.content.assignment
    }

    /// The members, by index.
    pub fn members(&self) -> &[Member] {
        &self.content.members
    }

    /// How many members.
    pub fn size(&self) -> u32 {
        self.content.members.len() as u32
    }

    /// A member's name.
    ///
    /// # Panics
    /// If there is no such member.
    pub fn client(&self, index: u32) -> &ClientId {
        &self.content.members[index as usize].client
    }

    /// A client's index.
    pub fn index_of(&self, client: &ClientId) -> Option<u32> {
        let found = self.content.members.binary_search_by(|member| member.client.cmp(client));
        found.ok().map(|index| index as u32)
    }

    /// A client's own check before it shares anything: the right round and task, its own keys, enough members, every
    /// signature good, no useless key. Returns the client's index.
    ///
    /// All signatures, not only the neighbours': whom the authority never enrolled must not count as company.
    ///
    /// # Errors
    /// The [`Violation`] of the first rule that is broken; it names the culprit.
    pub fn check(&self, roll: &dyn Roll, joining: &Joining) -> Result<u32, Fault> {
        let Content { round, assignment, members } = &self.content;
        if *round != joining.round {
            return Err(Violation::WrongRound { expected: joining.round, got: *round }.into());
        }
        if *assignment != joining.assignment {
            return Err(Violation::WrongAssignment.into());
        }
        if self.size() < joining.minimum {
            return Err(Violation::CohortTooSmall { got: self.size(), minimum: joining.minimum }.into());
        }
        let index = self
            .index_of(&joining.client)
            .filter(|&index| members[index as usize].advertisement == joining.advertisement)
            .ok_or(Violation::OwnKeysMissing)?;
        let mut seen = BTreeSet::new();
        for (other, member) in (0..).zip(members) {
            if !member.advertisement.keys().into_iter().all(|key| seen.insert(key)) {
                return Err(Violation::RepeatedKey { client: member.client.clone() }.into());
            }
            if other != index {
                member.verify(roll, *round, assignment)?;
            }
        }
        Ok(index)
    }

    pub(crate) fn mask_key(&self, index: u32) -> PublicKey {
        PublicKey::from(self.content.members[index as usize].advertisement.mask)
    }

    pub(super) fn seal_key(&self, index: u32) -> PublicKey {
        PublicKey::from(self.content.members[index as usize].advertisement.seal)
    }
}

/// The u-coordinates of small order on Curve25519 and its twist, little-endian (0, 1, two of order 8, -1, and the
/// unreduced forms of 0 and 1).
const LOW_ORDER: [&[u8; 64]; 7] = [
    b"0000000000000000000000000000000000000000000000000000000000000000",
    b"0100000000000000000000000000000000000000000000000000000000000000",
    b"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    b"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    b"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    b"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    b"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn low_order(key: &[u8; 32]) -> bool {
    let mut key = *key;
    // x25519 ignores the highest bit (RFC 7748).
    key[31] &= 0x7f;
    let hex = data_encoding::HEXLOWER.encode(&key);
    LOW_ORDER.iter().any(|low| low.as_slice() == hex.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x25519_dalek::x25519;

    use super::*;

    #[test]
    fn with_a_low_order_key_every_agreement_is_zero() {
        for low in LOW_ORDER {
            let mut key: [u8; 32] = data_encoding::HEXLOWER.decode(low).unwrap().try_into().unwrap();
            assert_eq!(x25519([9; 32], key), [0; 32]);
            key[31] |= 0x80;
            assert_eq!(x25519([9; 32], key), [0; 32]);
            assert!(low_order(&key));
        }
        assert!(!low_order(&[9; 32]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_roster_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(roster) = Roster::from_bytes(&bytes) {
                prop_assert_eq!(roster.to_bytes(), bytes);
            }
        }
    }
}
