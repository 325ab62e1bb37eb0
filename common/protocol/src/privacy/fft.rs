//! A fast Fourier transform of a power of two, without reordering: forward leaves the frequencies bit-reversed, backward
//! takes them so, and what happens between is the same for every frequency.

use std::f64::consts::TAU;

/// A complex number.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Complex {
    pub(super) re: f64,
    pub(super) im: f64,
}

impl Complex {
    fn plus(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }

    fn minus(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }

    fn conjugate(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    /// A whole power, by squaring.
    pub(super) fn power(self, mut exponent: u64) -> Self {
        let (mut power, mut square) = (Self { re: 1.0, im: 0.0 }, self);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = power.times(square);
            }
            square = square.times(square);
            exponent >>= 1;
        }
        power
    }
}

/// Transforms of one length.
pub(super) struct Fft {
    /// e^(-2 pi i k / n) for k < n/2.
    roots: Vec<Complex>,
}

impl Fft {
    /// For vectors of `length`, a power of two.
    pub(super) fn new(length: usize) -> Self {
        assert!(length.is_power_of_two() && length >= 2);
        let root = |k: usize| {
            let (sin, cos) = (-TAU * k as f64 / length as f64).sin_cos();
            Complex { re: cos, im: sin }
        };
        Self { roots: (0..length / 2).map(root).collect() }
    }

    /// Values to bit-reversed frequencies, in place (Gentleman and Sande).
    pub(super) fn forward(&self, values: &mut [Complex]) {
        let mut half = self.roots.len();
        let mut stride = 1;
        while half > 0 {
            for block in values.chunks_exact_mut(2 * half) {
                let (left, right) = block.split_at_mut(half);
                for ((a, b), root) in left.iter_mut().zip(right).zip(self.roots.iter().step_by(stride)) {
                    (*a, *b) = (a.plus(*b), a.minus(*b).times(*root));
                }
            }
            half /= 2;
            stride *= 2;
        }
    }

    /// Bit-reversed frequencies to values, in place (Cooley and Tukey).
    pub(super) fn backward(&self, frequencies: &mut [Complex]) {
        let mut half = 1;
        let mut stride = self.roots.len();
        while stride > 0 {
            for block in frequencies.chunks_exact_mut(2 * half) {
                let (left, right) = block.split_at_mut(half);
                for ((a, b), root) in left.iter_mut().zip(right).zip(self.roots.iter().step_by(stride)) {
                    let turned = b.times(root.conjugate());
                    (*a, *b) = (a.plus(turned), a.minus(turned));
                }
            }
            half *= 2;
            stride /= 2;
        }
        let scale = 1.0 / frequencies.len() as f64;
        for value in frequencies {
            *value = Complex { re: value.re * scale, im: value.im * scale };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_frequencies_is_a_repeated_convolution() {
        // Three throws of a die that shows 0 to 3 unevenly, on a circle of 16.
        let die = [0.1, 0.2, 0.3, 0.4];
        let mut expected = [0.0; 16];
        for (a, pa) in die.iter().enumerate() {
            for (b, pb) in die.iter().enumerate() {
                for (c, pc) in die.iter().enumerate() {
                    expected[a + b + c] += pa * pb * pc;
                }
            }
        }
        let mut values = [Complex::default(); 16];
        for (value, p) in values.iter_mut().zip(die) {
            value.re = p;
        }
        let fft = Fft::new(16);
        fft.forward(&mut values);
        for value in &mut values {
            *value = value.power(3);
        }
        fft.backward(&mut values);
        for (value, expected) in values.iter().zip(expected) {
            assert!((value.re - expected).abs() < 1e-15 && value.im.abs() < 1e-15);
        }
    }

    #[test]
    fn there_and_back_is_the_identity() {
        for length in [2, 4, 256] {
            let original: Vec<Complex> =
                (0..length).map(|i| Complex { re: (i as f64).sin(), im: (i * i) as f64 % 7.0 }).collect();
            let mut values = original.clone();
            let fft = Fft::new(length);
            fft.forward(&mut values);
            fft.backward(&mut values);
            for (a, b) in values.iter().zip(original) {
                assert!((a.re - b.re).abs() < 1e-13 && (a.im - b.im).abs() < 1e-13);
            }
        }
    }
}
