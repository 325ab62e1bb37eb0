//! From windows to a network: alone, or with a teacher.

use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use somnus_model::distil::Strategy;
use somnus_model::encoder::Weights;
use somnus_model::objective::{Seen, cross_entropy};
use somnus_model::tensor::{Device, Tensor, TensorData};
use somnus_model::{DeviceKind, ModelError};

use super::data::Windows;
use super::net::{CLASSES, Net, Reading, label};
use crate::pretrain::learner::Learner;
use crate::progress::Progress;

/// How long and how fast.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) steps: u32,
    pub(super) batch: usize,
    pub(super) learning_rate: f32,
    /// Deviation of a label, bpm.
    pub(super) label_sigma: f64,
    /// The part of the steps over which a teacher is let in.
    pub(super) warm_up: f32,
}

/// What a teacher makes of each training window.
pub(super) struct Teacher {
    logits: Vec<f32>,
    features: Vec<f32>,
    embedding: usize,
}

impl Teacher {
    pub(super) fn of(net: &Net, weights: &Weights, windows: &Windows) -> Self {
        let (logits, features) = net.see_all(weights, &windows.samples);
        Self { logits, features, embedding: net.embedding() }
    }

    fn see(&self, chosen: &[usize], device: &Device) -> Seen {
        Seen {
            logits: rows(&self.logits, CLASSES, chosen, device),
            features: rows(&self.features, self.embedding, chosen, device),
        }
    }
}

/// Some rows of a matrix in host memory.
fn rows(all: &[f32], width: usize, chosen: &[usize], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = chosen.iter().flat_map(|i| &all[i * width..(i + 1) * width]).copied().collect();
    Tensor::from_data(TensorData::new(values, [chosen.len(), width]), device)
}

/// A network taught by labels, and by a teacher if there is one. Equal seeds give equal first weights and equal batches,
/// whoever teaches.
pub(super) fn train(
    net: &Net,
    windows: &Windows,
    taught: Option<(&Strategy, &Teacher)>,
    pace: Pace,
    seed: u64,
    progress: &Progress,
) -> Result<Weights, ModelError> {
    let mut specs = net.specs();
    if let Some((strategy, teacher)) = taught {
        // Last, so that the first weights of the network are drawn as without it.
        specs.extend(strategy.specs(net.embedding(), teacher.embedding));
    }
    let labels: Vec<f32> = windows.bpm.iter().flat_map(|bpm| label(*bpm, pace.label_sigma)).collect();
    let mut learner = Learner::fresh(specs, DeviceKind::Flex, seed, (pace.steps, pace.learning_rate))?;
    for step in 0..pace.steps {
        learner.step(|weights, rng: &mut ChaCha8Rng| {
            let chosen = sample(rng, windows.len(), pace.batch.min(windows.len())).into_vec();
            let batch: Vec<&[f32]> = chosen.iter().map(|i| &windows.samples[*i][..]).collect();
            let seen = net.see(weights, &batch);
            let labels = rows(&labels, CLASSES, &chosen, weights.device());
            match taught {
                None => cross_entropy(seen.logits, labels),
                Some((strategy, teacher)) => {
                    let share = (step as f32 / (pace.warm_up * pace.steps as f32).max(1.0)).min(1.0);
                    strategy.loss(weights, seen, teacher.see(&chosen, weights.device()), labels, share)
                }
            }
        })?;
        progress.steps(1);
    }
    Ok(learner.weights().clone())
}

/// Mean absolute errors, bpm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Score {
    /// Of the posterior's mean.
    pub(super) expectation: Off,
    /// Of the largest class.
    pub(super) largest: Off,
}

/// A mean absolute error, bpm.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Off {
    pub(super) all: f64,
    /// Of windows where the wristband itself is sure; not a number if there is none.
    pub(super) sure: f64,
}

impl Score {
    pub(super) fn of(net: &Net, weights: &Weights, windows: &Windows) -> Self {
        let (logits, _) = net.see_all(weights, &windows.samples);
        let readings: Vec<Reading> = logits.chunks_exact(CLASSES).map(Reading::of).collect();
        let off = |read: fn(&Reading) -> f64| Off::of(readings.iter().map(read), windows);
        Self { expectation: off(|reading| reading.expectation), largest: off(|reading| reading.largest) }
    }
}

impl Off {
    /// Of readings in bpm.
    pub(super) fn of(readings: impl Iterator<Item = f64>, windows: &Windows) -> Self {
        let (mut all, mut sure) = (Mean::default(), Mean::default());
        for ((read, bpm), is_sure) in readings.zip(&windows.bpm).zip(&windows.sure) {
            all.add((read - bpm).abs());
            if *is_sure {
                sure.add((read - bpm).abs());
            }
        }
        Self { all: all.0 / all.1, sure: sure.0 / sure.1 }
    }
}

/// A sum and a count.
#[derive(Default)]
struct Mean(f64, f64);

impl Mean {
    fn add(&mut self, value: f64) {
        self.0 += value;
        self.1 += 1.0;
    }
}
