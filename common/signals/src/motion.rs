//! Raw acceleration becomes activity counts and posture, sample by sample.
//!
//! A night at 50 Hz is 1.5 million lines. Only the z axis on a 50-Hz grid is kept (6 MB), never the text
//! and never three channels with their times.

use crate::butterworth::BandPass;
use crate::recording::EPOCH_SECONDS;
use crate::{Stream, StreamKind};

/// Grid on which counts are defined, Hz.
const GRID_HZ: f64 = 50.0;
/// Below this rate, Hz, the 3-11 Hz band that counts are made of is not in the signal.
const COUNT_RATE_HZ: f64 = 25.0;
/// Seconds a count covers.
const COUNT_SECONDS: usize = 15;
/// A window is a gap when fewer of its seconds hold a sample.
const MEASURED_SECONDS: usize = 8;

/// Takes the samples of one night in time order; gives activity counts and posture.
#[derive(Debug, Default)]
pub(crate) struct Motion {
    /// Time of the grid's first point, the first sample.
    start: f64,
    last: Option<(f64, [f64; 3])>,
    /// z at `start + i / GRID_HZ`, g.
    z: Vec<f32>,
    /// Samples in each second since `start`.
    per_second: Vec<u16>,
    /// Largest change between neighbouring samples in each second since `start`, g.
    jump: Vec<f32>,
    /// Sum and number of samples of each epoch from `first_epoch`.
    posture: Vec<([f64; 3], u32)>,
    first_epoch: f64,
    rejected: usize,
}

impl Motion {
    /// Takes the sample at `time` seconds. One that is implausible (beyond ±20 g, not a number) or not later
    /// than the one before it is dropped.
    pub(crate) fn push(&mut self, time: f64, xyz: [f64; 3]) {
        let plausible = |v: &f64| StreamKind::Accel.plausible(*v as f32);
        let late = self.last.is_some_and(|(before, _)| time <= before);
        if late || !time.is_finite() || !xyz.iter().all(plausible) {
            self.rejected += 1;
            return;
        }
        let epoch = (time / EPOCH_SECONDS).floor();
        match self.last {
            None => {
                self.start = time;
                self.first_epoch = epoch;
                self.z.push(xyz[2] as f32);
            }
            Some((before, old)) => self.interpolate(before, old[2], time, xyz[2]),
        }
        let second = (time - self.start) as usize;
        grow(&mut self.per_second, second);
        grow(&mut self.jump, second);
        self.per_second[second] = self.per_second[second].saturating_add(1);
        if let Some((_, old)) = self.last {
            let squares = old.iter().zip(xyz).map(|(a, b)| (a - b).powi(2));
            let change = squares.sum::<f64>().sqrt() as f32;
            self.jump[second] = self.jump[second].max(change);
        }
        let slot = (epoch - self.first_epoch) as usize;
        grow(&mut self.posture, slot);
        let (sum, n) = &mut self.posture[slot];
        for (s, v) in sum.iter_mut().zip(xyz) {
            *s += v;
        }
        *n += 1;
        self.last = Some((time, xyz));
    }

    /// Continues the grid up to `time` along the line between two samples.
    fn interpolate(&mut self, before: f64, z0: f64, time: f64, z1: f64) {
        loop {
            let next = self.start + self.z.len() as f64 / GRID_HZ;
            if next > time {
                return;
            }
            let part = (next - before) / (time - before);
            self.z.push((z0 + (z1 - z0) * part) as f32);
        }
    }

    /// Samples per second, over the seconds that have any.
    fn rate(&self) -> f64 {
        let samples: f64 = self.per_second.iter().map(|n| f64::from(*n)).sum();
        let measured = self.per_second.iter().filter(|n| **n > 0).count();
        samples / measured.max(1) as f64
    }

    /// Activity counts per 15 s; see [`Motion::counted`] and [`Motion::estimated`].
    pub(crate) fn activity(&self) -> Stream {
        let counts = if self.rate() >= COUNT_RATE_HZ { self.counted() } else { self.estimated() };
        let measured = |(window, _): &(usize, f32)| {
            let seconds = self.per_second.iter().skip(window * COUNT_SECONDS);
            let seconds = seconds.take(COUNT_SECONDS);
            seconds.filter(|n| **n > 0).count() >= MEASURED_SECONDS
        };
        let kept = counts.into_iter().enumerate().filter(measured);
        let at = |(window, count)| (self.start + (window * COUNT_SECONDS) as f64, count);
        let (times, counts) = kept.map(at).unzip();
        Stream::new(StreamKind::Activity, times, counts)
    }

    /// The counts of Walch 2019 (after te Lindert and Van Someren 2013): z band-passed 3-11 Hz forward
    /// and backward; absolute value in 128 bins over 0 to 5 g; largest bin of each second; summed over 15 s;
    /// (sum − 18) · 3.07, not below 0.
    fn counted(&self) -> Vec<f32> {
        let filtered = BandPass::new(5, 3.0, 11.0, GRID_HZ).forward_backward(&self.z);
        let bin = |v: &f32| ((v.abs() / (5.0 / 128.0)) as u32).min(128) + 1;
        let seconds: Vec<u32> = filtered
            .chunks_exact(GRID_HZ as usize)
            .map(|second| second.iter().map(bin).max().unwrap_or(1))
            .collect();
        seconds
            .chunks_exact(COUNT_SECONDS)
            .map(|window| ((window.iter().sum::<u32>() as f32 - 18.0) * 3.07).max(0.0))
            .collect()
    }

    /// A stand-in for counts at low rates: 20 · (sum over 15 s of the largest change in each second − 0.2 g),
    /// not below 0. On the one person with both a 1-Hz file and true counts, its logarithm correlates with
    /// theirs at .39: it tells moving from still and little more.
    fn estimated(&self) -> Vec<f32> {
        self.jump
            .chunks(COUNT_SECONDS)
            .map(|window| (20.0 * (window.iter().sum::<f32>() - 0.2)).max(0.0))
            .collect()
    }

    /// Mean acceleration of each epoch that has a sample, g; the time is the epoch's beginning.
    pub(crate) fn posture(&self) -> Stream {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for (slot, (sum, n)) in self.posture.iter().enumerate() {
            if *n > 0 {
                times.push((self.first_epoch + slot as f64) * EPOCH_SECONDS);
                values.extend(sum.map(|s| (s / f64::from(*n)) as f32));
            }
        }
        Stream::new(StreamKind::Posture, times, values)
    }

    /// How many samples were dropped.
    #[cfg(test)]
    pub(crate) fn rejected(&self) -> usize {
        self.rejected
    }
}

fn grow<T: Clone + Default>(values: &mut Vec<T>, index: usize) {
    if values.len() <= index {
        values.resize(index + 1, T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seconds` of gravity on z, shaken with `amplitude` g at 6 Hz between 60 and 75 s.
    fn shaken(rate: f64, seconds: usize, amplitude: f64) -> Motion {
        let mut motion = Motion::default();
        for i in 0..(seconds as f64 * rate) as usize {
            let t = i as f64 / rate;
            let on = (60.0..75.0).contains(&t);
            let shake = if on { amplitude * (t * 6.0 * std::f64::consts::TAU).sin() } else { 0.0 };
            motion.push(t, [0.0, 0.0, -0.9 + shake]);
        }
        motion
    }

    #[test]
    fn shaking_is_counted_at_any_sufficient_rate() {
        for rate in [32.0, 50.0, 51.3, 100.0] {
            let activity = shaken(rate, 151, 1.0).activity();
            assert_eq!(activity.len(), 10, "at {rate} Hz");
            for (t, count) in activity.times().iter().zip(activity.values()) {
                // A 1-g shake is bin 26 of 128; 15 of them less 18 is 1142 counts.
                let expected = if *t == 60.0 { 950.0..1200.0 } else { 0.0..100.0 };
                assert!(expected.contains(count), "{count} at {t} s, {rate} Hz");
            }
        }
    }

    #[test]
    fn stillness_counts_nothing_and_points_down() {
        let motion = shaken(50.0, 120, 0.0);
        assert!(motion.activity().values().iter().all(|c| *c == 0.0));
        let posture = motion.posture();
        assert_eq!(posture.times(), [0.0, 30.0, 60.0, 90.0]);
        assert!(posture.values().chunks(3).all(|v| v == [0.0, 0.0, -0.9]));
    }

    #[test]
    fn gaps_have_no_counts_and_low_rates_a_stand_in() {
        let mut motion = Motion::default();
        for i in (0..60).chain(150..210) {
            let z = if i == 20 { 0.5 } else { -0.9 };
            motion.push(f64::from(i), [0.0, 0.0, z]);
        }
        motion.push(3.0, [0.0; 3]);
        motion.push(300.0, [f64::NAN, 0.0, 0.0]);
        assert_eq!(motion.rejected(), 2);
        let activity = motion.activity();
        assert_eq!(activity.times(), [0.0, 15.0, 30.0, 45.0, 150.0, 165.0, 180.0, 195.0]);
        assert!(activity.values()[1] > 40.0);
        assert_eq!(activity.values()[2], 0.0);
        assert_eq!(motion.posture().len(), 4);
        assert!(Motion::default().activity().is_empty());
    }
}
