//! Least-squares spectral power of unevenly spaced intervals.

use std::f64::consts::TAU;
use std::ops::Range;

use super::NormalIntervals;
use crate::moving::Sums;

/// The bands of the Task Force 1996, Hz: from the first up to, but not including, the second.
const LF: (f64, f64) = (0.04, 0.15);
const HF: (f64, f64) = (0.15, 0.4);

/// Power within the two bands, s².
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spectrum {
    pub(super) lf: f64,
    pub(super) hf: f64,
}

impl Spectrum {
    /// The spectrum of each range of intervals; `window` seconds set the resolution.
    ///
    /// Windows overlap by nine tenths. Running sums over the whole night, one frequency after the other, make each
    /// window a few subtractions instead of a sine per beat.
    pub(super) fn of(normal: &NormalIntervals, ranges: &[Range<usize>], window: f64) -> Vec<Self> {
        let mut spectra = vec![Self::default(); ranges.len()];
        // Sums lose digits to a large mean, and only the deviation from it matters.
        let level = normal.seconds.iter().sum::<f64>() / normal.seconds.len().max(1) as f64;
        let values: Vec<f64> = normal.seconds.iter().map(|s| s - level).collect();
        let sums = Sums::of(values.iter().copied());
        for k in (LF.0 * window).ceil() as usize.. {
            let hz = k as f64 / window;
            if hz >= HF.1 {
                break;
            }
            let sines = Sines::of(&normal.ends, &values, hz);
            for (spectrum, range) in spectra.iter_mut().zip(ranges) {
                let power = sines.power(range.clone(), sums.mean(range.clone()));
                *if hz < LF.1 { &mut spectrum.lf } else { &mut spectrum.hf } += power;
            }
        }
        spectra
    }
}

/// Running sums at one frequency.
struct Sines {
    cos: Sums,
    sin: Sums,
    cos2: Sums,
    sin_cos: Sums,
    value_cos: Sums,
    value_sin: Sums,
}

impl Sines {
    fn of(times: &[f64], values: &[f64], hz: f64) -> Self {
        let waves: Vec<(f64, f64)> = times.iter().map(|t| (t * hz * TAU).sin_cos()).collect();
        let both = || waves.iter().zip(values);
        Self {
            cos: Sums::of(waves.iter().map(|(_, c)| *c)),
            sin: Sums::of(waves.iter().map(|(s, _)| *s)),
            cos2: Sums::of(waves.iter().map(|(_, c)| c * c)),
            sin_cos: Sums::of(waves.iter().map(|(s, c)| s * c)),
            value_cos: Sums::of(both().map(|((_, c), v)| c * v)),
            value_sin: Sums::of(both().map(|((s, _), v)| s * v)),
        }
    }

    /// Half the squared amplitude of the best `a cos + b sin + c` within the range.
    fn power(&self, range: Range<usize>, mean: f64) -> f64 {
        let at = |sums: &Sums| sums.mean(range.clone());
        let (c, s, cc, cs) = (at(&self.cos), at(&self.sin), at(&self.cos2), at(&self.sin_cos));
        let (yc, ys) = (at(&self.value_cos) - mean * c, at(&self.value_sin) - mean * s);
        let (cc, ss, cs) = (cc - c * c, 1.0 - cc - s * s, cs - c * s);
        let determinant = cc * ss - cs * cs;
        // A quarter of it is what evenly spread beats have; far below, they cannot tell sine from cosine.
        if determinant < 0.01 {
            return 0.0;
        }
        let a = (yc * ss - ys * cs) / determinant;
        let b = (ys * cc - yc * cs) / determinant;
        (a * a + b * b) / 2.0
    }
}
