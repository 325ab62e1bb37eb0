//! Activity features: the logarithm of the two 15-second counts of an epoch.

use crate::recording::EPOCH_SECONDS;
use crate::{Features, Stream, View};

/// Counts per epoch.
const WINDOWS: usize = 2;
/// Seconds a count covers.
const WINDOW_SECONDS: f64 = EPOCH_SECONDS / WINDOWS as f64;

/// `[epochs, 2]`: log(1 + count) of the first and the second half of the epoch, or of the last two counts that were
/// complete by then.
pub(super) fn features(counts: &Stream, epochs: usize, view: View) -> Features {
    let mut values = Vec::with_capacity(epochs * WINDOWS);
    let mut present = Vec::with_capacity(epochs);
    for epoch in 0..epochs {
        let windows = [0, 1].map(|w| {
            let start = (epoch * WINDOWS + w) as f64 * WINDOW_SECONDS;
            match view {
                View::Around => nearest(counts, start),
                View::Past => latest(counts, start),
            }
        });
        // Half an epoch speaks for the other half: movement comes in bouts.
        let pair = match windows {
            [Some(a), Some(b)] => Some([a, b]),
            [Some(a), None] | [None, Some(a)] => Some([a, a]),
            [None, None] => None,
        };
        values.extend(pair.unwrap_or_default().map(f32::ln_1p));
        present.push(pair.is_some());
    }
    Features { width: WINDOWS, values, present }
}

/// The count whose window begins nearest to `start`. Time stamps of the published counts drift
/// by a millisecond a window, so an exact grid does not exist; a begin more than 10 s away is a gap.
fn nearest(counts: &Stream, start: f64) -> Option<f32> {
    let (i, away) = counts.nearest(start)?;
    (away <= 10.0).then(|| counts.values()[i])
}

/// The latest count whose window begins no later than `start`, and less than a window sooner: where windows and
/// epochs do not begin together, the one that fits best would end in the future.
fn latest(counts: &Stream, start: f64) -> Option<f32> {
    let i = counts.times().partition_point(|t| *t <= start).checked_sub(1)?;
    (start - counts.times()[i] < WINDOW_SECONDS).then(|| counts.values()[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamKind;

    #[test]
    fn counts_are_logged_and_gaps_are_absent() {
        // Windows of 15.016 s: the published drift. Nothing between 60 and 120 s.
        let times = vec![0.016, 15.032, 30.048, 45.064, 120.1];
        let counts = vec![0.0, 3.07, 0.0, 170.0, 6.14];
        let stream = Stream::new(StreamKind::Activity, times, counts);
        let f = features(&stream, 5, View::Around);
        assert_eq!(f.epoch(0), [0.0, 3.07f32.ln_1p()]);
        assert_eq!(f.epoch(1), [0.0, 170.0f32.ln_1p()]);
        assert_eq!(f.present, [true, true, false, false, true]);
        assert_eq!(f.epoch(4), [6.14f32.ln_1p(); 2]);
        let past = features(&stream, 6, View::Past);
        // The window from 15.032 s ends after the epoch; the one before it speaks for both halves.
        assert_eq!(past.epoch(0), [0.0; 2]);
        assert_eq!(past.epoch(1), [3.07f32.ln_1p(), 0.0]);
        assert_eq!(past.present, [true, true, true, false, true, false]);
    }
}
