//! Half minutes of pulse waves with their heart rate: whose are learned from, and whose are read.

use std::path::Path;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_signals::{DataError, NormalIntervals, Segment, View, intervals, pulses};

use super::net::SECONDS;
use crate::lab::pulse::{Moment, PPG_RATE, moments};
use crate::pretrain::windows::standardised;

/// Fewer normal intervals in a window than this are no answer of the pulse detector.
const LEAST_INTERVALS: usize = 5;

/// Everybody's moments.
pub(super) struct Waves {
    /// Of 30 s.
    read: Vec<Moment>,
    /// Longer ones, for windows that are played faster.
    long: Vec<Moment>,
    /// Who has any, in order.
    people: Vec<usize>,
    rate: usize,
    stretch: f64,
    copies: usize,
}

/// Windows `[30 * rate]` of mean 0 and variance 1, and their heart rates in bpm.
#[derive(Default)]
pub(super) struct Windows {
    pub(super) samples: Vec<Vec<f32>>,
    pub(super) bpm: Vec<f64>,
    /// Whether the wristband made out at least half of the beats, so that its heart rate is more than a guess.
    pub(super) sure: Vec<bool>,
}

/// What a seed trains and tests on.
pub(super) struct Split {
    pub(super) train: Windows,
    pub(super) test: Windows,
    /// What the pulse detector says of each test window, bpm; `None` where it finds too few pulses.
    pub(super) detected: Vec<Option<f64>>,
}

impl Waves {
    /// Windows at `rate`, a divisor of the wristband's; in training `copies` of each beside it, played up to `stretch` times faster
    /// or slower.
    pub(super) fn load(dir: &Path, rate: usize, stretch: f64, copies: usize) -> Result<Self, DataError> {
        let known = |seconds: f64| {
            let mut all = moments(dir, seconds)?.1;
            all.retain(|moment| moment.hr.is_some());
            Ok::<_, DataError>(all)
        };
        let read = known(SECONDS as f64)?;
        let long = if copies > 0 { known(SECONDS as f64 * stretch)? } else { Vec::new() };
        let mut people: Vec<usize> = read.iter().map(|moment| moment.person).collect();
        people.dedup();
        Ok(Self { read, long, people, rate, stretch, copies })
    }

    /// How many people have a window.
    pub(super) fn people(&self) -> usize {
        self.people.len()
    }

    /// Holds out `test` people, others with every seed.
    pub(super) fn split(&self, test: usize, seed: u64) -> Split {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut people = self.people.clone();
        people.shuffle(&mut rng);
        let held_out = &people[..test.min(people.len())];
        let mut split = Split { train: Windows::default(), test: Windows::default(), detected: Vec::new() };
        for moment in &self.read {
            let window = self.window(&moment.ppg, 0.0, 1.0);
            if held_out.contains(&moment.person) {
                split.test.push(window, moment, 1.0);
                split.detected.push(detected(moment));
            } else {
                split.train.push(window, moment, 1.0);
            }
        }
        for moment in self.long.iter().filter(|moment| !held_out.contains(&moment.person)) {
            for _ in 0..self.copies {
                let most = self.stretch.ln();
                let faster = rng.random_range(-most..=most).exp();
                let spare = SECONDS as f64 * (self.stretch - faster);
                let from = rng.random_range(0.0..=spare.max(0.0));
                split.train.push(self.window(&moment.ppg, from, faster), moment, faster);
            }
        }
        split
    }

    /// 30 s at our rate of a wave played so much `faster`, from second `from` of it on: means of the samples that one of ours
    /// covers, drawn with lines between them.
    fn window(&self, ppg: &[f32], from: f64, faster: f64) -> Vec<f32> {
        let covered = PPG_RATE / self.rate;
        let means: Vec<f32> =
            ppg.chunks_exact(covered).map(|c| c.iter().sum::<f32>() / covered as f32).collect();
        let at = |i: usize| {
            let place = from * self.rate as f64 + i as f64 * faster;
            let before = (place as usize).min(means.len() - 1);
            let after = (before + 1).min(means.len() - 1);
            let part = (place - before as f64).clamp(0.0, 1.0) as f32;
            means[before] * (1.0 - part) + means[after] * part
        };
        standardised(&(0..SECONDS * self.rate).map(at).collect::<Vec<_>>())
    }
}

impl Windows {
    fn push(&mut self, samples: Vec<f32>, moment: &Moment, faster: f64) {
        if let Some(hr) = moment.hr {
            self.samples.push(samples);
            self.bpm.push(f64::from(hr) * faster);
            self.sure.push(moment.sdnn.is_some());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bpm.len()
    }

    pub(super) fn mean(&self) -> f64 {
        self.bpm.iter().sum::<f64>() / self.len().max(1) as f64
    }
}

/// What a rule makes of a moment: 60 over the mean normal interval between its pulses.
fn detected(moment: &Moment) -> Option<f64> {
    let segment = Segment { start: 0.0, rate: PPG_RATE as f64, samples: moment.ppg.clone() };
    let beats = pulses(&segment).ok()?;
    let normal = NormalIntervals::of(&intervals(&beats), View::Around);
    let count = normal.seconds().len();
    (count >= LEAST_INTERVALS).then(|| 60.0 * count as f64 / normal.seconds().iter().sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(stretch: f64, copies: usize) -> Waves {
        // Person p has a heart rate of 60 + 10 p.
        let moment = |person: usize, seconds: f64| {
            let bpm = 60.0 + 10.0 * person as f64;
            let at = |i: usize| (i as f64 / 64.0 * bpm / 60.0 * std::f64::consts::TAU).sin() as f32;
            Moment {
                person,
                accel: Vec::new(),
                ppg: (0..(seconds * 64.0) as usize).map(at).collect(),
                hr: Some(bpm as f32),
                sdnn: None,
                rmssd: None,
            }
        };
        let all = |seconds: f64| (0..6).flat_map(|p| vec![moment(p, seconds); 4]).collect();
        Waves {
            read: all(30.0),
            long: all(30.0 * stretch),
            people: (0..6).collect(),
            rate: 32,
            stretch,
            copies,
        }
    }

    #[test]
    fn people_are_on_one_side_and_others_with_every_seed() {
        let waves = waves(1.3, 2);
        let mut held_out = Vec::new();
        for seed in 0..8 {
            let split = waves.split(2, seed);
            assert_eq!((split.test.len(), split.train.len(), split.detected.len()), (8, 16 + 32, 8));
            let mut rates: Vec<u32> = split.test.bpm.iter().map(|bpm| *bpm as u32).collect();
            rates.dedup();
            assert_eq!(rates.len(), 2);
            // The first windows are played as they are, and none of them is of those people.
            assert!(split.train.bpm[..16].iter().all(|bpm| !rates.contains(&(*bpm as u32))));
            held_out.push(rates);
        }
        held_out.sort();
        held_out.dedup();
        assert!(held_out.len() > 3, "{held_out:?}");
        assert_eq!(waves.split(2, 7).train.samples, waves.split(2, 7).train.samples);
    }

    #[test]
    fn a_window_has_the_pace_of_its_label() {
        let split = waves(1.3, 3).split(1, 5);
        let mut paces = Vec::new();
        for (window, bpm) in split.train.samples.iter().zip(&split.train.bpm) {
            let rises = window.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            assert!((rises as f64 * 2.0 - bpm).abs() <= 3.0, "{rises} rises in half a minute of {bpm}");
            paces.push(*bpm as u32);
        }
        paces.sort_unstable();
        paces.dedup();
        assert!(paces.len() > 20, "{paces:?}");
        for (found, bpm) in split.detected.iter().zip(&split.test.bpm) {
            assert!((found.unwrap() - bpm).abs() < 1.0, "{found:?} {bpm}");
        }
    }
}
