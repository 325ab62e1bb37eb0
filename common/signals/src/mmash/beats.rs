//! When the beats were: the file stamps them to the second, and several share one.

use crate::{Stream, StreamKind};

/// Takes intervals and the seconds of the beats that end them, in their order.
///
/// Within a run of consecutive beats the intervals say how the beats lie to each other, and each stamp says within one
/// second where the run as a whole lies: together to less than a second, mostly to a few hundredths. A beat whose stamp no
/// longer fits begins a new run; there are gaps before most of those.
#[derive(Debug, Default)]
pub(super) struct Beats {
    times: Vec<f64>,
    intervals: Vec<f32>,
    run: Option<Run>,
}

/// A run: where it began among the beats, the sum of its intervals, and the range of what must be added to the sums.
#[derive(Debug, Clone, Copy)]
struct Run {
    begin: usize,
    sum: f64,
    from: f64,
    to: f64,
}

impl Beats {
    /// The beat stamped `second` came `interval` seconds after the one before it.
    pub(super) fn push(&mut self, second: u32, interval: f64) {
        let stamp = f64::from(second);
        let sum = self.run.map_or(0.0, |run| run.sum + interval);
        let continued = self.run.and_then(|run| {
            let (from, to) = (run.from.max(stamp - sum), run.to.min(stamp + 1.0 - sum));
            (sum.is_finite() && from < to).then_some(Run { sum, from, to, ..run })
        });
        self.run = continued.or_else(|| {
            self.settle();
            Some(Run { begin: self.times.len(), sum: 0.0, from: stamp, to: stamp + 1.0 })
        });
        self.times.push(self.run.map_or(stamp, |run| run.sum));
        self.intervals.push(interval as f32);
    }

    /// Moves the beats of the run to the middle of where they can be.
    fn settle(&mut self) {
        if let Some(run) = self.run.take() {
            let middle = f64::midpoint(run.from, run.to);
            for time in &mut self.times[run.begin..] {
                *time += middle;
            }
        }
    }

    pub(super) fn stream(mut self, zero: f64) -> Stream {
        self.settle();
        Stream::new(StreamKind::Ibi, self.times.iter().map(|t| t - zero).collect(), self.intervals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(beats: &[(u32, f64)]) -> Stream {
        let mut all = Beats::default();
        for (second, interval) in beats {
            all.push(*second, *interval);
        }
        all.stream(0.0)
    }

    #[test]
    fn beats_of_one_second_are_told_apart_by_their_intervals() {
        // True beats at 10.30, 10.95, 11.45, 12.05, 12.85, 13.05.
        let stamped = [(10, 0.6), (10, 0.65), (11, 0.5), (12, 0.6), (12, 0.8), (13, 0.2)];
        let found = stream(&stamped);
        assert_eq!((found.len(), found.rejected()), (6, 0));
        for (time, truth) in found.times().iter().zip([10.30, 10.95, 11.45, 12.05, 12.85, 13.05]) {
            assert!((time - truth).abs() < 0.05, "{time} for {truth}");
        }
        for (pair, interval) in found.times().windows(2).zip(&found.values()[1..]) {
            assert!((pair[1] - pair[0] - f64::from(*interval)).abs() < 1e-6);
        }
    }

    #[test]
    fn a_gap_begins_anew() {
        let found = stream(&[(10, 0.5), (11, 0.75), (40, 0.8), (41, 0.9)]);
        assert!((40.0..41.0).contains(&found.times()[2]), "{:?}", found.times());
        assert!((found.times()[3] - found.times()[2] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_interval_is_rejected_and_harms_no_other() {
        let found = stream(&[(10, 0.5), (11, f64::NAN), (11, 0.75), (33, 21.5), (34, 1.0)]);
        assert_eq!((found.len(), found.rejected()), (3, 2));
        assert!(found.times().iter().all(|t| t.is_finite()));
        assert_eq!(stream(&[]).len(), 0);
    }
}
