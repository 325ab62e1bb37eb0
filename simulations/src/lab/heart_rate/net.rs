//! Networks that read a heart rate as one of 180 classes, a beat a minute each.

use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Mlp, Spec, Standardise, Wave, Weights, windows};
use somnus_model::objective::Seen;
use somnus_model::tensor::Tensor;
use somnus_model::tensor::activation::gelu;
use somnus_signals::StreamKind;

/// Heart rates that are told apart.
pub(super) const CLASSES: usize = 180;
/// The first of them, bpm.
pub(super) const LOWEST: f64 = 30.0;
/// Seconds of a window.
pub(super) const SECONDS: usize = 30;
/// Samples per second of what a perceptron looks at.
const COARSE: usize = 16;
/// Taps of a convolution, and groups of a norm.
const KERNEL: usize = 5;
const GROUPS: usize = 4;
/// Windows that are computed at once outside training.
pub(super) const BATCH: usize = 32;

/// The shape of a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// A residual network over the wave, see [`Wave`].
    Wave {
        /// Channels of the stages, multiples of 4.
        widths: Vec<usize>,
        /// Numbers that a window becomes.
        embedding: usize,
    },
    /// Layers with rectifiers on the 480 numbers that a window has at 16 Hz.
    Mlp {
        /// Units of each layer; the last are what a window becomes.
        hidden: Vec<usize>,
    },
}

impl Shape {
    /// For tables: its widths.
    pub(super) fn name(&self) -> String {
        let list = |widths: &[usize]| widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-");
        match self {
            Self::Wave { widths, .. } => list(widths),
            Self::Mlp { hidden } => format!("mlp {}", list(hidden)),
        }
    }
}

/// A network for windows of 30 s at one rate, each to mean 0 and variance 1.
pub(super) struct Net {
    body: Body,
    head: Mlp,
}

enum Body {
    Wave(Wave),
    /// Samples that are averaged to one before its first layer.
    Mlp(Mlp, usize),
}

impl Net {
    /// The network of a shape at `rate` Hz; what is wrong with it, by the key under its own.
    pub(super) fn new(shape: &Shape, rate: usize) -> Result<Self, (&'static str, String)> {
        let (body, embedding) = match shape {
            Shape::Wave { widths, embedding } => {
                let wave = Wave {
                    stream: StreamKind::Ppg,
                    rate,
                    window: SECONDS * rate,
                    standardise: Standardise::Never,
                    widths: widths.clone(),
                    kernel: KERNEL,
                    groups: GROUPS,
                    embedding: *embedding,
                };
                wave.check().map_err(|error| ("widths", error.to_string()))?;
                (Body::Wave(wave), *embedding)
            }
            Shape::Mlp { hidden } => {
                let fine = (1..=4).contains(&hidden.len()) && hidden.iter().all(|w| (1..=4096).contains(w));
                if !fine {
                    return Err(("hidden", format!("{hidden:?} is not 1 to 4 layers of up to 4096 units")));
                }
                let sizes = std::iter::once(SECONDS * COARSE).chain(hidden.iter().copied()).collect();
                (Body::Mlp(Mlp { name: "perceptron", sizes }, rate / COARSE), hidden[hidden.len() - 1])
            }
        };
        Ok(Self { body, head: Mlp { name: "rate", sizes: vec![embedding, CLASSES] } })
    }

    pub(super) fn specs(&self) -> Vec<Spec> {
        let mut specs = match &self.body {
            Body::Wave(wave) => wave.specs(),
            Body::Mlp(mlp, _) => mlp.specs(),
        };
        specs.extend(self.head.specs());
        specs
    }

    pub(super) fn weights(&self) -> usize {
        self.specs().iter().map(|spec| spec.shape.iter().product::<usize>()).sum()
    }

    /// Numbers of an embedding.
    pub(super) fn embedding(&self) -> usize {
        self.head.sizes[0]
    }

    /// Embeddings and logits of windows.
    pub(super) fn see<W: AsRef<[f32]>>(&self, weights: &Weights, batch: &[W]) -> Seen {
        let features = match &self.body {
            Body::Wave(wave) => wave.embed(weights, windows(batch, 1, weights.device())),
            Body::Mlp(mlp, pooled) => {
                let coarse: Vec<Vec<f32>> = batch
                    .iter()
                    .map(|window| {
                        let cells = window.as_ref().chunks_exact(*pooled);
                        cells.map(|cell| cell.iter().sum::<f32>() / *pooled as f32).collect()
                    })
                    .collect();
                let rows = windows(&coarse, 1, weights.device());
                let [_, batch, len] = rows.dims();
                mlp.apply(weights, rows.reshape([batch, len]))
            }
        };
        Seen { logits: self.head.apply(weights, gelu(features.clone())), features }
    }

    /// Logits `[windows, 180]` and embeddings `[windows, embedding]` of any number of windows, without autodiff.
    pub(super) fn see_all<W: AsRef<[f32]>>(&self, weights: &Weights, all: &[W]) -> (Vec<f32>, Vec<f32>) {
        let weights = weights.frozen();
        let (mut logits, mut features) = (Vec::new(), Vec::new());
        for batch in all.chunks(BATCH) {
            let seen = self.see(&weights, batch);
            logits.extend(values(seen.logits));
            features.extend(values(seen.features));
        }
        (logits, features)
    }
}

fn values(rows: Tensor<2>) -> Vec<f32> {
    rows.into_data().try_to_vec().expect("an f32 tensor on a CPU device")
}

/// The heart rate that a row of logits means, bpm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reading {
    /// The mean of the posterior.
    pub(super) expectation: f64,
    /// Its largest class.
    pub(super) largest: f64,
}

impl Reading {
    pub(super) fn of(logits: &[f32]) -> Self {
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
        let weight = |class: usize| f64::from(logits[class] - logits[best]).exp();
        let all: f64 = (0..logits.len()).map(weight).sum();
        let mean = (0..logits.len()).map(|class| weight(class) * class as f64).sum::<f64>() / all;
        Self { expectation: LOWEST + mean, largest: LOWEST + best as f64 }
    }
}

/// A heart rate as a posterior: a normal distribution of deviation `sigma` bpm over the classes.
pub(super) fn label(bpm: f64, sigma: f64) -> Vec<f32> {
    let last = CLASSES as f64 - 1.0;
    let at = (bpm - LOWEST).clamp(0.0, last);
    let heights: Vec<f64> =
        (0..CLASSES).map(|class| (-((class as f64 - at) / sigma).powi(2) / 2.0).exp()).collect();
    let sum: f64 = heights.iter().sum();
    heights.into_iter().map(|height| (height / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use somnus_model::DeviceKind;

    use super::*;

    #[test]
    fn a_label_is_read_as_what_it_was_made_of() {
        for (bpm, sigma) in [(30.0, 0.5), (71.4, 2.0), (146.78, 1.0), (209.0, 0.5)] {
            let label = label(bpm, sigma);
            assert!((label.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let logits: Vec<f32> = label.iter().map(|p| p.max(1e-30).ln()).collect();
            let reading = Reading::of(&logits);
            assert_eq!(reading.largest, bpm.round());
            let edge = if (40.0..200.0).contains(&bpm) { 0.01 } else { sigma };
            assert!((reading.expectation - bpm).abs() < edge, "{bpm}: {reading:?}");
        }
    }

    #[test]
    fn every_shape_reads_windows_and_absurd_ones_are_refused() {
        let shapes =
            [(Shape::Wave { widths: vec![4, 8], embedding: 6 }, 6), (Shape::Mlp { hidden: vec![12, 5] }, 5)];
        let batch: Vec<Vec<f32>> =
            (0..40).map(|w| (0..960).map(|i| ((i * (w + 3)) as f32 * 0.01).sin()).collect()).collect();
        for (shape, embedding) in shapes {
            let net = Net::new(&shape, 32).unwrap();
            let weights = Weights::new(&net.specs(), &mut ChaCha8Rng::seed_from_u64(1), DeviceKind::Flex);
            assert_eq!((net.weights(), net.embedding()), (weights.trained(), embedding));
            let (logits, features) = net.see_all(&weights, &batch);
            assert_eq!((logits.len(), features.len()), (40 * CLASSES, 40 * embedding));
            // A window is read the same in any company.
            let alone = net.see_all(&weights, &batch[33..34]).1;
            let off = alone.iter().zip(&features[33 * embedding..]).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f32::max) < 1e-5);
        }
        for (shape, key) in [
            (Shape::Wave { widths: vec![4, 6], embedding: 4 }, "widths"),
            (Shape::Wave { widths: vec![4], embedding: 0 }, "widths"),
            (Shape::Mlp { hidden: vec![] }, "hidden"),
        ] {
            assert_eq!(Net::new(&shape, 32).err().unwrap().0, key);
        }
    }
}
