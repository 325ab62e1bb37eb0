//! RelCon (Xu et al. 2025, arXiv 2411.18822) for the hub's encoder of raw acceleration: a distance between windows is
//! learned first and frozen, then the encoder to rank by it.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Wave, Weights, windows};
use somnus_model::objective::{Attention, MotifDistance, RelativeLoss, augment};
use somnus_model::tensor::Tensor;
use somnus_model::{DeviceKind, ModelError, Stager};

use super::learner::Learner;
use super::stage::{Tensors, Work};
use super::windows::Bank;

/// Both parts of RelCon.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relcon {
    /// Learn from known activities. Default true.
    pub wisdm_watch: bool,
    /// Learn from hours at a desk. Default true.
    pub stress_predict: bool,
    /// Steps of the distance. Default 300.
    pub motif_steps: u32,
    /// Steps of the encoder. Default 700.
    pub steps: u32,
    /// Windows of a step, each of another person. Default 12.
    pub batch: usize,
    /// Further windows of each person, to rank. Default 4.
    pub candidates: usize,
    /// Peak of the encoder's rate; the distance has its paper's .001. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .1.
    pub temperature: f32,
}

impl Default for Relcon {
    fn default() -> Self {
        Self {
            wisdm_watch: true,
            stress_predict: true,
            motif_steps: 300,
            steps: 700,
            batch: 12,
            candidates: 4,
            learning_rate: 1e-3,
            temperature: 0.1,
        }
    }
}

const MOTIF_RATE: f32 = 1e-3;
const CHANNELS: usize = 3;
const MOTIF: &str = "motif.";
const ENCODER: &str = "wave.";

/// The distance under way, then the encoder.
pub(crate) struct Ranking {
    stage: Relcon,
    bank: Bank,
    wave: Wave,
    motif: Learner,
    encoder: Learner,
    stager: Stager,
}

impl Ranking {
    pub(crate) fn new(
        stage: &Relcon,
        bank: Bank,
        wave: Wave,
        stager: &Stager,
        device: DeviceKind,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let specs = MotifDistance::relcon().specs();
        let motif = Learner::new(specs, stager, device, seed, (stage.motif_steps, MOTIF_RATE))?;
        let pace = (stage.steps, stage.learning_rate);
        // Another number, so that the two do not draw the same windows.
        let encoder = Learner::new(wave.specs(), stager, device, !seed, pace)?;
        Ok(Self { stage: stage.clone(), bank, wave, motif, encoder, stager: stager.clone() })
    }
}

/// What RelCon is made of, as published by default; to leave a part out is an ablation.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Parts {
    /// See [`MotifDistance::revin`].
    pub(crate) revin: bool,
    /// The distance learns to see through changes; without them it rebuilds windows from themselves.
    pub(crate) changes: bool,
    /// Further windows of the anchor's own person are ranked; otherwise as many of anybody.
    pub(crate) own: bool,
    /// How a distance is computed when it ranks.
    pub(crate) attention: Attention,
    /// Candidates are ranked by the learnt distance; otherwise by the squared one, moment by moment.
    pub(crate) learnt: bool,
}

impl Parts {
    /// As the reference ranks: with softmax, though it trains with sparsemax.
    pub(crate) const PUBLISHED: Self =
        Self { revin: true, changes: true, own: true, attention: Attention::Softmax, learnt: true };

    pub(crate) fn motif(self) -> MotifDistance {
        MotifDistance { revin: self.revin, ..MotifDistance::relcon() }
    }
}

/// The mean squared error of windows rebuilt from changed copies of themselves, per number.
pub(crate) fn rebuilding(
    bank: &Bank,
    batch: usize,
    parts: Parts,
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let people = bank.choose(batch, rng);
    let segments: Vec<Vec<f32>> = people.iter().map(|person| bank.draw(*person, rng).remove(0)).collect();
    let changed: Vec<Vec<f32>> = match parts.changes {
        true => segments.iter().map(|segment| augment(segment, CHANNELS, rng)).collect(),
        false => segments.clone(),
    };
    let numbers = segments[0].len() as f32;
    let [segments, changed] = [&segments, &changed].map(|w| windows(w, CHANNELS, weights.device()));
    parts.motif().training_loss(weights, segments, changed, rng) / numbers
}

/// The relative contrastive loss, per candidate.
pub(crate) fn ranking(
    bank: &Bank,
    stage: &Relcon,
    parts: Parts,
    wave: &Wave,
    motif: &Weights,
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let (batch, own) = (stage.batch, stage.candidates);
    let people = bank.choose(batch, rng);
    let anchors: Vec<Vec<f32>> = people.iter().map(|person| bank.draw(*person, rng).remove(0)).collect();
    let within: Vec<usize> = match parts.own {
        true => people.iter().flat_map(|person| vec![*person; own]).collect(),
        false => bank.choose(batch * own, rng),
    };
    let within: Vec<Vec<f32>> = within.iter().map(|person| bank.draw(*person, rng).remove(0)).collect();
    let [anchors, within] = [&anchors, &within].map(|w| windows(w, CHANNELS, weights.device()));
    let distances = match parts.learnt {
        true => parts.motif().table(motif, anchors.clone(), within.clone(), parts.attention),
        false => squared(anchors.clone(), within.clone()),
    };
    let all = wave.embed(weights, Tensor::cat(vec![anchors, within], 1));
    let width = wave.embedding;
    let anchors = all.clone().slice([0..batch, 0..width]);
    let within = all.slice([batch..batch * (1 + own), 0..width]).reshape([batch, own, width]);
    let loss = RelativeLoss { temperature: stage.temperature }.loss(anchors, within, distances);
    loss / (batch - 1 + own) as f32
}

/// The table of [`MotifDistance::table`] with squared differences, moment by moment.
fn squared(anchors: Tensor<3>, within: Tensor<3>) -> Tensor<2> {
    let (anchors, within) = (anchors.inner(), within.inner());
    let [channels, batch, len] = anchors.dims();
    let own = within.dims()[1] / batch;
    let within = within.reshape([channels, batch, own, len]);
    let others = (1..batch).map(|by| {
        let (head, tail) = (anchors.clone().narrow(1, 0, by), anchors.clone().narrow(1, by, batch - by));
        Tensor::cat(vec![tail, head], 1)
    });
    let own = (0..own).map(|j| within.clone().narrow(2, j, 1).reshape([channels, batch, len]));
    let row = |candidates: Tensor<3>| {
        (anchors.clone() - candidates).square().sum_dim(2).sum_dim(0).reshape([1, batch])
    };
    Tensor::cat(others.chain(own).map(row).collect(), 0)
}

impl Work for Ranking {
    fn part(&self) -> &'static str {
        if self.motif.is_done() { "relative contrastive loss" } else { "motif error" }
    }

    fn step(&mut self) -> Result<Option<f32>, ModelError> {
        let Self { stage, bank, wave, motif, encoder, .. } = self;
        if !motif.is_done() {
            return motif
                .step(|weights, rng| rebuilding(bank, stage.batch, Parts::PUBLISHED, weights, rng))
                .map(Some);
        }
        encoder
            .step(|weights, rng| ranking(bank, stage, Parts::PUBLISHED, wave, motif.weights(), weights, rng))
            .map(Some)
    }

    fn to_tensors(&self) -> Tensors {
        let mut tensors = self.motif.to_tensors(MOTIF);
        tensors.extend(self.encoder.to_tensors(ENCODER));
        tensors
    }

    fn resume(&mut self, done: u32, tensors: &Tensors) -> Result<(), ModelError> {
        let motif = done.min(self.stage.motif_steps);
        self.motif.resume(motif, MOTIF, tensors)?;
        self.encoder.resume(done - motif, ENCODER, tensors)
    }

    fn finish(self: Box<Self>) -> Result<Stager, ModelError> {
        self.encoder.give_to(self.stager)
    }
}
