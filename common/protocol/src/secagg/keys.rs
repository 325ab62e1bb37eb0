//! The secrets of one client in one round, what it says about them in public, and who vouches for that.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::labels::{ADVERTISEMENT, COMMITMENT, Derive};
use super::shamir::Polynomial;
use crate::fault::Fault;
use crate::ids::{ClientId, Digest, Round};

/// All that a client has to keep secret, and on its disk, for one round: everything it sends derives from it, so
/// everything it sends twice is the same bytes.
///
/// A seed serves **one roster**. Under a second one, the server could ask for the mask key where it had the self-mask.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RoundSeed([u8; 32]);

impl RoundSeed {
    /// From fresh entropy, or from the disk.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For the disk.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a [`RoundSeed`] stands for.
pub struct RoundSecrets {
    mask: StaticSecret,
    seal: StaticSecret,
    self_mask: Zeroizing<[u8; 32]>,
    mask_coins: Zeroizing<[u8; 32]>,
    self_coins: Zeroizing<[u8; 32]>,
}

impl RoundSecrets {
    /// Derives the secrets.
    pub fn new(seed: &RoundSeed) -> Self {
        let derive = |label: Derive| label.from(&seed.0, &[]);
        Self {
            mask: StaticSecret::from(*derive(Derive::MaskKey)),
            seal: StaticSecret::from(*derive(Derive::SealKey)),
            self_mask: derive(Derive::SelfMask),
            mask_coins: derive(Derive::MaskKeyShares),
            self_coins: derive(Derive::SelfMaskShares),
        }
    }

    /// What may be known of them.
    pub fn advertisement(&self) -> Advertisement {
        Advertisement {
            mask: PublicKey::from(&self.mask).to_bytes(),
            seal: PublicKey::from(&self.seal).to_bytes(),
            commitment: commitment(&self.self_mask),
        }
    }

    pub(crate) fn mask_key(&self) -> &StaticSecret {
        &self.mask
    }

    pub(super) fn seal_key(&self) -> &StaticSecret {
        &self.seal
    }

    pub(crate) fn self_mask(&self) -> &[u8; 32] {
        &self.self_mask
    }

    /// The polynomials through the mask key and through the self-mask seed.
    pub(crate) fn split(&self, threshold: u32) -> (Polynomial, Polynomial) {
        (
            Polynomial::new(self.mask.as_bytes(), threshold, &self.mask_coins),
            Polynomial::new(&self.self_mask, threshold, &self.self_coins),
        )
    }
}

/// A client's public round keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Advertisement {
    /// x25519 key whose agreements give the pairwise masks.
    pub mask: [u8; 32],
    /// x25519 key whose agreements seal the shares.
    pub seal: [u8; 32],
    /// SHA-256 commitment to the self-mask seed, so that the server can tell who sent a false share of it.
    pub commitment: [u8; 32],
}

fn commitment(self_mask: &[u8; 32]) -> [u8; 32] {
    // The seed has 256 bits of entropy: the hash hides it.
    let committed = Zeroizing::new([COMMITMENT, self_mask].concat());
    *Digest::of(&committed).as_bytes()
}

impl Advertisement {
    /// What no two clients of a round have in common.
    pub fn keys(&self) -> [&[u8; 32]; 3] {
        [&self.mask, &self.seal, &self.commitment]
    }

    /// Whether this secret is the self-mask seed that was committed to.
    pub(super) fn commits_to(&self, self_mask: &[u8; 32]) -> bool {
        commitment(self_mask).ct_eq(&self.commitment).into()
    }

    /// The mask key of which this is the public half, if `secret` is it.
    pub(super) fn mask_secret(&self, secret: &[u8; 32]) -> Option<StaticSecret> {
        let secret = StaticSecret::from(*secret);
        bool::from(PublicKey::from(&secret).as_bytes().ct_eq(&self.mask)).then_some(secret)
    }
}

/// The bytes that `client`'s enrolled identity signs: these keys, for this round and this assignment, and no other.
pub fn statement(
    round: Round,
    client: &ClientId,
    advertisement: &Advertisement,
    assignment: &Digest,
) -> Vec<u8> {
    let Advertisement { mask, seal, commitment } = advertisement;
    // A client name is at most 64 bytes: its length is one byte, and all else is of fixed length.
    [
        ADVERTISEMENT,
        &round.0.to_le_bytes(),
        &[client.as_str().len() as u8],
        client.as_str().as_bytes(),
        assignment.as_bytes(),
        mask,
        seal,
        commitment,
    ]
    .concat()
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "serde_bytes")] pub [u8; 64]);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// This client's enrolled Ed25519 identity.
pub trait Identity {
    /// The certificate that was issued to it.
    fn certificate(&self) -> &Bytes;
    /// Its signature under `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// That an enrolled client has signed a message.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// Who is said to have signed.
    pub client: &'a ClientId,
    /// The certificate that is said to be this client's.
    pub certificate: &'a [u8],
    /// What is said to be signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// Who is enrolled in this federation.
pub trait Roll {
    /// Checks that the certificate was issued to the client and is valid, and that its key signed the message.
    ///
    /// # Errors
    /// A [`Fault`] that names the client: [`NotEnrolled`](super::Violation::NotEnrolled) or
    /// [`NotSigned`](super::Violation::NotSigned).
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_keys_and_another_seed_others() {
        let make = |byte| RoundSecrets::new(&RoundSeed::new([byte; 32])).advertisement();
        assert_eq!(make(1), make(1));
        let (one, two) = (make(1), make(2));
        let all = [one.mask, one.seal, one.commitment, two.mask, two.seal, two.commitment];
        for (i, key) in all.iter().enumerate() {
            assert!(!all[i + 1..].contains(key));
        }
    }

    #[test]
    fn a_commitment_and_a_public_key_fit_one_secret_only() {
        let secrets = RoundSecrets::new(&RoundSeed::new([1; 32]));
        let public = secrets.advertisement();
        assert!(public.commits_to(secrets.self_mask()));
        assert!(!public.commits_to(&[0; 32]));
        assert!(public.mask_secret(secrets.mask_key().as_bytes()).is_some());
        assert!(public.mask_secret(secrets.seal_key().as_bytes()).is_none());
    }

    #[test]
    fn a_statement_says_all_it_is_about() {
        let public = RoundSecrets::new(&RoundSeed::new([1; 32])).advertisement();
        let swapped = Advertisement { mask: public.seal, seal: public.mask, ..public };
        let (a, b): (ClientId, ClientId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (x, y) = (Digest::of(b"x"), Digest::of(b"y"));
        let base = statement(Round(1), &a, &public, &x);
        for other in [
            statement(Round(2), &a, &public, &x),
            statement(Round(1), &b, &public, &x),
            statement(Round(1), &a, &swapped, &x),
            statement(Round(1), &a, &public, &y),
        ] {
            assert_ne!(base, other);
        }
    }
}
