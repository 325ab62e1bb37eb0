//! The alignment loss: where a person's class lies is to be where everybody's lies.
//!
//! With `mu` the mean of the view's embeddings in class `k` and channel `c`, and `M`, `V` everybody's mean and variance:
//!
//! ```text
//! weight * mean over k, c of  (mu - M)^2 / (V + f)
//! ```
//!
//! over the classes of which both sides have [`LEAST`] epochs; `f` is a hundredth of the mean of `V` over channels, so that the
//! loss does not depend on the scale of embeddings and no silent channel outweighs the others. Where all people's means are equal
//! within each class, a linear probe knows no more of who sleeps than how long each was in which stage (Belrose et al. 2023,
//! "LEACE").
//!
//! Variances are not pulled: those of a training view hold dropout's and augmentation's own, everybody's do not. With such a
//! term federations lost staging and hid less.

use somnus_protocol::moments::Moments;

use super::Align;

/// Epochs that a class needs on either side: five minutes.
const LEAST: usize = 10;

/// Part of the mean variance that is added to every variance.
const FLOOR: f64 = 0.01;

/// Where each class is to lie, and how much that matters.
pub(crate) struct Alignment {
    weight: f32,
    width: usize,
    /// Per class; `None` of those that everybody has too little of.
    places: Vec<Option<Place>>,
}

/// Where one class lies.
struct Place {
    mean: Vec<f64>,
    /// With the floor.
    variance: Vec<f64>,
}

impl Alignment {
    pub(crate) fn new(weight: f32, everybody: &Moments) -> Self {
        let width = usize::from(everybody.shape().width);
        let place = |class| {
            let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
            let mean = wide(everybody.mean(class, LEAST as f64)?);
            let mut variance = wide(everybody.variance(class, LEAST as f64)?);
            // Constant embeddings would divide by nothing.
            let floor = FLOOR * variance.iter().sum::<f64>() / width as f64 + f64::from(f32::MIN_POSITIVE);
            variance.iter_mut().for_each(|v| *v += floor);
            Some(Place { mean, variance })
        };
        Self { weight, width, places: (0..everybody.shape().classes).map(place).collect() }
    }

    /// The loss of `h` `[epochs, C]`; adds its gradient to `dh`.
    pub(crate) fn of(&self, h: &[f32], classes: &[Option<u8>], dh: &mut [f32]) -> f64 {
        let epochs_of = |class: usize| -> Vec<usize> {
            (0..classes.len()).filter(|epoch| classes[*epoch].map(usize::from) == Some(class)).collect()
        };
        let counted: Vec<(&Place, Vec<usize>)> = self
            .places
            .iter()
            .enumerate()
            .filter_map(|(class, place)| Some((place.as_ref()?, epochs_of(class))))
            .filter(|(_, epochs)| epochs.len() >= LEAST)
            .collect();
        let part = f64::from(self.weight) / (counted.len() * self.width).max(1) as f64;
        let mut loss = 0.0;
        for (Place { mean, variance }, epochs) in &counted {
            let share = 1.0 / epochs.len() as f64;
            for (channel, (aim, scale)) in mean.iter().zip(variance).enumerate() {
                let places = || epochs.iter().map(|epoch| epoch * self.width + channel);
                let away = share * places().map(|at| f64::from(h[at])).sum::<f64>() - aim;
                loss += part * away * away / scale;
                let slope = (2.0 * part * share * away / scale) as f32;
                places().for_each(|at| dh[at] += slope);
            }
        }
        loss
    }
}

impl Align for Alignment {
    fn pull(&mut self, _: usize, h: &[f32], classes: &[Option<u8>], dh: &mut [f32]) {
        self.of(h, classes, dh);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use somnus_protocol::moments::Embedding;

    use super::*;

    const SHAPE: Embedding = Embedding { classes: 3, width: 4 };

    /// Embeddings `[epochs, 4]` and classes 0, 1 and none by turns; class 2 now and then.
    fn night(epochs: usize, seed: u64, shift: f32) -> (Vec<f32>, Vec<Option<u8>>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let h = (0..4 * epochs).map(|i| rng.random_range(-1.0..1.0) * (1 + i % 4) as f32 + shift).collect();
        let class = |epoch| match epoch {
            e if e % 17 == 3 => Some(2),
            e => [Some(0), Some(1), None][e % 3],
        };
        (h, (0..epochs).map(class).collect())
    }

    fn moments(night: &(Vec<f32>, Vec<Option<u8>>)) -> Moments {
        let mut moments = Moments::new(SHAPE);
        super::super::add(&mut moments, &night.0, &night.1);
        moments
    }

    fn loss(alignment: &Alignment, night: &(Vec<f32>, Vec<Option<u8>>)) -> (f64, Vec<f32>) {
        let mut dh = vec![0.0; night.0.len()];
        (alignment.of(&night.0, &night.1, &mut dh), dh)
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let alignment = Alignment::new(0.7, &moments(&night(400, 1, 0.5)));
        let mut night = night(60, 2, 0.0);
        let (_, dh) = loss(&alignment, &night);
        assert!(dh.iter().any(|d| d.abs() > 1e-4));
        for (i, slope) in dh.iter().enumerate() {
            let here = night.0[i];
            let mut at = |d: f32| {
                night.0[i] = here + d;
                let (loss, _) = loss(&alignment, &night);
                night.0[i] = here;
                loss
            };
            let expected = (at(1.0 / 64.0) - at(-1.0 / 64.0)) * 32.0;
            let worst = 1e-4 * expected.abs().max(1e-3);
            assert!((f64::from(*slope) - expected).abs() < worst, "{i}: {slope} {expected}");
        }
    }

    #[test]
    fn who_is_like_everybody_is_left_alone() {
        let night = night(60, 2, 0.0);
        let (loss, dh) = loss(&Alignment::new(1.0, &moments(&night)), &night);
        assert!(loss < 1e-9 && dh.iter().all(|d| d.abs() < 1e-6), "{loss}");
    }

    #[test]
    fn unscored_epochs_and_rare_classes_feel_nothing() {
        let alignment = Alignment::new(1.0, &moments(&night(400, 1, 0.5)));
        let (h, classes) = night(60, 2, 0.0);
        let rare = classes.iter().filter(|class| **class == Some(2)).count();
        assert!((1..LEAST).contains(&rare));
        let (_, dh) = loss(&alignment, &(h, classes.clone()));
        for (class, dh) in classes.iter().zip(dh.chunks_exact(4)) {
            assert_eq!(dh.iter().all(|d| *d == 0.0), !matches!(class, Some(0 | 1)), "{class:?}");
        }
        // Nor does anybody while there are no places yet.
        let nowhere = Alignment::new(1.0, &Moments::new(SHAPE));
        assert_eq!(loss(&nowhere, &night(60, 2, 0.0)), (0.0, vec![0.0; 240]));
    }

    #[test]
    fn the_scale_of_embeddings_does_not_matter() {
        let scaled = |factor: f32| {
            let night = |seed, shift| {
                let (h, classes) = night(60, seed, shift);
                (h.iter().map(|v| v * factor).collect(), classes)
            };
            loss(&Alignment::new(1.0, &moments(&night(1, 0.5))), &night(2, 0.0)).0
        };
        // 64 times as much, and at most 4.5 times 32: within what moments hold.
        assert!((scaled(0.5) / scaled(32.0) - 1.0).abs() < 1e-4);
    }
}
