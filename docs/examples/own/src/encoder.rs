//! Own encoder, and the network and training around it: three features of each epoch in three widths, a hidden layer that encodes
//! them, and a softmax. The federation sees nothing of it but a vector of weights.

use std::collections::BTreeMap;

use anyhow::Result;
use somnus_protocol::checkpoint::{Checkpoint, FORMAT, Manifest, Tensor, floats};
use somnus_protocol::plan::TrainableSet;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_report::Confusion;
use somnus_signals::{EPOCH_SECONDS, Recording, StreamKind, Task};

const TASK: Task = Task::Four;
const CLASSES: usize = 4;
/// Epochs on either side that a feature is averaged over.
const REACHES: [usize; 3] = [0, 4, 20];
/// Features and a constant.
const INPUTS: usize = 2 * REACHES.len() + 2;
const HIDDEN: usize = 16;
const ENCODER: usize = HIDDEN * INPUTS;
const WEIGHTS: usize = ENCODER + CLASSES * (HIDDEN + 1);

/// One person's nights as this model sees them.
pub(crate) struct Epochs {
    inputs: Vec<[f32; INPUTS]>,
    classes: Vec<Option<usize>>,
}

impl Epochs {
    /// Heart rate and movement, each against the night's own mean and spread, and the time of the night.
    pub(crate) fn of(night: &Recording) -> Self {
        let series = [StreamKind::Hr, StreamKind::Activity].map(|kind| standard(&per_epoch(night, kind)));
        let input = |epoch: usize| {
            let mut input = [1.0; INPUTS];
            let features = series.iter().flat_map(|series| REACHES.map(|reach| around(series, epoch, reach)));
            input.iter_mut().zip(features).for_each(|(input, feature)| *input = feature);
            input[INPUTS - 2] = epoch as f32 / 480.0 - 1.0;
            input
        };
        Self {
            inputs: (0..night.epochs()).map(input).collect(),
            classes: night.labels.iter().map(|stage| stage.map(|stage| TASK.class_of(stage))).collect(),
        }
    }

    fn scored(&self) -> impl Iterator<Item = (&[f32; INPUTS], usize)> {
        self.inputs.iter().zip(&self.classes).filter_map(|(input, class)| class.map(|class| (input, class)))
    }

    /// What these weights predict, against the scored stages.
    ///
    /// # Errors
    /// Never for the classes of this task.
    pub(crate) fn confusion(&self, weights: &[f32]) -> Result<Confusion> {
        let likeliest = |input| {
            let probabilities = Pass::forward(weights, input).probabilities;
            (0..CLASSES).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or(0)
        };
        let pairs = self.scored().map(|(input, truth)| (truth as u8, likeliest(input) as u8));
        Ok(Confusion::from_pairs(CLASSES, pairs)?)
    }

    /// Mean slope and loss over the scored epochs; rare classes weigh more.
    fn slope(&self, weights: &[f32]) -> (Vec<f32>, f32, u32) {
        // The same everywhere, so that all clients minimise one loss.
        let importance = [2.0, 0.8, 1.6, 1.4];
        let (mut slope, mut loss, mut examples) = (vec![0.0; WEIGHTS], 0.0, 0);
        for (input, truth) in self.scored() {
            let Pass { hidden, probabilities } = Pass::forward(weights, input);
            loss -= importance[truth] * probabilities[truth].max(1e-9).ln();
            examples += 1;
            let mut back = [0.0; HIDDEN];
            for (class, probability) in probabilities.into_iter().enumerate() {
                let target = if class == truth { 1.0 } else { 0.0 };
                let error = importance[truth] * (probability - target);
                let row = ENCODER + class * (HIDDEN + 1);
                for (unit, hidden) in hidden.into_iter().enumerate() {
                    slope[row + unit] += error * hidden;
                    back[unit] += error * weights[row + unit];
                }
                slope[row + HIDDEN] += error;
            }
            for (unit, (back, hidden)) in back.into_iter().zip(hidden).enumerate() {
                let error = back * (1.0 - hidden * hidden);
                let row = &mut slope[unit * INPUTS..(unit + 1) * INPUTS];
                row.iter_mut().zip(input).for_each(|(slope, input)| *slope += error * input);
            }
        }
        let count = examples.max(1) as f32;
        slope.iter_mut().for_each(|slope| *slope /= count);
        (slope, loss / count, examples)
    }
}

/// What the network makes of one epoch.
struct Pass {
    hidden: [f32; HIDDEN],
    probabilities: [f32; CLASSES],
}

impl Pass {
    fn forward(weights: &[f32], input: &[f32; INPUTS]) -> Self {
        let dot = |row: &[f32], with: &[f32]| row.iter().zip(with).map(|(a, b)| a * b).sum::<f32>();
        let (encoder, head) = weights.split_at(ENCODER);
        let hidden: [f32; HIDDEN] =
            std::array::from_fn(|unit| dot(&encoder[unit * INPUTS..(unit + 1) * INPUTS], input).tanh());
        let scores: [f32; CLASSES] = std::array::from_fn(|class| {
            let row = &head[class * (HIDDEN + 1)..(class + 1) * (HIDDEN + 1)];
            dot(&row[..HIDDEN], &hidden) + row[HIDDEN]
        });
        let top = scores.into_iter().fold(f32::MIN, f32::max);
        let powers = scores.map(|score| (score - top).exp());
        let total: f32 = powers.iter().sum();
        Self { hidden, probabilities: powers.map(|power| power / total) }
    }
}

/// A hub's hands: one person's night, and gradient descent.
pub(crate) struct Hands(pub(crate) Epochs);

impl Trainer for Hands {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let release = fitting(&task.weights)?;
        let mut weights = release.clone();
        let (mut losses, mut examples) = (0.0, 0);
        for _ in 0..task.plan.steps {
            let (slope, loss, scored) = self.0.slope(&weights);
            weights.iter_mut().zip(&slope).for_each(|(w, slope)| *w -= task.plan.learning_rate * slope);
            losses += loss;
            examples = scored;
        }
        Ok(LocalUpdate {
            delta: weights.iter().zip(&release).map(|(new, old)| new - old).collect(),
            steps: task.plan.steps,
            examples,
            loss: losses / task.plan.steps.max(1) as f32,
            ..LocalUpdate::default()
        })
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        let confusion =
            self.0.confusion(&fitting(&task.weights)?).map_err(|why| TrainError(why.to_string()))?;
        let confusion = confusion.to_rows().into_iter().flatten().map(|count| count as u32).collect();
        Ok(LocalEvaluation { classes: CLASSES as u8, confusion })
    }
}

/// A release's weights, if it is one of this network.
fn fitting(bytes: &[u8]) -> Result<Vec<f32>, TrainError> {
    let weights = floats(bytes);
    let why = || TrainError(format!("a release of {} weights, the network has {WEIGHTS}", weights.len()));
    if weights.len() == WEIGHTS { Ok(weights) } else { Err(why()) }
}

/// The untrained network as a checkpoint; hidden units begin differently, or they would stay the same.
pub(crate) fn foundation() -> Checkpoint {
    let start = |i: usize| ((i as f32 + 1.0) * 12.9898).sin() * 0.5;
    let tensor = |shape: Vec<usize>, from: usize| {
        let values = (from..from + shape.iter().product::<usize>()).map(start).collect();
        Tensor { shape, values }
    };
    let tensors = BTreeMap::from([
        ("encoder.weight".to_owned(), tensor(vec![HIDDEN, INPUTS], 0)),
        ("head.weight".to_owned(), tensor(vec![CLASSES, HIDDEN + 1], ENCODER)),
    ]);
    let manifest = Manifest {
        format: FORMAT,
        name: "own".into(),
        architecture: "an encoder of one's own".into(),
        licence: "MIT OR Apache-2.0".into(),
        provenance: BTreeMap::from([("start".into(), "untrained".into())]),
        trainable: BTreeMap::from([(
            TrainableSet::Full,
            vec!["encoder.weight".to_owned(), "head.weight".to_owned()],
        )]),
        embedding: None,
    };
    Checkpoint { manifest, tensors }
}

/// The mean of a stream in each epoch; where there is none, that of the epoch before.
fn per_epoch(night: &Recording, kind: StreamKind) -> Vec<f32> {
    let mut sums = vec![(0.0, 0u32); night.epochs()];
    if let Some(stream) = night.streams.get(&kind) {
        for (time, value) in stream.times().iter().zip(stream.values()) {
            let epoch = (time / EPOCH_SECONDS).floor();
            if epoch >= 0.0
                && let Some((sum, count)) = sums.get_mut(epoch as usize)
            {
                *sum += value.max(0.0).ln_1p();
                *count += 1;
            }
        }
    }
    let mut last = 0.0;
    sums.into_iter()
        .map(|(sum, count)| {
            if count > 0 {
                last = sum / count as f32;
            }
            last
        })
        .collect()
}

fn standard(series: &[f32]) -> Vec<f32> {
    let count = series.len().max(1) as f32;
    let mean = series.iter().sum::<f32>() / count;
    let spread = (series.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count).sqrt().max(1e-3);
    series.iter().map(|x| (x - mean) / spread).collect()
}

fn around(series: &[f32], epoch: usize, reach: usize) -> f32 {
    let near = &series[epoch.saturating_sub(reach)..series.len().min(epoch + reach + 1)];
    near.iter().sum::<f32>() / near.len() as f32
}
