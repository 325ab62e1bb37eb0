//! Updates that the server sees, clipped as they come in.

use crate::checkpoint::{bytes_of, floats};
use crate::fault::Fault;
use crate::privacy::veil::Veil;
use crate::sum::Sum;

/// Updates are clipped this much below the norm, so that the rounding of single precision cannot lift them over it.
const MARGIN: f64 = 1.0 - 1.0 / 65536.0;

/// Their sum; every client weighs 1.
pub struct ClippedSum {
    sum: Sum,
    norm: f64,
    short: u32,
}

impl ClippedSum {
    /// Nothing yet, for updates of `len` numbers that are no longer than `norm`.
    pub fn new(len: usize, norm: f64) -> Self {
        Self { sum: Sum::new(len), norm, short: 0 }
    }

    /// Adds one update, little-endian f32, shortened to the norm if it is longer.
    ///
    /// # Errors
    /// A [`Fault`] of the client; nothing has changed then.
    pub fn add(&mut self, update: &[u8]) -> Result<(), Fault> {
        let numbers = floats(update);
        let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        // What is no number stays none, and is refused.
        if length > self.norm && length.is_finite() {
            let factor = self.norm * MARGIN / length;
            let clipped: Vec<f32> =
                numbers.iter().map(|number| (f64::from(*number) * factor) as f32).collect();
            return self.sum.add(&bytes_of(&clipped), 1, 0.0);
        }
        self.sum.add(update, 1, 0.0)?;
        self.short += 1;
        Ok(())
    }

    /// The mean over the veil's denominator, with its noise.
    pub fn veiled(&self, veil: &Veil) -> Vec<f32> {
        self.sum.veiled(self.norm, veil)
    }

    /// Number of updates.
    pub fn updates(&self) -> u32 {
        self.sum.updates()
    }

    /// Updates that were not clipped.
    pub fn short(&self) -> u32 {
        self.short
    }
}

#[cfg(test)]
mod tests {
    use super::super::veil::Source;
    use super::*;

    #[test]
    fn what_is_too_long_is_shortened_and_what_is_no_number_is_refused() {
        let mut sum = ClippedSum::new(2, 5.0);
        sum.add(&bytes_of(&[1.0, -2.0])).unwrap();
        sum.add(&bytes_of(&[300.0, 400.0])).unwrap();
        assert_eq!(sum.add(&bytes_of(&[f32::NAN, 0.0])), Err(Fault::NotFinite { index: 0 }));
        assert!(matches!(sum.add(&bytes_of(&[0.0])), Err(Fault::WrongLength { .. })));
        assert_eq!((sum.updates(), sum.short()), (2, 1));
        // Over a denominator of 4, whoever is there.
        let mean = sum.veiled(&Veil::new(4, 1.0, 0.0, Source::Clients));
        assert!((mean[0] - 1.0).abs() < 1e-4 && (mean[1] - 0.5).abs() < 1e-4, "{mean:?}");
    }
}
