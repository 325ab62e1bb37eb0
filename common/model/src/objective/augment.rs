//! The random changes that RelCon's distance is trained to see through: two of eight, one after the other.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

/// One random change of a window `[T, C]`, channels of a moment side by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Adds normal noise of deviation 0.1.
    Noise,
    /// A factor for each channel, normal around 1 with deviation 0.25.
    Scaling,
    /// Turns all three axes by one random rotation.
    Rotation,
    /// The opposite sign.
    Negation,
    /// Backwards in time.
    Flip,
    /// Exchanges the three axes; at least two of them move.
    Shuffle,
    /// Cuts at five random places and puts the pieces together in random order.
    Permutation,
    /// Smoothly faster and slower, each channel in its own way.
    Warp,
}

/// Speeds that a warp passes through, evenly spaced.
const KNOTS: usize = 6;

/// `window` `[T, channels]` after two different changes in random order. What needs three axes is left out for others.
pub fn augment(window: &[f32], channels: usize, rng: &mut impl Rng) -> Vec<f32> {
    let possible: Vec<Change> =
        Change::ALL.into_iter().filter(|c| channels == 3 || !c.needs_axes()).collect();
    let mut window = window.to_vec();
    // A sample without replacement, in the order of its drawing; shuffled, since that order is not promised to be random.
    let mut two: Vec<Change> = possible.choose_multiple(rng, 2).copied().collect();
    two.shuffle(rng);
    for change in two {
        change.apply(&mut window, channels, rng);
    }
    window
}

impl Change {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::Noise,
        Self::Scaling,
        Self::Rotation,
        Self::Negation,
        Self::Flip,
        Self::Shuffle,
        Self::Permutation,
        Self::Warp,
    ];

    fn needs_axes(self) -> bool {
        matches!(self, Self::Rotation | Self::Shuffle)
    }

    /// Changes `window` `[T, channels]` in place.
    ///
    /// # Panics
    /// When a rotation or shuffle is asked for and there are not three channels.
    pub fn apply(self, window: &mut [f32], channels: usize, rng: &mut impl Rng) {
        assert!(channels == 3 || !self.needs_axes(), "{self:?} of {channels} channels");
        match self {
            Self::Noise => window.iter_mut().for_each(|v| *v += 0.1 * normal(rng)),
            Self::Scaling => {
                let factors: Vec<f32> = (0..channels).map(|_| 1.0 + 0.25 * normal(rng)).collect();
                for moment in window.chunks_exact_mut(channels) {
                    moment.iter_mut().zip(&factors).for_each(|(v, factor)| *v *= factor);
                }
            }
            Self::Rotation => rotate(window, &rotation(rng)),
            Self::Negation => window.iter_mut().for_each(|v| *v = -*v),
            Self::Flip => reorder(window, channels, (0..window.len() / channels).rev()),
            Self::Shuffle => {
                const OTHERS: [[usize; 3]; 5] = [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
                let order = OTHERS[rng.random_range(0..OTHERS.len())];
                for moment in window.as_chunks_mut::<3>().0 {
                    *moment = order.map(|axis| moment[axis]);
                }
            }
            Self::Permutation => {
                let len = window.len() / channels;
                let mut cuts: Vec<usize> = (0..5).map(|_| rng.random_range(0..=len)).collect();
                cuts.extend([0, len]);
                cuts.sort_unstable();
                let mut pieces: Vec<_> = cuts.windows(2).map(|ends| ends[0]..ends[1]).collect();
                pieces.shuffle(rng);
                reorder(window, channels, pieces.into_iter().flatten());
            }
            Self::Warp => {
                let len = window.len() / channels;
                let old = window.to_vec();
                for channel in 0..channels {
                    let at = |t: usize| old[t * channels + channel];
                    for (t, place) in warp(len, rng).into_iter().enumerate() {
                        let (before, part) = (place as usize, place.fract());
                        let after = (before + 1).min(len - 1);
                        window[t * channels + channel] = at(before) * (1.0 - part) + at(after) * part;
                    }
                }
            }
        }
    }
}

fn reorder(window: &mut [f32], channels: usize, moments: impl Iterator<Item = usize>) {
    let old = window.to_vec();
    for (to, from) in window.chunks_exact_mut(channels).zip(moments) {
        to.copy_from_slice(&old[from * channels..][..channels]);
    }
}

/// A rotation about a random axis by a random angle (Rodrigues).
fn rotation(rng: &mut impl Rng) -> [[f32; 3]; 3] {
    let axis = loop {
        let axis = [(); 3].map(|()| rng.random_range(-1.0..=1.0f32));
        let length = axis.iter().map(|v| v * v).sum::<f32>().sqrt();
        if length > 1e-3 {
            break axis.map(|v| v / length);
        }
    };
    let (sin, cos) = rng.random_range(-PI..=PI).sin_cos();
    let [x, y, z] = axis;
    let cross = [[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]];
    let entry = |i: usize, j: usize| {
        let same = if i == j { cos } else { 0.0 };
        same + sin * cross[i][j] + (1.0 - cos) * axis[i] * axis[j]
    };
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| entry(i, j)))
}

fn rotate(window: &mut [f32], by: &[[f32; 3]; 3]) {
    for moment in window.as_chunks_mut::<3>().0 {
        let old = *moment;
        *moment = by.map(|row| row.iter().zip(old).map(|(r, v)| r * v).sum());
    }
}

/// Where each of `len` moments is read from: rising from 0 to `len - 1` with a speed that is a spline through normal
/// numbers around 1 with deviation 0.2.
fn warp(len: usize, rng: &mut impl Rng) -> Vec<f32> {
    if len < 2 {
        return vec![0.0; len];
    }
    let knots = [(); KNOTS].map(|()| 1.0 + 0.2 * normal(rng));
    let curve = Spline::through(knots);
    let step = (KNOTS - 1) as f32 / (len - 1) as f32;
    let mut places = Vec::with_capacity(len);
    let mut place = 0.0;
    for t in 0..len {
        places.push(place);
        // The floor keeps time from standing still or running backwards where the spline overshoots.
        place += curve.at((t as f32 + 0.5) * step).max(0.05);
    }
    let end = places[len - 1];
    let scale = (len - 1) as f32 / end;
    places.iter().map(|place| (place * scale).min((len - 1) as f32)).collect()
}

/// The natural cubic spline through values at 0, 1, 2, ..
struct Spline {
    values: [f32; KNOTS],
    /// Second derivatives at the knots, zero at both ends.
    bends: [f32; KNOTS],
}

impl Spline {
    fn through(values: [f32; KNOTS]) -> Self {
        // b_(i-1) + 4 b_i + b_(i+1) = 6 (v_(i-1) - 2 v_i + v_(i+1)), solved by elimination.
        let mut ratio = [0.0; KNOTS];
        let mut bends = [0.0; KNOTS];
        for i in 1..KNOTS - 1 {
            let right = 6.0 * (values[i - 1] - 2.0 * values[i] + values[i + 1]);
            let pivot = 4.0 - ratio[i - 1];
            ratio[i] = 1.0 / pivot;
            bends[i] = (right - bends[i - 1]) / pivot;
        }
        for i in (1..KNOTS - 1).rev() {
            bends[i] -= ratio[i] * bends[i + 1];
        }
        Self { values, bends }
    }

    fn at(&self, x: f32) -> f32 {
        let i = (x as usize).min(KNOTS - 2);
        let (b, a) = (x - i as f32, i as f32 + 1.0 - x);
        let straight = a * self.values[i] + b * self.values[i + 1];
        straight + ((a * a * a - a) * self.bends[i] + (b * b * b - b) * self.bends[i + 1]) / 6.0
    }
}

/// A normal number (Box and Muller 1958).
fn normal(rng: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (TAU * rng.random::<f32>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const LEN: usize = 240;

    fn window() -> Vec<f32> {
        let wave =
            |t: usize| [(t as f32 * 0.1).sin(), (t as f32 * 0.037).cos() - 0.4, 1.0 + t as f32 * 0.002];
        (0..LEN).flat_map(wave).collect()
    }

    fn energies(window: &[f32]) -> Vec<f32> {
        window.chunks(3).map(|m| m.iter().map(|v| v * v).sum()).collect()
    }

    fn sorted(mut values: Vec<f32>) -> Vec<f32> {
        values.sort_by(f32::total_cmp);
        values
    }

    /// Each change under many seeds.
    fn each(change: Change, check: impl Fn(&[f32], &[f32])) {
        let before = window();
        for seed in 0..100 {
            let mut after = before.clone();
            change.apply(&mut after, 3, &mut ChaCha8Rng::seed_from_u64(seed));
            check(&before, &after);
        }
    }

    #[test]
    fn rotations_negations_and_shuffles_keep_the_energy_of_every_moment() {
        for change in [Change::Rotation, Change::Negation, Change::Shuffle] {
            each(change, |before, after| {
                assert_ne!(before, after, "{change:?}");
                for (a, b) in energies(before).iter().zip(energies(after)) {
                    assert!((a - b).abs() < 1e-5 * a.max(1.0), "{change:?}: {a} {b}");
                }
            });
        }
    }

    #[test]
    fn a_rotation_turns_and_never_mirrors() {
        for seed in 0..200 {
            let [a, b, c] = rotation(&mut ChaCha8Rng::seed_from_u64(seed));
            let volume = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0])
                + a[2] * (b[0] * c[1] - b[1] * c[0]);
            assert!((volume - 1.0).abs() < 1e-5, "{volume}");
        }
    }

    #[test]
    fn flips_and_permutations_keep_every_moment_whole() {
        for change in [Change::Flip, Change::Permutation] {
            each(change, |before, after| {
                // The third axis rises, so it tells where a moment came from.
                for moment in after.chunks(3) {
                    assert!(before.chunks(3).any(|m| m == moment), "{change:?}");
                }
                assert_eq!(sorted(before.to_vec()), sorted(after.to_vec()));
            });
        }
        let mut twice = window();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        Change::Flip.apply(&mut twice, 3, &mut rng);
        assert_eq!(twice[2], window()[LEN * 3 - 1]);
        Change::Flip.apply(&mut twice, 3, &mut rng);
        assert_eq!(twice, window());
    }

    #[test]
    fn scaling_is_one_factor_a_channel() {
        let mut factors = Vec::new();
        let before = window();
        for seed in 0..1_000 {
            let mut after = before.clone();
            Change::Scaling.apply(&mut after, 3, &mut ChaCha8Rng::seed_from_u64(seed));
            let [x, y, z] = [0, 1, 2].map(|c| after[300 + c] / before[300 + c]);
            assert!(x != y && y != z);
            for (a, b) in after.chunks(3).zip(before.chunks(3)) {
                assert!((a[0] - b[0] * x).abs() < 1e-4 && (a[2] - b[2] * z).abs() < 1e-4);
            }
            factors.extend([x, y, z].map(f64::from));
        }
        assert_moments(&factors, 1.0, 0.25);
    }

    #[test]
    fn noise_has_its_deviation() {
        let mut after = window();
        Change::Noise.apply(&mut after, 3, &mut ChaCha8Rng::seed_from_u64(1));
        let added: Vec<f64> = after.iter().zip(window()).map(|(a, b)| f64::from(a - b)).collect();
        assert_moments(&added, 0.0, 0.1);
    }

    /// Mean and deviation within four standard errors.
    fn assert_moments(values: &[f64], mean: f64, deviation: f64) {
        let n = values.len() as f64;
        let m = values.iter().sum::<f64>() / n;
        let d = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / n).sqrt();
        assert!((m - mean).abs() < 4.0 * deviation / n.sqrt(), "mean {m}");
        assert!((d - deviation).abs() < 4.0 * deviation / (2.0 * n).sqrt(), "deviation {d}");
    }

    #[test]
    fn warps_rise_from_the_first_moment_to_the_last_and_differ_by_channel() {
        for seed in 0..500 {
            let places = warp(LEN, &mut ChaCha8Rng::seed_from_u64(seed));
            assert!(places.windows(2).all(|w| w[0] < w[1]));
            assert_eq!(places[0], 0.0);
            assert!((places[LEN - 1] - (LEN - 1) as f32).abs() < 1e-2);
        }
        let mut same: Vec<f32> = (0..LEN).flat_map(|t| [(t as f32 * 0.1).sin(); 3]).collect();
        Change::Warp.apply(&mut same, 3, &mut ChaCha8Rng::seed_from_u64(2));
        assert!(same.chunks(3).any(|m| m[0] != m[1]) && same.chunks(3).any(|m| m[1] != m[2]));
    }

    #[test]
    fn a_spline_meets_its_knots_and_keeps_straight_lines() {
        let knots = [1.0, 0.7, 1.4, 1.1, 0.9, 1.2];
        let curve = Spline::through(knots);
        for (i, knot) in knots.iter().enumerate() {
            assert!((curve.at(i as f32) - knot).abs() < 1e-5);
        }
        let smooth = |x: f32| (curve.at(x + 1e-2) - curve.at(x)) - (curve.at(x) - curve.at(x - 1e-2));
        assert!((1..KNOTS - 1).all(|i| smooth(i as f32).abs() < 1e-3));
        let line = Spline::through([0, 1, 2, 3, 4, 5].map(|i| 2.0 - 0.3 * i as f32));
        assert!((line.at(2.7) - 1.19).abs() < 1e-5);
    }

    #[test]
    fn two_changes_from_one_seed_and_none_that_needs_axes_without_them() {
        let augmented = |seed| augment(&window(), 3, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(augmented(1), augmented(1));
        assert_ne!(augmented(1), augmented(2));
        for seed in 0..200 {
            let one = augment(&window()[..LEN], 1, &mut ChaCha8Rng::seed_from_u64(seed));
            assert!(one.len() == LEN && one.iter().all(|v| v.is_finite()));
        }
        assert!(augment(&[], 3, &mut ChaCha8Rng::seed_from_u64(0)).is_empty());
    }
}
