//! Random changes of a night during training, all drawn from one seeded generator.

use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use somnus_protocol::plan::Augmentation;
use somnus_signals::StreamKind;

use crate::input::Prepared;
use crate::params::Layout;

/// What one training step sees of a night.
pub(crate) struct View {
    /// `[epochs, inputs]`.
    pub(crate) values: Vec<f32>,
    pub(crate) classes: Vec<Option<u8>>,
    /// Which epochs of the night these are.
    pub(crate) epochs: Vec<usize>,
}

/// One random view of `night`.
pub(crate) fn view(night: &Prepared, layout: &Layout, plan: &Augmentation, rng: &mut ChaCha8Rng) -> View {
    let epochs = epochs(night.epochs(), plan, rng);
    let inputs = night.inputs;
    let mut values = Vec::with_capacity(epochs.len() * inputs);
    for epoch in &epochs {
        values.extend_from_slice(&night.values[epoch * inputs..][..inputs]);
    }
    let classes = epochs.iter().map(|epoch| night.classes[*epoch]).collect();
    if plan.scale > 0.0 {
        scale(&mut values, layout, plan.scale, rng);
    }
    if plan.input_noise > 0.0 {
        noise(&mut values, layout, plan.input_noise, rng);
    }
    if plan.stream_dropout > 0.0 && rng.random::<f32>() < plan.stream_dropout {
        hide_one_stream(&mut values, layout, rng);
    }
    View { values, classes, epochs }
}

/// Which epochs of a night a view shows, in order: a random crop, perhaps read faster or slower.
pub(crate) fn epochs(len: usize, plan: &Augmentation, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let (mut start, mut kept) = (0, len);
    if plan.crop < 1.0 {
        let part = rng.random_range(plan.crop..=1.0);
        kept = ((len as f32 * part).round() as usize).clamp(len.min(1), len);
        start = rng.random_range(0..=len - kept);
    }
    if plan.time_warp > 0.0 && rng.random::<bool>() {
        let speed = rng.random_range(1.0 - plan.time_warp..=1.0 + plan.time_warp);
        let shown = (kept as f32 / speed).floor().max(1.0) as usize;
        let at = |i: usize| start + ((i as f32 * speed) as usize).min(kept.saturating_sub(1));
        return (0..shown.min(2 * len)).map(at).collect();
    }
    (start..start + kept).collect()
}

/// One factor for the heart and one for activity, each around 1.
fn scale(values: &mut [f32], layout: &Layout, deviation: f32, rng: &mut ChaCha8Rng) {
    let heart = 1.0 + deviation * normal(rng.next_u32());
    let activity = 1.0 + deviation * normal(rng.next_u32());
    for (stream, (column, width)) in &layout.streams {
        let factor = match stream {
            StreamKind::Hr | StreamKind::Ibi => heart,
            StreamKind::Activity => activity,
            _ => continue,
        };
        for row in values.chunks_exact_mut(layout.inputs) {
            row[*column..column + width].iter_mut().for_each(|v| *v *= factor);
        }
    }
}

/// Independent noise on every measured feature; flags and time stay exact.
fn noise(values: &mut [f32], layout: &Layout, deviation: f32, rng: &mut ChaCha8Rng) {
    let features: usize = layout.streams.values().map(|(_, width)| width).sum();
    let mut chance = vec![0u8; values.len() / layout.inputs * features * 4];
    rng.fill_bytes(&mut chance);
    let mut draws = chance.as_chunks::<4>().0.iter();
    for row in values.chunks_exact_mut(layout.inputs) {
        for (column, width) in layout.streams.values() {
            let present = deviation * (1.0 - row[column + width]);
            for (value, draw) in row[*column..column + width].iter_mut().zip(draws.by_ref().take(*width)) {
                *value += present * normal(u32::from_le_bytes(*draw));
            }
        }
    }
}

/// Hides one stream at random, unless it is the only one that the night has.
fn hide_one_stream(values: &mut [f32], layout: &Layout, rng: &mut ChaCha8Rng) {
    let rows = values.len() / layout.inputs;
    let measured = |(column, width): &&(usize, usize)| {
        (0..rows).any(|row| values[row * layout.inputs + column + width] == 0.0)
    };
    let here: Vec<(usize, usize)> = layout.streams.values().filter(measured).copied().collect();
    if here.len() < 2 {
        return;
    }
    let (column, width) = here[rng.random_range(0..here.len())];
    for row in values.chunks_exact_mut(layout.inputs) {
        row[column..column + width].fill(0.0);
        row[column + width] = 1.0;
    }
}

/// A draw of mean 0 and variance 1 from four bytes of chance: the sum of four uniform numbers (Irwin-Hall), which is
/// as good as a normal one for noise and ends at 3.5.
fn normal(bytes: u32) -> f32 {
    // The variance of a uniform byte is (256^2 - 1) / 12.
    const SCALE: f32 = 1.0 / 147.800_54;
    let sum: u32 = bytes.to_le_bytes().iter().map(|b| u32::from(*b)).sum();
    (sum as f32 - 510.0) * SCALE
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::config::NetConfig;

    fn night(layout: &Layout, epochs: usize) -> Prepared {
        let mut values = vec![1.0; epochs * layout.inputs];
        for row in values.chunks_exact_mut(layout.inputs) {
            for (column, width) in layout.streams.values() {
                row[column + width] = 0.0;
            }
        }
        let classes = (0..epochs).map(|e| Some((e % 4) as u8)).collect();
        Prepared { values, classes, inputs: layout.inputs }
    }

    #[test]
    fn noise_has_the_asked_deviation_and_spares_flags_and_time() {
        let layout = Layout::new(&NetConfig::default());
        let plain = night(&layout, 2_000);
        let plan = Augmentation { input_noise: 0.2, ..Augmentation::default() };
        let view = view(&plain, &layout, &plan, &mut ChaCha8Rng::seed_from_u64(3));
        let (mut sum, mut squares, mut n) = (0.0f64, 0.0f64, 0.0f64);
        for (row, before) in
            view.values.chunks_exact(layout.inputs).zip(plain.values.chunks_exact(layout.inputs))
        {
            for (column, width) in layout.streams.values() {
                assert_eq!(row[column + width], before[column + width]);
                for i in *column..column + width {
                    let d = f64::from(row[i] - before[i]);
                    (sum, squares, n) = (sum + d, squares + d * d, n + 1.0);
                }
            }
            assert_eq!(row[layout.inputs - 2..], before[layout.inputs - 2..]);
        }
        assert!((sum / n).abs() < 0.005 && ((squares / n).sqrt() - 0.2).abs() < 0.005);
    }

    #[test]
    fn crops_and_warps_stay_within_the_night_and_in_order() {
        let plan = Augmentation { crop: 0.6, time_warp: 0.1, ..Augmentation::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for _ in 0..500 {
            let shown = epochs(300, &plan, &mut rng);
            assert!(shown.windows(2).all(|w| w[0] <= w[1] && w[1] <= w[0] + 2));
            assert!(shown.last().is_some_and(|last| *last < 300));
            assert!((160..=334).contains(&shown.len()), "{}", shown.len());
        }
        assert_eq!(epochs(1, &plan, &mut rng), [0]);
    }

    #[test]
    fn the_only_stream_is_never_hidden() {
        let layout = Layout::new(&NetConfig::default());
        let mut one = night(&layout, 10);
        let mut streams = layout.streams.values();
        let (first, width) = *streams.next().unwrap();
        for row in one.values.chunks_exact_mut(layout.inputs) {
            for (column, width) in streams.clone() {
                row[column + width] = 1.0;
            }
        }
        for seed in 0..20 {
            let mut values = one.values.clone();
            hide_one_stream(&mut values, &layout, &mut ChaCha8Rng::seed_from_u64(seed));
            assert_eq!(values[first + width], 0.0);
        }
    }
}
