//! Teachers, and ways to an encoder of acceleration.

use std::collections::BTreeMap;

use rand::Rng;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Mlp, Patches, Wave, Weights, windows};
use somnus_model::objective::{Change, symmetric_info_nce};
use somnus_model::tensor::{Tensor, TensorData};
use somnus_signals::StreamKind;

use super::CrossModal;
use super::table::{Found, Score, known_of_heart};
use crate::lab::learn::{Pace, changes_made, hidden, learn, simclr, untrained};
use crate::lab::participants::{Contrast, Positives, contrast};
use crate::lab::pulse::{ACCEL_RATE, Moment};
use crate::lab::wrist::{Deal, gently, levelled, wave};
use crate::lab::{LabError, handcrafted};
use crate::pretrain::windows::Bank;
use crate::probe::{Retrieval, retrieval};
use crate::progress::Progress;

/// Width of the space in which pairs meet.
pub(super) const MEETING: usize = 64;

/// Encoders of the pulse wave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Teacher {
    /// Masked autoencoding.
    Masked,
    /// Windows of one wearer, with a following copy and KoLeo.
    Contrast,
}

/// Ways to an encoder of acceleration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Way {
    Distilled(Teacher),
    Simclr,
    Changes,
    Masked,
    Supervised,
    Handcrafted,
    Untrained,
}

pub(super) const TEACHERS: [(Teacher, &str); 2] =
    [(Teacher::Masked, "masked pulse waves"), (Teacher::Contrast, "contrasted pulse waves")];

pub(super) const WAYS: [(Way, &str); 8] = [
    (Way::Distilled(Teacher::Masked), "distilled from masked pulse waves"),
    (Way::Distilled(Teacher::Contrast), "distilled from contrasted pulse waves"),
    (Way::Simclr, "SimCLR"),
    (Way::Changes, "AugPred"),
    (Way::Masked, "masked autoencoding"),
    (Way::Supervised, "supervised by heart rate"),
    (Way::Handcrafted, "handcrafted features"),
    (Way::Untrained, "random weights"),
];

/// A teacher that has learned.
pub(super) enum Taught {
    Patches(Patches, Weights),
    Wave(Wave, Weights),
}

impl Taught {
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Patches(patches, _) => patches.width,
            Self::Wave(wave, _) => wave.embedding,
        }
    }

    pub(super) fn rows<W: AsRef<[f32]>>(&self, all: &[W]) -> Vec<f32> {
        match self {
            Self::Patches(patches, weights) => patches.embed_windows(weights, all),
            Self::Wave(wave, weights) => wave.embed_windows(weights, all),
        }
    }

    /// The rows of so many parts of each window, side by side.
    fn parts<W: AsRef<[f32]>>(&self, all: &[W], parts: usize) -> Vec<f32> {
        match self {
            Self::Patches(patches, weights) => patches.embed_windows_parts(weights, all, parts),
            Self::Wave(wave, weights) => wave.embed_windows_parts(weights, all, parts),
        }
    }
}

impl CrossModal {
    pub(super) fn teacher(
        &self,
        teacher: Teacher,
        deal: &Deal<'_>,
        bar: &Progress,
    ) -> Result<Taught, LabError> {
        let pace = Pace { steps: self.teacher_steps, rate: self.learning_rate };
        Ok(match teacher {
            Teacher::Masked => {
                let patches = self.patches(StreamKind::Ppg);
                let weights = learn(patches.specs(), pace, deal.seed, bar, |weights, rng| {
                    hidden(&deal.bank, 1, &patches, (self.batch, self.mask_ratio), weights, rng)
                })?;
                Taught::Patches(patches, weights)
            }
            Teacher::Contrast => {
                let wave = wave(StreamKind::Ppg);
                let how = Contrast {
                    positives: Positives::Participant,
                    koleo: 0.1,
                    temperature: self.temperature,
                    batch: self.batch,
                    momentum: 0.99,
                };
                let weights = contrast(&deal.bank, 1, &wave, how, pace, deal.seed, bar)?;
                Taught::Wave(wave, weights)
            }
        })
    }

    pub(super) fn score<'t>(
        &self,
        way: Way,
        teacher: &dyn Fn(Teacher) -> &'t Taught,
        deal: &Deal<'_>,
        bar: &Progress,
    ) -> Result<Score, LabError> {
        let wave = wave(StreamKind::Accel);
        let (pace, seed, bank) = (self.pace(), deal.seed, &deal.bank);
        let head = |outputs| Mlp { name: "head", sizes: vec![wave.embedding, 128, outputs] };
        let with = |head: &Mlp| [wave.specs(), head.specs()].concat();
        let patches = self.patches(StreamKind::Accel);
        let mut line = None;
        let weights = match way {
            Way::Distilled(kind) => {
                let taught = teacher(kind);
                let heads = self.heads(&wave, taught);
                let specs = [wave.specs(), heads[0].specs(), heads[1].specs()].concat();
                learn(specs, pace, seed, bar, |weights, rng| {
                    self.meeting(bank, &wave, taught, &heads, weights, rng)
                })?
            }
            Way::Simclr => {
                let head = head(MEETING);
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    simclr(bank, (&wave, &head, gently), (self.batch, self.temperature), weights, rng)
                })?
            }
            Way::Changes => {
                let head = head(Change::ALL.len());
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    changes_made(bank, (&wave, &head, levelled), self.batch, weights, rng)
                })?
            }
            Way::Masked => learn(patches.specs(), pace, seed, bar, |weights, rng| {
                hidden(bank, 0, &patches, (self.batch, self.mask_ratio), weights, rng)
            })?,
            Way::Supervised => {
                let (weights, own) = self.supervised(&wave, deal, bar)?;
                line = own;
                weights
            }
            Way::Handcrafted | Way::Untrained => untrained(wave.specs(), seed)?,
        };
        let embed = |all: &[&Moment]| {
            let values: Vec<&[f32]> = all.iter().map(|moment| &moment.accel[..]).collect();
            match way {
                Way::Masked => patches.embed_windows(&weights, &values),
                Way::Handcrafted => {
                    let rate = ACCEL_RATE as f32;
                    values.iter().flat_map(|window| handcrafted::features(window, 3, rate)).collect()
                }
                _ => wave.embed_windows(&weights, &values),
            }
        };
        let rows = [embed(&deal.known), embed(&deal.asked)];
        let found = match way {
            Way::Distilled(kind) => Some(self.sought(deal, teacher(kind), &wave, &weights)),
            _ => None,
        };
        Ok(Score { found, line, ..known_of_heart(deal, &rows) })
    }

    /// From the parts of either side to where they meet.
    fn heads(&self, wave: &Wave, taught: &Taught) -> [Mlp; 2] {
        let head = |name, width| Mlp { name, sizes: vec![self.parts * width, 128, MEETING] };
        [head("head", wave.embedding), head("teacher", taught.width())]
    }

    /// The loss of moments whose two sides should find each other; the teacher has no gradient.
    pub(super) fn meeting(
        &self,
        bank: &Bank,
        wave: &Wave,
        taught: &Taught,
        [own, other]: &[Mlp; 2],
        weights: &Weights,
        rng: &mut ChaCha8Rng,
    ) -> Tensor<1> {
        let (mut movement, mut pulse) = (Vec::new(), Vec::new());
        for person in bank.choose(self.batch, rng) {
            let both = bank.draw(person, rng);
            movement.push(gently(&both[0], 3, rng));
            pulse.push(gently(&both[1], 1, rng));
        }
        let student = wave.embed_parts(weights, windows(&movement, 3, weights.device()), self.parts);
        let rows =
            TensorData::new(taught.parts(&pulse, self.parts), [self.batch, self.parts * taught.width()]);
        let teacher: Tensor<2> = Tensor::from_data(rows, &weights.device().clone().inner());
        let (student, teacher) = (own.apply(weights, student), other.apply(weights, teacher));
        symmetric_info_nce(student, teacher, self.temperature, self.lambda)
    }

    /// The encoder under a line that is told the heart rate, and that line's own mean absolute error, bpm.
    fn supervised(
        &self,
        wave: &Wave,
        deal: &Deal<'_>,
        bar: &Progress,
    ) -> Result<(Weights, Option<f64>), LabError> {
        let heard = |all: &[&'_ Moment]| all.iter().filter(|m| m.hr.is_some()).count();
        if heard(&deal.known) == 0 {
            return Err(LabError::NoHeartRate);
        }
        let told: Vec<(&Moment, f32)> = deal.known.iter().filter_map(|m| Some((*m, m.hr?))).collect();
        let n = told.len().max(1) as f32;
        let mean = told.iter().map(|(_, hr)| hr).sum::<f32>() / n;
        let spread = (told.iter().map(|(_, hr)| (hr - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-3);
        let line = Mlp { name: "head", sizes: vec![wave.embedding, 1] };
        let weights =
            learn([wave.specs(), line.specs()].concat(), self.pace(), deal.seed, bar, |weights, rng| {
                let chosen: Vec<&(&Moment, f32)> =
                    (0..self.batch).map(|_| &told[rng.random_range(0..told.len())]).collect();
                let seen: Vec<Vec<f32>> =
                    chosen.iter().map(|(moment, _)| gently(&moment.accel, 3, rng)).collect();
                let truth: Vec<f32> = chosen.iter().map(|(_, hr)| (hr - mean) / spread).collect();
                let truth = TensorData::new(truth, [self.batch, 1]);
                let truth: Tensor<2> = Tensor::from_data(truth, &weights.device().clone().inner());
                let z = wave.embed(weights, windows(&seen, 3, weights.device()));
                (line.apply(weights, z) - truth).square().mean()
            })?;
        let asked: Vec<(&Moment, f32)> = deal.asked.iter().filter_map(|m| Some((*m, m.hr?))).collect();
        let seen: Vec<&[f32]> = asked.iter().map(|(moment, _)| &moment.accel[..]).collect();
        let guesses = applied(&line, &weights, wave.embed_windows(&weights, &seen), wave.embedding);
        let errors = guesses.iter().zip(&asked).map(|(z, (_, hr))| f64::from((z * spread + mean - hr).abs()));
        let error = (!asked.is_empty()).then(|| errors.sum::<f64>() / asked.len() as f64);
        Ok((weights, error))
    }

    /// How well pairs of people who judge find each other: among `gallery` of everybody, and among each one's own.
    fn sought(&self, deal: &Deal<'_>, taught: &Taught, wave: &Wave, weights: &Weights) -> Found {
        let movement: Vec<&[f32]> = deal.asked.iter().map(|moment| &moment.accel[..]).collect();
        let pulse: Vec<&[f32]> = deal.asked.iter().map(|moment| &moment.ppg[..]).collect();
        let [own, other] = self.heads(wave, taught);
        let movement = wave.embed_windows_parts(weights, &movement, self.parts);
        let sides = [
            applied(&own, weights, movement, self.parts * wave.embedding),
            applied(&other, weights, taught.parts(&pulse, self.parts), self.parts * taught.width()),
        ];
        let among = |chosen: &[usize]| {
            let [a, b] = [0, 1].map(|side: usize| {
                let row = |moment: &usize| &sides[side][moment * MEETING..][..MEETING];
                chosen.iter().flat_map(row).copied().collect::<Vec<f32>>()
            });
            let there = |a: &[f32], b: &[f32]| {
                retrieval(a, b, MEETING).unwrap_or_else(|| Retrieval::chance(chosen.len()))
            };
            [there(&a, &b), there(&b, &a)]
        };
        let size = self.gallery.min(deal.asked.len());
        let mut chosen = sample(&mut ChaCha8Rng::seed_from_u64(deal.seed), deal.asked.len(), size).into_vec();
        chosen.sort_unstable();
        let mut people: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, moment) in deal.asked.iter().enumerate() {
            people.entry(moment.person).or_default().push(place);
        }
        // Each person weighs alike.
        let mean = |of: &dyn Fn(&[usize]) -> f64| {
            people.values().map(|places| of(places)).sum::<f64>() / people.len() as f64
        };
        Found {
            everybody: among(&chosen),
            own_top1: mean(&|places| among(places)[0].top1),
            own_chance: mean(&|places| Retrieval::chance(places.len()).top1),
        }
    }
}

/// Rows `[n, width]` behind a head, in host memory.
fn applied(head: &Mlp, weights: &Weights, rows: Vec<f32>, width: usize) -> Vec<f32> {
    let n = rows.len() / width;
    let rows: Tensor<2> = Tensor::from_data(TensorData::new(rows, [n, width]), weights.device());
    let out = head.apply(weights, rows).into_data();
    out.try_to_vec::<f32>().unwrap_or_else(|_| unreachable!("f32"))
}
