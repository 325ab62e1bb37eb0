//! Random draws the generator needs, from one seeded source per person and night.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded source with the distributions of physiology.
#[derive(Debug, Clone)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    /// An independent source for each `stream` of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform in `from..to`.
    pub(super) fn uniform(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.0.random::<f64>()
    }

    /// True with probability `p`.
    pub(super) fn happens(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// Normal, by Box and Muller's transform.
    pub(super) fn normal(&mut self, mean: f64, sd: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        mean + sd * radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    /// Log-normal with this median and standard deviation of the logarithm.
    pub(super) fn log_normal(&mut self, median: f64, sd: f64) -> f64 {
        median * self.normal(0.0, sd).exp()
    }

    /// Exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.0.random::<f64>()).ln()
    }

    /// A length of at least one, geometric with this mean.
    pub(super) fn length(&mut self, mean: f64) -> usize {
        1 + self.exponential((mean - 1.0).max(0.0)).round() as usize
    }
}
