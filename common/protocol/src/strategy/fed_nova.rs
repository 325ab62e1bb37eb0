//! FedNova (Wang et al. 2020, "Tackling the Objective Inconsistency Problem"): who takes more local steps must not pull
//! the release towards itself.

use super::Strategy;
use crate::update::Mean;

/// `w <- w + rate (sum p tau) (sum p d)`, with `d` a client's change per local step and `tau` its number of steps.
///
/// The divisor is that of plain gradient descent; with momentum or Adam it is an approximation.
pub struct FedNova {
    rate: f32,
}

impl FedNova {
    /// The rule with a server rate, 1 in the original.
    pub fn new(rate: f32) -> Self {
        Self { rate }
    }
}

impl Strategy for FedNova {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        let rate = self.rate * mean.steps;
        for (weight, delta) in weights.iter_mut().zip(mean.delta) {
            *weight += rate * delta;
        }
    }
}
