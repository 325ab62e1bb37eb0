//! FedAvg (McMahan et al. 2017): the next release is the release plus the weighted mean update.

use super::Strategy;
use crate::update::Mean;

/// `w <- w + rate d`.
pub struct FedAvg {
    rate: f32,
}

impl FedAvg {
    /// The rule with a server rate, 1 in the original.
    pub fn new(rate: f32) -> Self {
        Self { rate }
    }
}

impl Strategy for FedAvg {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        for (weight, delta) in weights.iter_mut().zip(mean.delta) {
            *weight += self.rate * delta;
        }
    }
}
