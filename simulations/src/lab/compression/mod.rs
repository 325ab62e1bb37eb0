//! How small may a staging network be, and what does a teacher give it (METHODS of arXiv 2511.18829, for sleep)?
//!
//! The teacher is a foundation, trained on the people of a fold together. Students of several sizes, from random weights, learn
//! for the same number of steps: from those people's labels alone, or from the teacher too, in each of four ways, which can also
//! be asked about nights that nobody scored. Everybody is judged on the fold's other people. `students` makes one, `together` lets a federation distil without a
//! teacher, `tables` says what came of it.

mod students;
mod tables;
mod together;

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_model::distil::Strategy;
use somnus_model::{DeviceKind, NetConfig};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::plan::TrainPlan;
use somnus_report::Summary;
use somnus_signals::NightRules;
use somnus_signals::synthetic::{self, SyntheticConfig};

pub use together::Together;

use super::{LabError, Means, Study, crew, within};
use crate::cohort::{People, in_folder};
use crate::start::{Origin, Start};
use students::{Bench, Fold, Way};

/// A study of sizes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// Its name.
    pub name: String,
    /// Each makes other first weights and other chance.
    pub seeds: Vec<u64>,
    /// Parts into which people are dealt. Default 6.
    pub folds: usize,
    /// The first of them that are held out, each once. Default 2.
    pub judged: usize,
    /// People who do not exist, in place of a folder. Default none.
    pub synthetic: Option<SyntheticConfig>,
    /// What the teacher starts from: `base`, `nano`, or a checkpoint's path. Default `base`.
    pub teacher: Origin,
    /// Passes of the teacher over the training people's nights. Default 40.
    pub passes: u32,
    /// People who do not exist, whose nights the teacher stages for its students beside those of the training people; their own
    /// stages are not used. Default none.
    pub unscored: Option<SyntheticConfig>,
    /// Sizes of students.
    pub sizes: Vec<Size>,
    /// Ways of learning beside labels alone. Default all four, with their defaults.
    pub strategies: Vec<Strategy>,
    /// The last part of a student's steps over which weights are averaged. Default .25.
    pub averaged: f32,
    /// How students learn, `steps` long, at a rate that is the plan's for a width of 32 and in inverse proportion to it.
    pub plan: TrainPlan,
    /// Distillation in a federation, in place of averaging; none to leave it out.
    pub together: Option<Together>,
}

/// A student's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Channels, a multiple of 16.
    pub width: usize,
    /// Taps of each convolution, odd.
    pub kernel: usize,
    /// Residual blocks; the step between taps doubles from one to the next.
    pub blocks: usize,
    /// Whether it sees the teacher's context windows.
    pub context: bool,
}

impl Size {
    /// The network of it that sees what `teacher` sees, or less.
    fn net(&self, teacher: &NetConfig) -> NetConfig {
        let dilations = (0..self.blocks.min(10)).map(|block| 1 << block).collect();
        let context = if self.context { teacher.context.clone() } else { Vec::new() };
        let (width, kernel) = (self.width, self.kernel);
        NetConfig { width, kernel, dilations, context, adapters: 0, ..teacher.clone() }
    }

    fn name(&self) -> String {
        let blocks = if self.blocks == 1 { "1 block".to_owned() } else { format!("{} blocks", self.blocks) };
        let context = if self.context { "" } else { ", no context" };
        format!("width {}, {} taps, {blocks}{context}", self.width, self.kernel)
    }
}

impl Default for Compression {
    fn default() -> Self {
        let size = |width, kernel, blocks, context| Size { width, kernel, blocks, context };
        Self {
            name: "compression".into(),
            seeds: vec![1, 2, 3],
            folds: 6,
            judged: 2,
            synthetic: None,
            teacher: Origin::Base,
            passes: 40,
            unscored: None,
            sizes: vec![
                size(16, 3, 1, false),
                size(16, 3, 4, true),
                size(16, 7, 6, true),
                size(32, 7, 6, true),
                size(64, 7, 6, true),
            ],
            strategies: Strategy::ALL.to_vec(),
            averaged: 0.25,
            plan: TrainPlan { steps: 400, ..TrainPlan::default() },
            together: None,
        }
    }
}

impl Study for Compression {
    fn subject(&self) -> &'static str {
        "small staging networks and their teacher"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("folds", self.folds as f64, 2.0, 1000.0),
            ("judged", self.judged as f64, 1.0, self.folds as f64),
            ("passes", f64::from(self.passes), 1.0, 1000.0),
            ("sizes", self.sizes.len() as f64, 1.0, 20.0),
            ("averaged", f64::from(self.averaged), 0.0, 1.0),
        ])?;
        for size in &self.sizes {
            let blocks = size.blocks;
            if !(1..=10).contains(&blocks) {
                return Err(("sizes.blocks".into(), format!("{blocks} is not within 1 to 10")));
            }
            let wrong = |error: somnus_model::ModelError| ("sizes".to_owned(), error.to_string());
            size.net(&NetConfig::default()).check().map_err(wrong)?;
        }
        if self.teacher == Origin::None {
            return Err(("teacher".into(), "random weights have nothing to teach".into()));
        }
        for strategy in &self.strategies {
            strategy.check("strategies").map_err(keyed)?;
        }
        if let Some(together) = &self.together {
            together.check()?;
        }
        self.plan.check().map_err(keyed)
    }

    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let people = self.people(data)?;
        let Start::Foundation(foundation) = Start::load(&self.teacher, DeviceKind::Flex)? else {
            unreachable!("it was checked that there is a teacher");
        };
        let bench = Bench { study: self, people: &people, foundation: &foundation.stager };
        let speeds = bench.speeds()?;

        let judged = people.folds.len().min(self.judged);
        let taught: Vec<(u64, usize)> =
            self.seeds.iter().flat_map(|seed| (0..judged).map(|fold| (*seed, fold))).collect();
        // The largest first, so that nobody waits for one alone at the end.
        let ways: Vec<Way> = Way::all(&self.strategies);
        let mut jobs: Vec<(usize, usize, Way)> = Vec::new();
        for size in (0..self.sizes.len()).rev() {
            jobs.extend((0..taught.len()).flat_map(|fold| ways.iter().map(move |way| (fold, size, *way))));
        }
        let steps = jobs.len() as u64 * u64::from(self.plan.steps);
        let rounds = self.together.as_ref().map_or(0, |together| together.steps(taught.len()));
        let bar = (means.progress)(steps + rounds);
        bar.tell("teachers".into());
        let folds: Vec<Fold> = crew::all(means.jobs, &taught, |(seed, fold)| bench.fold(*seed, *fold))?;
        bar.tell("students".into());
        let found = crew::all(means.jobs, &jobs, |(fold, size, way)| {
            let scores = bench.student(&folds[*fold], &self.sizes[*size], *way);
            bar.steps(u64::from(self.plan.steps));
            scores
        })?;
        let table =
            tables::Students { study: self, ways: &ways, jobs: &jobs, taught: &taught, found: &found };
        summary.grids = table.grids(&speeds)?;
        summary.notes = table.notes(&folds, &people)?;
        if let Some(together) = &self.together {
            bar.tell("federations".into());
            let rows =
                crew::all(means.jobs, &taught, |(seed, fold)| together.run(&bench, *seed, *fold, &bar))?;
            summary.grids.push(together.grid(&self.seeds, &taught, &rows)?);
            summary.notes.push(together.note());
        }
        bar.finish();
        Ok(())
    }
}

impl Compression {
    fn people(&self, data: Option<&Path>) -> Result<People, LabError> {
        let rules = NightRules { require_labels: true, ..NightRules::default() };
        let cohort = match (&self.synthetic, data) {
            (Some(config), _) => synthetic::cohort(config, &rules),
            (None, Some(folder)) => in_folder(folder, &rules)?,
            (None, None) => return Err(LabError::NoData("nights with stages, sleep-accel for example")),
        };
        Ok(People::new(cohort, self.folds, 0)?)
    }
}

fn keyed(error: ConfigError) -> (String, String) {
    match error {
        ConfigError::Value { key, why } => (key, why),
        other => ("plan".into(), other.to_string()),
    }
}

#[cfg(test)]
mod tests;
