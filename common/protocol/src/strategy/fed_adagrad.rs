//! FedAdagrad (Reddi et al. 2021): the sum of all squared updates.

use super::Strategy;
use super::adaptive::{Adaptive, Rates};
use crate::update::Mean;

/// `v <- v + d^2`; `w <- w + rate m / (sqrt v + tau)`.
pub struct FedAdagrad(Adaptive);

impl FedAdagrad {
    /// The rule for `len` weights.
    pub fn new(rates: Rates, len: usize) -> Self {
        Self(Adaptive::new(rates, len))
    }
}

impl Strategy for FedAdagrad {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        self.0.step(weights, mean.delta, |v, d2| v + d2);
    }

    fn state(&self) -> Vec<&[f32]> {
        self.0.state()
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        self.0.restore(state);
    }
}
