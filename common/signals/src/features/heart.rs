//! Heart-rate features: six five-second means per epoch, relative to the night and absolute.

use super::scale::{Running, Scale};
use crate::recording::EPOCH_SECONDS;
use crate::{Features, Normalisation, Stream, View};

/// Five-second means per epoch.
const BINS: usize = 6;
/// Seconds per mean.
const BIN_SECONDS: f64 = EPOCH_SECONDS / BINS as f64;
/// A mean without a sample is interpolated between neighbours no further apart than this, seconds. A
/// watch that pauses for a minute and a half tells nothing about the moments in between.
pub(crate) const BRIDGED_SECONDS: f64 = 60.0;
/// At the edge of a gap the last value is held for this long, seconds.
const HELD_SECONDS: f64 = 10.0;
/// The least spread, bpm.
const FLOOR: f32 = 1.0;
/// Means a causal reading needs before it knows a person's level: 10 min.
const WARM_UP: usize = 20 * BINS;

/// `[epochs, 12]`: six normalised means, then the six as (bpm − 60)/10.
pub(super) fn features(hr: &Stream, epochs: usize, mode: Normalisation) -> Features {
    let means = five_second_means(hr, epochs * BINS, mode.view());
    let whole = match mode {
        Normalisation::WholeNight => Scale::of(means.iter().flatten().copied(), FLOOR),
        Normalisation::Causal => None,
    };
    let mut running = Running::new(FLOOR, WARM_UP);
    let mut values = Vec::with_capacity(epochs * BINS * 2);
    let mut present = Vec::with_capacity(epochs);
    for epoch in means.chunks_exact(BINS) {
        let scale = match mode {
            Normalisation::WholeNight => whole,
            Normalisation::Causal => {
                epoch.iter().flatten().for_each(|bpm| running.push(*bpm));
                running.scale()
            }
        };
        let Some(filled) = fill(epoch) else {
            values.extend([0.0; BINS * 2]);
            present.push(false);
            continue;
        };
        values.extend(filled.map(|bpm| scale.map_or(0.0, |s| s.apply(bpm))));
        values.extend(filled.map(|bpm| (bpm - 60.0) / 10.0));
        present.push(true);
    }
    Features { width: BINS * 2, values, present }
}

/// Mean heart rate of each five-second bin, bpm; `None` where no sample is near enough. A view of the past ends with
/// the bin's epoch.
fn five_second_means(hr: &Stream, bins: usize, view: View) -> Vec<Option<f32>> {
    (0..bins)
        .map(|bin| {
            let from = bin as f64 * BIN_SECONDS;
            let inside = hr.within(from, from + BIN_SECONDS);
            if inside.is_empty() {
                let epoch_end = (bin / BINS + 1) as f64 * EPOCH_SECONDS;
                let seen = match view {
                    View::Around => hr.len(),
                    View::Past => hr.within(from, epoch_end).end,
                };
                return between(hr, from + BIN_SECONDS / 2.0, inside.start, seen);
            }
            let n = inside.len() as f32;
            Some(hr.values()[inside].iter().sum::<f32>() / n)
        })
        .collect()
}

/// The heart rate at `time`, from the samples before and at index `after`, among the first `seen`.
fn between(hr: &Stream, time: f64, after: usize, seen: usize) -> Option<f32> {
    let at = |i: usize| (i < seen).then(|| (hr.times()[i], hr.values()[i]));
    let before = after.checked_sub(1).and_then(at);
    let after = at(after);
    if let (Some((t0, v0)), Some((t1, v1))) = (before, after)
        && t1 - t0 <= BRIDGED_SECONDS
    {
        let part = ((time - t0) / (t1 - t0)) as f32;
        return Some(v0 + (v1 - v0) * part);
    }
    let held = |(t, v): (f64, f32)| ((time - t).abs() <= HELD_SECONDS).then_some(v);
    before.and_then(held).or_else(|| after.and_then(held))
}

/// The epoch's six means with holes filled from the nearest one; `None` when fewer than half are known.
fn fill(epoch: &[Option<f32>]) -> Option<[f32; BINS]> {
    if epoch.iter().flatten().count() * 2 < BINS {
        return None;
    }
    let nearest = |i: usize| {
        let known = epoch.iter().enumerate().filter_map(|(k, v)| Some((k, (*v)?)));
        known.min_by_key(|(k, _)| k.abs_diff(i)).map(|(_, v)| v)
    };
    let mut filled = [0.0; BINS];
    for (i, value) in filled.iter_mut().enumerate() {
        *value = nearest(i)?;
    }
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StreamKind;

    fn hr(samples: &[(f64, f32)]) -> Stream {
        let (times, bpm) = samples.iter().copied().unzip();
        Stream::new(StreamKind::Hr, times, bpm)
    }

    #[test]
    fn means_are_normalised_by_median_and_percentile() {
        // Epoch 0 at 60, epoch 1 at 60, epoch 2 at 80: median 60, 90th percentile of |.| is 20.
        let samples: Vec<_> =
            (0..18).map(|i| (f64::from(i) * 5.0 + 2.5, if i < 12 { 60.0 } else { 80.0 })).collect();
        let f = features(&hr(&samples), 3, Normalisation::WholeNight);
        assert_eq!(f.width, 12);
        assert_eq!(f.epoch(0), [0.0; 12]);
        assert_eq!(f.epoch(2), [[1.0f32; 6], [2.0; 6]].concat());
    }

    #[test]
    fn short_gaps_are_bridged_and_long_ones_stay() {
        let mut samples = vec![(0.0, 60.0), (50.0, 70.0)];
        samples.extend((80..90).map(|i| (f64::from(i) * 5.0, 65.0)));
        let f = features(&hr(&samples), 15, Normalisation::WholeNight);
        assert!(f.present[0], "50 s between samples are bridged");
        // Halfway along the line from 60 to 70: 65 bpm in the bin around 25 s.
        assert!((f.epoch(0)[6 + 5] - 0.55).abs() < 1e-5);
        assert!(!f.present[3] && !f.present[8], "350 s are not");
        assert_eq!(f.epoch(8), [0.0; 12]);
        assert!(f.present[13]);
    }

    #[test]
    fn nothing_recorded_is_nothing_present() {
        let f = features(&hr(&[]), 4, Normalisation::WholeNight);
        assert_eq!(f.present, [false; 4]);
        assert!(f.values.iter().all(|v| *v == 0.0));
    }
}
