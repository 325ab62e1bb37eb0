//! Where small integers are in words.

use std::ops::Range;

use super::blocks::{BLOCK, Packed};

/// The narrowest lane.
pub const MIN_LANE_BITS: u32 = 2;

/// The widest lane: with up to 7 bits of an unfinished byte below it, it still fits a word.
pub const MAX_LANE_BITS: u32 = 56;

/// Bits of a lane that holds the sum of `terms` integers of at most `largest` each.
pub fn lane_bits(terms: u32, largest: u64) -> u32 {
    let most = u128::from(terms) * u128::from(largest);
    (u128::BITS - most.leading_zeros()).max(MIN_LANE_BITS)
}

/// A run of equally wide lanes within a [`Packed`]: from one word on, dense within a block, never across two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lanes {
    bits: u32,
    count: usize,
    start: usize,
    end: usize,
}

impl Lanes {
    /// `count` lanes of `bits` bits from the first word on.
    ///
    /// # Panics
    /// If `bits` is not within [`MIN_LANE_BITS`] to [`MAX_LANE_BITS`]: a mistake of the caller, not of its data.
    pub fn new(bits: u32, count: usize) -> Self {
        Self::from(0, bits, count)
    }

    /// `count` lanes of `bits` bits, from the word on at which `self` ends.
    ///
    /// # Panics
    /// As [`Lanes::new`] does.
    pub fn then(&self, bits: u32, count: usize) -> Self {
        Self::from(self.end, bits, count)
    }

    fn from(start: usize, bits: u32, count: usize) -> Self {
        assert!((MIN_LANE_BITS..=MAX_LANE_BITS).contains(&bits), "no lane has {bits} bits");
        // The rest of a block that others have begun, then whole blocks, then what is left.
        let first = BLOCK - start % BLOCK;
        let fit = |words: usize| 64 * words / bits as usize;
        let need = |lanes: usize| (lanes * bits as usize).div_ceil(64);
        let words = match count.checked_sub(fit(first)) {
            None | Some(0) => need(count),
            Some(rest) => first + rest / fit(BLOCK) * BLOCK + need(rest % fit(BLOCK)),
        };
        Self { bits, count, start, end: start + words }
    }

    /// Bits of a lane.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Number of lanes.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The words of these lanes within a [`Packed`].
    pub fn words(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Writes values into the lanes, in order, over whatever their words held; lanes without a value become 0.
    ///
    /// A value must have at most `bits` bits; those beyond would end up in the lane after it.
    ///
    /// # Panics
    /// If `packed` is too short for these lanes.
    pub fn write(&self, packed: &mut Packed, values: impl IntoIterator<Item = u64>) {
        let mut values = values.into_iter();
        for (words, lanes) in self.pieces() {
            fill(&mut packed.words_mut()[words], self.bits, values.by_ref().take(lanes));
        }
    }

    /// Asks `fill` for the values of one block's lanes after the other: it gets the index of the first and a place for each.
    ///
    /// As [`Lanes::write`], without an iterator's state between two values.
    ///
    /// # Panics
    /// If `packed` is too short for these lanes.
    pub fn write_blocks(&self, packed: &mut Packed, mut fill: impl FnMut(usize, &mut [u64])) {
        let mut values = [0; 64 * BLOCK / MIN_LANE_BITS as usize];
        let mut first = 0;
        for (words, lanes) in self.pieces() {
            let values = &mut values[..lanes];
            fill(first, values);
            self::fill(&mut packed.words_mut()[words], self.bits, values.iter().copied());
            first += lanes;
        }
    }

    /// The values of the lanes, in order.
    ///
    /// # Panics
    /// If `packed` is too short for these lanes.
    pub fn read<'a>(&self, packed: &'a Packed) -> impl Iterator<Item = u64> + use<'a> {
        let bits = self.bits;
        self.pieces().flat_map(move |(words, lanes)| {
            let words = &packed.words()[words];
            (0..lanes).map(move |lane| get(words, lane * bits as usize, bits))
        })
    }

    /// The words of these lanes, cut at the borders of blocks, each with its number of lanes.
    fn pieces(&self) -> impl Iterator<Item = (Range<usize>, usize)> + use<> {
        let Self { bits, count: mut left, start: mut at, end } = *self;
        std::iter::from_fn(move || {
            let words = at..(at + BLOCK - at % BLOCK).min(end);
            let lanes = (64 * words.len() / bits as usize).min(left);
            (at, left) = (words.end, left - lanes);
            (!words.is_empty()).then_some((words, lanes))
        })
    }
}

/// Packs values from the first bit of `words` on.
#[inline(always)]
fn fill(words: &mut [u64], bits: u32, values: impl Iterator<Item = u64>) {
    let mut bytes = [0u8; 8 * BLOCK + 8];
    // What is not yet written, the byte that it begins in, and how many bits of it there are: always below 8 after a
    // value, so that the next one fits above them without a branch.
    let (mut pending, mut at, mut held) = (0u64, 0, 0);
    for value in values {
        pending |= value << held;
        bytes[at..at + 8].copy_from_slice(&pending.to_le_bytes());
        let whole = (held + bits) / 8;
        pending >>= 8 * whole;
        at += whole as usize;
        held = (held + bits) % 8;
    }
    bytes[at..at + 8].copy_from_slice(&pending.to_le_bytes());
    let (chunks, _) = bytes.as_chunks::<8>();
    words.iter_mut().zip(chunks).for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
}

/// `bits` bits of `words` from bit `from` on.
#[inline(always)]
fn get(words: &[u64], from: usize, bits: u32) -> u64 {
    let (word, shift) = (from / 64, from % 64);
    let above = words.get(word + 1).copied().unwrap_or(0);
    // Two shifts, because one by 64 is none.
    let value = words[word] >> shift | above << 1 << (63 - shift);
    value & ((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits, terms and values of several clients, as many as the lanes can add.
    fn clients() -> impl Strategy<Value = (u32, Vec<Vec<u64>>)> {
        (MIN_LANE_BITS..=MAX_LANE_BITS, 1u32..4, 0usize..300).prop_flat_map(|(bits, clients, len)| {
            let largest = ((1u64 << bits) - 1) / u64::from(clients);
            let value = prop_oneof![Just(largest), Just(0), 0..=largest];
            let values = prop::collection::vec(value, len);
            (Just(bits), prop::collection::vec(values, clients as usize))
        })
    }

    proptest! {
        /// Also for lanes that begin inside a block which others have begun.
        #[test]
        fn the_sum_of_packed_is_the_packed_sum((bits, clients) in clients(), before in 0usize..130) {
            let count = clients[0].len();
            let head = Lanes::new(56, before);
            let lanes = head.then(bits, count);
            let pack = |values: &[u64]| {
                let mut packed = Packed::zero(lanes.words().end);
                head.write(&mut packed, std::iter::repeat_n(1, before));
                lanes.write(&mut packed, values.iter().copied());
                packed
            };
            let mut sum = Packed::zero(lanes.words().end);
            let mut exact = vec![0; count];
            for values in &clients {
                sum.add_assign(&pack(values));
                exact.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            prop_assert_eq!(lanes.read(&sum).collect::<Vec<_>>(), exact);
            prop_assert!(head.read(&sum).all(|value| value == clients.len() as u64));
        }

        #[test]
        fn a_lane_has_just_enough_bits(terms in 1u32..=8192, largest in 1u64..1 << 40) {
            let bits = lane_bits(terms, largest);
            let most = u128::from(terms) * u128::from(largest);
            prop_assert!(most < 1 << bits);
            prop_assert!(bits == MIN_LANE_BITS || most >= 1 << (bits - 1));
        }
    }

    #[test]
    fn every_width_and_every_length_around_a_block_come_back() {
        for bits in MIN_LANE_BITS..=MAX_LANE_BITS {
            let fit = 64 * BLOCK / bits as usize;
            for count in [0, 1, 2, fit - 1, fit, fit + 1, 2 * fit, 2 * fit + 3] {
                let lanes = Lanes::new(bits, count);
                let mask = (1u64 << bits) - 1;
                let values: Vec<u64> =
                    (0..count as u64).map(|i| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask).collect();
                let mut packed = Packed::from_words(vec![u64::MAX; lanes.words().end]);
                lanes.write(&mut packed, values.iter().copied());
                assert_eq!(lanes.read(&packed).collect::<Vec<_>>(), values, "{count} lanes of {bits} bits");
                let mut again = Packed::zero(packed.len());
                lanes.write_blocks(&mut again, |first, to| {
                    to.copy_from_slice(&values[first..first + to.len()]);
                });
                assert_eq!(again, packed);
                let whole = count / fit * BLOCK;
                assert_eq!(packed.len(), whole + (count % fit * bits as usize).div_ceil(64));
            }
        }
    }

    #[test]
    fn lanes_without_a_value_are_zero() {
        let lanes = Lanes::new(5, 4);
        let mut packed = Packed::from_words(vec![u64::MAX]);
        lanes.write(&mut packed, [3, 1]);
        assert_eq!(packed.words(), [3 | 1 << 5]);
        assert_eq!(lanes.read(&packed).collect::<Vec<_>>(), [3, 1, 0, 0]);
    }
}
