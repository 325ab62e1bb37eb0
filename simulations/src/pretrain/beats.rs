//! Electrocardiograms: a moment should resemble the moment next to it more than any other (NT-Xent, Chen et al. 2020).

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Wave, Weights, windows};
use somnus_model::objective::{Change, Focal};
use somnus_model::tensor::Tensor;
use somnus_model::{DeviceKind, ModelError, Stager};

use super::drill::{Drill, Lesson};
use super::learner::Learner;
use super::windows::{Bank, standardised};

/// How neighbours are matched.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ecg {
    /// Steps. Default 400.
    pub steps: u32,
    /// Pairs of a step. Default 32.
    pub batch: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .1.
    pub temperature: f32,
}

impl Default for Ecg {
    fn default() -> Self {
        Self { steps: 400, batch: 32, learning_rate: 1e-3, temperature: 0.1 }
    }
}

pub(super) struct Neighbours {
    stage: Ecg,
    /// Of twice a window's length: two neighbours.
    bank: Bank,
    wave: Wave,
}

impl Neighbours {
    pub(super) fn drill(
        stage: &Ecg,
        bank: Bank,
        wave: Wave,
        stager: &Stager,
        device: DeviceKind,
        seed: u64,
    ) -> Result<Drill<Self>, ModelError> {
        let learner = Learner::new(wave.specs(), stager, device, seed, (stage.steps, stage.learning_rate))?;
        let lesson = Self { stage: stage.clone(), bank, wave };
        Ok(Drill { lesson, learner, stager: stager.clone() })
    }
}

impl Lesson for Neighbours {
    fn part(&self) -> &'static str {
        "contrastive loss"
    }

    fn loss(&self, weights: &Weights, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let Self { stage, bank, wave } = self;
        let mut views: [Vec<Vec<f32>>; 2] = Default::default();
        for person in bank.choose(stage.batch, rng) {
            let both = bank.draw(person, rng).remove(0);
            for (view, half) in views.iter_mut().zip(both.chunks_exact(wave.window)) {
                let mut half = standardised(half);
                Change::Noise.apply(&mut half, 1, rng);
                view.push(half);
            }
        }
        let z = wave.embed(weights, windows(&views.concat(), 1, weights.device()));
        let view = |from: usize| {
            let z = z.clone().slice([from..from + stage.batch, 0..wave.embedding]);
            // The first half of a row would be what modalities share; there is one modality, and all of it is its own.
            Tensor::cat(vec![z.clone(), z], 1)
        };
        let alone = Focal { temperature: stage.temperature, ..Focal::default() };
        alone.terms(&[[view(0), view(stage.batch)]]).private
    }
}
