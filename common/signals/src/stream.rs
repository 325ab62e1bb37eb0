//! One sensor's samples over a night.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a stream measures; fixes its channels, unit and plausible range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKind {
    /// Heart rate, beats per minute, irregular (a watch gives one about every 5 s).
    Hr,
    /// Activity counts per 15 s, dimensionless; the time stamp is the window's beginning.
    Activity,
    /// Mean gravity direction per 30 s, three channels x y z, g.
    Posture,
    /// Raw acceleration, three channels x y z, g, any rate.
    Accel,
    /// Intervals between heart beats, seconds; the time stamp is the beat that ends the interval.
    Ibi,
    /// Electrocardiogram, millivolt.
    Ecg,
    /// Photoplethysmogram, arbitrary unit.
    Ppg,
}

impl StreamKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Hr, Self::Activity, Self::Posture, Self::Accel, Self::Ibi, Self::Ecg, Self::Ppg];

    /// The name used in files and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hr => "hr",
            Self::Activity => "activity",
            Self::Posture => "posture",
            Self::Accel => "accel",
            Self::Ibi => "ibi",
            Self::Ecg => "ecg",
            Self::Ppg => "ppg",
        }
    }

    /// The unit of its values.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Hr => "bpm",
            Self::Activity => "counts per 15 s",
            Self::Posture | Self::Accel => "g",
            Self::Ibi => "s",
            Self::Ecg => "mV",
            Self::Ppg => "a.u.",
        }
    }

    /// Values per sample.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Posture | Self::Accel => 3,
            _ => 1,
        }
    }

    /// Whether a value can have come from a body: a heart rate within 20..=250 bpm, a beat interval
    /// within 0.2..=3 s, an acceleration within ±20 g, a count within 0..=1e6. Never true for NaN.
    #[must_use]
    pub fn plausible(self, value: f32) -> bool {
        match self {
            Self::Hr => (20.0..=250.0).contains(&value),
            Self::Activity => (0.0..=1e6).contains(&value),
            Self::Posture | Self::Accel => (-20.0..=20.0).contains(&value),
            Self::Ibi => (0.2..=3.0).contains(&value),
            Self::Ecg | Self::Ppg => value.is_finite(),
        }
    }
}

impl fmt::Display for StreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Samples of one sensor: strictly ascending times and plausible values, by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    kind: StreamKind,
    times: Vec<f64>,
    values: Vec<f32>,
    rejected: usize,
}

impl Stream {
    /// Puts samples in order and drops what cannot be used.
    ///
    /// `times` are seconds since the recording's start and may be negative; `values` are
    /// `[times.len(), kind.channels()]`, row-major. Rules: samples out of order are sorted; of
    /// samples with the same time the first stands; a sample with a time that is not finite or
    /// any value that is not [`StreamKind::plausible`] is dropped. [`Stream::rejected`] counts what was dropped.
    ///
    /// # Panics
    /// When `values` does not have `times.len() * kind.channels()` values: a mistake of the caller, not of the data.
    #[must_use]
    pub fn new(kind: StreamKind, times: Vec<f64>, values: Vec<f32>) -> Self {
        let channels = kind.channels();
        assert_eq!(values.len(), times.len() * channels, "{kind}: {channels} values for each time");
        let sample = |i: usize| &values[i * channels..(i + 1) * channels];
        let usable = |i: usize| times[i].is_finite() && sample(i).iter().all(|v| kind.plausible(*v));
        let clean = times.windows(2).all(|w| w[0] < w[1]) && (0..times.len()).all(usable);
        if clean {
            return Self { kind, times, values, rejected: 0 };
        }
        let mut order: Vec<usize> = (0..times.len()).filter(|i| usable(*i)).collect();
        order.sort_by(|a, b| times[*a].total_cmp(&times[*b]));
        order.dedup_by(|later, first| times[*later] == times[*first]);
        Self {
            kind,
            rejected: times.len() - order.len(),
            values: order.iter().flat_map(|i| sample(*i)).copied().collect(),
            times: order.iter().map(|i| times[*i]).collect(),
        }
    }

    /// What is measured.
    #[must_use]
    pub fn kind(&self) -> StreamKind {
        self.kind
    }

    /// Seconds since the recording's start, strictly ascending.
    #[must_use]
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// `[len, channels]`, row-major, in [`StreamKind::unit`].
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values of sample `i`, one per channel.
    #[must_use]
    pub fn sample(&self, i: usize) -> &[f32] {
        let channels = self.kind.channels();
        &self.values[i * channels..(i + 1) * channels]
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// How many samples were dropped as implausible or repeated.
    #[must_use]
    pub fn rejected(&self) -> usize {
        self.rejected
    }

    /// The indices of the samples with `from <= time < to`.
    #[must_use]
    pub fn within(&self, from: f64, to: f64) -> std::ops::Range<usize> {
        let first = self.times.partition_point(|t| *t < from);
        let end = self.times.partition_point(|t| *t < to);
        first..end.max(first)
    }

    /// The samples with `from <= time < to`, their times counted from `from`. What was rejected before stays behind.
    #[must_use]
    pub fn cut(&self, from: f64, to: f64) -> Self {
        let (range, channels) = (self.within(from, to), self.kind.channels());
        Self {
            kind: self.kind,
            times: self.times[range.clone()].iter().map(|t| t - from).collect(),
            values: self.values[range.start * channels..range.end * channels].to_vec(),
            rejected: 0,
        }
    }

    /// The sample nearest in time, and how many seconds away it is.
    #[must_use]
    pub fn nearest(&self, time: f64) -> Option<(usize, f64)> {
        let after = self.times.partition_point(|t| *t < time);
        let candidates = [after.checked_sub(1), Some(after)];
        candidates
            .into_iter()
            .flatten()
            .filter_map(|i| Some((i, (self.times.get(i)? - time).abs())))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_keeps_the_first_of_equals_and_drops_the_absurd() {
        let times = vec![10.0, 0.0, 5.0, 5.0, f64::NAN, 15.0, 20.0];
        let bpm = vec![60.0, 61.0, 62.0, 63.0, 64.0, 300.0, f32::NAN];
        let stream = Stream::new(StreamKind::Hr, times, bpm);
        assert_eq!(stream.times(), [0.0, 5.0, 10.0]);
        assert_eq!(stream.values(), [61.0, 62.0, 60.0]);
        assert_eq!(stream.rejected(), 4);
    }

    #[test]
    fn one_bad_channel_drops_the_sample() {
        let stream =
            Stream::new(StreamKind::Accel, vec![0.0, 1.0], vec![0.0, 0.0, 1.0, 0.0, f32::INFINITY, 1.0]);
        assert_eq!((stream.len(), stream.rejected()), (1, 1));
        assert_eq!(stream.sample(0), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn finds_by_time() {
        let stream = Stream::new(StreamKind::Hr, vec![0.0, 5.0, 12.0], vec![60.0; 3]);
        assert_eq!(stream.within(0.0, 12.0), 0..2);
        assert_eq!(stream.within(6.0, 7.0), 2..2);
        assert_eq!(stream.nearest(8.0), Some((1, 3.0)));
        assert_eq!(stream.nearest(-2.0), Some((0, 2.0)));
        assert_eq!(Stream::new(StreamKind::Hr, vec![], vec![]).nearest(0.0), None);
        let posture =
            Stream::new(StreamKind::Posture, vec![0.0, 5.0, 12.0], (0..9).map(|v| v as f32).collect());
        let cut = posture.cut(4.0, 12.0);
        assert_eq!((cut.times(), cut.values()), (&[1.0][..], &[3.0, 4.0, 5.0][..]));
    }
}
