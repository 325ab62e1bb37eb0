//! Own strategy: server momentum that looks ahead (Nesterov 1983, as in FedMom, Huo et al. 2020).

use somnus_protocol::strategy::Strategy;
use somnus_protocol::update::Mean;

/// `v <- beta v + d`; `w <- w + d + beta v`.
pub(crate) struct LookAhead {
    momentum: f32,
    velocity: Vec<f32>,
}

impl LookAhead {
    /// The rule for `len` weights, at rest.
    pub(crate) fn new(momentum: f32, len: usize) -> Self {
        Self { momentum, velocity: vec![0.0; len] }
    }
}

impl Strategy for LookAhead {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        for ((weight, delta), velocity) in weights.iter_mut().zip(mean.delta).zip(&mut self.velocity) {
            *velocity = self.momentum * *velocity + delta;
            *weight += delta + self.momentum * *velocity;
        }
    }

    // What is said here is stored with every release: a server that is killed goes on with the same momentum.
    fn state(&self) -> Vec<&[f32]> {
        vec![&self.velocity]
    }

    fn restore(&mut self, state: Vec<Vec<f32>>) {
        if let Ok([velocity]) = <[Vec<f32>; 1]>::try_from(state) {
            self.velocity = velocity;
        }
    }
}
