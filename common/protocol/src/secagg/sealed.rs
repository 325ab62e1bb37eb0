//! Two shares for one neighbour, which the server carries and cannot read.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use x25519_dalek::SharedSecret;
use zeroize::Zeroizing;

use super::labels::Derive;
use super::shamir::Share;
use crate::ids::{Digest, Round};

/// A share of the mask key, one of the self-mask seed, and a tag of 16 bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedShare(#[serde(with = "serde_bytes")] pub [u8; SEALED]);

/// Bytes of a [`SealedShare`].
pub const SEALED: usize = 80;

impl std::fmt::Debug for SealedShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

/// From whom to whom, in which round of which roster.
#[derive(Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) round: Round,
    pub(super) roster: &'a Digest,
    pub(super) sender: u32,
    pub(super) receiver: u32,
}

/// What one member holds of another's secrets.
pub(super) struct Pair {
    pub(super) mask_key: Share,
    pub(super) self_mask: Share,
}

impl Envelope<'_> {
    fn header(&self) -> [u8; 48] {
        let mut header = [0; 48];
        header[..8].copy_from_slice(&self.round.0.to_le_bytes());
        header[8..40].copy_from_slice(self.roster.as_bytes());
        header[40..44].copy_from_slice(&self.sender.to_le_bytes());
        header[44..].copy_from_slice(&self.receiver.to_le_bytes());
        header
    }

    /// A key for this envelope alone: it seals one plaintext ever, so the nonce may be zero.
    fn key(&self, agreed: &SharedSecret) -> LessSafeKey {
        let key = Derive::Sealing.from(agreed.as_bytes(), &[&self.header()]);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*key).expect("the key has 32 bytes"))
    }

    /// Seals with ChaCha20-Poly1305 (RFC 8439).
    pub(super) fn seal(&self, agreed: &SharedSecret, pair: &Pair) -> SealedShare {
        let mut sealed = [0; SEALED];
        let (shares, tag) = sealed.split_at_mut(64);
        shares[..32].copy_from_slice(&pair.mask_key.0);
        shares[32..].copy_from_slice(&pair.self_mask.0);
        let computed = self
            .key(agreed)
            .seal_in_place_separate_tag(nonce(), Aad::from(self.header()), shares)
            .expect("64 bytes are within the limit of the cipher");
        tag.copy_from_slice(computed.as_ref());
        SealedShare(sealed)
    }

    /// The inverse of [`Envelope::seal`]; nothing if a bit of the share or of the envelope differs.
    pub(super) fn open(&self, agreed: &SharedSecret, sealed: &SealedShare) -> Option<Pair> {
        let mut opened = Zeroizing::new(sealed.0);
        self.key(agreed).open_in_place(nonce(), Aad::from(self.header()), &mut *opened).ok()?;
        let share = |from: usize| Share(std::array::from_fn(|i| opened[from + i]));
        Some(Pair { mask_key: share(0), self_mask: share(32) })
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use x25519_dalek::{PublicKey, StaticSecret};

    use super::*;

    proptest! {
        #[test]
        fn a_sealed_share_opens_for_its_receiver_and_for_nobody_else(a: [u8; 32], b: [u8; 32], flip in 0..SEALED * 8) {
            let (alice, bob) = (StaticSecret::from(a), StaticSecret::from(b));
            let there = alice.diffie_hellman(&PublicKey::from(&bob));
            let back = bob.diffie_hellman(&PublicKey::from(&alice));
            let (roster, other) = (Digest::of(b"roster"), Digest::of(b"other"));
            let envelope = Envelope { round: Round(3), roster: &roster, sender: 1, receiver: 2 };
            let pair = Pair { mask_key: Share(a), self_mask: Share(b) };
            let sealed = envelope.seal(&there, &pair);
            let opened = envelope.open(&back, &sealed).expect("our own seal");
            prop_assert!(opened.mask_key == pair.mask_key && opened.self_mask == pair.self_mask);
            for wrong in [
                Envelope { round: Round(4), ..envelope },
                Envelope { roster: &other, ..envelope },
                Envelope { sender: 2, receiver: 1, ..envelope },
                Envelope { receiver: 3, ..envelope },
            ] {
                prop_assert!(wrong.open(&back, &sealed).is_none());
            }
            let mut torn = sealed.clone();
            torn.0[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(envelope.open(&back, &torn).is_none());
            let stranger = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(&alice));
            prop_assert!(envelope.open(&stranger, &sealed).is_none());
        }
    }
}
