//! Words in blocks; each block is one integer modulo `2^(64 words)`.

use crate::fault::Fault;

/// Words in a block; the last block of a vector may have fewer.
pub const BLOCK: usize = 64;

/// A vector of 64-bit words that is added block by block: carries run within a block and are dropped at its end.
///
/// Blocks are a group under addition, so uniform words added to a block hide it perfectly.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Packed {
    words: Vec<u64>,
}

impl Packed {
    /// So many words of zero.
    pub fn zero(words: usize) -> Self {
        Self { words: vec![0; words] }
    }

    /// Takes over words.
    pub fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    /// Length in words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words, lowest first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The words, to be changed in place.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Adds block by block.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add_assign(&mut self, other: &Self) {
        self.each_block(other, add_block);
    }

    /// Subtracts block by block.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn sub_assign(&mut self, other: &Self) {
        self.each_block(other, sub_block);
    }

    /// Each word little-endian, in order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8 * self.words.len()];
        let (chunks, _) = bytes.as_chunks_mut::<8>();
        chunks.iter_mut().zip(&self.words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
        bytes
    }

    /// The inverse of [`Packed::to_bytes`].
    ///
    /// # Errors
    /// [`Fault::WrongLength`] if these are not the bytes of `words` words.
    pub fn from_bytes(bytes: &[u8], words: usize) -> Result<Self, Fault> {
        let (expected, got) = (8 * words as u64, bytes.len() as u64);
        if expected != got {
            return Err(Fault::WrongLength { expected, got });
        }
        let (chunks, _) = bytes.as_chunks::<8>();
        Ok(Self { words: chunks.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect() })
    }

    fn each_block(&mut self, other: &Self, apply: impl Fn(&mut [u64], &[u64])) {
        assert_eq!(self.words.len(), other.words.len(), "words of another layout");
        self.words.chunks_mut(BLOCK).zip(other.words.chunks(BLOCK)).for_each(|(to, by)| apply(to, by));
    }
}

/// `to += by` modulo `2^(64 words)`; one block, or the beginning of both if one is shorter.
#[inline]
pub fn add_block(to: &mut [u64], by: &[u64]) {
    chain(to, by, u64::carrying_add);
}

/// `to -= by` modulo `2^(64 words)`; one block, or the beginning of both if one is shorter.
#[inline]
pub fn sub_block(to: &mut [u64], by: &[u64]) {
    chain(to, by, u64::borrowing_sub);
}

#[inline(always)]
fn chain(to: &mut [u64], by: &[u64], step: impl Fn(u64, u64, bool) -> (u64, bool)) {
    // Eight at a time: the compiler keeps the carry in the processor's flag within such a group.
    let (to, to_rest) = to.as_chunks_mut::<8>();
    let (by, by_rest) = by.as_chunks::<8>();
    let mut carry = false;
    for (to, by) in to.iter_mut().zip(by) {
        for (to, by) in to.iter_mut().zip(by) {
            (*to, carry) = step(*to, *by, carry);
        }
    }
    for (to, by) in to_rest.iter_mut().zip(by_rest) {
        (*to, carry) = step(*to, *by, carry);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> impl Strategy<Value = (Vec<u64>, Vec<u64>)> {
        // Long carry chains are rare among uniform words.
        let word = || prop_oneof![any::<u64>(), Just(u64::MAX), Just(0), Just(1)];
        let both = (word(), word());
        prop::collection::vec(both, 0..200).prop_map(|pairs| pairs.into_iter().unzip())
    }

    proptest! {
        /// Against schoolbook addition, a bit of carry at a time.
        #[test]
        fn a_block_is_an_integer_of_its_own((a, b) in words()) {
            let mut sum = Packed::from_words(a.clone());
            sum.add_assign(&Packed::from_words(b.clone()));
            let mut carry = 0;
            for (i, got) in sum.words().iter().enumerate() {
                if i % BLOCK == 0 {
                    carry = 0;
                }
                let exact = u128::from(a[i]) + u128::from(b[i]) + carry;
                prop_assert_eq!(*got, exact as u64);
                carry = exact >> 64;
            }
        }

        #[test]
        fn subtracting_undoes_adding_in_any_order((a, b) in words()) {
            let (a, b) = (Packed::from_words(a), Packed::from_words(b));
            let mut sum = a.clone();
            sum.add_assign(&b);
            let mut other = b.clone();
            other.add_assign(&a);
            prop_assert_eq!(&sum, &other);
            sum.sub_assign(&b);
            prop_assert_eq!(&sum, &a);
            other.sub_assign(&b);
            prop_assert_eq!(&other, &a);
        }

        #[test]
        fn bytes_come_back((a, _) in words()) {
            let packed = Packed::from_words(a);
            prop_assert_eq!(Packed::from_bytes(&packed.to_bytes(), packed.len()), Ok(packed));
        }
    }

    #[test]
    fn bytes_are_little_endian_and_of_one_length_only() {
        let packed = Packed::from_words(vec![0x0102_0304_0506_0708]);
        assert_eq!(packed.to_bytes(), [8, 7, 6, 5, 4, 3, 2, 1]);
        let fault = Fault::WrongLength { expected: 8, got: 9 };
        assert_eq!(Packed::from_bytes(&[0; 9], 1), Err(fault));
    }
}
