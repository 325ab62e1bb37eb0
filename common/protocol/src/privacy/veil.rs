//! What the server does to a sum before anybody may see what comes of it: noise, and a denominator that tells nothing.
//!
//! Sums are of whole numbers (lanes, or the fixed point of [`crate::sum::Sum`]), and noise is rounded to whole numbers before
//! it is added. That is the same as rounding the noisy sum, so it costs no more than continuous noise, and no low digit of
//! a floating-point number can give the sum away (Mironov 2012).

use super::noise::{BadVariance, Gaussian, Tree};
use crate::ids::{Digest, Round};
use crate::seed::{Label, Seed};

/// One round's.
pub struct Veil {
    denominator: u32,
    multiplier: f64,
    count_deviation: f64,
    source: Source,
}

/// Where noise comes from.
#[derive(Clone)]
pub enum Source {
    /// Clients, who have added it inside their masks.
    Clients,
    /// The server, anew in each round.
    Round {
        /// Its secret.
        secret: Seed,
        /// The round.
        round: Round,
    },
    /// The server, to the running sum of all releases.
    Tree {
        /// Its secret.
        secret: Seed,
        /// The release that this round makes, from 1.
        leaf: u64,
    },
}

impl Veil {
    /// Noise of `multiplier` times the longest update on sums, and of `count_deviation` people on counts; means are over
    /// `denominator`, whoever is there.
    pub fn new(denominator: u32, multiplier: f64, count_deviation: f64, source: Source) -> Self {
        Self { denominator, multiplier, count_deviation, source }
    }

    /// Clients that the mean is over.
    pub fn denominator(&self) -> u32 {
        self.denominator
    }

    /// Whole numbers to add to the `len` numbers of `sum`, in which no client's own numbers have a norm above `longest`. Empty
    /// if clients have added theirs.
    ///
    /// Noise of a single round is a function of the server's secret and of the sum itself: two different sums never get
    /// the same noise, which their difference would be free of, not even after an old backup was restored.
    pub fn noise(&self, len: usize, longest: f64, sum: &[u8]) -> Vec<f64> {
        let variance = (self.multiplier * longest).powi(2);
        let drawn = match &self.source {
            Source::Clients => return Vec::new(),
            Source::Round { secret, round } => {
                let seed = secret.derive(Label::Privacy, &name(b"sum", *round, sum));
                gaussian(&seed, variance, len)
            }
            Source::Tree { secret, leaf } => {
                Tree::new(secret.derive(Label::Privacy, b"tree"), variance).map(|tree| {
                    let mut noise = vec![0.0; len];
                    tree.add_to_round(*leaf, &mut noise);
                    noise
                })
            }
        };
        // A plan has a positive, finite multiplier; anything else must not become a sum without noise.
        let mut noise = drawn.unwrap_or_else(|_| vec![f64::NAN; len]);
        noise.iter_mut().for_each(|value| *value = value.round());
        noise
    }

    /// The number of short updates less that of long ones, with the noise of twice the count's deviation.
    pub fn balance(&self, short: u32, long: u32) -> f64 {
        let exact = f64::from(short) - f64::from(long);
        let Source::Round { secret, round } = &self.source else { return 0.0 };
        let count = [short.to_le_bytes(), long.to_le_bytes()].concat();
        let seed = secret.derive(Label::Privacy, &name(b"count", *round, &count));
        let noise = gaussian(&seed, (2.0 * self.count_deviation).powi(2), 1);
        exact + noise.map_or(0.0 - exact, |noise| noise[0].round())
    }
}

fn name(what: &[u8], round: Round, sum: &[u8]) -> Vec<u8> {
    [what, &round.0.to_le_bytes(), Digest::of(sum).as_bytes()].concat()
}

fn gaussian(seed: &Seed, variance: f64, len: usize) -> Result<Vec<f64>, BadVariance> {
    let mut noise = vec![0.0; len];
    Gaussian::new(variance)?.add(&mut seed.rng(), &mut noise);
    Ok(noise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(round: u64) -> Veil {
        let source = Source::Round { secret: Seed::from_number(3), round: Round(round) };
        Veil::new(10, 2.0, 1.5, source)
    }

    #[test]
    fn noise_is_whole_and_as_strong_as_planned() {
        let n = 40_000;
        for veil in
            [fresh(1), Veil::new(10, 2.0, 0.0, Source::Tree { secret: Seed::from_number(3), leaf: 5 })]
        {
            let noise = veil.noise(n, 500.0, b"sum");
            assert!(noise.iter().all(|value| value.fract() == 0.0));
            let variance = noise.iter().map(|value| value * value).sum::<f64>() / n as f64;
            // 3.3 standard errors of a Gaussian's variance.
            assert!((variance / 1e6 - 1.0).abs() < 3.3 * (2.0 / n as f64).sqrt(), "{variance}");
        }
    }

    #[test]
    fn the_same_sum_gets_the_same_noise_and_no_other_does() {
        let noise = |round, sum: &[u8]| fresh(round).noise(5, 500.0, sum);
        assert_eq!(noise(1, b"sum"), noise(1, b"sum"));
        assert_ne!(noise(1, b"sum"), noise(1, b"Sum"));
        assert_ne!(noise(1, b"sum"), noise(2, b"sum"));
        assert_eq!(fresh(1).balance(7, 2), fresh(1).balance(7, 2));
    }

    #[test]
    fn what_has_no_deviation_never_goes_without_noise() {
        let source = Source::Round { secret: Seed::from_number(3), round: Round(1) };
        for multiplier in [0.0, f64::NAN, f64::INFINITY] {
            let noise = Veil::new(10, multiplier, 1.0, source.clone()).noise(3, 1.0, b"sum");
            assert!(noise.iter().all(|value| value.is_nan()), "{multiplier}");
        }
    }

    #[test]
    fn counts_are_noisy_around_the_truth() {
        let n = 4000;
        let mean = (0..n).map(|round| fresh(round).balance(30, 10)).sum::<f64>() / n as f64;
        // Deviation 3 each, and 3.3 standard errors.
        assert!((mean - 20.0).abs() < 3.3 * 3.0 / (n as f64).sqrt(), "{mean}");
    }
}
