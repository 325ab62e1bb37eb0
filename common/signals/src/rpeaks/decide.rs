//! Candidates become beats: the sequence in which tall complexes follow each other most evenly.

use super::candidates::Candidate;
use crate::moving::{median, median_of};
use crate::two_averages::{NEIGHBOURS, WINDOW_SECONDS};

/// A complex of this part of the usual height is as likely a beat as noise (Hamilton and Tompkins 1986).
const EVEN: f64 = 0.3125;
/// A complex of this part is one when intervals are looked at for the first time: a quarter of the energy (Pan and
/// Tompkins 1985).
const SURE: f64 = 0.5;
/// Two beats are never closer, seconds.
const REFRACTORY: f64 = 0.2;
/// A wave this soon after a beat with less than half its slope is its T wave, seconds.
const T_WAVE: f64 = 0.36;
/// Beats to each side that say what interval is usual.
const USUAL: usize = 7;
/// The second time, what is usual comes from a sequence that is already even.
const PASSES: usize = 2;
/// What the logarithm of an interval costs against what the logarithm of height gains: of a short one, so that noise
/// of half the height between two beats is none; of a long one, so that where one beat is missing half of [`EVEN`]
/// will do for it (the search-back of Pan and Tompkins 1985).
const EARLY: f64 = 0.5;
const LATE: f64 = 1.0;
/// An interval this many times as long as usual, or longer, costs the same: a pause.
const PAUSE: f64 = 3.0;
/// The usual height is never below this part of its median over the whole signal: what a lead that fell off
/// picks up is not heartbeats.
const FLOOR: f64 = 0.1;

/// Times of beats, seconds since the first sample.
pub(super) fn beats(candidates: &[Candidate]) -> Vec<f64> {
    let heights = heights(candidates);
    let mut beats: Vec<usize> = (0..candidates.len()).filter(|i| heights[*i] >= SURE).collect();
    for _ in 0..PASSES {
        beats = most_even(candidates, &heights, &usual_intervals(candidates, &beats));
    }
    let mut times = one_side(candidates, &beats);
    times.dedup_by(|later, earlier| *later - *earlier < REFRACTORY);
    times
}

/// The height of each candidate as a part of the usual one around it.
fn heights(candidates: &[Candidate]) -> Vec<f64> {
    let window = |c: &Candidate| (c.time().max(0.0) / WINDOW_SECONDS) as usize;
    let mut highest = vec![0.0f64; candidates.last().map_or(0, |c| window(c) + 1)];
    for candidate in candidates {
        let w = window(candidate);
        highest[w] = highest[w].max(candidate.height);
    }
    let floor = FLOOR * median(&mut highest.clone()).unwrap_or(0.0);
    let usual: Vec<f64> = (0..highest.len()).map(|w| median_of(&highest, w, NEIGHBOURS).max(floor)).collect();
    candidates.iter().map(|c| c.height / usual[window(c)]).collect()
}

/// The usual interval between beats around each candidate, seconds.
fn usual_intervals(candidates: &[Candidate], beats: &[usize]) -> Vec<f64> {
    let intervals: Vec<f64> =
        beats.windows(2).map(|w| candidates[w[1]].time() - candidates[w[0]].time()).collect();
    let usual: Vec<f64> = (0..intervals.len()).map(|i| median_of(&intervals, i, USUAL)).collect();
    let at = |i: usize| {
        let near = beats.partition_point(|b| *b < i).min(usual.len().saturating_sub(1));
        usual.get(near).copied().unwrap_or(1.0).max(REFRACTORY)
    };
    (0..candidates.len()).map(at).collect()
}

/// The sequence with the largest sum of log heights over [`EVEN`] less the costs of its intervals, by dynamic
/// programming: the best sequence that ends with a candidate is the best that ends with an earlier one, and a step.
fn most_even(candidates: &[Candidate], heights: &[f64], usual: &[f64]) -> Vec<usize> {
    let mut best: Vec<Ending> = Vec::with_capacity(candidates.len());
    for (i, candidate) in candidates.iter().enumerate() {
        let gain = (heights[i].clamp(1e-3, 1.0) / EVEN).ln();
        let (mut score, mut before) = (gain, None);
        for j in (0..i).rev() {
            let interval = candidate.time() - candidates[j].time();
            // After a pause every step costs the same, and only the best sequence so far can be the best.
            let pause = interval > PAUSE * usual[i];
            let j = if pause { best[j].leader } else { j };
            let t_wave = interval < T_WAVE && candidate.slope < 0.5 * candidates[j].slope;
            let through = best[j].score + gain - cost(interval / usual[i]);
            if interval >= REFRACTORY && !t_wave && through > score {
                (score, before) = (through, Some(j));
            }
            if pause {
                break;
            }
        }
        let leader = best.last().map(|b| b.leader).filter(|l| best[*l].score >= score);
        best.push(Ending { score, before, leader: leader.unwrap_or(i) });
    }
    let last = best.last().map(|b| b.leader);
    let mut beats: Vec<usize> = std::iter::successors(last, |i| best[*i].before).collect();
    beats.reverse();
    beats
}

/// The best sequence that ends with a candidate.
struct Ending {
    score: f64,
    /// The beat before.
    before: Option<usize>,
    /// The candidate up to this one with which the best sequence of all ends.
    leader: usize,
}

/// What an interval costs, given as a multiple of the usual one.
fn cost(interval: f64) -> f64 {
    let late = interval.min(PAUSE).ln();
    if late > 0.0 { LATE * late } else { -EARLY * late }
}

/// The time of each beat, at its top or its bottom, whichever is larger in most of the beats around it. A
/// beat of the other kind (a ventricular one, say) whose extreme on that side is small is timed on its own.
fn one_side(candidates: &[Candidate], beats: &[usize]) -> Vec<f64> {
    let lean = |k: &usize| candidates[*k].top.1 + candidates[*k].bottom.1;
    let leans: Vec<f64> = beats.iter().map(lean).collect();
    let time = |(i, k): (usize, &usize)| {
        let Candidate { top, bottom, .. } = candidates[*k];
        let up = median_of(&leans, i, 2 * NEIGHBOURS) >= 0.0;
        let (near, far) = if up { (top, bottom) } else { (bottom, top) };
        if near.1.abs() >= 0.5 * far.1.abs() { near.0 } else { far.0 }
    };
    beats.iter().enumerate().map(time).collect()
}
