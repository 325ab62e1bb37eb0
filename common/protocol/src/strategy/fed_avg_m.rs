//! FedAvgM (Hsu et al. 2019): FedAvg with momentum on the server.

use super::Strategy;
use crate::update::Mean;

/// `v <- beta v + d`; `w <- w + rate v`.
pub struct FedAvgM {
    momentum: f32,
    rate: f32,
    velocity: Vec<f32>,
}

impl FedAvgM {
    /// The rule for `len` weights, at rest.
    pub fn new(momentum: f32, rate: f32, len: usize) -> Self {
        Self { momentum, rate, velocity: vec![0.0; len] }
    }
}

impl Strategy for FedAvgM {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        for ((weight, delta), velocity) in weights.iter_mut().zip(mean.delta).zip(&mut self.velocity) {
            *velocity = self.momentum * *velocity + delta;
            *weight += self.rate * *velocity;
        }
    }

    fn state(&self) -> Vec<&[f32]> {
        vec![&self.velocity]
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        if let Ok([velocity]) = <[Vec<f32>; 1]>::try_from(state) {
            self.velocity = velocity;
        }
    }
}
