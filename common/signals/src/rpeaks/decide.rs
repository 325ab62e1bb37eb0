//! Candidates become beats: levels, refractory time, T waves, search-back.

use super::candidates::Candidate;
use crate::moving::{median, median_of};
use crate::two_averages::{NEIGHBOURS, WINDOW_SECONDS};

/// Where the threshold lies between the noise (0) and the beats (1): Hamilton and Tompkins 1986.
const THRESHOLD: f64 = 0.3125;
/// Two beats are never closer, seconds.
const REFRACTORY: f64 = 0.2;
/// A wave this soon after a beat with less than half its slope is its T wave, seconds.
const T_WAVE: f64 = 0.36;
/// A beat was missed when this many usual intervals pass without one; it is looked for at half the threshold.
const MISSED: f64 = 1.66;
/// Beats to each side that say what interval is usual.
const USUAL: usize = 4;
/// The level of beats is never below this part of its median over the whole signal: what a lead that fell off
/// picks up is not heartbeats.
const FLOOR: f64 = 0.1;

/// Times of beats, seconds since the first sample.
pub(super) fn beats(candidates: &[Candidate]) -> Vec<f64> {
    let thresholds = thresholds(candidates);
    let mut beats: Vec<usize> = Vec::new();
    for (i, candidate) in candidates.iter().enumerate() {
        if candidate.height < thresholds[i] {
            continue;
        }
        let Some(&last) = beats.last() else {
            beats.push(i);
            continue;
        };
        let (before, since) = (&candidates[last], candidate.time() - candidates[last].time());
        if since < REFRACTORY {
            if candidate.height > before.height {
                beats.pop();
                beats.push(i);
            }
        } else if since >= T_WAVE || candidate.slope >= 0.5 * before.slope {
            beats.push(i);
        }
    }
    let beats = search_back(candidates, &thresholds, &beats);
    let mut times = one_side(candidates, &beats);
    times.dedup_by(|later, earlier| *later - *earlier < REFRACTORY);
    times
}

/// The height a candidate must have to be a beat.
fn thresholds(candidates: &[Candidate]) -> Vec<f64> {
    let window = |c: &Candidate| (c.time().max(0.0) / WINDOW_SECONDS) as usize;
    let windows = candidates.last().map_or(0, |c| window(c) + 1);
    let mut highest = vec![0.0f64; windows];
    for candidate in candidates {
        let w = window(candidate);
        highest[w] = highest[w].max(candidate.height);
    }
    let floor = FLOOR * median(&mut highest.clone()).unwrap_or(0.0);
    let beats: Vec<f64> = (0..windows).map(|w| median_of(&highest, w, NEIGHBOURS).max(floor)).collect();
    let noise: Vec<f64> = (0..windows)
        .map(|w| {
            let from = candidates.partition_point(|c| window(c) + NEIGHBOURS < w);
            let to = candidates.partition_point(|c| window(c) <= w + NEIGHBOURS);
            let low = candidates[from..to].iter().map(|c| c.height).filter(|h| *h < THRESHOLD * beats[w]);
            median(&mut low.collect::<Vec<_>>()).unwrap_or(0.0)
        })
        .collect();
    let at = |c: &Candidate| {
        let w = window(c);
        noise[w] + THRESHOLD * (beats[w] - noise[w])
    };
    candidates.iter().map(at).collect()
}

/// Fills gaps of [`MISSED`] usual intervals with the highest candidate that reaches half its threshold.
fn search_back(candidates: &[Candidate], thresholds: &[f64], beats: &[usize]) -> Vec<usize> {
    let intervals: Vec<f64> =
        beats.windows(2).map(|w| candidates[w[1]].time() - candidates[w[0]].time()).collect();
    let mut found = Vec::with_capacity(beats.len());
    found.extend(beats.first());
    for (i, (pair, interval)) in beats.windows(2).zip(&intervals).enumerate() {
        let usual = median_of(&intervals, i, USUAL);
        let (mut from, end) = (pair[0], pair[1]);
        let mut left = *interval;
        while left > MISSED * usual {
            let clear = |c: &Candidate| {
                c.time() - candidates[from].time() >= T_WAVE
                    && candidates[end].time() - c.time() >= REFRACTORY
            };
            let missed = (from + 1..end)
                .filter(|k| clear(&candidates[*k]) && candidates[*k].height >= 0.5 * thresholds[*k])
                .max_by(|a, b| candidates[*a].height.total_cmp(&candidates[*b].height));
            let Some(missed) = missed else { break };
            found.push(missed);
            from = missed;
            left = candidates[end].time() - candidates[missed].time();
        }
        found.push(end);
    }
    found
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
