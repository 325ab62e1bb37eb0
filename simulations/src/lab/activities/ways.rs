//! Ways of making rows of windows, and what each is worth.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Mlp, Wave, Weights, windows};
use somnus_model::objective::{Attention, Change, augment};
use somnus_model::tensor::Tensor;
use somnus_report::{Confusion, Metrics};

use super::people::{Deal, Labelled, Rows};
use super::{Activities, CLASSES};
use crate::lab::learn::{Pace, changes_made, cross_entropy, hidden, learn, simclr, untrained};
use crate::lab::{LabError, handcrafted};
use crate::pretrain::Relcon;
use crate::pretrain::relcon::{Parts, ranking};
use crate::probe::label_efficiency;
use crate::progress::Progress;

fn augmented(window: &[f32], channels: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    augment(window, channels, rng)
}

/// The share of patches that masked autoencoding hides.
pub(super) const HIDDEN: f32 = 0.75;

/// A way of making rows of windows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Way {
    Relcon(Parts),
    Simclr,
    Changes,
    Masked,
    Supervised,
    Handcrafted,
    Untrained,
}

pub(super) const FULL: Parts = Parts::PUBLISHED;

pub(super) const WAYS: [(Way, &str); 12] = [
    (Way::Relcon(FULL), "RelCon"),
    (Way::Relcon(Parts { revin: false, ..FULL }), "RelCon, no reversible norm"),
    (Way::Relcon(Parts { changes: false, ..FULL }), "RelCon, no augmentations"),
    (Way::Relcon(Parts { own: false, ..FULL }), "RelCon, no candidates of the wearer"),
    (Way::Relcon(Parts { attention: Attention::Sparsemax, ..FULL }), "RelCon, ranked with sparsemax"),
    (Way::Relcon(Parts { learnt: false, ..FULL }), "RelCon, ranked by Euclidean distance"),
    (Way::Simclr, "SimCLR"),
    (Way::Changes, "AugPred"),
    (Way::Masked, "masked autoencoding"),
    (Way::Handcrafted, "handcrafted features"),
    (Way::Untrained, "random weights"),
    (Way::Supervised, "supervised, end to end"),
];

/// Scores of one way and deal: with all labels, and with few.
pub(super) struct Score {
    pub(super) all: Metrics,
    pub(super) few: Vec<Option<f64>>,
}

impl Activities {
    pub(super) fn judge(
        &self,
        way: Way,
        deal: &Deal<'_>,
        motif: Option<&Weights>,
        bar: &Progress,
    ) -> Result<Score, LabError> {
        let (wave, patches) = (self.wave(), self.patches());
        let pace = Pace { steps: self.steps, rate: self.learning_rate };
        let (seed, bank) = (deal.seed, &deal.bank);
        let head = |outputs| Mlp { name: "head", sizes: vec![wave.embedding, wave.embedding, outputs] };
        let with = |head: &Mlp| [wave.specs(), head.specs()].concat();
        let weights = match way {
            Way::Relcon(parts) => {
                let stage = Relcon {
                    batch: self.anchors,
                    candidates: self.candidates,
                    temperature: self.temperature,
                    ..Relcon::default()
                };
                let motif = motif.expect("a distance for each RelCon");
                learn(wave.specs(), pace, seed, bar, |weights, rng| {
                    ranking(bank, &stage, parts, &wave, motif, weights, rng)
                })?
            }
            Way::Simclr => {
                let head = head(64);
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    simclr(bank, (&wave, &head, augmented), (self.batch, self.temperature), weights, rng)
                })?
            }
            Way::Changes => {
                let head = head(Change::ALL.len());
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    changes_made(bank, (&wave, &head, |window, _| window), self.batch, weights, rng)
                })?
            }
            Way::Masked => learn(patches.specs(), pace, seed, bar, |weights, rng| {
                hidden(bank, 0, &patches, (self.batch, HIDDEN), weights, rng)
            })?,
            Way::Supervised => {
                let head = Mlp { name: "head", sizes: vec![wave.embedding, CLASSES] };
                let weights = learn(with(&head), pace, seed, bar, |weights, rng| {
                    self.told(&wave, &head, deal, weights, rng)
                })?;
                return Ok(self.end_to_end(&wave, &head, deal, &weights));
            }
            Way::Handcrafted | Way::Untrained => untrained(wave.specs(), seed)?,
        };
        let rows = |some: &[usize]| {
            let chosen: Vec<&Labelled> =
                deal.people.windows.iter().filter(|w| some.contains(&w.person)).collect();
            let values: Vec<&[f32]> = chosen.iter().map(|window| &window.values[..]).collect();
            let rows = match way {
                Way::Masked => patches.embed_windows(&weights, &values),
                Way::Handcrafted => values
                    .iter()
                    .flat_map(|window| handcrafted::features(window, 3, wave.rate as f32))
                    .collect(),
                _ => wave.embed_windows(&weights, &values),
            };
            Rows { rows, chosen }
        };
        let (known, asked) = (rows(&deal.teaching), rows(&deal.judging));
        let score = |some: &[usize]| known.of(some).judged_by(&asked, seed);
        let people = deal.teaching.len();
        let fractions: Vec<f64> = self.labelled.iter().map(|n| *n as f64 / people as f64).collect();
        let few = label_efficiency(&deal.teaching, &fractions, seed, |some| score(some).macro_f1);
        Ok(Score { all: score(&deal.teaching), few: few.into_iter().map(|point| point.score).collect() })
    }

    /// The cross-entropy of windows whose activity is told, a little turned and noisy.
    pub(super) fn told(
        &self,
        wave: &Wave,
        head: &Mlp,
        deal: &Deal<'_>,
        weights: &Weights,
        rng: &mut ChaCha8Rng,
    ) -> Tensor<1> {
        let (bank, labels) = &deal.told;
        let chosen = bank.choose(self.batch, rng);
        let all: Vec<Vec<f32>> = chosen
            .iter()
            .map(|entry| {
                let mut window = bank.draw(*entry, rng).swap_remove(0);
                Change::Noise.apply(&mut window, 3, rng);
                if rng.random::<bool>() {
                    Change::Scaling.apply(&mut window, 3, rng);
                }
                window
            })
            .collect();
        let logits = head.apply(weights, wave.embed(weights, windows(&all, 3, weights.device())));
        let labels: Vec<usize> = chosen.iter().map(|entry| labels[*entry]).collect();
        cross_entropy(logits, &labels)
    }

    pub(super) fn end_to_end(&self, wave: &Wave, head: &Mlp, deal: &Deal<'_>, weights: &Weights) -> Score {
        let asked: Vec<&Labelled> =
            deal.people.windows.iter().filter(|w| deal.judging.contains(&w.person)).collect();
        let mut pairs = Vec::new();
        for batch in asked.chunks(64) {
            let values: Vec<&[f32]> = batch.iter().map(|window| &window.values[..]).collect();
            let logits = head.apply(weights, wave.embed(weights, windows(&values, 3, weights.device())));
            let logits = logits.into_data().try_to_vec::<f32>().unwrap_or_else(|_| unreachable!("f32"));
            for (window, row) in batch.iter().zip(logits.chunks_exact(CLASSES)) {
                let best = (0..CLASSES).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0);
                pairs.push((window.activity as u8, best as u8));
            }
        }
        let confusion = Confusion::from_pairs(CLASSES, pairs).expect("activities are classes");
        Score { all: Metrics::of(&confusion), few: vec![None; self.labelled.len()] }
    }
}
