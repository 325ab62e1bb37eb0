//! Intervals between beats: from beats, cleaned, as heart rate, and their variability.

mod spectrum;
mod variability;

use crate::moving::median;
use crate::{Stream, StreamKind, View};

pub use variability::Variability;

/// An interval is ectopic, or misses a beat, when it is off the local median by more than this part of it. Malik
/// et al. 1989 (Eur Heart J 10:1060) put it at 20 % of the interval before; measured
/// against a median there is less to be put off by, and breathing alone moves a young sleeper's intervals by 20 %.
const ECTOPIC: f64 = 0.25;
/// The local median is that of this many intervals, the judged one among them.
const LOCAL: usize = 11;
/// And of no more than this many seconds to either side.
const LOCAL_SECONDS: f64 = 30.0;
/// No sleeper's heart beats faster or slower than this, seconds per beat.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.3..=2.2;
/// Between two normal intervals no further apart than this, the heart rate is drawn as a line, seconds: one ectopic
/// beat and its pause.
const BRIDGED_SECONDS: f64 = 5.0;

/// Intervals between neighbouring beats, stamped at the beat that ends each. What is longer than an interval
/// can be ([`StreamKind::plausible`]) is a gap, and counted as rejected.
///
/// `beats` in seconds, ascending, as [`crate::r_peaks`] and [`crate::pulses`] give them.
#[must_use]
pub fn intervals(beats: &[f64]) -> Stream {
    let pairs = beats.windows(2);
    let (times, values) = pairs.map(|w| (w[1], (w[1] - w[0]) as f32)).unzip();
    Stream::new(StreamKind::Ibi, times, values)
}

/// Normal-to-normal intervals: what is left of beat intervals once artefacts and ectopic beats are out.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalIntervals {
    ends: Vec<f64>,
    seconds: Vec<f64>,
    dropped: usize,
}

impl NormalIntervals {
    /// Keeps what lies within 0.3 to 2.2 s and within 25 % of the median of the 11 intervals around it ([`View::Around`]) or up to
    /// it ([`View::Past`]), at most 30 s away. The others leave gaps; nothing is filled in.
    ///
    /// # Panics
    /// When the stream is not of [`StreamKind::Ibi`].
    #[must_use]
    pub fn of(ibi: &Stream, view: View) -> Self {
        assert_eq!(ibi.kind(), StreamKind::Ibi, "normal intervals are made of beat intervals");
        let value = |i: usize| f64::from(ibi.values()[i]);
        let possible: Vec<usize> = (0..ibi.len()).filter(|i| PLAUSIBLE.contains(&value(*i))).collect();
        let mut near = Vec::with_capacity(LOCAL);
        let mut normal = |at: usize| {
            let range = match view {
                View::Around => at.saturating_sub(LOCAL / 2)..(at + LOCAL / 2 + 1).min(possible.len()),
                View::Past => (at + 1).saturating_sub(LOCAL)..at + 1,
            };
            let time = ibi.times()[possible[at]];
            let close = |i: &&usize| (ibi.times()[**i] - time).abs() <= LOCAL_SECONDS;
            near.clear();
            near.extend(possible[range].iter().filter(close).map(|i| value(*i)));
            let usual = median(&mut near).unwrap_or(0.0);
            (value(possible[at]) - usual).abs() <= ECTOPIC * usual
        };
        let kept: Vec<usize> = (0..possible.len()).filter(|at| normal(*at)).map(|at| possible[at]).collect();
        Self {
            dropped: ibi.len() - kept.len(),
            ends: kept.iter().map(|i| ibi.times()[*i]).collect(),
            seconds: kept.iter().map(|i| value(*i)).collect(),
        }
    }

    /// The time of the beat that ends each interval, seconds, ascending.
    #[must_use]
    pub fn ends(&self) -> &[f64] {
        &self.ends
    }

    /// The intervals, seconds.
    #[must_use]
    pub fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// How many intervals were dropped.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Instantaneous heart rate, bpm, at the multiples of `1 / rate` seconds: 60 over the interval, on a line between
    /// the beats that end neighbouring intervals. Where those are more than 5 s apart there is a gap.
    #[must_use]
    pub fn heart_rate(&self, rate: f64) -> Stream {
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for (end, seconds) in self.ends.windows(2).zip(self.seconds.windows(2)) {
            if end[1] - end[0] > BRIDGED_SECONDS {
                continue;
            }
            let mut k = (end[0] * rate).ceil();
            while k / rate < end[1] {
                let part = (k / rate - end[0]) / (end[1] - end[0]);
                times.push(k / rate);
                values.push((60.0 / seconds[0] * (1.0 - part) + 60.0 / seconds[1] * part) as f32);
                k += 1.0;
            }
        }
        Stream::new(StreamKind::Hr, times, values)
    }

    /// Whether interval `i` begins with the beat that ends interval `i - 1`: half an interval is allowed for
    /// coarse time stamps, a missing beat is a whole one.
    fn follows(&self, i: usize) -> bool {
        i > 0 && (self.ends[i] - self.seconds[i] - self.ends[i - 1]).abs() < 0.5 * self.seconds[i]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats whose intervals swing by `swing` of 0.9 s, ten a minute.
    pub(super) fn beats(seconds: f64, swing: f64) -> Vec<f64> {
        let mut beats = vec![0.0];
        while beats[beats.len() - 1] < seconds {
            let t = beats[beats.len() - 1];
            beats.push(t + 0.9 * (1.0 + swing * (t * std::f64::consts::TAU / 6.0).sin()));
        }
        beats
    }

    #[test]
    fn ectopic_missed_and_doubled_beats_are_dropped_and_breathing_is_not() {
        let clean = beats(600.0, 0.15);
        for view in [View::Around, View::Past] {
            let normal = NormalIntervals::of(&intervals(&clean), view);
            assert_eq!((normal.dropped(), normal.ends().len()), (0, clean.len() - 1), "{view:?}");
        }
        let mut spoilt = beats(600.0, 0.02);
        spoilt[100] -= 0.35;
        spoilt.remove(200);
        let double = spoilt[300] + 0.25;
        spoilt.insert(301, double);
        for view in [View::Around, View::Past] {
            let normal = NormalIntervals::of(&intervals(&spoilt), view);
            assert_eq!(normal.dropped(), 2 + 1 + 2, "{view:?}");
            assert!(normal.seconds().iter().all(|s| (0.87..0.93).contains(s)));
        }
    }

    #[test]
    fn the_past_does_not_know_the_future() {
        let mut later = beats(600.0, 0.05);
        let sooner = later.clone();
        let at = later.iter().position(|t| *t > 300.0).unwrap();
        later[at..].iter_mut().for_each(|t| *t = 300.0 + (*t - 300.0) * 1.4);
        let before = |beats: &[f64]| {
            let normal = NormalIntervals::of(&intervals(beats), View::Past);
            normal.ends().iter().copied().filter(|t| *t < 299.0).collect::<Vec<_>>()
        };
        assert_eq!(before(&later), before(&sooner));
    }

    #[test]
    fn heart_rate_keeps_gaps() {
        let beats: Vec<f64> = beats(300.0, 0.0).into_iter().filter(|t| !(100.0..160.0).contains(t)).collect();
        let normal = NormalIntervals::of(&intervals(&beats), View::Around);
        let hr = normal.heart_rate(2.0);
        assert!(hr.values().iter().all(|bpm| (bpm - 60.0 / 0.9).abs() < 1e-3));
        assert!(hr.times().iter().all(|t| (t * 2.0).fract() == 0.0));
        assert!(hr.within(100.0, 160.0).is_empty());
        assert!((hr.len() as f64 - 2.0 * 238.0).abs() <= 4.0, "{}", hr.len());
        let none = NormalIntervals::of(&intervals(&[]), View::Around);
        assert!(none.heart_rate(1.0).is_empty());
    }
}
