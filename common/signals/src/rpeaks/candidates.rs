//! An electrocardiogram becomes candidates: stretches that hold the energy of a QRS complex.

use crate::two_averages::TwoAverages;

/// Elgendi 2013.
const QRS: TwoAverages =
    TwoAverages { order: 3, band: (8.0, 20.0), energy: |v| v * v, event: 0.097, beat: 0.611, rise: 0.08 };

/// A stretch of QRS-like energy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Root of the largest mean energy over a complex, in the signal's unit.
    pub(super) height: f64,
    /// The steepest change between samples, per second.
    pub(super) slope: f64,
    /// Time (s since the first sample) and value of the highest and the lowest point.
    pub(super) top: (f64, f64),
    pub(super) bottom: (f64, f64),
}

impl Candidate {
    /// The time of the larger of the two extremes.
    pub(super) fn time(&self) -> f64 {
        if self.top.1 >= -self.bottom.1 { self.top.0 } else { self.bottom.0 }
    }
}

/// Candidates in the order of time.
pub(super) fn find(samples: &[f32], rate: f64) -> Vec<Candidate> {
    QRS.blocks(samples, rate, |block| {
        let slopes = block.samples().windows(2).map(|w| f64::from(w[1] - w[0]).abs() * rate);
        let in_seconds = |(at, value): (f64, f64)| (at / rate, value);
        Candidate {
            height: block.height,
            slope: slopes.fold(0.0, f64::max),
            top: in_seconds(block.highest()),
            bottom: in_seconds(block.lowest()),
        }
    })
}
