//! Heart-rate variability, window by window.

use std::ops::Range;

use super::NormalIntervals;
use super::spectrum::Spectrum;
use crate::View;
use crate::moving::Sums;
use crate::recording::EPOCH_SECONDS;

/// Fewer intervals than this have no variability worth a number.
const LEAST: usize = 10;
/// Neighbouring intervals that differ by more than this count for pNN50, seconds.
const NN50: f64 = 0.05;

/// Heart-rate variability of one window, by the definitions of the Task Force 1996 (doi 10.1161/01.CIR.93.5.1043).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variability {
    /// The part of the window covered by normal intervals, 0 to 1.
    pub coverage: f64,
    /// 60 over the mean interval, bpm.
    pub hr: f64,
    /// Standard deviation of the intervals, s.
    pub sdnn: f64,
    /// Root mean square of differences of neighbouring intervals, s.
    pub rmssd: f64,
    /// The part of neighbouring intervals that differ by more than 50 ms, 0 to 1.
    pub pnn50: f64,
    /// Power of the intervals within 0.04-0.15 Hz, s².
    pub lf: f64,
    /// Power of the intervals within 0.15-0.4 Hz, s².
    pub hf: f64,
}

impl NormalIntervals {
    /// Variability of each of `epochs` 30-s epochs, over a window of `window` seconds that is centred on the epoch or ends
    /// with it. `None` for fewer than 10 intervals; whoever uses it decides on a coverage.
    ///
    /// LF and HF are sums over the multiples of `1 / window` Hz of the power of the least-squares sine at
    /// that frequency (Lomb 1976 and Scargle 1982, with a floating mean), so gaps need no filling.
    #[must_use]
    pub fn variability(&self, epochs: usize, window: f64, view: View) -> Vec<Option<Variability>> {
        let ranges: Vec<Range<usize>> = (0..epochs)
            .map(|epoch| {
                let from = epoch as f64 * EPOCH_SECONDS;
                let (from, to) = view.window(from, from + EPOCH_SECONDS, window);
                let first = self.ends.partition_point(|t| *t < from);
                first..self.ends.partition_point(|t| *t < to).max(first)
            })
            .collect();
        self.variability_of(ranges, window)
    }

    /// Variability of each window of `window` seconds that begins at one of `starts`, seconds since the recording's start.
    /// `None` for fewer than 10 intervals, as in [`NormalIntervals::variability`].
    #[must_use]
    pub fn variability_from(&self, starts: &[f64], window: f64) -> Vec<Option<Variability>> {
        let until = |time: f64| self.ends.partition_point(|t| *t < time);
        self.variability_of(starts.iter().map(|from| until(*from)..until(from + window)).collect(), window)
    }

    /// Variability of ranges of intervals, each from a window of `window` seconds.
    fn variability_of(&self, ranges: Vec<Range<usize>>, window: f64) -> Vec<Option<Variability>> {
        let spectra = Spectrum::of(self, &ranges, window);
        let n = self.seconds.len();
        let values = Sums::of(self.seconds.iter().copied());
        let squares = Sums::of(self.seconds.iter().map(|s| s * s));
        let step = |i: usize| if self.follows(i) { self.seconds[i] - self.seconds[i - 1] } else { 0.0 };
        let pairs = Sums::of((0..n).map(|i| f64::from(u8::from(self.follows(i)))));
        let steps = Sums::of((0..n).map(|i| step(i).powi(2)));
        let large = Sums::of((0..n).map(|i| f64::from(u8::from(step(i).abs() > NN50))));
        let one = |(range, Spectrum { lf, hf }): (Range<usize>, Spectrum)| {
            if range.len() < LEAST {
                return None;
            }
            let count = range.len() as f64;
            let mean = values.mean(range.clone());
            let variance = (squares.mean(range.clone()) - mean * mean).max(0.0) * count / (count - 1.0);
            // The first interval's pair lies outside the window.
            let inner = range.start + 1..range.end;
            let neighbours = pairs.sum(inner.clone()).max(1.0);
            Some(Variability {
                coverage: (values.sum(range) / window).min(1.0),
                hr: 60.0 / mean,
                sdnn: variance.sqrt(),
                rmssd: (steps.sum(inner.clone()).max(0.0) / neighbours).sqrt(),
                pnn50: large.sum(inner) / neighbours,
                lf,
                hf,
            })
        };
        ranges.into_iter().zip(spectra).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::intervals;
    use super::*;
    use proptest::prelude::*;

    /// Beats whose interval is `0.8 + amplitude · sin(2π hz t)`.
    fn swinging(seconds: f64, amplitude: f64, hz: f64) -> NormalIntervals {
        let mut beats = vec![0.0];
        while beats[beats.len() - 1] < seconds {
            let t = beats[beats.len() - 1];
            beats.push(t + 0.8 + amplitude * (t * hz * std::f64::consts::TAU).sin());
        }
        NormalIntervals::of(&intervals(&beats), View::Around)
    }

    fn middle(normal: &NormalIntervals) -> Variability {
        normal.variability(40, 300.0, View::Around)[20].unwrap()
    }

    #[test]
    fn two_intervals_in_turn_have_known_variability() {
        // 0.8 and 0.9 s in turn: every difference is 0.1 s.
        let mut beats = vec![0.0];
        for i in 0..1500 {
            beats.push(beats[i] + if i % 2 == 0 { 0.8 } else { 0.9 });
        }
        let v = middle(&NormalIntervals::of(&intervals(&beats), View::Around));
        assert!((v.hr - 60.0 / 0.85).abs() < 0.05, "{v:?}");
        assert!((v.rmssd - 0.1).abs() < 1e-6 && (v.sdnn - 0.05).abs() < 2e-4, "{v:?}");
        assert_eq!(v.pnn50, 1.0);
        assert!((v.coverage - 1.0).abs() < 0.01, "{v:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_swing_is_found_in_its_band_with_its_power(amplitude in 0.01..0.08f64, hz in 0.06..0.36f64) {
            prop_assume!((hz - 0.15).abs() > 0.02);
            let v = middle(&swinging(1200.0, amplitude, hz));
            let (own, other) = if hz < 0.15 { (v.lf, v.hf) } else { (v.hf, v.lf) };
            // The interval at the end of a beat is the one that began it: a slight modulation of phase.
            prop_assert!((own / (amplitude * amplitude / 2.0) - 1.0).abs() < 0.2, "{v:?}");
            prop_assert!(other < 0.1 * own, "{v:?}");
            prop_assert!((v.sdnn / (amplitude / 2f64.sqrt()) - 1.0).abs() < 0.1, "{v:?}");
        }

        #[test]
        fn gaps_lower_the_coverage_and_little_else(share in 0.1..0.5f64) {
            let whole = swinging(1200.0, 0.05, 0.25);
            let hole = |t: f64| (t / 60.0).fract() < share;
            let kept = (0..whole.ends.len()).filter(|i| !hole(whole.ends[*i]));
            let (ends, seconds) = kept.map(|i| (whole.ends[i], whole.seconds[i])).unzip();
            let v = middle(&NormalIntervals { ends, seconds, dropped: 0 });
            let before = middle(&whole);
            prop_assert!((v.coverage - (1.0 - share)).abs() < 0.03, "{v:?}");
            prop_assert!((v.rmssd / before.rmssd - 1.0).abs() < 0.1, "{v:?} {before:?}");
            prop_assert!((v.hr / before.hr - 1.0).abs() < 0.02, "{v:?}");
        }
    }

    #[test]
    fn windows_are_centred_or_end_with_the_epoch() {
        let normal = swinging(600.0, 0.02, 0.25);
        let around = normal.variability(30, 300.0, View::Around);
        assert!((around[0].unwrap().coverage - 165.0 / 300.0).abs() < 0.01);
        assert!(around[29].is_none(), "600 s end at epoch 20");
        assert_eq!(normal.variability_from(&[15.0, 4e4], 300.0), [around[5], None]);
        let past = normal.variability(30, 300.0, View::Past);
        assert!((past[0].unwrap().coverage - 0.1).abs() < 0.01);
        assert!((past[9].unwrap().coverage - 1.0).abs() < 0.01);
    }
}
