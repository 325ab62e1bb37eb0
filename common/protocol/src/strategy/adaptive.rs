//! What the adaptive rules share (Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2).

use serde::{Deserialize, Serialize};

/// Rates of an adaptive server rule.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Server rate; try .001 to 1. Default .01.
    pub rate: f32,
    /// Decay of the first moment. Default .9.
    pub beta1: f32,
    /// Decay of the second moment; Adagrad does not use it. Default .99.
    pub beta2: f32,
    /// Degree of adaptivity; try 1e-5 to .1. Default .001.
    pub tau: f32,
}

impl Rates {
    /// The defaults.
    pub const DEFAULT: Self = Self { rate: 0.01, beta1: 0.9, beta2: 0.99, tau: 1e-3 };
}

impl Default for Rates {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Both moments and the step that they make; the rules differ in how the second one grows.
pub(super) struct Adaptive {
    rates: Rates,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adaptive {
    pub(super) fn new(rates: Rates, len: usize) -> Self {
        // The original starts the second moment at tau squared or above, so that the first step is bounded.
        Self { rates, first: vec![0.0; len], second: vec![rates.tau * rates.tau; len] }
    }

    /// One step; `grow(v, d2)` is the next second moment.
    pub(super) fn step(&mut self, weights: &mut [f32], mean: &[f32], grow: impl Fn(f32, f32) -> f32) {
        let Rates { rate, beta1, tau, .. } = self.rates;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, delta), (m, v)) in weights.iter_mut().zip(mean).zip(moments) {
            *m = beta1 * *m + (1.0 - beta1) * delta;
            *v = grow(*v, delta * delta);
            *weight += rate * *m / (v.sqrt() + tau);
        }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    pub(super) fn state(&self) -> Vec<&[f32]> {
        vec![&self.first, &self.second]
    }

    pub(super) fn restore(&mut self, state: Vec<Vec<f32>>) {
        if let Ok([first, second]) = <[Vec<f32>; 2]>::try_from(state) {
            (self.first, self.second) = (first, second);
        }
    }
}
