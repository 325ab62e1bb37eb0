//! Continuous Gaussian noise (Box and Muller 1958).

use std::f64::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha20Rng;

use super::BadVariance;

/// Floating-point numbers that are nearly Gaussian.
///
/// Nearly: which doubles can come out depends on the sum that they are added to, and the low digits of the result can
/// give the sum away (Mironov 2012). Where the sum is of whole numbers, as all sums of lanes are, add a
/// [`super::DiscreteGaussian`] in lane units, which has no such digits. This one is for simulations, and for the nodes
/// of a [`super::Tree`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gaussian {
    deviation: f64,
}

impl Gaussian {
    /// Noise of this variance.
    ///
    /// # Errors
    /// [`BadVariance`] if it is not positive and finite.
    pub fn new(variance: f64) -> Result<Self, BadVariance> {
        BadVariance::check(variance, f64::MAX)?;
        Ok(Self { deviation: variance.sqrt() })
    }

    /// Adds noise to each value.
    pub fn add(&self, rng: &mut ChaCha20Rng, values: &mut [f64]) {
        self.add_scaled(rng, 1.0, values);
    }

    /// Adds `factor` times the noise that [`Gaussian::add`] adds.
    pub(super) fn add_scaled(&self, rng: &mut ChaCha20Rng, factor: f64, values: &mut [f64]) {
        for pair in values.chunks_mut(2) {
            // In 0 to 1 without 0, whose logarithm is none.
            let uniform: f64 = 1.0 - rng.random::<f64>();
            let radius = factor * self.deviation * (-2.0 * uniform.ln()).sqrt();
            let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
            pair[0] += radius * cos;
            if let Some(second) = pair.get_mut(1) {
                *second += radius * sin;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::normal::tail;
    use crate::seed::Seed;

    #[test]
    fn it_is_gaussian() {
        let mut values = vec![0.0; 60_001];
        Gaussian::new(9.0).unwrap().add(&mut Seed::from_number(5).rng(), &mut values);
        let n = values.len() as f64;
        let (mean, square) = (values.iter().sum::<f64>() / n, values.iter().map(|v| v * v).sum::<f64>() / n);
        assert!(mean.abs() < 3.3 * 3.0 / n.sqrt() && (square - 9.0).abs() < 3.3 * 9.0 * (2.0 / n).sqrt());
        // Kolmogorov and Smirnov, 99.9 %.
        values.sort_by(f64::total_cmp);
        let gap = |(i, v): (usize, &f64)| (1.0 - tail(v / 3.0) - (i as f64 + 0.5) / n).abs();
        let largest = values.iter().enumerate().map(gap).fold(0.0, f64::max);
        assert!(largest < 1.95 / n.sqrt(), "{largest}");
    }
}
