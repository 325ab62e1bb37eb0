//! Whether the device is worn.

use crate::Stream;
use crate::recording::EPOCH_SECONDS;

/// Epochs of the block that is judged, and from one block to the next: an hour, a quarter of an hour.
const BLOCK: usize = 120;
const STEP: usize = 30;
/// What a device that nobody wears stays below, g.
const DEVIATION: f64 = 0.013;
const RANGE: f64 = 0.05;

/// 1, or 0 in epochs of which some block around is still on two axes. Nights shorter than an hour are one block.
pub(super) fn worn(accel: &Stream, epochs: usize) -> Vec<f64> {
    let mut worn = vec![1.0; epochs];
    let last = epochs.saturating_sub(BLOCK);
    let starts = (0..last).step_by(STEP).chain([last]);
    for from in starts {
        let to = (from + BLOCK).min(epochs);
        let inside = accel.within(from as f64 * EPOCH_SECONDS, to as f64 * EPOCH_SECONDS);
        if !inside.is_empty() && (0..3).filter(|axis| still(accel, inside.clone(), *axis)).count() >= 2 {
            worn[from..to].fill(0.0);
        }
    }
    worn
}

fn still(accel: &Stream, inside: std::ops::Range<usize>, axis: usize) -> bool {
    let n = inside.len() as f64;
    let first = f64::from(accel.sample(inside.start)[axis]);
    let (mut sum, mut squares, mut low, mut high) = (0.0, 0.0, 0.0f64, 0.0f64);
    for i in inside {
        let v = f64::from(accel.sample(i)[axis]) - first;
        (sum, squares) = (sum + v, squares + v * v);
        (low, high) = (low.min(v), high.max(v));
        if high - low >= RANGE {
            return false;
        }
    }
    let mean = sum / n;
    (squares / n - mean * mean).max(0.0).sqrt() < DEVIATION
}

#[cfg(test)]
mod tests {
    use crate::{Stream, StreamKind, signal_quality};

    #[test]
    fn a_sleeper_turns_within_the_hour_a_table_never_does_and_clipping_is_seen() {
        let epochs = 480usize;
        let rate = 4usize;
        let mut values = Vec::new();
        for i in 0..epochs * 30 * rate {
            let t = i / rate;
            let turned = (t / 1800 + 1).is_multiple_of(2) || (7200..10_800).contains(&t);
            let clipped = (3000..3015).contains(&t);
            let hum = if i.is_multiple_of(2) { 0.004 } else { -0.004 };
            values.extend([
                if clipped {
                    8.0
                } else if turned {
                    0.0
                } else {
                    0.8
                },
                hum,
                if turned { -1.0 } else { -0.6 },
            ]);
        }
        let times = (0..epochs * 30 * rate).map(|i| i as f64 / rate as f64).collect();
        let accel = Stream::new(StreamKind::Accel, times, values);
        let quality = signal_quality(&accel, epochs).unwrap();
        assert_eq!(quality[10], 1.0);
        assert!((quality[100] - 0.5).abs() < 0.02, "clipped for half of it: {}", quality[100]);
        assert!(quality[240..360].iter().all(|q| *q == 0.0), "on the table");
        assert_eq!(quality[400], 1.0);
    }

    #[test]
    fn only_waveforms_are_judged() {
        assert_eq!(signal_quality(&Stream::new(StreamKind::Hr, vec![], vec![]), 3), None);
        assert_eq!(signal_quality(&Stream::new(StreamKind::Accel, vec![], vec![]), 2), Some(vec![0.0; 2]));
    }
}
