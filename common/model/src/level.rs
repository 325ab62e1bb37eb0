//! How awake a night seems as a whole, and nights brought to one level.
//!
//! A person's heart rate and movement shift what a network thinks of a whole night: of two people who are awake as much, one is
//! found awake in every tenth epoch and the other in every fiftieth. The upper quartile of the log-odds of wake over the night,
//! which needs no label, is a measure of that shift. Taking it out is a calibration for each night by itself, at whole-night
//! (offline) staging only.

use crate::stager::Posterior;

/// The quantile that a night's level is: nights differ in how much of them is awake, but less than a quarter is.
const QUANTILE: f64 = 0.75;

/// Log-odds are of probabilities at least so far from 0 and 1.
const LEAST: f64 = 1e-5;

impl Posterior {
    /// The upper quartile over the night of the log-odds of class 0, wake; linear between epochs. None of an empty night.
    pub fn wake_level(&self) -> Option<f64> {
        let mut odds: Vec<f64> = self.values.chunks_exact(self.classes).map(|row| log_odds(row[0])).collect();
        odds.sort_by(f64::total_cmp);
        let place = QUANTILE * odds.len().checked_sub(1)? as f64;
        let (below, above) = (odds[place.floor() as usize], odds[place.ceil() as usize]);
        Some(below + (above - below) * place.fract())
    }

    /// The same night at another level: the log-odds of wake are all shifted by as much, other classes keep their proportions
    /// to each other.
    #[must_use]
    pub fn at_wake_level(&self, level: f64) -> Self {
        let shift = self.wake_level().map_or(0.0, |own| level - own);
        let mut values = self.values.clone();
        for row in values.chunks_exact_mut(self.classes) {
            let wake = 1.0 / (1.0 + (-(log_odds(row[0]) + shift)).exp());
            let rest: f64 = row[1..].iter().copied().map(f64::from).sum();
            row[0] = wake as f32;
            for p in &mut row[1..] {
                *p = (f64::from(*p) * (1.0 - wake) / rest.max(LEAST)) as f32;
            }
        }
        Self { classes: self.classes, values }
    }
}

fn log_odds(p: f32) -> f64 {
    let p = f64::from(p).clamp(LEAST, 1.0 - LEAST);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn night(rng: &mut ChaCha8Rng, classes: usize, epochs: usize) -> Posterior {
        let row = |rng: &mut ChaCha8Rng| -> Vec<f32> {
            let row: Vec<f32> = (0..classes).map(|_| rng.random_range(0.01..1.0)).collect();
            let sum: f32 = row.iter().sum();
            row.into_iter().map(|p| p / sum).collect()
        };
        Posterior { classes, values: (0..epochs).flat_map(|_| row(rng)).collect() }
    }

    #[test]
    fn a_levelled_night_has_the_level_and_keeps_what_else_is_in_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for case in 0..200 {
            let night = night(&mut rng, 2 + case % 4, 1 + case % 37);
            let level = rng.random_range(-4.0..2.0);
            let levelled = night.at_wake_level(level);
            assert!((levelled.wake_level().unwrap() - level).abs() < 1e-3);
            let rows = |night: &Posterior| -> Vec<Vec<f32>> {
                night.values.chunks_exact(night.classes).map(<[f32]>::to_vec).collect()
            };
            let (before, after) = (rows(&night), rows(&levelled));
            for (before, after) in before.iter().zip(&after) {
                assert!((after.iter().sum::<f32>() - 1.0).abs() < 1e-4);
                for (a, b) in before[1..].iter().zip(&after[1..]) {
                    assert!((a * after[1] - b * before[1]).abs() < 1e-5);
                }
            }
            // Of two epochs the one that is more likely awake stays so.
            for (before, after) in before.windows(2).zip(after.windows(2)) {
                let apart = f64::from(before[0][0] - before[1][0]);
                assert!(apart.abs() < 1e-4 || apart * f64::from(after[0][0] - after[1][0]) > 0.0);
            }
        }
    }

    #[test]
    fn a_level_is_an_upper_quartile() {
        let odds = [-2.0f64, 0.0, 1.0, -1.0];
        let values = odds.iter().flat_map(|odds| {
            let wake = (1.0 / (1.0 + (-odds).exp())) as f32;
            [wake, 1.0 - wake]
        });
        let night = Posterior { classes: 2, values: values.collect() };
        assert!((night.wake_level().unwrap() - 0.25).abs() < 1e-5);
        assert_eq!(night.at_wake_level(-1.0).argmax(), [1, 1, 1, 1]);
        assert_eq!(night.at_wake_level(0.75).argmax(), [1, 0, 0, 1]);
        assert_eq!(Posterior { classes: 2, values: Vec::new() }.wake_level(), None);
    }
}
