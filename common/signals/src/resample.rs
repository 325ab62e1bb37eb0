//! Another rate, without aliases.

use std::f64::consts::PI;

use crate::Segment;

/// Half the kernel's length in periods of the slower rate, its cut-off as a part of that rate, and the shape of its Kaiser
/// window: 60 dB are reached between .425 and .5 of the slower rate (Kaiser 1974).
const HALF: f64 = 24.0;
const CUTOFF: f64 = 0.462;
const BETA: f64 = 5.653;
/// The most kernels kept, one for each place an output can have between two inputs.
const MOST_PHASES: usize = 1024;
const MOST_TAPS: usize = 1 << 20;
/// Where there are more places, kernels are interpolated between this many per period of the slower rate (error -100 dB).
const PHASES: f64 = 512.0;

impl Segment {
    /// The same signal at `rate` Hz, by a Kaiser-windowed sinc: frequencies up to .85 of the lower of both
    /// Nyquist frequencies keep their amplitude to one part in a thousand, those above that Nyquist frequency lose 55 dB.
    ///
    /// Begins with the first sample and ends at or before the last. Within 24 periods of the slower rate from either end
    /// part of the kernel has nothing to stand on, and the rest is weighted up: constants stay exact, sines less so.
    ///
    /// # Panics
    /// When `rate` is not above 0.
    #[must_use]
    pub fn resampled(&self, rate: f64) -> Self {
        assert!(rate > 0.0 && rate.is_finite(), "{rate} Hz is no rate");
        let Some(last) = self.samples.len().checked_sub(1) else {
            return Self { start: self.start, rate, samples: Vec::new() };
        };
        let step = self.rate / rate;
        let kernels = Kernels::new(step);
        // An output that rounding puts just past the last sample is still on it.
        let n = (last as f64 / step + 1e-9) as usize + 1;
        let samples = (0..n).map(|k| kernels.at(&self.samples, k as f64 * step) as f32).collect();
        Self { start: self.start, rate, samples }
    }
}

/// The kernel at every place between two inputs, `[phases + 1, taps]`, each place with sum 1.
struct Kernels {
    phases: usize,
    /// Taps to each side.
    reach: usize,
    taps: Vec<f64>,
}

impl Kernels {
    /// For outputs `step` inputs apart.
    fn new(step: f64) -> Self {
        let slow = step.recip().min(1.0);
        let reach = (HALF / slow).ceil() as usize;
        let exact = (1..=MOST_PHASES.min(MOST_TAPS / (2 * reach)))
            .find(|phases| (step * *phases as f64 - (step * *phases as f64).round()).abs() < 1e-9);
        let phases = exact.unwrap_or((PHASES * slow).ceil() as usize);
        let mut taps = Vec::with_capacity((phases + 1) * 2 * reach);
        for phase in 0..=phases {
            let between = phase as f64 / phases as f64;
            let first = taps.len();
            taps.extend((0..2 * reach).map(|i| {
                let t = (i as f64 - (reach - 1) as f64 - between) * slow;
                sinc(2.0 * CUTOFF * t) * kaiser(t / HALF)
            }));
            let sum: f64 = taps[first..].iter().sum();
            taps[first..].iter_mut().for_each(|tap| *tap /= sum);
        }
        Self { phases, reach, taps }
    }

    /// The signal at `place`, in samples.
    fn at(&self, samples: &[f32], place: f64) -> f64 {
        let before = (place + 1e-9).floor();
        let phase = ((place - before) * self.phases as f64).clamp(0.0, self.phases as f64);
        let (nearest, lower) = (phase.round(), phase.floor());
        if (phase - nearest).abs() < 1e-5 {
            return self.apply(samples, before as usize, nearest as usize);
        }
        let [a, b] = [0, 1].map(|i| self.apply(samples, before as usize, lower as usize + i));
        a + (b - a) * (phase - lower)
    }

    fn apply(&self, samples: &[f32], before: usize, phase: usize) -> f64 {
        let taps = &self.taps[phase * 2 * self.reach..][..2 * self.reach];
        // The first tap stands on sample `before + 1 - reach`.
        let skipped = self.reach.saturating_sub(before + 1);
        let from = (before + 1).saturating_sub(self.reach);
        let to = (before + 1 + self.reach).min(samples.len());
        let taps = &taps[skipped..skipped + (to - from)];
        let products = samples[from..to].iter().zip(taps).map(|(v, tap)| f64::from(*v) * tap);
        let sum: f64 = products.sum();
        if taps.len() == 2 * self.reach { sum } else { sum / taps.iter().sum::<f64>() }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Kaiser window on -1..=1, 1 in the middle but for a constant.
fn kaiser(x: f64) -> f64 {
    if x.abs() > 1.0 { 0.0 } else { bessel(BETA * (1.0 - x * x).sqrt()) }
}

/// The modified Bessel function of the first kind and order 0, by its series.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sine(rate: f64, hz: f64, n: usize) -> Segment {
        let at = |i: usize| (2.0 * PI * hz * i as f64 / rate + 0.3).sin() as f32;
        Segment { start: 5.0, rate, samples: (0..n).map(at).collect() }
    }

    /// The largest distance from a sine of `hz`, or from 0, away from the ends.
    fn off(segment: &Segment, slower: f64, hz: Option<f64>) -> f64 {
        let edge = (HALF / slower * segment.rate).ceil() as usize;
        assert!(segment.len() > 2 * edge + 10, "{} samples", segment.len());
        let inner = edge..segment.len() - edge;
        let expected = |i: usize| hz.map_or(0.0, |hz| (2.0 * PI * hz * i as f64 / segment.rate + 0.3).sin());
        inner.map(|i| (f64::from(segment.samples[i]) - expected(i)).abs()).fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_fits_survives_and_what_does_not_is_gone(
            from in prop::sample::select(vec![20.0, 25.0, 32.0, 51.3, 64.0, 100.0, 128.0, 250.0, 256.0, 360.0]),
            to in prop::sample::select(vec![20.0, 25.0, 30.0, 34.1, 50.0, 64.0, 100.0, 125.0, 256.0, 31.4159]),
            part in 0.01..0.85f64,
            beyond in 0.0..1.0f64,
        ) {
            let n = (4.0 * HALF * from / f64::min(from, to)) as usize + 300;
            let slower = f64::min(from, to);
            let hz = part * slower / 2.0;
            let kept = sine(from, hz, n).resampled(to);
            prop_assert!(off(&kept, slower, Some(hz)) < 1.5e-3, "{}", off(&kept, slower, Some(hz)));
            prop_assert_eq!((kept.start, kept.rate), (5.0, to));
            prop_assert_eq!(kept.len(), ((n - 1) as f64 * to / from + 1e-9) as usize + 1);
            if to < from {
                let hz = to / 2.0 + beyond * (from - to) / 2.0;
                let gone = sine(from, hz, n).resampled(to);
                // 55 dB; 40 are asked for.
                prop_assert!(off(&gone, slower, None) < 1.8e-3, "{} at {hz} Hz", off(&gone, slower, None));
            }
        }

        #[test]
        fn there_and_back_is_the_same(
            rate in prop::sample::select(vec![64.0, 100.0, 256.0, 317.3]),
            part in 0.01..0.85f64,
        ) {
            // Down to 50 Hz and back, of what fits below.
            let hz = part * 25.0;
            let signal = sine(rate, hz, (rate * 6.0) as usize);
            let back = signal.resampled(50.0).resampled(rate);
            let inner = (rate * 1.2) as usize..(rate * 4.5) as usize;
            for i in inner {
                prop_assert!((back.samples[i] - signal.samples[i]).abs() < 3e-3);
            }
        }
    }

    #[test]
    fn constants_are_exact_to_the_ends_and_nothing_stays_nothing() {
        let flat = Segment { start: 0.0, rate: 64.0, samples: vec![-0.75; 33] };
        for rate in [7.0, 50.0, 64.0, 200.1] {
            let flat = flat.resampled(rate);
            assert!(flat.samples.iter().all(|v| (v + 0.75).abs() < 1e-6), "{rate} Hz");
        }
        let empty = Segment { start: 1.0, rate: 64.0, samples: vec![] }.resampled(10.0);
        assert_eq!((empty.start, empty.rate, empty.len()), (1.0, 10.0, 0));
        let one = Segment { start: 1.0, rate: 64.0, samples: vec![2.0] }.resampled(1000.0);
        assert_eq!(one.samples, [2.0]);
    }
}
