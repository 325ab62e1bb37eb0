//! Whether two detectors see the same beats, and beats stand out.

use super::{BRIDGED_SECONDS, span};
use crate::butterworth::BandPass;
use crate::two_averages::TwoAverages;
use crate::{Segment, Stream, r_peaks};

/// The second opinion: the band of Pan and Tompkins 1985, the moving averages of Elgendi 2013, and no rule about rhythm or
/// height. It takes for a beat whatever sticks out, which in noise is more than beats.
const SECOND: TwoAverages =
    TwoAverages { order: 2, band: (5.0, 15.0), energy: |v| v * v, event: 0.097, beat: 0.611, rise: 0.08 };
/// Beats this close are the same, seconds.
const SAME: f64 = 0.15;

/// What an electrocardiogram is made of, Hz, for its kurtosis.
const BODY: (f64, f64) = (1.0, 40.0);
/// An epoch is filtered with this much to either side, seconds.
const MARGIN_SECONDS: f64 = 2.0;
/// The kurtosis of noise, and the least of beats.
const KURTOSIS: (f64, f64) = (3.0, 5.0);

/// Agreement times peakedness of each epoch.
pub(super) fn trust(ecg: &Stream, epochs: usize) -> Vec<f64> {
    let runs = Segment::cut(ecg, 0, BRIDGED_SECONDS);
    let peaked = peakedness(&runs, epochs);
    agreement(&runs, epochs).into_iter().zip(peaked).map(|(a, p)| a * p).collect()
}

/// Where the kurtosis of each epoch lies between noise (0) and beats (1): Li et al. 2008.
fn peakedness(runs: &[Segment], epochs: usize) -> Vec<f64> {
    let mut peaked = vec![0.0f64; epochs];
    for run in runs.iter().filter(|run| run.rate > 2.0 * BODY.1) {
        let filter = BandPass::new(2, BODY.0, BODY.1, run.rate);
        let margin = (MARGIN_SECONDS * run.rate) as usize;
        for (epoch, peaked) in peaked.iter_mut().enumerate() {
            let place = |t: f64| (((t - run.start) * run.rate).max(0.0) as usize).min(run.len());
            let (from, to) = (place(span(epoch).start), place(span(epoch).end));
            if from == to {
                continue;
            }
            let outer = from.saturating_sub(margin);
            let filtered = filter.forward_backward(&run.samples[outer..(to + margin).min(run.len())]);
            let part =
                (kurtosis(&filtered[from - outer..to - outer]) - KURTOSIS.0) / (KURTOSIS.1 - KURTOSIS.0);
            *peaked = part.clamp(0.0, 1.0).max(*peaked);
        }
    }
    peaked
}

/// Kurtosis of what a band-pass has left no mean; 0 without any variation.
fn kurtosis(values: &[f32]) -> f64 {
    let squares = || values.iter().map(|v| f64::from(*v).powi(2));
    let variance = squares().sum::<f64>() / values.len() as f64;
    let fourth = squares().map(|s| s * s).sum::<f64>() / values.len() as f64;
    if variance > 0.0 { fourth / (variance * variance) } else { 0.0 }
}

/// Twice the beats in common over the beats of both, of each epoch; 0 without beats.
fn agreement(runs: &[Segment], epochs: usize) -> Vec<f64> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for run in runs {
        // Too slow for R peaks is too slow to be judged.
        let Ok(beats) = r_peaks(run) else { continue };
        first.extend(beats);
        second.extend(SECOND.blocks(&run.samples, run.rate, |block| {
            let (top, bottom) = (block.highest(), block.lowest());
            run.time(if top.1 >= -bottom.1 { top.0 } else { bottom.0 })
        }));
    }
    let epoch = |epoch: usize| {
        let span = span(epoch);
        let inside = |beats: &[f64]| {
            let from = beats.partition_point(|t| *t < span.start);
            from..beats.partition_point(|t| *t < span.end)
        };
        let (a, b) = (inside(&first), inside(&second));
        let has_match = |t: &&f64| {
            let i = second.partition_point(|s| *s < **t - SAME);
            second.get(i).is_some_and(|s| *s <= **t + SAME)
        };
        let matched = first[a.clone()].iter().filter(has_match).count();
        let all = a.len() + b.len();
        if all == 0 { 0.0 } else { (2.0 * matched as f64 / all as f64).min(1.0) }
    };
    (0..epochs).map(epoch).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Stream, StreamKind, signal_quality};

    #[test]
    fn beats_are_trusted_and_flat_lines_noise_and_gaps_are_not() {
        let rate = 128.0;
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1u32 << 24) - 0.5
        };
        let (mut times, mut values) = (Vec::new(), Vec::new());
        for i in 0..(150.0 * rate) as usize {
            let t = i as f64 / rate;
            let beat = (-(((t % 0.85) - 0.4) / 0.012).powi(2) / 2.0).exp();
            let value = match (t / 30.0) as u32 {
                0 | 4 => beat + 0.02 * noise(),
                1 => 0.1,
                2 => noise(),
                _ if t < 105.0 => beat + 0.02 * noise(),
                _ => continue,
            };
            times.push(t);
            values.push(value as f32);
        }
        let ecg = Stream::new(StreamKind::Ecg, times, values);
        let quality = signal_quality(&ecg, 6).unwrap();
        assert!(quality[0] > 0.97 && quality[4] > 0.97, "{quality:?}");
        assert!(quality[1] < 0.05 && quality[2] < 0.05, "{quality:?}");
        assert!((0.4..0.6).contains(&quality[3]), "{quality:?}");
        assert_eq!(quality[5], 0.0);
    }
}
