//! Whether a model is as often right as it says: reliability over bins of confidence, and the expected calibration error
//! (Guo et al. 2017, "On calibration of modern neural networks", ICML).

use crate::NightResult;
use serde::{Deserialize, Serialize};

/// Bins of equal width.
const BINS: usize = 10;

/// How confidence and accuracy go together, over the epochs that are scored and have a confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Epochs.
    pub n: u64,
    /// Mean |accuracy − confidence| over bins, each by its epochs: 0 is perfect.
    pub ece: f64,
    /// Bins with epochs in them, from low to high confidence.
    pub bins: Vec<Bin>,
}

/// The epochs of one bin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// From this confidence, a probability.
    pub low: f64,
    /// To below this one; 1 belongs to the last bin.
    pub high: f64,
    /// Epochs.
    pub n: u64,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share that is staged as the truth is.
    pub accuracy: f64,
}

impl Calibration {
    /// Of nights; `None` without an epoch that has a truth, a prediction and its confidence.
    #[must_use]
    pub fn of<'a>(nights: impl IntoIterator<Item = &'a NightResult>) -> Option<Self> {
        // Epochs, sum of confidence, epochs that are right.
        let mut sums = [(0_u64, 0.0_f64, 0_u64); BINS];
        for night in nights {
            for ((truth, predicted), confidence) in
                night.truth.iter().zip(&night.predicted).zip(&night.confidence)
            {
                let (Some(truth), Some(predicted), Some(confidence)) = (truth, predicted, confidence) else {
                    continue;
                };
                // In single precision, which rounds: .9 is a little less than nine tenths, and belongs to those from .9 on.
                let bin = &mut sums[((confidence * BINS as f32) as usize).min(BINS - 1)];
                let confidence = f64::from(*confidence);
                *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + u64::from(truth == predicted));
            }
        }
        let n: u64 = sums.iter().map(|bin| bin.0).sum();
        if n == 0 {
            return None;
        }
        let edge = |index: usize| index as f64 / BINS as f64;
        let filled = sums.iter().enumerate().filter(|(_, bin)| bin.0 > 0);
        let bins: Vec<Bin> = filled
            .map(|(index, &(n, confidence, right))| Bin {
                low: edge(index),
                high: edge(index + 1),
                n,
                confidence: confidence / n as f64,
                accuracy: right as f64 / n as f64,
            })
            .collect();
        let ece = bins.iter().map(|bin| bin.n as f64 * (bin.accuracy - bin.confidence).abs()).sum::<f64>()
            / n as f64;
        Some(Self { n, ece, bins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NightOptions, Staging};

    #[test]
    fn a_confidence_on_an_edge_belongs_above_it() {
        for tenths in 0_u8..10 {
            let (truth, predicted) = (vec![Some(0)], vec![Some(0)]);
            let night =
                NightResult::new("n", truth, predicted, &Staging::sleep_wake(), NightOptions::default());
            let night = night.with_confidence([f32::from(tenths) / 10.0]);
            let found = Calibration::of([&night]).unwrap();
            assert_eq!(found.bins[0].low, f64::from(tenths) / 10.0);
        }
    }

    #[test]
    fn the_error_is_the_gap_between_confidence_and_accuracy() {
        let truth = vec![Some(0), Some(0), Some(1), Some(1), None];
        let predicted = vec![Some(0), Some(1), Some(1), Some(1), Some(1)];
        let night = NightResult::new("n", truth, predicted, &Staging::sleep_wake(), NightOptions::default());
        assert_eq!(Calibration::of([&night]), None);
        let night = night.with_confidence([0.75, 0.75, 1.0, f32::NAN, 0.6]);
        let found = Calibration::of([&night]).unwrap();
        assert_eq!(found.n, 3);
        let seen: Vec<_> = found.bins.iter().map(|bin| (bin.n, bin.confidence, bin.accuracy)).collect();
        assert_eq!(seen, [(2, 0.75, 0.5), (1, 1.0, 1.0)]);
        assert!((found.ece - 2.0 * 0.25 / 3.0).abs() < 1e-12);
        assert_eq!((found.bins[1].low, found.bins[1].high), (0.9, 1.0));
    }
}
