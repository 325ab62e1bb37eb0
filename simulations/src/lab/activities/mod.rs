//! Ways of learning from acceleration that nobody labelled, judged by how well a line through their embeddings tells what
//! a wearer does: RelCon with parts left out, SimCLR, guessing changes, masked autoencoding; beside them a network that
//! was told, features by hand and weights by chance. People who judge trained nothing.

mod people;
mod table;
mod ways;

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_model::encoder::{Patches, Wave};
use somnus_report::Summary;
use somnus_signals::{StreamKind, wisdm};

use self::people::Deal;
use self::ways::{FULL, WAYS, Way};
use super::learn::{Pace, learn};
use super::{LabError, Means, Study, crew, within};
use crate::pretrain::relcon::{Parts, rebuilding};

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

impl Study for Activities {
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
        if self.labelled.contains(&0) {
            return Err(("labelled".into(), "nobody teaches a probe nothing: at least 1 person".into()));
        }
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
             whose strength is chosen on people who teach; the supervised network is read as it is. All take {} steps of \
             {} windows, but RelCon: {} wearers and {} candidates, after {} steps of its distance. Settings are those of \
             the first try, made shorter to fit into minutes; published ones are several times larger.",
            people.ids.len(),
            people.ids.len() - judging,
            self.window as f64 / 32.0,
            self.steps,
            self.batch,
            self.anchors,
            self.anchors - 1 + self.candidates,
            self.motif_steps
        ));
        Ok(())
    }
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
}
