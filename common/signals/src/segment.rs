//! Runs without gaps, the form in which signals are filtered.

use crate::{Stream, StreamKind};

/// A gap-free run of one channel at a constant rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Time of the first sample, seconds since the recording's start.
    pub start: f64,
    /// Samples per second, above 0.
    pub rate: f64,
    /// The values, in the unit of the stream they were cut from.
    pub samples: Vec<f32>,
}

/// The signal is sampled too slowly for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{kind} at {rate} Hz: at least {least} Hz is needed")]
pub struct TooSlow {
    /// What was measured.
    pub kind: StreamKind,
    /// Its rate, Hz.
    pub rate: f64,
    /// The lowest rate that will do, Hz.
    pub least: f64,
}

/// A time off its place on the grid by more than this part of a period is moved by interpolation.
const JITTER: f64 = 0.1;

impl Segment {
    /// Cuts one channel of a stream wherever neighbouring samples are more than `bridge` seconds apart (and
    /// more than 1.5 periods, or nothing would hold together).
    ///
    /// The rate is the mean of the stream's usual steps. Samples that lie on that grid are taken as they are; jitter
    /// and the short gaps that are bridged are drawn with straight lines. Empty for fewer than two samples.
    ///
    /// # Panics
    /// When the stream has no such channel.
    #[must_use]
    pub fn cut(stream: &Stream, channel: usize, bridge: f64) -> Vec<Self> {
        let channels = stream.kind().channels();
        assert!(channel < channels, "{} has {channels} channels", stream.kind());
        let (times, values) = (stream.times(), stream.values());
        Self::runs(times.len(), |i| times[i], |i| values[i * channels + channel], bridge)
    }

    /// As [`Segment::cut`], of `count` samples whose times, strictly ascending, and values need not lie in memory.
    pub(crate) fn runs(
        count: usize,
        time: impl Fn(usize) -> f64,
        value: impl Fn(usize) -> f32,
        bridge: f64,
    ) -> Vec<Self> {
        let Some(rate) = rate_of(count, &time) else {
            return Vec::new();
        };
        let gap = bridge.max(1.5 / rate);
        let mut segments = Vec::new();
        let mut first = 0;
        for end in 1..=count {
            if end == count || time(end) - time(end - 1) > gap {
                segments.push(on_grid(end - first, |i| time(first + i), |i| value(first + i), rate));
                first = end;
            }
        }
        segments
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The time of sample `i`, which may be fractional, seconds since the recording's start.
    #[must_use]
    pub fn time(&self, i: f64) -> f64 {
        self.start + i / self.rate
    }

    /// Seconds that the samples cover, one period each.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / self.rate
    }

    pub(crate) fn fast_enough(&self, kind: StreamKind, least: f64) -> Result<(), TooSlow> {
        if self.rate < least { Err(TooSlow { kind, rate: self.rate, least }) } else { Ok(()) }
    }
}

/// The samples of a run without gaps, on the grid that begins with its first sample.
fn on_grid(count: usize, time: impl Fn(usize) -> f64, value: impl Fn(usize) -> f32, rate: f64) -> Segment {
    let start = time(0);
    let off = |i: usize| ((time(i) - start) * rate - i as f64).abs();
    let samples = if (0..count).all(|i| off(i) <= JITTER) {
        (0..count).map(&value).collect()
    } else {
        let n = ((time(count - 1) - start) * rate + JITTER) as usize + 1;
        let mut after = 0;
        let at = |i: usize| {
            let t = start + i as f64 / rate;
            while after + 1 < count && time(after) < t {
                after += 1;
            }
            let before = after.saturating_sub(1);
            let step = time(after) - time(before);
            let part = if step > 0.0 { ((t - time(before)) / step).min(1.0) } else { 0.0 };
            let (a, b) = (f64::from(value(before)), f64::from(value(after)));
            (a + (b - a) * part) as f32
        };
        (0..n).map(at).collect()
    };
    Segment { start, rate, samples }
}

/// Samples per second: one over the mean of the steps that are no longer than 1.5 times the median step.
pub(crate) fn usual_rate(times: &[f64]) -> Option<f64> {
    rate_of(times.len(), |i| times[i])
}

fn rate_of(count: usize, time: impl Fn(usize) -> f64) -> Option<f64> {
    /// Enough for a median, and nothing beside a night of samples.
    const LOOKED_AT: usize = 4096;
    let steps = count.checked_sub(1).filter(|n| *n > 0)?;
    let step = |i: usize| time(i + 1) - time(i);
    let mut some: Vec<f64> = (0..steps).step_by(steps.div_ceil(LOOKED_AT)).map(step).collect();
    some.sort_by(f64::total_cmp);
    let median = some[some.len() / 2];
    let usual = (0..steps).map(step).filter(|s| *s <= 1.5 * median);
    let (sum, n) = usual.fold((0.0, 0.0), |(sum, n), s| (sum + s, n + 1.0));
    let rate = n / sum;
    // What was meant to be 256 Hz has come through sums of 1/256 s.
    let whole = rate.round();
    Some(if (rate - whole).abs() < 1e-9 * rate { whole } else { rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ppg(times: Vec<f64>) -> Stream {
        let values = times.iter().map(|t| *t as f32).collect();
        Stream::new(StreamKind::Ppg, times, values)
    }

    #[test]
    fn a_regular_stream_is_taken_as_it_is() {
        let stream = ppg((0..1000).map(|i| 3.0 + f64::from(i) / 360.0).collect());
        let [segment] = &Segment::cut(&stream, 0, 0.0)[..] else { panic!("one run") };
        assert_eq!((segment.start, segment.rate, segment.len()), (3.0, 360.0, 1000));
        assert_eq!(segment.samples, stream.values());
        assert!(Segment::cut(&ppg(vec![]), 0, 0.0).is_empty());
        assert!(Segment::cut(&ppg(vec![1.0]), 0, 0.0).is_empty());
    }

    #[test]
    fn gaps_stay_gaps_unless_they_are_short() {
        let times = (0..500).filter(|i| !(100..103).contains(i) && !(200..300).contains(i));
        let stream = ppg(times.map(|i| f64::from(i) * 0.02).collect());
        let starts = |bridge| -> Vec<(f64, usize)> {
            Segment::cut(&stream, 0, bridge).iter().map(|s| (s.start, s.len())).collect()
        };
        assert_eq!(starts(0.0), [(0.0, 100), (2.06, 97), (6.0, 200)]);
        assert_eq!(starts(0.1), [(0.0, 200), (6.0, 200)]);
        // The bridge is a straight line, and the values were one.
        let bridged = Segment::cut(&stream, 0, 0.1).swap_remove(0);
        for (i, v) in bridged.samples.iter().enumerate() {
            assert!((f64::from(*v) - bridged.time(i as f64)).abs() < 1e-6);
        }
    }

    #[test]
    fn jitter_is_interpolated_and_channels_are_apart() {
        let jitter = |i: u32| f64::from(i * 7919 % 13) / 13.0 - 0.5;
        let times: Vec<f64> = (0..5000).map(|i| (f64::from(i) + 0.8 * jitter(i)) / 50.0).collect();
        let values = times.iter().flat_map(|t| [0.0, (*t / 10.0) as f32, 1.0]).collect();
        let stream = Stream::new(StreamKind::Accel, times, values);
        let y = Segment::cut(&stream, 1, 0.0);
        assert_eq!(y.len(), 1);
        assert!((y[0].rate - 50.0).abs() < 0.05, "{}", y[0].rate);
        for (i, v) in y[0].samples.iter().enumerate() {
            assert!((f64::from(*v) - y[0].time(i as f64) / 10.0).abs() < 1e-5);
        }
        assert!(Segment::cut(&stream, 2, 0.0)[0].samples.iter().all(|v| *v == 1.0));
    }
}
