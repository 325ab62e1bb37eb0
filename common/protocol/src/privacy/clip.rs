//! How long an update may be.

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;

/// The clip norm S, to which longer updates are shortened.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Clip {
    /// The same norm in every round.
    Fixed {
        /// The norm of an update's weights, all together.
        norm: f64,
    },
    /// A norm that follows a quantile of the updates' norms, found by a noisy count in every round.
    Adaptive(Adaptive),
}

/// Adaptive clipping (Andrew et al. 2021): clients also say whether their update was short enough, and noise hides who said
/// what.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adaptive {
    /// The norm of the first round. Default .1.
    pub initial: f64,
    /// Fraction of updates that shall not be clipped. Default .5.
    pub quantile: f64,
    /// How fast the norm moves: e^-rate at most in a round. Default .2.
    pub rate: f64,
    /// Standard deviation of the noise in the count, as a fraction of the cohort. Default .05, but never so little that the
    /// updates would need over 16 % more noise for it.
    pub count_noise: f64,
}

impl Default for Clip {
    fn default() -> Self {
        Self::Fixed { norm: 0.1 }
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { initial: 0.1, quantile: 0.5, rate: 0.2, count_noise: 0.05 }
    }
}

impl Clip {
    /// The norm of the first round.
    pub fn initial(&self) -> f64 {
        match self {
            Self::Fixed { norm } => *norm,
            Self::Adaptive(adaptive) => adaptive.initial,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let within = |value: f64, key: &str, low: f64, high: f64| {
            let why = || format!("{value} is not within {low} to {high}");
            if (low..=high).contains(&value) { Ok(()) } else { Err(ConfigError::value(key, why())) }
        };
        match self {
            Self::Fixed { norm } => within(*norm, "privacy.clip.fixed.norm", 1e-9, 1e9),
            Self::Adaptive(adaptive) => {
                within(adaptive.initial, "privacy.clip.adaptive.initial", 1e-9, 1e9)?;
                within(adaptive.quantile, "privacy.clip.adaptive.quantile", 0.01, 0.99)?;
                within(adaptive.rate, "privacy.clip.adaptive.rate", 0.001, 2.0)?;
                within(adaptive.count_noise, "privacy.clip.adaptive.count_noise", 0.001, 100.0)
            }
        }
    }
}

impl Adaptive {
    /// The norm of the next round, S e^(-rate (b - quantile)), where b is the noisy fraction of the cohort whose updates were
    /// no longer than `norm`.
    ///
    /// `balance` is the noisy sum over the cohort of +1 for each such update and -1 for each longer one, `cohort` the fixed
    /// denominator. Stays finite whatever comes in.
    pub fn next(&self, norm: f64, balance: f64, cohort: u32) -> f64 {
        let fraction = 0.5 + 0.5 * balance / f64::from(cohort.max(1));
        // What noise adds beyond 0 to 1 would only throw the norm off.
        let fraction = if fraction.is_nan() { self.quantile } else { fraction.clamp(0.0, 1.0) };
        (norm * (-self.rate * (fraction - self.quantile)).exp()).clamp(1e-9, 1e9)
    }

    /// Standard deviation of the noise in the number of short updates, for updates with noise of `multiplier`.
    pub fn count_deviation(&self, multiplier: f64, cohort: u32) -> f64 {
        (self.count_noise * f64::from(cohort)).max(multiplier)
    }

    /// The multiplier left for the updates, so that both together cost what `multiplier` does.
    ///
    /// One person moves the count by half either way, so it costs what noise of twice its deviation does.
    pub fn left_for_updates(&self, multiplier: f64, cohort: u32) -> f64 {
        let count = 2.0 * self.count_deviation(multiplier, cohort);
        multiplier / (1.0 - (multiplier / count).powi(2)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_finds_its_quantile() {
        let adaptive = Adaptive::default();
        // Norms 1 to 40: half of them are no longer than 20.
        let mut norm = adaptive.initial;
        for _ in 0..300 {
            let short = (1..=40).filter(|length| f64::from(*length) <= norm).count() as f64;
            norm = adaptive.next(norm, short - (40.0 - short), 40);
        }
        assert!((20.0..21.5).contains(&norm), "{norm}");
        for balance in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e300] {
            let next = adaptive.next(1.0, balance, 0);
            assert!((0.9..=1.11).contains(&next), "{balance}: {next}");
        }
    }

    #[test]
    fn the_count_takes_its_part_of_the_noise() {
        let adaptive = Adaptive::default();
        for (z, cohort) in [(3.2, 31), (0.7, 1000), (1e3, 1)] {
            let (updates, count) =
                (adaptive.left_for_updates(z, cohort), adaptive.count_deviation(z, cohort));
            assert!((updates.powi(-2) + (2.0 * count).powi(-2) - z.powi(-2)).abs() < 1e-12 * z.powi(-2));
            assert!(updates > z && updates < 1.16 * z);
        }
    }
}
