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
    /// s² in parts of one.
    variance: u64,
    /// Parts of one.
    parts: u64,
    /// log2 of the Laplace scale, the power of two next to s.
    scale: u32,
}

/// Parts of one in an ordinary variance.
const PARTS: u64 = 1 << 8;
/// From here on a variance is a whole number, so that products fit.
const WHOLE: f64 = (1u64 << 24) as f64;
/// Largest variance, for the same reason.
const MOST: f64 = (1u64 << 40) as f64;

impl DiscreteGaussian {
    /// Noise of parameter s² = `variance`, rounded up to a multiple of 2^-8, or beyond 2^24 to a whole number. From 1 on it is
    /// the variance, too, to six digits.
    ///
    /// # Errors
    /// [`BadVariance`] outside of 0 to 2^40.
    pub fn new(variance: f64) -> Result<Self, BadVariance> {
        BadVariance::check(variance, MOST)?;
        let scale = (0.5 * variance.log2()).round().clamp(0.0, 20.0) as u32;
        let parts = if variance < WHOLE { PARTS } else { 1 };
        Ok(Self { variance: (variance * parts as f64).ceil() as u64, parts, scale })
    }

    /// The parameter s² as it is used.
    pub fn variance(&self) -> f64 {
        self.variance as f64 / self.parts as f64
    }

    /// One number.
    pub fn sample(&self, rng: &mut ChaCha20Rng) -> i64 {
        let scale = 1u64 << self.scale;
        let denominator = u128::from(2 * self.parts * self.variance) << (2 * self.scale);
        loop {
            let magnitude = self.laplace(rng);
            // A magnitude for which this overflows has a probability below e^-(2^20).
            let Some(scaled) = magnitude.checked_mul(scale * self.parts) else { continue };
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
