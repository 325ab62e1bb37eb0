//! Poisson numbers: by inversion for small means, by transformed rejection (Hörmann 1993, PTRS) for larger ones.

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha20Rng;

/// From this mean on rejection works.
const REJECT: f64 = 10.0;

/// Poisson numbers of one mean.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Poisson {
    Inversion { none: f64, mean: f64 },
    Rejection(Hat),
}

/// The hat of the transformed rejection, in the names of the paper.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Hat {
    mean: f64,
    a: f64,
    b: f64,
    inverse_alpha: f64,
    v_r: f64,
}

impl Poisson {
    pub(super) fn new(mean: f64) -> Self {
        if mean < REJECT {
            return Self::Inversion { none: (-mean).exp(), mean };
        }
        let b = 0.931 + 2.53 * mean.sqrt();
        Self::Rejection(Hat {
            mean,
            a: -0.059 + 0.024_83 * b,
            b,
            inverse_alpha: 1.1239 + 1.1328 / (b - 3.4),
            v_r: 0.9277 - 3.6224 / (b - 2.0),
        })
    }

    pub(super) fn sample(&self, rng: &mut ChaCha20Rng) -> i64 {
        match *self {
            Self::Inversion { none, mean } => {
                let mut left: f64 = rng.random();
                let (mut k, mut probability) = (0i64, none);
                // Beyond 200 the probability of a mean below 10 underflows the resolution of `left`.
                while left >= probability && k < 200 {
                    left -= probability;
                    k += 1;
                    probability *= mean / k as f64;
                }
                k
            }
            Self::Rejection(ref hat) => hat.sample(rng),
        }
    }
}

impl Hat {
    fn sample(&self, rng: &mut ChaCha20Rng) -> i64 {
        loop {
            let u = rng.random::<f64>() - 0.5;
            let v: f64 = rng.random();
            let from_edge = 0.5 - u.abs();
            let x = (2.0 * self.a / from_edge + self.b) * u + self.mean + 0.43;
            if from_edge >= 0.07 && v <= self.v_r {
                // Positive here, so that this rounds down.
                return x as i64;
            }
            if let Some(k) = self.consider(x, v, from_edge) {
                return k;
            }
        }
    }

    /// The rarer cases: a logarithm decides.
    #[cold]
    fn consider(&self, x: f64, v: f64, from_edge: f64) -> Option<i64> {
        if x < 0.0 || (from_edge < 0.013 && v > from_edge) {
            return None;
        }
        let k = x.floor();
        let hat = (v * self.inverse_alpha / (self.a / (from_edge * from_edge) + self.b)).ln();
        (hat <= ln_probability(self.mean, k)).then_some(k as i64)
    }
}

/// ln of a Poisson probability. Written around the mean: k ln(mean) and ln k! are millions there and would cancel.
fn ln_probability(mean: f64, k: f64) -> f64 {
    if k < 8.0 {
        return k * mean.ln() - mean - libm::lgamma(k + 1.0);
    }
    let stirling = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * k * k)) / (k * k)) / k;
    let away = k - mean;
    away - k * (away / mean).ln_1p() - 0.5 * (TAU * k).ln() - stirling
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_agree_with_the_gamma_function_and_add_up() {
        for mean in [10.0, 37.3, 400.0] {
            let mut total = 0.0;
            for k in 0..2000 {
                let k = f64::from(k);
                let direct = k * f64::ln(mean) - mean - libm::lgamma(k + 1.0);
                let ours = ln_probability(mean, k);
                assert!((ours - direct).abs() < 1e-9 * direct.abs().max(1.0), "{mean} {k}: {ours} {direct}");
                total += ours.exp();
            }
            assert!((total - 1.0).abs() < 1e-9, "{total}");
        }
    }
}
