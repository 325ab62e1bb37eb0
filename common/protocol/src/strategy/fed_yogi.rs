//! FedYogi (Reddi et al. 2021): the second moment moves by at most one squared update.

use super::Strategy;
use super::adaptive::{Adaptive, Rates};
use crate::update::Mean;

/// `v <- v - (1 - b2) d^2 sign(v - d^2)`; `w <- w + rate m / (sqrt v + tau)`.
pub struct FedYogi(Adaptive);

impl FedYogi {
    /// The rule for `len` weights.
    pub fn new(rates: Rates, len: usize) -> Self {
        Self(Adaptive::new(rates, len))
    }
}

impl Strategy for FedYogi {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        let beta2 = self.0.rates().beta2;
        self.0.step(weights, mean.delta, |v, d2| v - (1.0 - beta2) * d2 * (v - d2).signum());
    }

    fn state(&self) -> Vec<&[f32]> {
        self.0.state()
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        self.0.restore(state);
    }
}
