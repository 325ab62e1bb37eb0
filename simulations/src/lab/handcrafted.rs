//! What people computed from windows before networks did: levels, spreads, and where in the spectrum the energy is.

use std::f32::consts::TAU;

/// Edges of the bands in Hz: breathing, slow movement, pulse, walking, faster movement, vibration.
const EDGES: [f32; 9] = [0.1, 0.4, 0.8, 1.3, 2.0, 3.0, 4.5, 7.0, 12.0];

/// Numbers of a window `[T, channels]` at `rate` Hz: each channel's mean and deviation, the same of the length of the
/// vector with its quartiles, correlations of channels, and for each channel and the length the logarithm of the energy in
/// eight bands and the strongest frequency.
pub(super) fn features(window: &[f32], channels: usize, rate: f32) -> Vec<f32> {
    let moments = window.len() / channels;
    let mut all: Vec<Vec<f32>> =
        (0..channels).map(|c| window.iter().skip(c).step_by(channels).copied().collect()).collect();
    if channels > 1 {
        let length = window.chunks_exact(channels).map(|m| m.iter().map(|v| v * v).sum::<f32>().sqrt());
        all.push(length.collect());
    }
    let mut found = Vec::new();
    for signal in &all {
        let (mean, deviation) = spread(signal);
        found.extend([mean, (deviation + 1e-4).ln()]);
        found.extend(spectrum(signal, mean, rate));
    }
    if channels > 1 {
        let mut sorted = all[channels].clone();
        sorted.sort_by(f32::total_cmp);
        found.extend([1, 2, 3].map(|quarter| sorted[(moments - 1) * quarter / 4]));
        for a in 0..channels {
            found.extend((a + 1..channels).map(|b| correlation(&all[a], &all[b])));
        }
    }
    found
}

fn spread(signal: &[f32]) -> (f32, f32) {
    let n = signal.len().max(1) as f32;
    let mean = signal.iter().sum::<f32>() / n;
    (mean, (signal.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt())
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let ((mean_a, sd_a), (mean_b, sd_b)) = (spread(a), spread(b));
    let both = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f32>();
    both / (a.len().max(1) as f32 * sd_a * sd_b).max(1e-9)
}

/// The energy in each band, as logarithms, and the strongest frequency in Hz, by the plain Fourier sum.
fn spectrum(signal: &[f32], mean: f32, rate: f32) -> Vec<f32> {
    let n = signal.len() as f32;
    let mut bands = [1e-6f32; EDGES.len() - 1];
    let mut strongest = (0.0, 0.0);
    for k in 1..=signal.len() / 2 {
        let frequency = k as f32 * rate / n;
        let Some(band) = EDGES.windows(2).position(|ends| (ends[0]..ends[1]).contains(&frequency)) else {
            continue;
        };
        // A rotating hand instead of a sine for every sample.
        let (sin, cos) = (TAU * k as f32 / n).sin_cos();
        let (mut re, mut im, mut hand) = (0.0f32, 0.0f32, (1.0f32, 0.0f32));
        for value in signal {
            re += (value - mean) * hand.0;
            im += (value - mean) * hand.1;
            hand = (hand.0 * cos - hand.1 * sin, hand.0 * sin + hand.1 * cos);
        }
        let energy = (re * re + im * im) / (n * n);
        bands[band] += energy;
        if energy > strongest.1 {
            strongest = (frequency, energy);
        }
    }
    bands.iter().map(|energy| energy.ln()).chain([strongest.0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swing_is_in_its_band_at_its_frequency_and_axes_that_swing_together_correlate() {
        let window: Vec<f32> = (0..320)
            .flat_map(|t| {
                let swing = (TAU * 1.5 * t as f32 / 32.0).sin();
                [2.0 + swing, -swing, 0.3]
            })
            .collect();
        let found = features(&window, 3, 32.0);
        let each = 2 + EDGES.len();
        assert_eq!(found.len(), 4 * each + 3 + 3);
        assert!((found[0] - 2.0).abs() < 1e-3 && (found[1] - 0.5f32.sqrt().ln()).abs() < 1e-3);
        let bands = &found[2..2 + EDGES.len() - 1];
        let top = (0..bands.len()).max_by(|a, b| bands[*a].total_cmp(&bands[*b])).unwrap();
        assert_eq!((EDGES[top], EDGES[top + 1]), (1.3, 2.0));
        assert!((found[each - 1] - 1.5).abs() < 1e-3);
        let correlations = &found[found.len() - 3..];
        assert!((correlations[0] + 1.0).abs() < 1e-3 && correlations[1].abs() < 1e-3, "{correlations:?}");
    }
}
