//! Fewer numbers by a linear map `A` that lengthens nothing: sums stay exact, and `A' A x` is what gets through of `x`.

use std::borrow::Cow;

use bytes::Bytes;

use super::config::Reduce;
use super::low_rank::LowRank;
use super::top_k::{self, TopK};
use crate::seed::Seed;

/// The map of one round, the same for all clients.
pub(super) enum Reduction {
    None,
    TopK(TopK),
    LowRank(LowRank),
}

impl Reduce {
    /// Bytes that go out beside a release of `weights` weights for the next round's reduction.
    pub fn bytes_beside(&self, weights: usize) -> usize {
        match self {
            Self::TopK { .. } => weights.div_ceil(8),
            Self::None | Self::LowRank { .. } => 0,
        }
    }

    /// These bytes, of the release `after` that follows `before`: the coordinates that travel again.
    pub fn favourites(&self, before: &[f32], after: &[f32]) -> Option<Bytes> {
        let Self::TopK { fraction } = *self else { return None };
        let change: Vec<f32> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        Some(top_k::favourites(&change, fraction))
    }
}

impl Reduction {
    /// `favourites` are those of [`Reduce::favourites`], if there is a release.
    pub(super) fn new(reduce: Reduce, len: usize, favourites: Option<&[u8]>, seed: &Seed) -> Self {
        match reduce {
            Reduce::None => Self::None,
            Reduce::TopK { fraction } => Self::TopK(TopK::new(len, fraction, favourites, seed)),
            Reduce::LowRank { rank } => Self::LowRank(LowRank::new(len, rank as usize, seed)),
        }
    }

    /// Numbers that `len` weights become.
    pub(super) fn reduced(&self, len: usize) -> usize {
        match self {
            Self::None => len,
            Self::TopK(map) => map.len(),
            Self::LowRank(map) => map.len(),
        }
    }

    /// `A x`.
    pub(super) fn forward<'a>(&self, x: &'a [f32]) -> Cow<'a, [f32]> {
        match self {
            Self::None => x.into(),
            Self::TopK(map) => map.forward(x).into(),
            Self::LowRank(map) => map.forward(x).into(),
        }
    }

    /// `A' y`.
    pub(super) fn back(&self, y: Vec<f32>) -> Vec<f32> {
        match self {
            Self::None => y,
            Self::TopK(map) => map.back(&y),
            Self::LowRank(map) => map.back(&y),
        }
    }

    /// `x - A' A x`, what does not get through and stays with the client; `None` if all does.
    pub(super) fn rest(&self, x: &[f32], reduced: &[f32]) -> Option<Vec<f32>> {
        if matches!(self, Self::None) {
            return None;
        }
        let through = self.back(reduced.to_vec());
        Some(x.iter().zip(&through).map(|(x, through)| x - through).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn norm(x: &[f32]) -> f64 {
        x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
    }

    fn reduce() -> impl Strategy<Value = Reduce> {
        prop_oneof![
            Just(Reduce::None),
            (0.01f64..=1.0).prop_map(|fraction| Reduce::TopK { fraction }),
            (1u32..40).prop_map(|rank| Reduce::LowRank { rank }),
        ]
    }

    proptest! {
        /// Of square matrices, where low rank pads nothing.
        #[test]
        fn it_is_an_orthogonal_projection(
            reduce in reduce(),
            x in (1usize..20).prop_flat_map(|side| prop::collection::vec(-1f32..1.0, side * side)),
            seed: u64,
        ) {
            let next: Vec<f32> = x.iter().rev().copied().collect();
            let favourites = reduce.favourites(&x, &next);
            prop_assert_eq!(favourites.as_ref().map_or(0, Bytes::len), reduce.bytes_beside(x.len()));
            let map = Reduction::new(reduce, x.len(), favourites.as_deref(), &Seed::from_number(seed));
            let reduced = map.forward(&x);
            prop_assert_eq!(reduced.len(), map.reduced(x.len()));
            let through = map.back(reduced.to_vec());
            prop_assert_eq!(through.len(), x.len());
            let rest = map.rest(&x, &reduced).unwrap_or_else(|| vec![0.0; x.len()]);
            for ((x, through), rest) in x.iter().zip(&through).zip(&rest) {
                prop_assert!((through + rest - x).abs() < 1e-5);
            }
            // What got through gets through again, what did not does not.
            for (again, once) in map.forward(&through).iter().zip(reduced.iter()) {
                prop_assert!((again - once).abs() < 1e-4);
            }
            prop_assert!(norm(&map.forward(&rest)) < 1e-4 * norm(&x).max(1.0));
        }

        #[test]
        fn it_is_linear_and_lengthens_nothing(reduce in reduce(), pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..400)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let both: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            let map = Reduction::new(reduce, a.len(), None, &Seed::from_number(3));
            for ((a, b), both) in map.forward(&a).iter().zip(map.forward(&b).iter()).zip(map.forward(&both).iter()) {
                prop_assert!((a + b - both).abs() < 1e-5);
            }
            prop_assert!(norm(&map.forward(&both)) <= norm(&both) * (1.0 + 1e-5));
        }
    }
}
