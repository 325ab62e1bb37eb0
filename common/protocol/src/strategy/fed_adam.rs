//! FedAdam (Reddi et al. 2021): exponential average of squared updates.

use super::Strategy;
use super::adaptive::{Adaptive, Rates};
use crate::update::Mean;

/// `v <- b2 v + (1 - b2) d^2`; `w <- w + rate m / (sqrt v + tau)`.
pub struct FedAdam(Adaptive);

impl FedAdam {
    /// The rule for `len` weights.
    pub fn new(rates: Rates, len: usize) -> Self {
        Self(Adaptive::new(rates, len))
    }
}

impl Strategy for FedAdam {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        let beta2 = self.0.rates().beta2;
        self.0.step(weights, mean.delta, |v, d2| beta2 * v + (1.0 - beta2) * d2);
    }

    fn state(&self) -> Vec<&[f32]> {
        self.0.state()
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        self.0.restore(state);
    }
}
