//! Pulses in a photoplethysmogram.

use crate::moving::median_of;
use crate::two_averages::{NEIGHBOURS, TwoAverages};
use crate::{Segment, StreamKind, TooSlow};

/// The lowest rate at which pulses are looked for, Hz.
pub const LEAST_PPG_RATE: f64 = 20.0;

/// Elgendi et al. 2013.
const SYSTOLE: TwoAverages = TwoAverages {
    order: 2,
    band: (0.5, 8.0),
    energy: |v| v.max(0.0).powi(2),
    event: 0.111,
    beat: 0.667,
    rise: 0.02,
};
/// The steepest rise lies within this before the systolic peak, or before the second wave where that is the higher one, seconds.
const RISE_SECONDS: f64 = 0.4;
/// Two pulses are never closer, seconds.
const REFRACTORY: f64 = 0.3;
/// A pulse lower than this part of the median of those around it is the second wave of another.
const LOW: f64 = 0.3125;

/// Times of pulses, seconds since the recording's start, ascending, at least 0.3 s apart.
///
/// `ppg` in any unit, upright (more blood, larger values). Pulses are found by their systolic peaks and timed at the steepest rise before
/// them (of the wave band-passed to 0.5-8 Hz, to a fraction of a sample), which moves less from pulse to
/// pulse than a broad peak does. Moving hands make pulses where there are none: see [`crate::signal_quality`].
///
/// # Errors
/// [`TooSlow`] below [`LEAST_PPG_RATE`].
pub fn pulses(ppg: &Segment) -> Result<Vec<f64>, TooSlow> {
    ppg.fast_enough(StreamKind::Ppg, LEAST_PPG_RATE)?;
    let reach = (RISE_SECONDS * ppg.rate) as usize;
    let found =
        SYSTOLE.blocks(&ppg.samples, ppg.rate, |block| (block.steepest_rise(reach) / ppg.rate, block.height));
    let heights: Vec<f64> = found.iter().map(|(_, height)| *height).collect();
    let mut pulses: Vec<(f64, f64)> = Vec::with_capacity(found.len());
    for (i, (time, height)) in found.into_iter().enumerate() {
        if height < LOW * median_of(&heights, i, NEIGHBOURS) {
            continue;
        }
        match pulses.last_mut() {
            Some(last) if time - last.0 < REFRACTORY => {
                if height > last.1 {
                    *last = (time, height);
                }
            }
            _ => pulses.push((time, height)),
        }
    }
    Ok(pulses.into_iter().map(|(time, _)| ppg.start + time).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// Systolic waves with a dicrotic one after each, on a drifting base.
    fn drawn(rate: f64, pulses: &[f64], seconds: f64) -> Segment {
        let wave = |t: f64, at: f64, width: f64| (-((t - at) / width).powi(2) / 2.0).exp();
        let value = |i: usize| {
            let t = i as f64 / rate;
            let near = pulses.iter().filter(|p| (t - **p).abs() < 1.0);
            let pulse: f64 = near.map(|p| wave(t, *p, 0.09) + 0.35 * wave(t, p + 0.33, 0.1)).sum();
            (40.0 * pulse + 30.0 * (0.15 * t * TAU).sin()) as f32
        };
        Segment { start: -4.0, rate, samples: (0..(seconds * rate) as usize).map(value).collect() }
    }

    #[test]
    fn every_pulse_once_at_any_rate_and_pace() {
        for rate in [20.0, 25.0, 64.0, 100.0] {
            for pace in [0.6, 0.9, 1.3] {
                let mut at = vec![1.0];
                while at[at.len() - 1] < 330.0 {
                    let t = at[at.len() - 1];
                    at.push(t + pace * (1.0 + 0.05 * (t * 0.2 * TAU).sin()));
                }
                let found = pulses(&drawn(rate, &at, 332.0)).unwrap();
                assert_eq!(found.len(), at.len(), "{rate} Hz, {pace} s");
                for (f, a) in found.iter().zip(&at) {
                    // The rise of a Gaussian is steepest one width before its top.
                    assert!((f + 4.0 - (a - 0.09)).abs() < 0.03, "{f} for {a} at {rate} Hz");
                }
            }
        }
    }

    #[test]
    fn silence_has_no_pulse_and_slow_sampling_is_refused() {
        let flat = |rate| Segment { start: 0.0, rate, samples: vec![7.0; 2000] };
        assert!(pulses(&flat(64.0)).unwrap().is_empty());
        let slow = pulses(&flat(8.0)).unwrap_err();
        assert_eq!(slow.to_string(), "ppg at 8 Hz: at least 20 Hz is needed");
    }
}
