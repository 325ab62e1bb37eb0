//! Skellam noise: a Poisson number less another.

use rand_chacha::ChaCha20Rng;

use super::BadVariance;
use super::poisson::Poisson;

/// Whole numbers; the sum of several clients' is Skellam again, with the sum of their variances.
///
/// Its support is exactly the whole numbers. Its probabilities are those of rejection in double precision: right to about
/// 12 digits, with a tail that ends where uniform numbers of 53 bits do.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Skellam {
    half: Poisson,
    variance: f64,
}

/// Largest variance, so that every number is one in double precision, too.
const MOST: f64 = (1u64 << 50) as f64;

impl Skellam {
    /// Noise of this variance.
    ///
    /// # Errors
    /// [`BadVariance`] outside of 0 to 2^50.
    pub fn new(variance: f64) -> Result<Self, BadVariance> {
        BadVariance::check(variance, MOST)?;
        Ok(Self { half: Poisson::new(variance / 2.0), variance })
    }

    /// Its variance.
    pub fn variance(&self) -> f64 {
        self.variance
    }

    /// One number.
    pub fn sample(&self, rng: &mut ChaCha20Rng) -> i64 {
        self.half.sample(rng) - self.half.sample(rng)
    }

    /// Fills a slice.
    pub fn fill(&self, rng: &mut ChaCha20Rng, out: &mut [i64]) {
        out.fill_with(|| self.sample(rng));
    }
}
