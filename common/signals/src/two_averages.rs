//! Events found by two moving averages of a band-passed signal's energy, one as long as the event and one as long as a beat.
//!
//! Elgendi et al. give constants for QRS complexes (2013, doi 10.1371/journal.pone.0073557) and for systolic peaks (2013, doi
//! 10.1371/journal.pone.0076585). Their offset is a part of the mean energy of a whole record; here it is a part of the usual energy of the
//! half minute around, so that a burst of noise does not silence a night.

use std::ops::Range;

use crate::butterworth::BandPass;
use crate::moving::{Sums, median_of};

/// The usual energy is the median over windows of this many seconds, and this many of them to each side.
pub(crate) const WINDOW_SECONDS: f64 = 2.0;
pub(crate) const NEIGHBOURS: usize = 7;
/// A night is worked through in chunks of this many windows and margins, to need little memory.
const CHUNK: usize = 150;
const MARGIN: usize = 10;

/// The constants of one kind of event.
#[derive(Debug)]
pub(crate) struct TwoAverages {
    /// Order and pass band (Hz) of the filter.
    pub(crate) order: usize,
    pub(crate) band: (f64, f64),
    /// What of the filtered signal counts.
    pub(crate) energy: fn(f64) -> f64,
    /// Seconds of an event, and of a beat.
    pub(crate) event: f64,
    pub(crate) beat: f64,
    /// How far the short average must rise over the long one, as a part of the usual energy.
    pub(crate) rise: f64,
}

/// A stretch of the signal in which the short average exceeds the long one.
pub(crate) struct Block<'a> {
    /// The filtered signal around it.
    chunk: &'a [f32],
    /// Where the block lies in it.
    range: Range<usize>,
    /// Index of the chunk's first sample in the signal.
    offset: usize,
    /// Root of the largest mean energy over an event, in the signal's unit.
    pub(crate) height: f64,
}

impl TwoAverages {
    /// The blocks of a signal at `rate` Hz in the order of time. Those shorter than an event are spikes and left out.
    pub(crate) fn blocks<T>(&self, signal: &[f32], rate: f64, take: impl Fn(Block<'_>) -> T) -> Vec<T> {
        let filter = BandPass::new(self.order, self.band.0, self.band.1, rate);
        let window = (WINDOW_SECONDS * rate).round() as usize;
        let mut found = Vec::new();
        for from in (0..signal.len()).step_by(CHUNK * window) {
            let to = (from + CHUNK * window).min(signal.len());
            let outer = from.saturating_sub(MARGIN * window);
            let chunk = &signal[outer..(to + MARGIN * window).min(signal.len())];
            let own = from - outer..to - outer;
            self.chunk(&filter.forward_backward(chunk), rate, window, |chunk, range, height| {
                if own.contains(&range.start) {
                    found.push(take(Block { chunk, range, offset: outer, height }));
                }
            });
        }
        found
    }

    fn chunk(
        &self,
        samples: &[f32],
        rate: f64,
        window: usize,
        mut visit: impl FnMut(&[f32], Range<usize>, f64),
    ) {
        let n = samples.len();
        let energy = Sums::of(samples.iter().map(|v| (self.energy)(f64::from(*v))));
        let event = (self.event * rate).round() as usize;
        let beat = (self.beat * rate).round() as usize;
        let windows: Vec<f64> = (0..n).step_by(window).map(|i| energy.mean(i..(i + window).min(n))).collect();
        let rise: Vec<f64> =
            (0..windows.len()).map(|w| self.rise * median_of(&windows, w, NEIGHBOURS)).collect();
        let mut open: Option<(usize, f64)> = None;
        for i in 0..=n {
            let short = if i < n { energy.around(i, event) } else { 0.0 };
            if i < n && short > energy.around(i, beat) + rise[i / window] {
                let (start, most) = open.unwrap_or((i, short));
                open = Some((start, most.max(short)));
            } else if let Some((start, most)) = open.take()
                && i - start >= event
            {
                visit(samples, start..i, most.sqrt());
            }
        }
    }
}

impl Block<'_> {
    /// The filtered samples.
    pub(crate) fn samples(&self) -> &[f32] {
        &self.chunk[self.range.clone()]
    }

    /// Index in the signal, to a fraction of a sample, and value of the highest point.
    pub(crate) fn highest(&self) -> (f64, f64) {
        self.extreme(1.0)
    }

    /// As [`Block::highest`].
    pub(crate) fn lowest(&self) -> (f64, f64) {
        self.extreme(-1.0)
    }

    fn extreme(&self, sign: f32) -> (f64, f64) {
        let value = |i: usize| sign * self.chunk[i];
        let best = self.range.clone().max_by(|a, b| value(*a).total_cmp(&value(*b)));
        let best = best.unwrap_or(self.range.start);
        let around = &self.chunk[best.saturating_sub(1)..(best + 2).min(self.chunk.len())];
        ((self.offset + best) as f64 + vertex(around), f64::from(self.chunk[best]))
    }

    /// Index in the signal, to a fraction of a sample, of the steepest rise within `reach` samples before the highest point.
    pub(crate) fn steepest_rise(&self, reach: usize) -> f64 {
        let top = (self.highest().0 - self.offset as f64).round() as usize;
        let rise = |i: usize| self.chunk[i + 1] - self.chunk[i];
        let steepest = (top.saturating_sub(reach)..top).max_by(|a, b| rise(*a).total_cmp(&rise(*b)));
        let at = steepest.unwrap_or(top);
        let between = if at > 0 && at + 2 < self.chunk.len() {
            vertex(&[rise(at - 1), rise(at), rise(at + 1)])
        } else {
            0.0
        };
        (self.offset + at) as f64 + 0.5 + between
    }
}

/// Where the parabola through three neighbours has its vertex, samples from the middle one, within ±0.5; 0 at the ends of a
/// signal, where there are only two.
fn vertex(values: &[f32]) -> f64 {
    let &[a, b, c] = values else {
        return 0.0;
    };
    let [a, b, c] = [a, b, c].map(f64::from);
    let bend = a - 2.0 * b + c;
    if bend == 0.0 { 0.0 } else { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vertex_of_a_parabola_is_found() {
        for shift in [-0.4, 0.0, 0.3] {
            let at = |i: f32| 1.0 - (i - 1.0 - shift).powi(2);
            assert!((vertex(&[at(0.0), at(1.0), at(2.0)]) - f64::from(shift)).abs() < 1e-5);
        }
        assert_eq!(vertex(&[1.0, 1.0, 1.0]), 0.0);
        assert_eq!(vertex(&[1.0, 0.0]), 0.0);
    }
}
