//! Ways of learning from acceleration that nobody labelled, judged by how well a line through their embeddings tells what
//! a wearer does: RelCon with parts left out, SimCLR, guessing changes, masked autoencoding; beside them a network that
//! was told, features by hand and weights by chance. People who judge trained nothing.

use std::collections::BTreeMap;
use std::path::Path;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Mlp, Patches, Wave, Weights, windows};
use somnus_model::objective::{Attention, Change};
use somnus_report::{Confusion, Grid, GridLine, Metrics, Spread, Summary};
use somnus_signals::{PersonId, StreamKind, wisdm};

use super::learn::{Pace, changes_made, cross_entropy, hidden, learn, simclr, untrained};
use super::{LabError, Means, Study, crew, handcrafted, within};
use crate::pretrain::Relcon;
use crate::pretrain::relcon::{Parts, ranking, rebuilding};
use crate::pretrain::windows::{Bank, Run, tracks};
use crate::probe::{LinearProbe, label_efficiency};
use crate::progress::Progress;

/// A study on known activities.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Activities {
    /// Its name.
    pub name: String,
    /// Each deals people anew into those who teach and those who judge.
    pub seeds: Vec<u64>,
    /// The share of people who judge. Default .3.
    pub held_out: f64,
    /// Samples of a window at 32 Hz; a whole number of them makes 30 s. Default 120: 3.75 s.
    pub window: usize,
    /// Steps of each method. Default 600.
    pub steps: u32,
    /// Steps of RelCon's distance. Default 300.
    pub motif_steps: u32,
    /// Windows of a step. Default 64.
    pub batch: usize,
    /// Anchors of a step of RelCon. Default 16.
    pub anchors: usize,
    /// Further windows of each anchor's wearer. Default 4.
    pub candidates: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .1.
    pub temperature: f32,
    /// People whose labels the probe is given, for the second table; all of them come last. Default 1, 2, 5, 10.
    pub labelled: Vec<usize>,
}

impl Default for Activities {
    fn default() -> Self {
        Self {
            name: "activities".into(),
            seeds: vec![1, 2, 3],
            held_out: 0.3,
            window: 120,
            steps: 600,
            motif_steps: 300,
            batch: 64,
            anchors: 16,
            candidates: 4,
            learning_rate: 1e-3,
            temperature: 0.1,
            labelled: vec![1, 2, 5, 10],
        }
    }
}

/// RelCon's distance has its paper's rate.
const MOTIF_RATE: f32 = 1e-3;
const CLASSES: usize = wisdm::Activity::ALL.len();
/// The share of patches that masked autoencoding hides.
const HIDDEN: f32 = 0.75;

/// A way of making rows of windows.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Relcon(Parts),
    Simclr,
    Changes,
    Masked,
    Supervised,
    Handcrafted,
    Untrained,
}

const FULL: Parts = Parts::PUBLISHED;

const WAYS: [(Way, &str); 12] = [
    (Way::Relcon(FULL), "RelCon"),
    (Way::Relcon(Parts { revin: false, ..FULL }), "RelCon, no reversible norm"),
    (Way::Relcon(Parts { changes: false, ..FULL }), "RelCon, no augmentations"),
    (Way::Relcon(Parts { own: false, ..FULL }), "RelCon, no candidates of the wearer"),
    (Way::Relcon(Parts { attention: Attention::Sparsemax, ..FULL }), "RelCon, ranked with sparsemax"),
    (Way::Relcon(Parts { learnt: false, ..FULL }), "RelCon, ranked by Euclid"),
    (Way::Simclr, "SimCLR"),
    (Way::Changes, "AugPred"),
    (Way::Masked, "masked autoencoding"),
    (Way::Handcrafted, "features by hand"),
    (Way::Untrained, "random weights"),
    (Way::Supervised, "supervised, end to end"),
];

/// A window of an activity.
struct Labelled {
    person: usize,
    activity: usize,
    values: Vec<f32>,
}

/// Everybody's windows and runs.
struct People {
    ids: Vec<PersonId>,
    runs: Vec<Vec<(usize, Run)>>,
    windows: Vec<Labelled>,
}

/// Who teaches and who judges, and what can be drawn from those who teach.
struct Deal<'a> {
    seed: u64,
    people: &'a People,
    teaching: Vec<usize>,
    judging: Vec<usize>,
    /// By person.
    bank: Bank,
    /// By person and activity, with the activity of each.
    told: (Bank, Vec<usize>),
}

impl Study for Activities {
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
        "activities told from wrist acceleration"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("held_out", self.held_out, 0.05, 0.95),
            ("window", self.window as f64, 24.0, 960.0),
            ("steps", f64::from(self.steps), 1.0, 1e6),
            ("motif_steps", f64::from(self.motif_steps), 1.0, 1e6),
            ("batch", self.batch as f64, 2.0, 1024.0),
            ("anchors", self.anchors as f64, 2.0, 256.0),
            ("candidates", self.candidates as f64, 1.0, 64.0),
            ("learning_rate", f64::from(self.learning_rate), 1e-9, 1.0),
            ("temperature", f64::from(self.temperature), 1e-3, 100.0),
        ])?;
        self.wave().check().map_err(|error| ("window".to_owned(), error.to_string()))?;
        if !self.window.is_multiple_of(10) {
            return Err(("window".into(), format!("{} is not ten whole patches", self.window)));
        }
        Ok(())
    }

    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let dir = data.ok_or(LabError::NoData("wisdm-watch"))?;
        let people = self.people(dir)?;
        let judging = (people.ids.len() as f64 * self.held_out).round() as usize;
        if judging < 2 || people.ids.len() < judging + 4 {
            let why =
                format!("{} people with whole windows: too few to teach and to judge", people.ids.len());
            return Err(LabError::TooFew { path: dir.to_owned(), why });
        }
        let deals: Vec<Deal<'_>> = self.seeds.iter().map(|seed| self.deal(*seed, &people, judging)).collect();
        let relcons = [FULL, Parts { revin: false, ..FULL }, Parts { changes: false, ..FULL }];
        let distances: Vec<(usize, Parts)> =
            (0..deals.len()).flat_map(|deal| relcons.map(|parts| (deal, parts))).collect();
        let learning =
            WAYS.iter().filter(|(way, _)| !matches!(way, Way::Handcrafted | Way::Untrained)).count();
        let steps = learning as u64 * u64::from(self.steps) + 3 * u64::from(self.motif_steps);
        let bar = (means.progress)(steps * deals.len() as u64);
        let motifs = crew::all(means.jobs, &distances, |(deal, parts)| {
            let deal = &deals[*deal];
            let pace = Pace { steps: self.motif_steps, rate: MOTIF_RATE };
            learn(parts.motif().specs(), pace, deal.seed, &bar, |weights, rng| {
                rebuilding(&deal.bank, self.anchors, *parts, weights, rng)
            })
        })?;
        // The distance is the same whatever is left out when it ranks.
        let motif = |deal: usize, parts: Parts| {
            let place = if !parts.revin {
                1
            } else if !parts.changes {
                2
            } else {
                0
            };
            &motifs[deal * relcons.len() + place]
        };
        let jobs: Vec<(usize, usize)> =
            (0..WAYS.len()).flat_map(|way| (0..deals.len()).map(move |deal| (way, deal))).collect();
        let found = crew::all(means.jobs, &jobs, |(way, deal)| {
            let (kind, one) = (WAYS[*way].0, &deals[*deal]);
            let ranks = match kind {
                Way::Relcon(parts) => Some(motif(*deal, parts)),
                _ => None,
            };
            self.judge(kind, one, ranks, &bar)
        })?;
        bar.finish();
        let of_way = |way: usize| &found[way * deals.len()..(way + 1) * deals.len()];
        summary.grids = self.grids(&of_way);
        summary.notes.push(format!(
            "{} people; each seed deals them into {} who teach (without labels, but for the supervised network and the \
             probe) and {judging} who judge. Windows of {:.2} s; mean ± sd over seeds. A probe is a softmax regression \
             whose strength is chosen on people who teach.",
            people.ids.len(),
            people.ids.len() - judging,
            self.window as f64 / 32.0
        ));
        Ok(())
    }
}

/// Scores of one way and deal: with all labels, and with few.
struct Score {
    all: Metrics,
    few: Vec<Option<f64>>,
}

impl Activities {
    fn wave(&self) -> Wave {
        let hub = Wave::hub(StreamKind::Accel).unwrap_or_else(|| unreachable!("a waveform"));
        Wave { window: self.window, ..hub }
    }

    fn patches(&self) -> Patches {
        let (name, channels) = ("accel-masked".to_owned(), 3);
        Patches {
            name,
            channels,
            window: self.window,
            patch: self.window / 10,
            width: 64,
            depth: 3,
            heads: 4,
        }
    }

    fn people(&self, dir: &Path) -> Result<People, LabError> {
        let mut runs: BTreeMap<PersonId, Vec<(usize, Run)>> = BTreeMap::new();
        let mut ids = Vec::new();
        for bout in wisdm::load(dir)? {
            if !runs.contains_key(&bout.person) {
                ids.push(bout.person.clone());
            }
            let activity = wisdm::Activity::ALL.iter().position(|a| *a == bout.activity).unwrap_or(0);
            let all = tracks(&bout.accel, self.wave().rate).into_iter().map(|(_, t)| (activity, vec![t]));
            runs.entry(bout.person).or_default().extend(all);
        }
        let len = self.window * 3;
        let runs: Vec<_> = ids.iter().filter_map(|id| runs.remove(id)).collect();
        let mut windows = Vec::new();
        for (person, runs) in runs.iter().enumerate() {
            for (activity, run) in runs {
                let whole = run[0].samples.chunks_exact(len);
                windows.extend(whole.map(|w| Labelled { person, activity: *activity, values: w.to_vec() }));
            }
        }
        Ok(People { ids, runs, windows })
    }

    fn deal<'a>(&self, seed: u64, people: &'a People, judging: usize) -> Deal<'a> {
        let mut order: Vec<usize> = (0..people.ids.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let teaching = order.split_off(judging);
        let seconds = self.window as f64 / 32.0;
        let runs_of = |person: &usize| people.runs[*person].iter().map(|(_, run)| run.clone()).collect();
        let mut by_activity: BTreeMap<(usize, usize), Vec<Run>> = BTreeMap::new();
        for person in &teaching {
            for (activity, run) in &people.runs[*person] {
                if run[0].seconds() >= seconds {
                    by_activity.entry((*person, *activity)).or_default().push(run.clone());
                }
            }
        }
        let labels = by_activity.keys().map(|(_, activity)| *activity).collect();
        let whole = "people who teach have whole windows";
        Deal {
            seed,
            people,
            bank: Bank::new(teaching.iter().map(runs_of), seconds).expect(whole),
            told: (Bank::new(by_activity.into_values(), seconds).expect(whole), labels),
            teaching,
            judging: order,
        }
    }

    fn judge(
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
                    simclr(bank, (&wave, &head), (self.batch, self.temperature), weights, rng)
                })?
            }
            Way::Changes => {
                let head = head(Change::ALL.len());
                learn(with(&head), pace, seed, bar, |weights, rng| {
                    changes_made(bank, (&wave, &head), self.batch, weights, rng)
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
    fn told(
        &self,
        wave: &Wave,
        head: &Mlp,
        deal: &Deal<'_>,
        weights: &Weights,
        rng: &mut ChaCha8Rng,
    ) -> somnus_model::tensor::Tensor<1> {
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

    fn end_to_end(&self, wave: &Wave, head: &Mlp, deal: &Deal<'_>, weights: &Weights) -> Score {
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

    fn grids<'a>(&self, of_way: &dyn Fn(usize) -> &'a [Score]) -> Vec<Grid> {
        let line = |way: usize, cells: Vec<Spread>| GridLine { name: WAYS[way].1.to_owned(), cells };
        let all = |way: usize, of: &dyn Fn(&Metrics) -> Option<f64>| {
            Spread::of(of_way(way).iter().map(|score| of(&score.all)))
        };
        let whole = Grid {
            title: "Six activities of people who taught nothing, by a linear probe on frozen embeddings"
                .into(),
            lines_are: "learned by".into(),
            columns: ["macro-F1", "accuracy", "kappa"].map(str::to_owned).to_vec(),
            lines: (0..WAYS.len())
                .map(|way| {
                    line(
                        way,
                        vec![all(way, &|m| m.macro_f1), all(way, &|m| m.accuracy), all(way, &|m| m.kappa)],
                    )
                })
                .collect(),
        };
        let few = |way: usize| {
            let at = |n: usize| Spread::of(of_way(way).iter().map(|score| score.few[n]));
            let mut cells: Vec<Spread> = (0..self.labelled.len()).map(at).collect();
            cells.push(all(way, &|m| m.macro_f1));
            line(way, cells)
        };
        let people = |n: &usize| if *n == 1 { "1 person".to_owned() } else { format!("{n} people") };
        let curve = Grid {
            title: "Macro-F1 with the labels of only so many people".into(),
            lines_are: "learned by".into(),
            columns: self.labelled.iter().map(people).chain(["everybody who teaches".to_owned()]).collect(),
            lines: (0..WAYS.len()).filter(|way| WAYS[*way].0 != Way::Supervised).map(few).collect(),
        };
        vec![whole, curve]
    }
}

/// Rows of windows, and what is known of each.
struct Rows<'a> {
    rows: Vec<f32>,
    chosen: Vec<&'a Labelled>,
}

impl<'a> Rows<'a> {
    fn width(&self) -> usize {
        self.rows.len() / self.chosen.len().max(1)
    }

    fn of(&self, people: &[usize]) -> Self {
        let each = self.rows.chunks_exact(self.width().max(1)).zip(&self.chosen);
        let (rows, chosen): (Vec<&[f32]>, Vec<&Labelled>) =
            each.filter(|(_, window)| people.contains(&window.person)).unzip();
        Self { rows: rows.concat(), chosen }
    }

    fn labels(&self) -> Vec<usize> {
        self.chosen.iter().map(|window| window.activity).collect()
    }

    fn judged_by(&self, asked: &Self, seed: u64) -> Metrics {
        let groups: Vec<usize> = self.chosen.iter().map(|window| window.person).collect();
        let probe = LinearProbe::fit(self.width(), &self.rows, &self.labels(), &groups, CLASSES, seed);
        Metrics::of(&probe.judge(&asked.rows, &asked.labels()))
    }
}
