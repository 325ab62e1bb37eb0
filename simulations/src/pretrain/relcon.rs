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
pub(super) struct Ranking {
    stage: Relcon,
    bank: Bank,
    wave: Wave,
    motif: Learner,
    encoder: Learner,
    stager: Stager,
}

impl Ranking {
    pub(super) fn new(
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

/// The mean squared error of windows rebuilt from changed copies of themselves, per number.
fn rebuilding(bank: &Bank, batch: usize, weights: &Weights, rng: &mut ChaCha8Rng) -> Tensor<1> {
    let people = bank.choose(batch, rng);
    let segments: Vec<Vec<f32>> = people.iter().map(|person| bank.draw(*person, rng).remove(0)).collect();
    let changed: Vec<Vec<f32>> = segments.iter().map(|segment| augment(segment, CHANNELS, rng)).collect();
    let numbers = segments[0].len() as f32;
    let [segments, changed] = [&segments, &changed].map(|w| windows(w, CHANNELS, weights.device()));
    MotifDistance::relcon().training_loss(weights, segments, changed, rng) / numbers
}

/// The relative contrastive loss, per candidate.
fn ranking(
    bank: &Bank,
    stage: &Relcon,
    wave: &Wave,
    motif: &Weights,
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let (batch, own) = (stage.batch, stage.candidates);
    let people = bank.choose(batch, rng);
    let mut draw = |person: &usize| bank.draw(*person, rng).remove(0);
    let anchors: Vec<Vec<f32>> = people.iter().map(&mut draw).collect();
    let within: Vec<Vec<f32>> = people.iter().flat_map(|person| vec![person; own]).map(draw).collect();
    let [anchors, within] = [&anchors, &within].map(|w| windows(w, CHANNELS, weights.device()));
    // As the reference ranks: with softmax, though it trains with sparsemax.
    let distances = MotifDistance::relcon().table(motif, anchors.clone(), within.clone(), Attention::Softmax);
    let all = wave.embed(weights, Tensor::cat(vec![anchors, within], 1));
    let width = wave.embedding;
    let anchors = all.clone().slice([0..batch, 0..width]);
    let within = all.slice([batch..batch * (1 + own), 0..width]).reshape([batch, own, width]);
    let loss = RelativeLoss { temperature: stage.temperature }.loss(anchors, within, distances);
    loss / (batch - 1 + own) as f32
}

impl Work for Ranking {
    fn part(&self) -> &'static str {
        if self.motif.is_done() { "relative contrastive loss" } else { "motif error" }
    }

    fn step(&mut self) -> Result<Option<f32>, ModelError> {
        let Self { stage, bank, wave, motif, encoder, .. } = self;
        if !motif.is_done() {
            return motif.step(|weights, rng| rebuilding(bank, stage.batch, weights, rng)).map(Some);
        }
        encoder.step(|weights, rng| ranking(bank, stage, wave, motif.weights(), weights, rng)).map(Some)
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
