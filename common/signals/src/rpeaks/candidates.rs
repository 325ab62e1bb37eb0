//! An electrocardiogram becomes candidates: stretches that hold the energy of a QRS complex.

use crate::butterworth::BandPass;
use crate::moving::{Sums, median_of};

/// The band of QRS energy, Hz, and the order of its filter (Elgendi 2013).
const BAND: (f64, f64) = (8.0, 20.0);
const ORDER: usize = 3;
/// A QRS complex and a beat, seconds: the two moving averages.
const COMPLEX_SECONDS: f64 = 0.097;
const BEAT_SECONDS: f64 = 0.611;
/// How far the short average must rise over the long one, as a part of the mean energy.
const RISE: f64 = 0.08;
/// The mean energy is the median over this many windows to each side, so that a burst of noise is not part of it.
pub(super) const WINDOW_SECONDS: f64 = 2.0;
pub(super) const NEIGHBOURS: usize = 7;
/// A night is worked through in chunks of this many windows and margins, to need little memory.
const CHUNK: usize = 150;
const MARGIN: usize = 10;

/// A stretch of QRS-like energy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Root of the largest mean energy over a complex, in the signal's unit.
    pub(super) height: f64,
    /// The steepest change between samples, per second.
    pub(super) slope: f64,
    /// Time (s since the first sample) and height of the highest and the lowest point.
    pub(super) top: (f64, f64),
    pub(super) bottom: (f64, f64),
}

impl Candidate {
    /// The larger of the two extremes.
    pub(super) fn time(&self) -> f64 {
        if self.top.1 >= -self.bottom.1 { self.top.0 } else { self.bottom.0 }
    }
}

/// Candidates in the order of time.
pub(super) fn find(samples: &[f32], rate: f64) -> Vec<Candidate> {
    let filter = BandPass::new(ORDER, BAND.0, BAND.1, rate);
    let window = (WINDOW_SECONDS * rate).round() as usize;
    let mut found = Vec::new();
    for from in (0..samples.len()).step_by(CHUNK * window) {
        let to = (from + CHUNK * window).min(samples.len());
        let outer = from.saturating_sub(MARGIN * window);
        let chunk = &samples[outer..(to + MARGIN * window).min(samples.len())];
        let own = (from - outer) as f64 / rate..(to - outer) as f64 / rate;
        let offset = outer as f64 / rate;
        let inside = chunk_candidates(&filter.forward_backward(chunk), rate, window);
        let inside = inside.into_iter().filter(|c| own.contains(&c.time()));
        found.extend(inside.map(|c| Candidate {
            top: (c.top.0 + offset, c.top.1),
            bottom: (c.bottom.0 + offset, c.bottom.1),
            ..c
        }));
    }
    found
}

/// The stretches of a band-passed chunk in which the energy of a complex exceeds that of a beat.
fn chunk_candidates(filtered: &[f32], rate: f64, window: usize) -> Vec<Candidate> {
    let n = filtered.len();
    let energy = Sums::of(filtered.iter().map(|v| f64::from(*v).powi(2)));
    let complex = (COMPLEX_SECONDS * rate).round() as usize;
    let beat = (BEAT_SECONDS * rate).round() as usize;
    let windows: Vec<f64> = (0..n).step_by(window).map(|i| energy.mean(i..(i + window).min(n))).collect();
    let usual: Vec<f64> = (0..windows.len()).map(|w| RISE * median_of(&windows, w, NEIGHBOURS)).collect();
    let short = |i: usize| energy.around(i, complex);
    let raised = |i: usize| short(i) > energy.around(i, beat) + usual[i / window];

    let mut found = Vec::new();
    let mut from = None;
    for i in 0..=n {
        match (i < n && raised(i), from) {
            (true, None) => from = Some(i),
            (false, Some(start)) => {
                // Narrower than a complex is a spike (Elgendi 2013).
                if i - start >= complex {
                    let height = (start..i).map(short).fold(0.0, f64::max).sqrt();
                    found.push(measured(filtered, start, i, height, rate));
                }
                from = None;
            }
            _ => {}
        }
    }
    found
}

fn measured(filtered: &[f32], from: usize, to: usize, height: f64, rate: f64) -> Candidate {
    let block = &filtered[from..to];
    let slopes = block.windows(2).map(|w| f64::from(w[1] - w[0]).abs() * rate);
    let extreme = |sign: f32| {
        let best = (from..to).max_by(|a, b| (sign * filtered[*a]).total_cmp(&(sign * filtered[*b])));
        let best = best.unwrap_or(from);
        ((best as f64 + vertex(filtered, best)) / rate, f64::from(filtered[best]))
    };
    Candidate { height, slope: slopes.fold(0.0, f64::max), top: extreme(1.0), bottom: extreme(-1.0) }
}

/// Where the parabola through a sample and its neighbours has its vertex, samples from the middle one, within ±0.5.
pub(crate) fn vertex(values: &[f32], at: usize) -> f64 {
    if at == 0 || at + 1 >= values.len() {
        return 0.0;
    }
    let [a, b, c] = [values[at - 1], values[at], values[at + 1]].map(f64::from);
    let bend = a - 2.0 * b + c;
    if bend == 0.0 { 0.0 } else { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) }
}
