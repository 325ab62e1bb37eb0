//! Masks: ChaCha20 keystreams (RFC 8439, 256-bit keys), added to packed words block by block.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use x25519_dalek::SharedSecret;
use zeroize::Zeroizing;

use super::labels::Derive;
use crate::ids::Digest;
use crate::packed::{BLOCK, add_block, sub_block};

/// Words whose keystream is made at a time: it stays in the fastest cache, with the words that it is added to.
const STRIP: usize = 16 * BLOCK;

/// Whether a mask is added or taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// Added.
    Plus,
    /// Subtracted.
    Minus,
}

impl Sign {
    /// The other one.
    pub fn flip(self) -> Self {
        match self {
            Sign::Plus => Sign::Minus,
            Sign::Minus => Sign::Plus,
        }
    }

    /// How `own` applies the mask that it shares with `other`: the lower index adds, the higher subtracts.
    pub fn of_pair(own: u32, other: u32) -> Self {
        if own < other { Sign::Plus } else { Sign::Minus }
    }
}

/// A stream of uniform words and its sign.
pub struct Mask {
    stream: ChaCha20,
    sign: Sign,
}

impl Mask {
    /// The self-mask from its seed b, bound to the roster.
    pub(crate) fn own(self_mask: &[u8; 32], roster: &Digest, sign: Sign) -> Self {
        Self::new(&Derive::SelfStream.from(self_mask, &[roster.as_bytes()]), sign)
    }

    /// The mask of two members who agreed on a secret, bound to the roster and to both.
    pub(crate) fn pair(agreed: &SharedSecret, roster: &Digest, a: u32, b: u32, sign: Sign) -> Self {
        let (low, high) = (a.min(b).to_le_bytes(), a.max(b).to_le_bytes());
        Self::new(&Derive::PairStream.from(agreed.as_bytes(), &[roster.as_bytes(), &low, &high]), sign)
    }

    fn new(key: &[u8; 32], sign: Sign) -> Self {
        // Every key masks one vector: the nonce may be zero.
        Self { stream: ChaCha20::new(key.into(), &[0; 12].into()), sign }
    }
}

/// Applies masks to words from their beginning. Memory beyond both: one strip.
///
/// # Panics
/// Beyond 256 GiB of words, where a ChaCha20 stream ends.
pub fn apply(words: &mut [u64], masks: &mut [Mask]) {
    let mut bytes = Zeroizing::new([0u8; 8 * STRIP]);
    let mut block = Zeroizing::new([0u64; BLOCK]);
    for strip in words.chunks_mut(STRIP) {
        for Mask { stream, sign } in &mut *masks {
            let keystream = &mut bytes[..8 * strip.len()];
            stream.write_keystream(keystream);
            for (to, by) in strip.chunks_mut(BLOCK).zip(keystream.chunks(8 * BLOCK)) {
                let (by, _) = by.as_chunks::<8>();
                let block = &mut block[..to.len()];
                block.iter_mut().zip(by).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
                match sign {
                    Sign::Plus => add_block(to, block),
                    Sign::Minus => sub_block(to, block),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packed::Packed;

    #[test]
    fn the_stream_is_that_of_rfc_8439() {
        // Appendix A.1, test vector 1: zero key, zero nonce, counter 0.
        let mut words = [0u64; 8];
        apply(&mut words, &mut [Mask::new(&[0; 32], Sign::Plus)]);
        let got: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7\
                        da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586";
        assert_eq!(data_encoding::HEXLOWER.encode(&got), expected);
    }

    proptest! {
        #[test]
        fn strips_do_not_show_and_what_is_added_can_be_subtracted(
            words in prop::collection::vec(any::<u64>(), 0..3 * STRIP + 7),
            keys: [[u8; 32]; 3],
        ) {
            let masks = |sign: Sign| keys.iter().map(|key| Mask::new(key, sign)).collect::<Vec<_>>();
            let mut masked = words.clone();
            apply(&mut masked, &mut masks(Sign::Plus));
            // The same with whole masks in memory.
            let mut whole = Packed::from_words(words.clone());
            for key in &keys {
                let mut stream = vec![0; 8 * words.len()];
                ChaCha20::new(key.into(), &[0; 12].into()).write_keystream(&mut stream);
                whole.add_assign(&Packed::from_bytes(&stream, words.len()).unwrap());
            }
            prop_assert_eq!(&masked, whole.words());
            apply(&mut masked, &mut masks(Sign::Minus));
            prop_assert_eq!(masked, words);
        }
    }
}
