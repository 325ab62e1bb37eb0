//! A random rotation that spreads any vector evenly: afterwards its norm bounds every coordinate.
//!
//! The vector is padded to `m` rows of `B`, a power of two. Twice: random signs, then `H / sqrt(B)` on each row. In between
//! small groups of coordinates are dealt out like cards, group `g` to row `g mod m`, so that each row of the second pass
//! gets as much of each row of the first. The first pass spreads what sits in few coordinates over its row, the second
//! spreads each row over the whole vector. Given the first pass, a coordinate is a sum of independent signs, so by
//! Hoeffding it exceeds `z` times its root mean square with probability below `2 exp(-z^2 / 2)`: 3e-8 at z = 6.

use rand::RngCore;

use super::hadamard::transform;
use super::vector::Single;
use crate::seed::Seed;

/// The longest row: 32 kB, which stays in a core's nearest cache.
const LONGEST: usize = 8192;

/// The largest group that stays together between the passes: a line of the cache.
const GROUP: usize = 16;

/// One rotation of vectors of one length.
pub(super) struct Rotation {
    len: usize,
    /// Length of a row, `B`.
    row: usize,
    /// Rows, `m`.
    rows: usize,
    /// Coordinates in a group.
    group: usize,
    /// Signs of either pass, a bit a coordinate, each row from a word of its own on.
    signs: [Vec<u32>; 2],
}

impl Rotation {
    pub(super) fn new(len: usize, seed: &Seed) -> Self {
        // At least 4 sqrt(len), so that a row reaches all rows of the other pass many times over; the padding is below
        // 8 / sqrt(len) of the whole.
        let row = (16 * len.max(1)).isqrt().next_power_of_two().min(LONGEST);
        let rows = len.div_ceil(row);
        // Each row has at least a group for each row.
        let group =
            (1..=GROUP).rev().find(|group| group.is_power_of_two() && group * rows <= row).unwrap_or(1);
        let mut rng = seed.rng();
        let mut signs = || (0..rows * row.div_ceil(32)).map(|_| rng.next_u32()).collect();
        Self { len, row, rows, group, signs: [signs(), signs()] }
    }

    /// Length of a rotated vector.
    pub(super) fn padded(&self) -> usize {
        self.rows * self.row
    }

    /// Rotates `scale * x`.
    pub(super) fn forward<T: Single>(&self, x: &[T], scale: f32) -> Vec<f32> {
        let scale = scale / self.row as f32;
        let mut mixed = vec![0.0; self.padded()];
        let mut row = [0.0; LONGEST];
        let row = &mut row[..self.row];
        for (i, x) in x.chunks(self.row).enumerate() {
            row.iter_mut().zip(x).for_each(|(to, x)| *to = x.single() * scale);
            row[x.len()..].fill(0.0);
            flip(row, self.signs(0, i));
            transform(row);
            for (group, at) in row.chunks_exact(self.group).zip(self.dealt(i)) {
                mixed[at..at + self.group].copy_from_slice(group);
            }
        }
        for (i, row) in mixed.chunks_exact_mut(self.row).enumerate() {
            flip(row, self.signs(1, i));
            transform(row);
        }
        mixed
    }

    /// The inverse of `forward(.., 1.0)`.
    pub(super) fn back(&self, mut mixed: Vec<f32>) -> Vec<f32> {
        for (i, row) in mixed.chunks_exact_mut(self.row).enumerate() {
            transform(row);
            flip(row, self.signs(1, i));
        }
        let mut x = Vec::with_capacity(self.padded());
        for i in 0..self.rows {
            for at in self.dealt(i) {
                x.extend_from_slice(&mixed[at..at + self.group]);
            }
            let row = &mut x[i * self.row..];
            transform(row);
            flip(row, self.signs(0, i));
            row.iter_mut().for_each(|x| *x /= self.row as f32);
        }
        x.truncate(self.len);
        x
    }

    /// Where the groups of a row of the first pass are in the second.
    fn dealt(&self, row: usize) -> impl Iterator<Item = usize> + use<> {
        let Self { row: len, rows, group, .. } = *self;
        let first = row * (len / group);
        let (mut to, mut place) = (first % rows, first / rows);
        (0..len / group).map(move |_| {
            let at = to * len + place * group;
            to += 1;
            if to == rows {
                (to, place) = (0, place + 1);
            }
            at
        })
    }

    /// The signs of a row.
    fn signs(&self, pass: usize, row: usize) -> &[u32] {
        let words = self.row.div_ceil(32);
        &self.signs[pass][row * words..][..words]
    }
}

/// Changes the sign where a bit is set.
fn flip(x: &mut [f32], signs: &[u32]) {
    for (group, bits) in x.chunks_mut(32).zip(signs) {
        for (i, x) in group.iter_mut().enumerate() {
            let sign = if bits & 1 << i == 0 { 0 } else { 1 << 31 };
            *x = f32::from_bits(x.to_bits() ^ sign);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn norm(x: &[f32]) -> f64 {
        x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    }

    proptest! {
        #[test]
        fn it_keeps_norms_and_comes_back(x in prop::collection::vec(-1f32..1.0, 1..3000), seed: u64) {
            let rotation = Rotation::new(x.len(), &Seed::from_number(seed));
            let mixed = rotation.forward(&x, 1.0);
            prop_assert_eq!(mixed.len(), rotation.padded());
            prop_assert!((norm(&mixed) - norm(&x)).abs() < 1e-5 * norm(&x).max(1e-3));
            for (back, x) in rotation.back(mixed).iter().zip(&x) {
                prop_assert!((back - x).abs() < 1e-5, "{back} and {x}");
            }
        }
    }

    /// One coordinate, one stretch of a layer, every 49th coordinate, all the same: none stands out afterwards.
    #[test]
    fn whatever_stands_out_is_spread() {
        let len = 99_000;
        let inputs: [fn(usize) -> bool; 5] =
            [|i| i == 70_001, |i| (5000..7000).contains(&i), |i| i > 98_400, |i| i % 49 == 3, |_| true];
        for (case, there) in inputs.iter().enumerate() {
            let x: Vec<f32> = (0..len).map(|i| f32::from(u8::from(there(i)))).collect();
            for seed in 0..5 {
                let rotation = Rotation::new(len, &Seed::from_number(seed));
                let mixed = rotation.forward(&x, 1.0);
                let rms = norm(&x) / (rotation.padded() as f64).sqrt();
                let most = mixed.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(f64::from(most) < 6.0 * rms, "case {case}, seed {seed}: {most} of {rms}");
            }
        }
    }

    #[test]
    fn padding_is_small() {
        for (len, padded) in [(1, 4), (99_000, 100_352), (1_000_000, 1_003_520), (5_000_000, 5_005_312)] {
            assert_eq!(Rotation::new(len, &Seed::from_number(1)).padded(), padded);
        }
    }
}
