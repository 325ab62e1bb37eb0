//! How far a waveform can be trusted, epoch by epoch.

mod accel;
mod ecg;
mod ppg;

use std::ops::Range;

use crate::recording::EPOCH_SECONDS;
use crate::segment::usual_rate;
use crate::{Stream, StreamKind};

/// Lost samples that are drawn over, seconds.
const BRIDGED_SECONDS: f64 = 0.03;
/// A waveform that does not change for this long is not from a body, seconds: a lead that fell off, an amplifier at its end.
const STUCK_SECONDS: f64 = 0.25;

/// The quality of each of `epochs` 30-s epochs, 0 (worthless or not measured) to 1; `None` for a stream that is not a waveform.
///
/// The part of the epoch that was measured and did not stand still or clip, times:
///
/// * `ecg`: the agreement of two detectors that noise misleads in different ways, twice the beats both have over the
///   beats of either, within 150 ms (bSQI); times where the kurtosis lies between 3, that of noise, and 5, the least of
///   beats (kSQI; both Li et al. 2008, doi 10.1088/0967-3334/29/1/002).
/// * `ppg`: the mean correlation of pulses with their average (Orphanidou et al. 2015, doi 10.1109/JBHI.2014.2338351, who trust .86).
/// * `accel`: whether the device is worn: 0 in every hour in which two of three axes move by a standard deviation below 13 mg and a
///   range below 50 mg (van Hees et al. 2013, doi 10.1371/journal.pone.0061691, take either; sleepers are stiller than their days).
#[must_use]
pub fn signal_quality(stream: &Stream, epochs: usize) -> Option<Vec<f32>> {
    let judged = match stream.kind() {
        StreamKind::Ecg => ecg::trust(stream, epochs),
        StreamKind::Ppg => ppg::likeness(stream, epochs),
        StreamKind::Accel => accel::worn(stream, epochs),
        _ => return None,
    };
    let alive = alive(stream, epochs);
    Some(alive.into_iter().zip(judged).map(|(a, j)| (a * j).clamp(0.0, 1.0) as f32).collect())
}

/// The times of an epoch, seconds.
fn span(epoch: usize) -> Range<f64> {
    let from = epoch as f64 * EPOCH_SECONDS;
    from..from + EPOCH_SECONDS
}

/// The part of each epoch that was measured and moved.
fn alive(stream: &Stream, epochs: usize) -> Vec<f64> {
    let Some(rate) = usual_rate(stream.times()) else {
        return vec![0.0; epochs];
    };
    let longest = ((STUCK_SECONDS * rate) as usize).max(2);
    let mut good = vec![0usize; epochs];
    let mut run = 0;
    for i in 0..stream.len() {
        if i > run && !stuck(stream, run, i) {
            credit(stream, run..i, longest, &mut good);
            run = i;
        }
    }
    credit(stream, run..stream.len(), longest, &mut good);
    good.into_iter().map(|n| (n as f64 / (rate * EPOCH_SECONDS)).min(1.0)).collect()
}

/// Whether sample `i` continues the run of equal values that began with `run`. A device that lies still repeats itself honestly; of
/// acceleration only what exceeds any posture counts as stuck.
fn stuck(stream: &Stream, run: usize, i: usize) -> bool {
    let (a, b) = (stream.sample(run), stream.sample(i));
    match stream.kind() {
        StreamKind::Accel => a.iter().zip(b).any(|(a, b)| a == b && a.abs() > 1.5),
        _ => a == b,
    }
}

fn credit(stream: &Stream, run: Range<usize>, longest: usize, good: &mut [usize]) {
    if run.len() >= longest {
        return;
    }
    for time in &stream.times()[run] {
        let epoch = time / EPOCH_SECONDS;
        if epoch >= 0.0
            && let Some(good) = good.get_mut(epoch as usize)
        {
            *good += 1;
        }
    }
}
