//! Whether pulses look alike.

use super::{BRIDGED_SECONDS, span};
use crate::butterworth::BandPass;
use crate::moving::median;
use crate::{Segment, Stream, pulses};

/// The band in which shapes are compared, Hz, as wide as pulses are looked for.
const BAND: (f64, f64) = (0.5, 8.0);
/// Fewer pulses have no average.
const LEAST: usize = 5;

/// Mean correlation of an epoch's pulses with their average, not below 0; 0 for fewer than five pulses.
pub(super) fn likeness(ppg: &Stream, epochs: usize) -> Vec<f64> {
    let mut likeness = vec![0.0; epochs];
    for run in Segment::cut(ppg, 0, BRIDGED_SECONDS) {
        let Ok(times) = pulses(&run) else { continue };
        let filtered = BandPass::new(2, BAND.0, BAND.1, run.rate).forward_backward(&run.samples);
        for (epoch, likeness) in likeness.iter_mut().enumerate() {
            let span = span(epoch);
            let from = times.partition_point(|t| *t < span.start);
            let inside = &times[from..times.partition_point(|t| *t < span.end)];
            let places: Vec<f64> = inside.iter().map(|t| (t - run.start) * run.rate).collect();
            // An epoch in two runs is as good as the better of them; what is missing costs elsewhere.
            *likeness = correlation(&filtered, &places).max(*likeness);
        }
    }
    likeness
}

fn correlation(signal: &[f32], places: &[f64]) -> f64 {
    let mut steps: Vec<f64> = places.windows(2).map(|w| w[1] - w[0]).collect();
    let Some(step) = median(&mut steps) else {
        return 0.0;
    };
    let half = (step / 2.0) as usize;
    let around = |place: &f64| {
        let middle = place.round() as usize;
        signal.get(middle.checked_sub(half)?..=middle + half)
    };
    let shapes: Vec<&[f32]> = places.iter().filter_map(around).collect();
    if shapes.len() < LEAST {
        return 0.0;
    }
    let average: Vec<f64> = (0..=2 * half)
        .map(|i| shapes.iter().map(|s| f64::from(s[i])).sum::<f64>() / shapes.len() as f64)
        .collect();
    let sum: f64 = shapes.iter().map(|shape| pearson(shape, &average)).sum();
    (sum / shapes.len() as f64).max(0.0)
}

fn pearson(a: &[f32], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let pairs = || a.iter().map(|v| f64::from(*v)).zip(b.iter().copied());
    let (ma, mb) = (pairs().map(|p| p.0).sum::<f64>() / n, pairs().map(|p| p.1).sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in pairs().map(|(x, y)| (x - ma, y - mb)) {
        (ab, aa, bb) = (ab + x * y, aa + x * x, bb + y * y);
    }
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use crate::{Stream, StreamKind, signal_quality};

    #[test]
    fn pulses_alike_are_trusted_and_shaken_ones_are_not() {
        let rate = 64.0;
        let mut state = 7u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1u32 << 24) - 0.5
        };
        let mut slow = 0.0;
        let value = |i: u32| {
            let t = f64::from(i) / rate;
            let pulse = 40.0 * (-(((t % 0.9) - 0.3) / 0.1).powi(2) / 2.0).exp() + noise();
            // A hand that moves: noise of the band of pulses, larger than they are.
            slow = 0.85 * slow + 60.0 * noise();
            (if t < 30.0 { pulse } else { pulse + slow }) as f32
        };
        let values: Vec<f32> = (0..64 * 60).map(value).collect();
        let times = (0..values.len()).map(|i| i as f64 / rate).collect();
        let quality = signal_quality(&Stream::new(StreamKind::Ppg, times, values), 3).unwrap();
        assert!(quality[0] > 0.95 && quality[1] < 0.86, "{quality:?}");
        assert_eq!(quality[2], 0.0);
    }
}
