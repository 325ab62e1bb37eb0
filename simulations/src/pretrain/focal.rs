//! FOCAL (Liu et al. 2023) for acceleration and pulse wave of the same wrist, with an adversary that must not tell people
//! apart by what comes of it (Cheng et al. 2020, arXiv 2007.04871).

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Standardise, Wave, Weights, windows};
use somnus_model::objective::{Adversary, Focal, Game, augment};
use somnus_model::tensor::Tensor;
use somnus_model::{DeviceKind, ModelError, Stager};

use super::drill::{Drill, Lesson};
use super::learner::Learner;
use super::windows::{Bank, standardised};

/// Two encoders, shared and private halves, and the adversary.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paired {
    /// Steps. Default 600.
    pub steps: u32,
    /// Moments of a step. Default 24.
    pub batch: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// How the terms are weighed.
    pub terms: Focal,
    /// What the encoders play against the adversary; left out for no adversary.
    pub game: Option<Game>,
}

impl Default for Paired {
    fn default() -> Self {
        Self { steps: 600, batch: 24, learning_rate: 1e-3, terms: Focal::default(), game: None }
    }
}

/// Width of the adversary's layers.
const HIDDEN: usize = 64;

pub(super) struct Matching {
    stage: Paired,
    bank: Bank,
    /// Acceleration and pulse wave.
    waves: [Wave; 2],
    adversary: Adversary,
}

impl Matching {
    pub(super) fn drill(
        stage: &Paired,
        bank: Bank,
        waves: [Wave; 2],
        stager: &Stager,
        device: DeviceKind,
        seed: u64,
    ) -> Result<Drill<Self>, ModelError> {
        let adversary = Adversary { inputs: waves[0].embedding, hidden: HIDDEN, subjects: bank.people() };
        let mut specs: Vec<_> = waves.iter().flat_map(Wave::specs).collect();
        if stage.game.is_some() {
            specs.extend(adversary.specs());
        }
        let learner = Learner::new(specs, stager, device, seed, (stage.steps, stage.learning_rate))?;
        let lesson = Self { stage: stage.clone(), bank, waves, adversary };
        Ok(Drill { lesson, learner, stager: stager.clone() })
    }
}

impl Lesson for Matching {
    fn part(&self) -> &'static str {
        match self.stage.game {
            Some(_) => "focal loss with adversary",
            None => "focal loss",
        }
    }

    fn loss(&self, weights: &Weights, rng: &mut ChaCha8Rng) -> Tensor<1> {
        let Self { stage, bank, waves, adversary } = self;
        let people = bank.choose(stage.batch, rng);
        let mut moments: [Vec<Vec<f32>>; 2] = Default::default();
        for person in &people {
            let mut tracks = bank.draw(*person, rng).into_iter();
            for ((kept, wave), window) in moments.iter_mut().zip(waves).zip(&mut tracks) {
                // What the encoder does not want to know of, changes should not be measured by either.
                let plain = wave.standardise == Standardise::Never;
                kept.push(if plain { window } else { standardised(&window) });
            }
        }
        let mut embed = |wave: &Wave, moments: &[Vec<f32>]| {
            let channels = wave.stream.channels();
            let views: Vec<Vec<f32>> =
                (0..2).flat_map(|_| moments).map(|window| augment(window, channels, rng)).collect();
            let z = wave.embed(weights, windows(&views, channels, weights.device()));
            let view = |from: usize| z.clone().slice([from..from + stage.batch, 0..wave.embedding]);
            [view(0), view(stage.batch)]
        };
        let modalities = [embed(&waves[0], &moments[0]), embed(&waves[1], &moments[1])];
        let total = stage.terms.terms(&modalities).total;
        let Some(game) = stage.game else { return total };
        let embeddings = Tensor::cat(modalities.iter().map(|views| views[0].clone()).collect(), 0);
        total + adversary.play(weights, embeddings, &people.repeat(2), game)
    }
}
