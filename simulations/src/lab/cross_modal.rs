//! Distillation across streams (arXiv 2412.11276): an encoder of pulse waves learns first and is frozen, then one of
//! acceleration learns to find the pulse wave of its own moment among others. What it knows of the heart is compared with
//! the same encoder after other ways of learning, on people who taught nothing.

use std::path::Path;

use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::ModelError;
use somnus_model::encoder::{Mlp, Patches, Wave, Weights, windows};
use somnus_model::objective::{Change, symmetric_info_nce};
use somnus_model::tensor::{Tensor, TensorData};
use somnus_report::{Grid, GridLine, Spread, Summary};
use somnus_signals::StreamKind;

use super::learn::{Pace, changes_made, hidden, learn, simclr, untrained};
use super::participants::{Contrast, Positives, contrast};
use super::positives::ridge_error;
use super::pulse::{ACCEL_RATE, Moment, PPG_RATE};
use super::wrist::{Deal, SECONDS, Wrists, gently, wave};
use super::{LabError, Means, Study, crew, handcrafted, within};
use crate::pretrain::windows::Bank;
use crate::probe::{Retrieval, centred, effective_rank, median_error, retrieval};
use crate::progress::Progress;

/// A study of cross-modal distillation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossModal {
    /// Its name.
    pub name: String,
    /// Each deals people anew.
    pub seeds: Vec<u64>,
    /// People who judge. Default 10.
    pub held_out: usize,
    /// Pairs among which a pulse wave is sought, of all who judge. Default 256.
    pub gallery: usize,
    /// Steps of each teacher. Default 600.
    pub teacher_steps: u32,
    /// Steps of each encoder of acceleration. Default 600.
    pub steps: u32,
    /// Windows of a step. Default 48.
    pub batch: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .04, as published.
    pub temperature: f32,
    /// The weight of asking acceleration for its pulse wave; the rest is the other way round. Default .5.
    pub direction: f32,
    /// The share of patches that masked autoencoders do not see. Default .8, as published.
    pub hidden: f32,
}

impl Default for CrossModal {
    fn default() -> Self {
        Self {
            name: "cross-modal".into(),
            seeds: vec![1, 2, 3],
            held_out: 10,
            gallery: 256,
            teacher_steps: 600,
            steps: 600,
            batch: 48,
            learning_rate: 1e-3,
            temperature: 0.04,
            direction: 0.5,
            hidden: 0.8,
        }
    }
}

/// Width of the space in which pairs meet.
const MEETING: usize = 64;

/// Encoders of the pulse wave.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Teacher {
    /// Masked autoencoding.
    Masked,
    /// Windows of one wearer, with a following copy and KoLeo.
    Contrast,
}

/// Ways to an encoder of acceleration.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Distilled(Teacher),
    Simclr,
    Changes,
    Masked,
    Supervised,
    Handcrafted,
    Untrained,
}

const TEACHERS: [(Teacher, &str); 2] =
    [(Teacher::Masked, "masked pulse waves"), (Teacher::Contrast, "contrasted pulse waves")];

const WAYS: [(Way, &str); 8] = [
    (Way::Distilled(Teacher::Masked), "distilled from masked pulse waves"),
    (Way::Distilled(Teacher::Contrast), "distilled from contrasted pulse waves"),
    (Way::Simclr, "SimCLR"),
    (Way::Changes, "AugPred"),
    (Way::Masked, "masked autoencoding"),
    (Way::Supervised, "supervised by heart rate"),
    (Way::Handcrafted, "features by hand"),
    (Way::Untrained, "random weights"),
];

/// Numbers of the heart: name, and where a moment has it.
type Truth = (&'static str, fn(&Moment) -> Option<f32>);
const TRUTHS: [Truth; 3] =
    [("HR error, bpm", |m| m.hr), ("SDNN error, ms", |m| m.sdnn), ("RMSSD error, ms", |m| m.rmssd)];

/// A teacher that has learned.
enum Taught {
    Patches(Patches, Weights),
    Wave(Wave, Weights),
}

impl Taught {
    fn width(&self) -> usize {
        match self {
            Self::Patches(patches, _) => patches.width,
            Self::Wave(wave, _) => wave.embedding,
        }
    }

    fn rows<W: AsRef<[f32]>>(&self, all: &[W]) -> Vec<f32> {
        match self {
            Self::Patches(patches, weights) => patches.embed_windows(weights, all),
            Self::Wave(wave, weights) => wave.embed_windows(weights, all),
        }
    }
}

/// What an encoder is worth.
struct Score {
    errors: [Option<f64>; 3],
    rank: Option<f64>,
    /// Of a student, how it finds pulse waves and is found by them.
    found: Option<[Retrieval; 2]>,
}

impl Study for CrossModal {
    fn name(&self) -> &str {
        &self.name
    }

    fn seeds(&self) -> &[u64] {
        &self.seeds
    }

    fn seeds_mut(&mut self) -> &mut [u64] {
        &mut self.seeds
    }

    fn subject(&self) -> &'static str {
        "what acceleration of the wrist knows of the heart"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("held_out", self.held_out as f64, 2.0, 1e4),
            ("gallery", self.gallery as f64, 2.0, 1e5),
            ("teacher_steps", f64::from(self.teacher_steps), 1.0, 1e6),
            ("steps", f64::from(self.steps), 1.0, 1e6),
            ("batch", self.batch as f64, 2.0, 1024.0),
            ("learning_rate", f64::from(self.learning_rate), 1e-9, 1.0),
            ("temperature", f64::from(self.temperature), 1e-3, 100.0),
            ("direction", f64::from(self.direction), 0.0, 1.0),
            ("hidden", f64::from(self.hidden), 0.01, 0.99),
        ])
    }

    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let dir = data.ok_or(LabError::NoData("stress-predict"))?;
        let wrists = Wrists::load(dir)?;
        let deals: Vec<Deal<'_>> =
            self.seeds.iter().map(|seed| wrists.deal(dir, self.held_out, *seed)).collect::<Result<_, _>>()?;
        let learning =
            WAYS.iter().filter(|(way, _)| !matches!(way, Way::Handcrafted | Way::Untrained)).count();
        let steps = 2 * u64::from(self.teacher_steps) + learning as u64 * u64::from(self.steps);
        let bar = (means.progress)(steps * deals.len() as u64);
        let each = |count: usize| -> Vec<(usize, usize)> {
            (0..count).flat_map(|what| (0..deals.len()).map(move |deal| (what, deal))).collect()
        };
        let taught = crew::all(means.jobs, &each(TEACHERS.len()), |(teacher, deal)| {
            self.teacher(TEACHERS[*teacher].0, &deals[*deal], &bar)
        })?;
        let of_teacher = |teacher: usize, deal: usize| &taught[teacher * deals.len() + deal];
        let found = crew::all(means.jobs, &each(WAYS.len()), |(way, deal)| {
            let teacher =
                |teacher| of_teacher(TEACHERS.iter().position(|t| t.0 == teacher).unwrap_or(0), *deal);
            self.score(WAYS[*way].0, &teacher, &deals[*deal], &bar)
        })?;
        bar.finish();
        let mut rows: Vec<(&str, Vec<&Score>)> = Vec::new();
        let (ways, teachers) = (found.chunks(deals.len()), taught.chunks(deals.len()));
        rows.extend(WAYS.iter().zip(ways).map(|((_, name), scores)| (*name, scores.iter().collect())));
        let own: Vec<Vec<Score>> = teachers
            .map(|taught| taught.iter().zip(&deals).map(|(taught, deal)| pulse_score(taught, deal)).collect())
            .collect();
        let of_pulse = ["the pulse wave itself, masked", "the pulse wave itself, contrasted"];
        rows.extend(of_pulse.iter().zip(&own).map(|(name, scores)| (*name, scores.iter().collect())));
        summary.grids = vec![knowledge(&rows, &deals), self.finding(&rows[..2])];
        summary.notes.push(format!(
            "{} people, of whom {} judge and teach nobody; windows of {SECONDS} s; mean ± sd over seeds. Errors are mean \
             absolute ones of ridge regressions, whose strength is chosen on people who teach. Every way but masked \
             autoencoding trains the same encoder for as many steps.",
            wrists.ids.len(),
            self.held_out
        ));
        Ok(())
    }
}

impl CrossModal {
    fn pace(&self) -> Pace {
        Pace { steps: self.steps, rate: self.learning_rate }
    }

    fn patches(&self, stream: StreamKind) -> Patches {
        // A second a patch.
        let (rate, name) = match stream {
            StreamKind::Ppg => (PPG_RATE, "ppg-masked"),
            _ => (ACCEL_RATE, "accel-masked"),
        };
        Patches {
            name: name.into(),
            channels: stream.channels(),
            window: SECONDS * rate,
            patch: rate,
            width: 64,
            depth: 3,
            heads: 4,
        }
    }

    fn teacher(&self, teacher: Teacher, deal: &Deal<'_>, bar: &Progress) -> Result<Taught, LabError> {
        let pace = Pace { steps: self.teacher_steps, rate: self.learning_rate };
        Ok(match teacher {
            Teacher::Masked => {
                let patches = self.patches(StreamKind::Ppg);
                let weights = learn(patches.specs(), pace, deal.seed, bar, |weights, rng| {
                    hidden(&deal.bank, 1, &patches, (self.batch, self.hidden), weights, rng)
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
                    memory: 0.99,
                };
                let weights = contrast(&deal.bank, 1, &wave, how, pace, deal.seed, bar)?;
                Taught::Wave(wave, weights)
            }
        })
    }

    fn score<'t>(
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
        let weights = match way {
            Way::Distilled(kind) => {
                let taught = teacher(kind);
                let (own, other) =
                    (head(MEETING), Mlp { name: "teacher", sizes: vec![taught.width(), 128, MEETING] });
                let specs = [with(&own), other.specs()].concat();
                learn(specs, pace, seed, bar, |weights, rng| {
                    self.meeting(bank, &wave, taught, [&own, &other], weights, rng)
                })?
            }
            Way::Simclr => {
                let head = head(MEETING);
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    simclr(bank, (&wave, &head), (self.batch, 0.1), weights, rng)
                })?
            }
            Way::Changes => {
                let head = head(Change::ALL.len());
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    changes_made(bank, (&wave, &head), self.batch, weights, rng)
                })?
            }
            Way::Masked => learn(patches.specs(), pace, seed, bar, |weights, rng| {
                hidden(bank, 0, &patches, (self.batch, self.hidden), weights, rng)
            })?,
            Way::Supervised => self.supervised(&wave, deal, bar)?,
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
            Way::Distilled(kind) => {
                Some(self.sought(deal, teacher(kind), &rows[1], &weights, &head(MEETING)))
            }
            _ => None,
        };
        Ok(Score { found, ..known_of_heart(deal, &rows) })
    }

    /// The loss of moments whose two sides should find each other; the teacher has no gradient.
    fn meeting(
        &self,
        bank: &Bank,
        wave: &Wave,
        taught: &Taught,
        [own, other]: [&Mlp; 2],
        weights: &Weights,
        rng: &mut ChaCha8Rng,
    ) -> Tensor<1> {
        let (mut movement, mut pulse) = (Vec::new(), Vec::new());
        for person in bank.choose(self.batch, rng) {
            let both = bank.draw(person, rng);
            movement.push(gently(&both[0], 3, rng));
            pulse.push(gently(&both[1], 1, rng));
        }
        let student = wave.embed(weights, windows(&movement, 3, weights.device()));
        let rows = TensorData::new(taught.rows(&pulse), [self.batch, taught.width()]);
        let teacher: Tensor<2> = Tensor::from_data(rows, &weights.device().clone().inner());
        let (student, teacher) = (own.apply(weights, student), other.apply(weights, teacher));
        symmetric_info_nce(student, teacher, self.temperature, self.direction)
    }

    /// The encoder under a line that is told the heart rate.
    fn supervised(&self, wave: &Wave, deal: &Deal<'_>, bar: &Progress) -> Result<Weights, ModelError> {
        let told: Vec<(&Moment, f32)> = deal.known.iter().filter_map(|m| Some((*m, m.hr?))).collect();
        let n = told.len().max(1) as f32;
        let mean = told.iter().map(|(_, hr)| hr).sum::<f32>() / n;
        let spread = (told.iter().map(|(_, hr)| (hr - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-3);
        let line = Mlp { name: "head", sizes: vec![wave.embedding, 1] };
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
        })
    }

    /// How well pairs of people who judge find each other among `gallery`.
    fn sought(
        &self,
        deal: &Deal<'_>,
        taught: &Taught,
        movement: &[f32],
        weights: &Weights,
        own: &Mlp,
    ) -> [Retrieval; 2] {
        let size = self.gallery.min(deal.asked.len());
        let mut chosen = sample(&mut ChaCha8Rng::seed_from_u64(deal.seed), deal.asked.len(), size).into_vec();
        chosen.sort_unstable();
        let pulse: Vec<&[f32]> = chosen.iter().map(|moment| &deal.asked[*moment].ppg[..]).collect();
        let width = movement.len() / deal.asked.len();
        let movement =
            chosen.iter().flat_map(|moment| &movement[moment * width..][..width]).copied().collect();
        let other = Mlp { name: "teacher", sizes: vec![taught.width(), 128, MEETING] };
        let meet = |head: &Mlp, rows: Vec<f32>, width: usize| {
            let rows: Tensor<2> = Tensor::from_data(TensorData::new(rows, [size, width]), weights.device());
            let met = head.apply(weights, rows).into_data();
            met.try_to_vec::<f32>().unwrap_or_else(|_| unreachable!("f32"))
        };
        let (a, b) = (meet(own, movement, width), meet(&other, taught.rows(&pulse), taught.width()));
        let there =
            |a: &[f32], b: &[f32]| retrieval(a, b, MEETING).unwrap_or_else(|| Retrieval::chance(size));
        [there(&a, &b), there(&b, &a)]
    }

    fn finding(&self, rows: &[(&str, Vec<&Score>)]) -> Grid {
        let columns = [
            "gallery",
            "top-1",
            "top-5",
            "mean rank",
            "pulse finds movement, top-1",
            "chance, top-1",
            "chance, rank",
        ];
        let line = |(name, scores): &(&str, Vec<&Score>)| {
            let of = |what: &dyn Fn(&[Retrieval; 2]) -> f64| {
                Spread::of(scores.iter().map(|score| score.found.as_ref().map(what)))
            };
            let guess = |found: &[Retrieval; 2]| Retrieval::chance(found[0].gallery);
            GridLine {
                name: (*name).to_owned(),
                cells: vec![
                    of(&|found| found[0].gallery as f64),
                    of(&|found| found[0].top1),
                    of(&|found| found[0].top5),
                    of(&|found| found[0].mean_rank),
                    of(&|found| found[1].top1),
                    of(&|found| guess(found).top1),
                    of(&|found| guess(found).mean_rank),
                ],
            }
        };
        Grid {
            title: "The pulse wave of a moment, sought by its acceleration, of people who taught nothing"
                .into(),
            lines_are: "encoder".into(),
            columns: columns.map(str::to_owned).to_vec(),
            lines: rows.iter().map(line).collect(),
        }
    }
}

/// Probes of rows of people who teach and of those who judge.
fn known_of_heart(deal: &Deal<'_>, [known, asked]: &[Vec<f32>; 2]) -> Score {
    let width = known.len() / deal.known.len();
    let error = |(_, of): Truth| ridge_error(width, (&deal.known, known), (&deal.asked, asked), of);
    Score { errors: TRUTHS.map(error), rank: effective_rank(width, &centred(width, asked)), found: None }
}

fn pulse_score(taught: &Taught, deal: &Deal<'_>) -> Score {
    let rows = |all: &[&Moment]| taught.rows(&all.iter().map(|moment| &moment.ppg[..]).collect::<Vec<_>>());
    known_of_heart(deal, &[rows(&deal.known), rows(&deal.asked)])
}

fn knowledge(rows: &[(&str, Vec<&Score>)], deals: &[Deal<'_>]) -> Grid {
    let line = |(name, scores): &(&str, Vec<&Score>)| {
        let mut cells: Vec<Spread> = (0..TRUTHS.len())
            .map(|truth| Spread::of(scores.iter().map(|score| score.errors[truth])))
            .collect();
        let first = |against: &[&Score]| {
            let less = |(own, other): (&&Score, &&Score)| Some(1.0 - own.errors[0]? / other.errors[0]?);
            Spread::of(scores.iter().zip(against).map(less))
        };
        // Against the encoders of acceleration that taught themselves or were told.
        cells.push(first(&rows[2].1));
        cells.push(first(&rows[5].1));
        cells.push(Spread::of(scores.iter().map(|score| score.rank)));
        GridLine { name: (*name).to_owned(), cells }
    };
    let constant = |(_, of): &Truth| {
        Spread::of(deals.iter().map(|deal| {
            let values = |all: &[&Moment]| all.iter().filter_map(|moment| of(moment)).collect::<Vec<f32>>();
            median_error(&values(&deal.known), &values(&deal.asked))
        }))
    };
    let mut lines: Vec<GridLine> = rows.iter().map(line).collect();
    let mut cells: Vec<Spread> = TRUTHS.iter().map(constant).collect();
    cells.extend([Spread::of([None]), Spread::of([None]), Spread::of([None])]);
    lines.push(GridLine { name: "the median of people who teach".into(), cells });
    let columns = TRUTHS.iter().map(|(name, _)| (*name).to_owned());
    let more = ["less HR error than SimCLR", "than supervised", "effective rank"].map(str::to_owned);
    Grid {
        title: "What frozen embeddings of acceleration know of the heart, of people who taught nothing"
            .into(),
        lines_are: "encoder".into(),
        columns: columns.chain(more).collect(),
        lines,
    }
}
