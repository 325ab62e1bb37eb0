//! The weights as a nearly square matrix, times a random orthonormal basis that all clients share.

use rand::RngCore;

use crate::seed::Seed;

/// `X -> X Q` for a matrix `X [rows, columns]` and a basis `Q [columns, rank]` with `Q' Q = 1`.
pub(super) struct LowRank {
    len: usize,
    rows: usize,
    columns: usize,
    rank: usize,
    /// Row-major.
    basis: Vec<f32>,
}

impl LowRank {
    pub(super) fn new(len: usize, rank: usize, seed: &Seed) -> Self {
        let rows = len.isqrt().max(1);
        let columns = len.div_ceil(rows);
        let rank = rank.min(columns);
        let vectors = orthonormal(columns, rank, seed);
        let basis = (0..columns).flat_map(|c| vectors.iter().map(move |q| q[c] as f32)).collect();
        Self { len, rows, columns, rank, basis }
    }

    pub(super) fn len(&self) -> usize {
        self.rows * self.rank
    }

    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        if self.rank == 0 {
            return out;
        }
        for (x, y) in x.chunks(self.columns).zip(out.chunks_exact_mut(self.rank)) {
            for (x, q) in x.iter().zip(self.basis.chunks_exact(self.rank)) {
                y.iter_mut().zip(q).for_each(|(y, q)| *y += x * q);
            }
        }
        out
    }

    pub(super) fn back(&self, y: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.len];
        if self.rank == 0 {
            return out;
        }
        for (x, y) in out.chunks_mut(self.columns).zip(y.chunks_exact(self.rank)) {
            for (x, q) in x.iter_mut().zip(self.basis.chunks_exact(self.rank)) {
                *x = y.iter().zip(q).map(|(y, q)| y * q).sum();
            }
        }
        out
    }
}

/// `count` orthonormal vectors of `len` numbers, by modified Gram-Schmidt.
///
/// Only additions, products, divisions and square roots: all clients get the same bits, on any machine.
fn orthonormal(len: usize, count: usize, seed: &Seed) -> Vec<Vec<f64>> {
    let mut rng = seed.rng();
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        // The sum of the four 16-bit parts of a draw is near enough to a normal number to have no direction of its own.
        let mut normal = || {
            let draw = rng.next_u64();
            (0..4).map(|i| (draw >> (16 * i) & 0xffff) as f64 - 32767.5).sum::<f64>()
        };
        let mut vector: Vec<f64> = (0..len).map(|_| normal()).collect();
        let before = dot(&vector, &vector).sqrt();
        // Twice is enough (Kahan).
        for _ in 0..2 {
            for other in &vectors {
                let along = dot(&vector, other);
                vector.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
        }
        let norm = dot(&vector, &vector).sqrt();
        // A draw that lies among the others says nothing of what is left.
        if norm > 1e-6 * before {
            vector.iter_mut().for_each(|x| *x /= norm);
            vectors.push(vector);
        }
    }
    vectors
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basis_is_orthonormal() {
        for (len, count) in [(1, 1), (5, 5), (100, 16)] {
            let vectors = orthonormal(len, count, &Seed::from_number(8));
            for (i, a) in vectors.iter().enumerate() {
                for (j, b) in vectors.iter().enumerate() {
                    assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-12);
                }
            }
        }
    }

    /// What lies in the span of the basis's matrices gets through whole at full rank.
    #[test]
    fn full_rank_loses_nothing() {
        let x: Vec<f32> = (0..23).map(|i| (i * i % 7) as f32 - 3.0).collect();
        let map = LowRank::new(x.len(), 99, &Seed::from_number(2));
        for (back, x) in map.back(&map.forward(&x)).iter().zip(&x) {
            assert!((back - x).abs() < 1e-5);
        }
    }

    #[test]
    fn a_million_weights_at_rank_16_are_16_000_numbers() {
        assert_eq!(LowRank::new(1_000_000, 16, &Seed::from_number(2)).len(), 16_000);
    }
}
