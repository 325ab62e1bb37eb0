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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_they_are_named_for() {
        let mut chance = Chance::new(1, 2);
        let mut mean =
            |draw: fn(&mut Chance) -> f64| (0..20_000).map(|_| draw(&mut chance)).sum::<f64>() / 20_000.0;
        assert!((mean(|c| c.normal(3.0, 2.0)) - 3.0).abs() < 0.06);
        assert!((mean(|c| (c.normal(3.0, 2.0) - 3.0).powi(2)) - 4.0).abs() < 0.15);
        assert!((mean(|c| c.exponential(5.0)) - 5.0).abs() < 0.15);
        assert!((mean(|c| c.log_normal(2.0, 0.5).ln()) - 2.0f64.ln()).abs() < 0.02);
        assert!((mean(|c| f64::from(u8::from(c.happens(0.3)))) - 0.3).abs() < 0.015);
        assert!((mean(|c| c.length(4.0) as f64) - 4.0).abs() < 0.15);
        assert!(mean(|c| c.length(1.0) as f64) == 1.0);
    }

    #[test]
    fn streams_differ_and_repeat() {
        let first = |stream| Chance::new(7, stream).uniform(0.0, 1.0);
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
