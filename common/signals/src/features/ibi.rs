//! Heart-rate variability features from beat intervals.

use super::scale::{Running, Scale};
use crate::{Features, NormalIntervals, Normalisation, Stream, Variability};

/// Values per epoch.
const WIDTH: usize = 6;
/// Seconds of beats that speak for an epoch.
const WINDOW_SECONDS: f64 = 300.0;
/// The least part of the window that normal intervals must cover.
const LEAST_COVERAGE: f64 = 0.5;
/// Epochs a causal reading needs before it knows a person's level: 10 min.
const WARM_UP: usize = 20;
/// What is normalised by the night: its place in the vector is its place here. The least spread of each: natural logarithms, seconds
/// for the mean interval.
const FLOORS: [f32; WIDTH - 1] = [0.1, 0.1, 0.02, 0.2, 0.2];

/// `[epochs, 6]`: log RMSSD, log SDNN, mean interval, log LF, log HF, each relative to the night; pNN50.
pub(super) fn features(ibi: &Stream, epochs: usize, mode: Normalisation) -> Features {
    let normal = NormalIntervals::of(ibi, mode.view());
    let windows = normal.variability(epochs, WINDOW_SECONDS, mode.view());
    let covered = |v: Option<Variability>| v.filter(|v| v.coverage >= LEAST_COVERAGE);
    let raw: Vec<_> = windows.into_iter().map(|v| covered(v).map(|v| (levels(&v), v.pnn50 as f32))).collect();
    let mut values = vec![0.0; epochs * WIDTH];
    let rows = || raw.iter().enumerate().filter_map(|(epoch, row)| row.map(|row| (epoch, row)));
    for (epoch, (_, pnn50)) in rows() {
        values[epoch * WIDTH + WIDTH - 1] = pnn50;
    }
    for (column, floor) in FLOORS.into_iter().enumerate() {
        let whole = match mode {
            Normalisation::WholeNight => Scale::of(rows().map(|(_, (levels, _))| levels[column]), floor),
            Normalisation::Causal => None,
        };
        let mut running = Running::new(floor, WARM_UP);
        for (epoch, (levels, _)) in rows() {
            let scale = match mode {
                Normalisation::WholeNight => whole,
                Normalisation::Causal => {
                    running.push(levels[column]);
                    running.scale()
                }
            };
            values[epoch * WIDTH + column] = scale.map_or(0.0, |s| s.apply(levels[column]));
        }
    }
    Features { width: WIDTH, values, present: raw.iter().map(Option::is_some).collect() }
}

/// What depends on the person as much as on the moment. Logarithms stop at 0.1 ms and at its square: below is arithmetic.
fn levels(v: &Variability) -> [f32; WIDTH - 1] {
    let log = |value: f64, least: f64| value.max(least).ln() as f32;
    let power = |value: f64| log(value, 1e-8);
    [log(v.rmssd, 1e-4), log(v.sdnn, 1e-4), (60.0 / v.hr) as f32, power(v.lf), power(v.hf)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervals;

    /// Beats at 0.9 s; breathing moves them by `swing` s, twice as much in the second half of `seconds`.
    fn beats(seconds: f64, swing: f64) -> Vec<f64> {
        let mut beats = vec![0.0];
        while beats[beats.len() - 1] < seconds {
            let t = beats[beats.len() - 1];
            let depth = if t < seconds / 2.0 { swing } else { 2.0 * swing };
            beats.push(t + 0.9 + depth * (t * 0.25 * std::f64::consts::TAU).sin());
        }
        beats
    }

    #[test]
    fn variability_is_relative_to_the_night() {
        let ibi = intervals(&beats(3600.0, 0.03));
        let f = features(&ibi, 120, Normalisation::WholeNight);
        assert_eq!((f.width, f.coverage()), (6, 1.0));
        let (early, late) = (f.epoch(30), f.epoch(90));
        for (column, name) in [(0, "rmssd"), (1, "sdnn"), (4, "hf")] {
            assert!(late[column] - early[column] > 0.8, "{name}: {early:?} {late:?}");
        }
        assert!(late[5] > early[5], "pnn50: {early:?} {late:?}");
        assert!(f.values.iter().all(|v| v.is_finite() && v.abs() <= 5.0));
    }

    #[test]
    fn gaps_are_absent_and_warming_up_is_level() {
        let all = beats(3600.0, 0.03);
        let kept: Vec<f64> = all.into_iter().filter(|t| !(1200.0..2100.0).contains(t)).collect();
        let f = features(&intervals(&kept), 120, Normalisation::WholeNight);
        assert!(f.present[35] && !f.present[55] && f.present[75]);
        assert_eq!(f.epoch(55), [0.0; 6]);
        let causal = features(&intervals(&kept), 120, Normalisation::Causal);
        assert!(!causal.present[3] && causal.present[6], "half of the five minutes must have passed");
        assert_eq!(causal.epoch(10)[..5], [0.0; 5]);
        assert!(causal.epoch(110)[0] > 0.5);
    }
}
