//! R peaks in an electrocardiogram.
//!
//! Signal to candidates ([`candidates`]): band-pass 8-20 Hz and two moving averages (Elgendi 2013). Candidates to beats
//! ([`decide`]): of all sequences of candidates the one in which tall complexes follow each other most evenly. One rule
//! does the work of threshold, refractory time, T-wave rule and search-back of Pan and Tompkins 1985 (doi
//! 10.1109/TBME.1985.325532) and Hamilton and Tompkins 1986 (doi 10.1109/TBME.1986.325695), and their constants set its
//! weights. What is usual is a median over time, on both sides of a beat, so that a burst of noise moves it little; an
//! offline reading, then, not a monitor.

mod candidates;
mod decide;

use crate::{Segment, StreamKind, TooSlow};

/// The lowest rate at which R peaks are looked for, Hz.
pub const LEAST_ECG_RATE: f64 = 100.0;

/// Times of R peaks, seconds since the recording's start, ascending, at least 0.2 s apart.
///
/// `ecg` in any unit and either polarity. A time is the top of the band-passed complex, to a fraction of a sample, on the
/// side (up or down) where the neighbouring beats are larger, so that intervals between beats do not jump between R and S.
///
/// # Errors
/// [`TooSlow`] below [`LEAST_ECG_RATE`].
pub fn r_peaks(ecg: &Segment) -> Result<Vec<f64>, TooSlow> {
    ecg.fast_enough(StreamKind::Ecg, LEAST_ECG_RATE)?;
    let candidates = candidates::find(&ecg.samples, ecg.rate);
    Ok(decide::beats(&candidates).into_iter().map(|t| ecg.start + t).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A complex of P, Q, R, S and T waves at each of `beats` (seconds), mV; published shape, rough.
    fn drawn(rate: f64, seconds: f64, beats: &[f64], polarity: f64) -> Segment {
        const WAVES: [(f64, f64, f64); 5] = [
            (-0.17, 0.025, 0.12),
            (-0.026, 0.010, -0.15),
            (0.0, 0.011, 1.0),
            (0.027, 0.010, -0.25),
            (0.25, 0.045, 0.3),
        ];
        let at = |i: usize| {
            let t = i as f64 / rate;
            let near = beats.iter().filter(|b| (t - **b).abs() < 0.6);
            let wave = |b: f64| -> f64 {
                WAVES.iter().map(|(c, w, h)| h * (-((t - b - c) / w).powi(2) / 2.0).exp()).sum()
            };
            let drift = 0.3 * (0.7 * t).sin() + 0.01 * (311.0 * t).sin();
            (polarity * near.map(|b| wave(*b)).sum::<f64>() + drift) as f32
        };
        Segment { start: 10.0, rate, samples: (0..(seconds * rate) as usize).map(at).collect() }
    }

    /// Beats from 1 s on, the interval swinging around `mean` seconds.
    fn rhythm(seconds: f64, mean: f64) -> Vec<f64> {
        let mut beats = vec![1.0];
        while beats[beats.len() - 1] < seconds - 2.0 {
            let t = beats[beats.len() - 1];
            beats.push(t + mean * (1.0 + 0.1 * (t * 0.25 * std::f64::consts::TAU).sin()));
        }
        beats
    }

    #[test]
    fn every_beat_once_at_any_rate_pace_and_polarity() {
        for rate in [100.0, 128.0, 250.0, 512.5] {
            for mean in [0.4, 0.8, 1.6] {
                for polarity in [1.0, -1.0] {
                    let beats = rhythm(90.0, mean);
                    let found = r_peaks(&drawn(rate, 90.0, &beats, polarity)).unwrap();
                    assert_eq!(found.len(), beats.len(), "{rate} Hz, {mean} s, {polarity}");
                    for (f, b) in found.iter().zip(&beats) {
                        assert!((f - 10.0 - b).abs() < 0.005, "{f} for {b} at {rate} Hz");
                    }
                }
            }
        }
    }

    #[test]
    fn chunks_meet_without_a_seam() {
        let beats = rhythm(1300.0, 0.9);
        let found = r_peaks(&drawn(128.0, 1300.0, &beats, 1.0)).unwrap();
        assert_eq!(found.len(), beats.len());
    }

    #[test]
    fn extra_beats_pauses_and_small_beats_are_seen_and_hum_in_a_pause_is_not() {
        let mut beats = rhythm(120.0, 0.8);
        // An early beat and its pause, one in between two others, and no beat for twelve seconds.
        beats[20] -= 0.3;
        let between = (beats[40] + beats[41]) / 2.0;
        beats.insert(41, between);
        beats.retain(|t| !(70.0..82.0).contains(t));
        let mut ecg = drawn(250.0, 120.0, &beats, 1.0);
        let hum = |i: usize| if i % 500 < 40 { 0.02 * (i as f32 * 0.35).sin() } else { 0.0 };
        ecg.samples.iter_mut().enumerate().for_each(|(i, v)| *v += hum(i));
        // A beat of a third of the height where one is due.
        let small = (beats[60] * 250.0) as usize;
        ecg.samples[small - 15..small + 15].iter_mut().for_each(|v| *v /= 3.0);
        let found = r_peaks(&ecg).unwrap();
        assert_eq!(found.len(), beats.len());
        for (f, b) in found.iter().zip(&beats) {
            assert!((f - 10.0 - b).abs() < 0.03, "{f} for {b}");
        }
    }

    #[test]
    fn silence_has_no_beats_and_slow_sampling_is_refused() {
        let flat = |rate| Segment { start: 0.0, rate, samples: vec![0.25; 5000] };
        assert!(r_peaks(&flat(250.0)).unwrap().is_empty());
        assert!(r_peaks(&Segment { samples: vec![], ..flat(250.0) }).unwrap().is_empty());
        let slow = r_peaks(&flat(64.0)).unwrap_err();
        assert_eq!(slow.to_string(), "ecg at 64 Hz: at least 100 Hz is needed");
    }
}
