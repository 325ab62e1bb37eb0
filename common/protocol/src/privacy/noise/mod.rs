//! Samplers of noise. Each draws from one seed's ChaCha20 stream, whose seed a deployed driver takes from the operating
//! system; the same seed gives the same noise.
//!
//! - [`DiscreteGaussian`], exact; for sums of whole numbers, central or from clients;
//! - [`Skellam`], for sums of whole numbers from clients;
//! - [`Gaussian`], continuous, with a caveat;
//! - [`Tree`], correlated over rounds, for the running sums of DP-FTRL.

mod bernoulli;
mod discrete_gaussian;
mod gaussian;
mod poisson;
mod skellam;
mod tree;

pub use discrete_gaussian::DiscreteGaussian;
pub use gaussian::Gaussian;
pub use skellam::Skellam;
pub use tree::Tree;

/// A variance that a sampler cannot have.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[error("noise of variance {got}: above 0 and at most {most} is possible")]
pub struct BadVariance {
    /// What was asked for.
    pub got: f64,
    /// The largest possible one.
    pub most: f64,
}

impl BadVariance {
    fn check(got: f64, most: f64) -> Result<(), Self> {
        if got > 0.0 && got <= most { Ok(()) } else { Err(Self { got, most }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// Sample mean and variance are within 3.3 standard errors of 0 and `variance`; the fourth moment is a Gaussian's or
    /// that plus `excess`.
    fn moments_fit(values: &[i64], variance: f64, excess: f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<i64>() as f64 / n;
        let squares = values.iter().map(|v| (*v as f64).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 3.3 * (variance / n).sqrt(), "mean {mean} at variance {variance}");
        let error = variance * ((2.0 + excess) / n).sqrt();
        assert!(
            (squares - variance).abs() < 3.3 * error,
            "variance {squares}, {variance} ± {error} expected"
        );
    }

    /// Pearson's chi-square against weights that need not be normalised, at the 99.9 % point (Wilson and Hilferty 1931).
    /// Cells with less than 8 expected are joined to the two ends.
    fn chi_square_fits(values: &[i64], weight: impl Fn(i64) -> f64, reach: i64) {
        let total: f64 = (-reach..=reach).map(&weight).sum();
        let n = values.len() as f64;
        let expected = |k: i64| n * weight(k) / total;
        let edge = (0..reach).rev().find(|k| expected(*k) >= 8.0).expect("some cell");
        let cell = |k: i64| (k.clamp(-edge, edge) + edge) as usize;
        let mut counts = vec![0.0; 2 * edge as usize + 1];
        let mut means = counts.clone();
        values.iter().for_each(|k| counts[cell(*k)] += 1.0);
        (-reach..=reach).for_each(|k| means[cell(k)] += expected(k));
        let chi: f64 = counts.iter().zip(&means).map(|(count, mean)| (count - mean).powi(2) / mean).sum();
        let freedom = 2.0 * edge as f64;
        let part = 2.0 / (9.0 * freedom);
        let limit = freedom * (1.0 - part + 3.09 * part.sqrt()).powi(3);
        assert!(chi < limit, "chi-square {chi}, at most {limit} expected with {freedom} degrees of freedom");
    }

    #[test]
    fn discrete_gaussians_have_their_distribution() {
        for (number, variance) in [0.3, 1.0, 4.0, 10.75, 150.0, 1e6, 1e12].into_iter().enumerate() {
            let noise = DiscreteGaussian::new(variance).unwrap();
            let mut values = vec![0; 60_000];
            noise.fill(&mut Seed::from_number(number as u64).rng(), &mut values);
            let weight = |k: i64| (-(k as f64).powi(2) / (2.0 * noise.variance())).exp();
            if variance >= 1.0 {
                // Below that, the variance differs from the parameter.
                moments_fit(&values, variance, 0.0);
            }
            if variance < 1e4 {
                chi_square_fits(&values, weight, 14 * variance.sqrt().ceil() as i64);
            }
        }
    }

    #[test]
    fn skellam_noise_has_its_distribution() {
        for (number, variance) in [0.2, 2.0, 19.9, 20.1, 300.0, 1e6, 1e12].into_iter().enumerate() {
            let noise = Skellam::new(variance).unwrap();
            let mut values = vec![0; 60_000];
            noise.fill(&mut Seed::from_number(number as u64).rng(), &mut values);
            moments_fit(&values, variance, 1.0 / variance);
            if variance < 1e4 {
                let mean = variance / 2.0;
                let ln_poisson = |k: i64| k as f64 * mean.ln() - mean - libm::lgamma(k as f64 + 1.0);
                let reach = 14 * variance.sqrt().ceil() as i64;
                let top = (mean + 14.0 * mean.sqrt()) as i64 + 20;
                let weight = |k: i64| (0..top).map(|j| (ln_poisson(j) + ln_poisson(j + k.abs())).exp()).sum();
                chi_square_fits(&values, weight, reach);
            }
        }
    }

    #[test]
    fn variances_that_cannot_be_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(DiscreteGaussian::new(bad).is_err() && Skellam::new(bad).is_err(), "{bad}");
            assert!(bad == 1e300 || Gaussian::new(bad).is_err(), "{bad}");
        }
        let error = Skellam::new(-2.0).unwrap_err().to_string();
        assert!(error.contains("variance -2"), "{error}");
    }

    #[test]
    fn the_same_seed_is_the_same_noise() {
        let draw = |seed: u64| {
            let mut values = vec![0; 50];
            DiscreteGaussian::new(1e4).unwrap().fill(&mut Seed::from_number(seed).rng(), &mut values);
            values
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
