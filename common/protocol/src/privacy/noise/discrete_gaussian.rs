//! The discrete Gaussian, exactly (Canonne, Kamath and Steinke 2020): discrete Laplace numbers, thinned out.

use rand::RngCore;
use rand_chacha::ChaCha20Rng;

use super::BadVariance;
use super::bernoulli::{exponential, inverse_e, small_exponential};

/// Whole numbers k with probability proportional to e^(-k²/(2 s²)).
///
/// No floating-point number takes part in a draw, so neither its support nor its probabilities are off in any digit. How
/// long a draw takes depends on its value: whoever could time single draws would learn something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiscreteGaussian {
    /// s² in parts of 2^-8.
    variance: u64,
    /// log2 of the Laplace scale, the power of two next to s.
    scale: u32,
}

/// Parts of one in a variance.
const PARTS: u64 = 1 << 8;
/// Largest variance, so that products fit.
const MOST: u64 = 1 << 32;

impl DiscreteGaussian {
    /// Noise of parameter s² = `variance`, rounded up to a multiple of 2^-8; from 1 on, that is the variance to five digits.
    ///
    /// # Errors
    /// [`BadVariance`] outside of 0 to 2^32.
    pub fn new(variance: f64) -> Result<Self, BadVariance> {
        BadVariance::check(variance, MOST as f64)?;
        let scale = (0.5 * variance.log2()).round().clamp(0.0, 16.0) as u32;
        Ok(Self { variance: (variance * PARTS as f64).ceil() as u64, scale })
    }

    /// The parameter s² as it is used.
    pub fn variance(&self) -> f64 {
        self.variance as f64 / PARTS as f64
    }

    /// One number.
    pub fn sample(&self, rng: &mut ChaCha20Rng) -> i64 {
        let scale = 1u64 << self.scale;
        let denominator = u128::from(2 * PARTS * self.variance) << (2 * self.scale);
        loop {
            let magnitude = self.laplace(rng);
            // A magnitude for which this overflows has a probability below e^-(2^20).
            let Some(scaled) = magnitude.checked_mul(scale * PARTS) else { continue };
            let distance = u128::from(scaled.abs_diff(self.variance));
            let Some(square) = distance.checked_mul(distance) else { continue };
            if !exponential(rng, square, denominator) {
                continue;
            }
            let negative = rng.next_u32() >> 31 == 1;
            if negative && magnitude == 0 {
                continue;
            }
            return if negative { -(magnitude as i64) } else { magnitude as i64 };
        }
    }

    /// Fills a slice.
    pub fn fill(&self, rng: &mut ChaCha20Rng, out: &mut [i64]) {
        out.fill_with(|| self.sample(rng));
    }

    /// The magnitude of a discrete Laplace number: k with probability proportional to e^(-k/scale).
    fn laplace(&self, rng: &mut ChaCha20Rng) -> u64 {
        let scale = 1u64 << self.scale;
        let low = loop {
            let low = u64::from(rng.next_u32()) & (scale - 1);
            if small_exponential(rng, low, scale) {
                break low;
            }
        };
        let mut high = 0;
        while inverse_e(rng) {
            high += 1;
        }
        low + (high << self.scale)
    }
}
