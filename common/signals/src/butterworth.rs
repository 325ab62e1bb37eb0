//! A Butterworth band-pass run forward and backward, so that it shifts nothing in time.

use std::f64::consts::PI;

/// A cascade of second-order sections, each with zeros at +1 and −1.
#[derive(Debug, Clone)]
pub(crate) struct BandPass {
    /// The denominator `1 + a1 z^-1 + a2 z^-2` of each section.
    sections: Vec<[f64; 2]>,
    gain: f64,
}

impl BandPass {
    /// Order `order`, pass band `low..high` Hz, for samples at `rate` Hz.
    ///
    /// The analogue prototype's poles are moved to the band and mapped by the bilinear transform with
    /// pre-warped edges (as scipy's `butter(order, [low, high], "bandpass", fs=rate)`).
    pub(crate) fn new(order: usize, low: f64, high: f64, rate: f64) -> Self {
        let warp = |f: f64| 2.0 * rate * (PI * f / rate).tan();
        let (from, to) = (warp(low), warp(high));
        let centre = (from * to).sqrt();
        let mut sections = Vec::with_capacity(order);
        for k in 0..order {
            let angle = PI * (2 * k + order + 1) as f64 / (2 * order) as f64;
            let half = Complex(angle.cos(), angle.sin()).scale((to - from) / 2.0);
            let root = half.mul(half).add(Complex(-centre * centre, 0.0)).sqrt();
            for pole in [half.add(root), half.add(root.scale(-1.0))] {
                let fast = Complex(2.0 * rate, 0.0);
                let digital = fast.add(pole).div(fast.add(pole.scale(-1.0)));
                // Poles come in conjugate pairs; each pair is one section.
                if digital.1 > 0.0 {
                    sections.push([-2.0 * digital.0, digital.norm2()]);
                }
            }
        }
        debug_assert_eq!(sections.len(), order, "a wide band has real poles");
        let middle = 2.0 * (centre / (2.0 * rate)).atan();
        let mut filter = Self { sections, gain: 1.0 };
        filter.gain = 1.0 / filter.response(middle);
        filter
    }

    /// Magnitude at `w` radians per sample.
    fn response(&self, w: f64) -> f64 {
        let (z1, z2) = (Complex(w.cos(), -w.sin()), Complex((2.0 * w).cos(), -(2.0 * w).sin()));
        let one = Complex(1.0, 0.0);
        let zeros = one.add(z2.scale(-1.0)).norm2().sqrt();
        let section = |a: &[f64; 2]| zeros / one.add(z1.scale(a[0])).add(z2.scale(a[1])).norm2().sqrt();
        self.gain * self.sections.iter().map(section).product::<f64>()
    }

    /// Filters in both directions, `[n]` to `[n]`. The ends are extended by point reflection, as
    /// scipy's `filtfilt` does, over five seconds at 50 Hz or less if the signal is shorter.
    pub(crate) fn forward_backward(&self, signal: &[f32]) -> Vec<f32> {
        let (Some(first), Some(last)) = (signal.first(), signal.last()) else {
            return Vec::new();
        };
        let pad = 250.min(signal.len() - 1);
        let reflect = |end: f32, v: &f32| f64::from(2.0 * end - v);
        let before = signal[1..=pad].iter().rev().map(|v| reflect(*first, v));
        let after = signal[signal.len() - 1 - pad..signal.len() - 1].iter().rev();
        let mut padded: Vec<f64> = before
            .chain(signal.iter().map(|v| f64::from(*v)))
            .chain(after.map(|v| reflect(*last, v)))
            .collect();
        self.run(&mut padded);
        padded.reverse();
        self.run(&mut padded);
        padded.reverse();
        padded[pad..pad + signal.len()].iter().map(|v| *v as f32).collect()
    }

    /// One direction, in place. Starting from the first value rather than from zero spares the
    /// filter the step from nothing to gravity.
    fn run(&self, values: &mut [f64]) {
        let Some(base) = values.first().copied() else {
            return;
        };
        let mut states = vec![[0.0f64; 2]; self.sections.len()];
        for value in values {
            let mut x = (*value - base) * self.gain;
            for ([a1, a2], [s1, s2]) in self.sections.iter().zip(&mut states) {
                let y = x + *s1;
                *s1 = *s2 - a1 * y;
                *s2 = -x - a2 * y;
                x = y;
            }
            *value = x;
        }
    }
}

/// Just enough complex arithmetic to place poles.
#[derive(Debug, Clone, Copy)]
struct Complex(f64, f64);

impl Complex {
    fn add(self, o: Self) -> Self {
        Self(self.0 + o.0, self.1 + o.1)
    }

    fn mul(self, o: Self) -> Self {
        Self(self.0 * o.0 - self.1 * o.1, self.0 * o.1 + self.1 * o.0)
    }

    fn div(self, o: Self) -> Self {
        self.mul(Self(o.0, -o.1)).scale(1.0 / o.norm2())
    }

    fn scale(self, k: f64) -> Self {
        Self(self.0 * k, self.1 * k)
    }

    fn norm2(self) -> f64 {
        self.0 * self.0 + self.1 * self.1
    }

    fn sqrt(self) -> Self {
        let norm = self.norm2().sqrt();
        let real = ((norm + self.0) / 2.0).max(0.0).sqrt();
        let imaginary = ((norm - self.0) / 2.0).max(0.0).sqrt();
        Self(real, imaginary.copysign(self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_the_band_and_stops_the_rest() {
        let filter = BandPass::new(5, 3.0, 11.0, 50.0);
        let at = |hz: f64| filter.response(2.0 * PI * hz / 50.0);
        assert!((at(6.0) - 1.0).abs() < 1e-3);
        for edge in [3.0, 11.0] {
            assert!((at(edge) - 0.5f64.sqrt()).abs() < 1e-9, "{}", at(edge));
        }
        // scipy.signal.freqz of butter(5, [3/25, 11/25], "bandpass").
        let scipy = [(1.0, 1.194_734e-3), (2.0, 5.843_087e-2), (14.0, 7.150_585e-2), (20.0, 4.115_237e-4)];
        for (hz, magnitude) in scipy {
            assert!((at(hz) / magnitude - 1.0).abs() < 1e-5, "{} at {hz} Hz", at(hz));
        }
    }

    #[test]
    fn agrees_with_scipy_filtfilt() {
        let signal = |i: u16| {
            let t = f64::from(i);
            let step = if i > 200 { 0.5 } else { 0.0 };
            ((t * 0.9).sin() + 0.3 * (t * 0.11).cos() + step - 0.9) as f32
        };
        let signal: Vec<f32> = (0..400).map(signal).collect();
        let filtered = BandPass::new(5, 3.0, 11.0, 50.0).forward_backward(&signal);
        assert_eq!(filtered.len(), 400);
        // scipy extends the ends by 33 samples, this by 250: late digits differ.
        for (i, expected) in [(50, 0.850_712), (199, -0.206_834), (201, -0.886_223), (260, 0.998_048)] {
            assert!((filtered[i] - expected).abs() < 1e-3, "{} at {i}", filtered[i]);
        }
        assert!(BandPass::new(5, 3.0, 11.0, 50.0).forward_backward(&[]).is_empty());
    }
}
