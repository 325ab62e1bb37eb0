//! The people of a wristband for one seed: who teaches, who judges, and what can be drawn from those who teach.

use std::path::Path;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Standardise, Wave};
use somnus_model::objective::Change;
use somnus_signals::{PersonId, StreamKind, e4};

use super::LabError;
use super::pulse::{ACCEL_RATE, Moment, PPG_RATE, moments};
use crate::pretrain::windows::{Bank, Run, pairs_of};

/// Seconds of a window: an epoch of sleep staging.
pub(super) const SECONDS: usize = 30;

/// Everybody, with acceleration and pulse wave of the same time.
pub(super) struct Wrists {
    pub(super) ids: Vec<PersonId>,
    runs: Vec<Vec<Run>>,
    /// One after the other, with what the heart did.
    pub(super) moments: Vec<Moment>,
}

/// One seed's deal.
pub(super) struct Deal<'a> {
    pub(super) seed: u64,
    /// Windows of people who teach, from anywhere.
    pub(super) bank: Bank,
    /// Moments of people who teach and of those who judge.
    pub(super) known: Vec<&'a Moment>,
    pub(super) asked: Vec<&'a Moment>,
}

impl Wrists {
    /// Reads a folder of E4 recordings.
    pub(super) fn load(dir: &Path) -> Result<Self, LabError> {
        let (ids, moments) = moments(dir, SECONDS as f64)?;
        let runs = e4::load(dir)?
            .iter()
            .map(|recording| pairs_of(recording, ACCEL_RATE, PPG_RATE).unwrap_or_default())
            .collect();
        Ok(Self { ids, runs, moments })
    }

    /// Deals people so that `held_out` of them judge.
    ///
    /// # Errors
    /// [`LabError::TooFew`].
    pub(super) fn deal(&self, dir: &Path, held_out: usize, seed: u64) -> Result<Deal<'_>, LabError> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.retain(|person| self.moments.iter().any(|moment| moment.person == *person));
        let too_few = |people: usize| LabError::TooFew {
            path: dir.to_owned(),
            why: format!("{people} people with whole half minutes: too few when {held_out} judge"),
        };
        if order.len() < held_out + 4 {
            return Err(too_few(order.len()));
        }
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let teaching = order.split_off(held_out);
        let of = |people: &[usize]| {
            self.moments.iter().filter(|moment| people.contains(&moment.person)).collect::<Vec<_>>()
        };
        let runs = teaching.iter().map(|person| self.runs[*person].clone());
        let bank = Bank::new(runs, SECONDS as f64).ok_or_else(|| too_few(0))?;
        Ok(Deal { seed, bank, known: of(&teaching), asked: of(&order) })
    }
}

/// The encoder of half a minute of a stream: the hub's with a stage more, each channel standardised, for what is sought
/// is small beside gravity.
pub(super) fn wave(stream: StreamKind) -> Wave {
    let hub = Wave::hub(stream).unwrap_or_else(|| unreachable!("{stream} is a waveform"));
    let widths = vec![16, 32, 64, 64];
    Wave { window: SECONDS * hub.rate, widths, standardise: Standardise::Window, ..hub }
}

/// A window with each channel at mean 0 and variance 1, so that changes of a fixed size mean the same on every axis.
pub(super) fn levelled(mut window: Vec<f32>, channels: usize) -> Vec<f32> {
    (0..channels).for_each(|channel| level(&mut window, channels, channel));
    window
}

/// A levelled window whose changes leave the pulse in it: noise, scale, tempo, and a piece cut out, each by chance, after
/// arXiv 2312.05409; the chances are ours.
pub(super) fn gently(window: &[f32], channels: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut window = levelled(window.to_vec(), channels);
    for (change, chance) in [(Change::Noise, 0.5), (Change::Scaling, 0.5), (Change::Warp, 0.15)] {
        if rng.random::<f64>() < chance {
            change.apply(&mut window, channels, rng);
        }
    }
    if rng.random::<f64>() < 0.4 {
        let moments = window.len() / channels;
        let len = rng.random_range(moments / 20..=moments / 5);
        let start = rng.random_range(0..=moments - len);
        window[start * channels..(start + len) * channels].fill(0.0);
    }
    window
}

fn level(window: &mut [f32], channels: usize, channel: usize) {
    let n = (window.len() / channels).max(1) as f32;
    let values = || window.iter().skip(channel).step_by(channels);
    let mean = values().sum::<f32>() / n;
    let spread = (values().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-6);
    window.iter_mut().skip(channel).step_by(channels).for_each(|v| *v = (*v - mean) / spread);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gentle_change_forgets_level_and_scale_of_each_axis_and_keeps_what_is_small() {
        let window: Vec<f32> =
            (0..960).flat_map(|t| [9.0 + 0.01 * (t as f32).sin(), (t as f32).cos(), 0.0]).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let correlation = |seen: &[f32]| {
            let pairs = seen.iter().step_by(3).enumerate().map(|(t, v)| v * (t as f32).sin());
            pairs.sum::<f32>() / 960.0
        };
        let mut most = 0.0f32;
        for _ in 0..50 {
            let seen = gently(&window, 3, &mut rng);
            assert!(seen.iter().all(|v| v.is_finite()) && seen.len() == window.len());
            let mean = seen.iter().step_by(3).sum::<f32>() / 960.0;
            assert!(mean.abs() < 0.2, "{mean}");
            most = most.max(correlation(&seen));
        }
        assert!(most > 0.6, "the swing of a hundredth is still there: {most}");
    }
}
