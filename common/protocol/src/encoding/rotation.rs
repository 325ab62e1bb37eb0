//! A random rotation that spreads any vector evenly: afterwards its norm bounds every coordinate.
//!
//! The vector is padded to `m` rows of `B`, a power of two. Twice: random signs, then `H / sqrt(B)` on each row; in between
//! the columns become rows, so that row `j` takes coordinates `j, j + m, ...`. The first pass spreads what sits in few
//! coordinates over its row, the second spreads each row over the whole vector. Given the first pass, a coordinate is a
//! sum of independent signs, so by Hoeffding it exceeds `z` times its root mean square with probability below
//! `2 exp(-z^2 / 2)`: 3e-8 at z = 6.

use rand::RngCore;

use super::hadamard::transform;
use crate::seed::Seed;

/// The longest row: 16 kB, which stays in a core's nearest cache.
const LONGEST: usize = 4096;

/// One rotation of vectors of one length.
pub(super) struct Rotation {
    len: usize,
    /// Length of a row, `B`.
    row: usize,
    /// Rows, `m`.
    rows: usize,
    /// Signs of either pass, a bit a coordinate.
    signs: [Vec<u32>; 2],
}

impl Rotation {
    pub(super) fn new(len: usize, seed: &Seed) -> Self {
        // At least 4 sqrt(len), so that a row reaches all rows of the other pass many times over, and at most an eighth of
        // sqrt(len) of padding a coordinate.
        let row = ((16 * len.max(1)).isqrt().next_power_of_two()).min(LONGEST);
        let rows = len.div_ceil(row);
        let mut rng = seed.rng();
        let mut signs = || (0..(rows * row).div_ceil(32)).map(|_| rng.next_u32()).collect();
        Self { len, row, rows, signs: [signs(), signs()] }
    }

    /// Length of a rotated vector.
    pub(super) fn padded(&self) -> usize {
        self.rows * self.row
    }

    /// Rotates `scale * x`.
    pub(super) fn forward(&self, x: &[f32], scale: f32) -> Vec<f32> {
        let scale = scale / self.row as f32;
        let mut padded = Vec::with_capacity(self.padded());
        padded.extend(x.iter().map(|x| x * scale));
        padded.resize(self.padded(), 0.0);
        flip(&mut padded, &self.signs[0]);
        padded.chunks_exact_mut(self.row).for_each(transform);
        let mut mixed = transpose(&padded, self.row, self.rows);
        flip(&mut mixed, &self.signs[1]);
        mixed.chunks_exact_mut(self.row).for_each(transform);
        mixed
    }

    /// The inverse of `forward(.., 1.0)`.
    pub(super) fn back(&self, mut mixed: Vec<f32>) -> Vec<f32> {
        mixed.chunks_exact_mut(self.row).for_each(transform);
        flip(&mut mixed, &self.signs[1]);
        let mut padded = transpose(&mixed, self.rows, self.row);
        padded.chunks_exact_mut(self.row).for_each(transform);
        flip(&mut padded, &self.signs[0]);
        padded.truncate(self.len);
        let scale = 1.0 / self.row as f32;
        padded.iter_mut().for_each(|x| *x *= scale);
        padded
    }
}

/// Changes the sign where a bit is set.
fn flip(x: &mut [f32], signs: &[u32]) {
    let change = |x: &mut f32, sign: u32| *x = f32::from_bits(x.to_bits() ^ sign);
    let (groups, rest) = x.as_chunks_mut::<32>();
    for (group, bits) in groups.iter_mut().zip(signs) {
        for (i, x) in group.iter_mut().enumerate() {
            change(x, if bits & 1 << i == 0 { 0 } else { 1 << 31 });
        }
    }
    let bits = signs.last().copied().unwrap_or_default();
    rest.iter_mut().enumerate().for_each(|(i, x)| change(x, (bits >> i) << 31));
}

/// `x` as a matrix `[rows, columns]`, transposed.
fn transpose(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    // A tile's worth of rows of either matrix fits the nearest cache.
    const TILE: usize = 16;
    let mut out = vec![0.0; x.len()];
    for top in (0..rows).step_by(TILE) {
        let height = TILE.min(rows - top);
        for left in (0..columns).step_by(TILE) {
            for column in left..columns.min(left + TILE) {
                let to = &mut out[column * rows + top..][..height];
                let from = x[top * columns + column..].iter().step_by(columns);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }
    out
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
        let inputs: [fn(usize) -> bool; 4] =
            [|i| i == 70_001, |i| (5000..7000).contains(&i), |i| i % 49 == 3, |_| true];
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
        for (len, padded) in [(1, 4), (99_000, 100_352), (1_000_000, 1_003_520), (5_000_000, 5_001_216)] {
            assert_eq!(Rotation::new(len, &Seed::from_number(1)).padded(), padded);
        }
    }
}
