//! Studies without a federation: what representations know, and how small a model may be.
//!
//! A lab study is a file like a scenario, with `study = "..."` on top; `somnus-sim run` takes both. Each kind is one
//! configuration that makes a [`Summary`] whose grids are its tables. `crew` is the threads that work on it.
//!
//! Everybody is judged on people nobody trained on, and what chance decides has its spread over seeds.

mod activities;
mod compression;
mod crew;
mod cross_modal;
mod handcrafted;
mod heart_rate;
mod learn;
mod motifs;
mod participants;
mod positives;
pub(crate) mod pulse;
mod size_law;
mod wrist;

use std::path::{Path, PathBuf};

pub use activities::Activities;
pub use compression::{Compression, Size, Together};
pub use cross_modal::CrossModal;
pub use heart_rate::{HeartRate, Shape};
pub use motifs::Motifs;
pub use participants::Positives;
pub use positives::PositivesStudy;

use serde::{Deserialize, Serialize};
use somnus_model::ModelError;
use somnus_protocol::config::parse;
use somnus_protocol::fault::ConfigError;
use somnus_report::{ConfusionError, Staging, Summary};
use somnus_signals::DataError;

use crate::baselines::BaselineError;
use crate::cohort::CohortError;
use crate::model_file::ModelFileError;
use crate::progress::Progress;
use crate::scenario::ScenarioError;
use crate::start::Origin;

/// A lab study, as its file says it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "study", rename_all = "kebab-case")]
pub enum Lab {
    /// How small may a staging network be, and what does a teacher add?
    Compression(Box<Compression>),
    /// How small may a network be that reads the heart rate, and what does a teacher add?
    HeartRate(HeartRate),
    /// Ways of learning from acceleration without labels, judged by activities, on `wisdm-watch`.
    Activities(Activities),
    /// What does acceleration know of the heart, once it has learned from pulse waves? On `stress-predict`.
    CrossModal(CrossModal),
    /// Is the learnt motif distance worth its name? Of made-up movements.
    Motifs(Motifs),
    /// What do positives of one person cost, and what does KoLeo bring? On `stress-predict`.
    Positives(PositivesStudy),
}

/// Threads, and who is told what comes next and in how many steps.
pub struct Means {
    /// Threads; the results do not depend on it.
    pub jobs: usize,
    /// Makes a bar of so many steps.
    pub progress: fn(u64) -> Progress,
}

/// Why a study has no result.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// It reads recordings and no folder was given.
    #[error("this study reads {0}: give its folder with --data")]
    NoData(&'static str),
    /// Nobody who teaches has a heart rate.
    #[error("nobody who teaches has a heart rate (HR.csv)")]
    NoHeartRate,
    /// There are not enough people to train on some and judge on others.
    #[error("{}: {why}", path.display())]
    TooFew {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The recordings.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A network's file.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// Whom there is to train on and to judge.
    #[error(transparent)]
    People(#[from] CohortError),
    /// Scores of people.
    #[error(transparent)]
    Score(#[from] BaselineError),
    /// Counts that do not fit together.
    #[error(transparent)]
    Count(#[from] ConfusionError),
}

/// The head of every lab study's file.
trait Head {
    fn name(&self) -> &str;
    fn seeds(&self) -> &[u64];
    fn seeds_mut(&mut self) -> &mut [u64];
}

macro_rules! heads {
    ($($study:ty),*) => {$(
        impl Head for $study {
            fn name(&self) -> &str {
                &self.name
            }

            fn seeds(&self) -> &[u64] {
                &self.seeds
            }

            fn seeds_mut(&mut self) -> &mut [u64] {
                &mut self.seeds
            }
        }
    )*};
}

heads!(Activities, Compression, CrossModal, HeartRate, Motifs, PositivesStudy);

/// What every lab study has in common.
trait Study: Head {
    /// What it is about, for the head of a page.
    fn subject(&self) -> &'static str;

    /// What is wrong, by the key.
    fn check(&self) -> Result<(), (String, String)>;

    /// Its tables and notes; the rest of the summary is there.
    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError>;
}

impl Lab {
    /// Whether a text is of a lab study: it says `study` where a scenario has no such key.
    #[must_use]
    pub fn is_in(text: &str) -> bool {
        text.lines()
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.split_once('=').is_some_and(|(key, _)| key.trim() == "study"))
    }

    /// Reads and checks a file; `None` if it is no lab study. Checkpoints that it names are relative to it.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the file, and the line or the key.
    pub fn load(path: &Path) -> Result<Option<Self>, ScenarioError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ScenarioError::Read { path: name(), source })?;
        if !Self::is_in(&text) {
            return Ok(None);
        }
        let mut lab =
            Self::from_text(&text).map_err(|source| ScenarioError::Config { path: name(), source })?;
        if let (Self::Compression(study), Some(folder)) = (&mut lab, path.parent()) {
            let starts = study.together.iter_mut().flat_map(|together| &mut together.starts);
            for origin in starts.chain([&mut study.teacher]) {
                if let Origin::File(file) = origin {
                    *file = folder.join(&*file);
                }
            }
        }
        Ok(Some(lab))
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// [`ConfigError`] naming the line or the key.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let lab: Self = parse(text)?;
        let study = lab.study();
        let refuse = |key: &str, why: String| Err(ConfigError::Value { key: key.into(), why });
        if study.name().is_empty() || study.name().len() > 100 {
            return refuse("name", "1 to 100 characters are needed".into());
        }
        if study.seeds().is_empty() || study.seeds().len() > 100 {
            return refuse("seeds", format!("{} seeds, not 1 to 100", study.seeds().len()));
        }
        let mut seeds = study.seeds().to_vec();
        seeds.sort_unstable();
        if let Some(twice) = seeds.windows(2).find(|pair| pair[0] == pair[1]) {
            return refuse("seeds", format!("{} is there twice: its spread would be made up", twice[0]));
        }
        match study.check() {
            Ok(()) => Ok(lab),
            Err((key, why)) => refuse(&key, why),
        }
    }

    /// Its name, and its folder under `runs/` unless another is given.
    #[must_use]
    pub fn name(&self) -> &str {
        self.study().name()
    }

    /// Does all of it.
    ///
    /// # Errors
    /// [`LabError`] naming the folder or the file.
    pub fn run(&self, data: Option<&Path>, means: &Means) -> Result<Summary, LabError> {
        let start = std::time::Instant::now();
        let study = self.study();
        let staging = Staging { classes: Vec::new(), wake: 0, rem: None };
        let mut summary = Summary::new(study.name(), study.subject(), staging);
        summary.seeds = study.seeds().to_vec();
        summary.config = serde_json::json!({ "lab": self });
        study.run(data, means, &mut summary)?;
        Ok(crate::summary::ended(summary, start))
    }

    /// The same with as many seeds from `first` on, if one is given.
    #[must_use]
    pub fn with_seed(mut self, first: Option<u64>) -> Self {
        if let Some(first) = first {
            for (seed, number) in self.study_mut().seeds_mut().iter_mut().zip(first..) {
                *seed = number;
            }
        }
        self
    }

    fn study(&self) -> &dyn Study {
        match self {
            Self::Compression(study) => &**study,
            Self::HeartRate(study) => study,
            Self::Activities(study) => study,
            Self::CrossModal(study) => study,
            Self::Motifs(study) => study,
            Self::Positives(study) => study,
        }
    }

    fn study_mut(&mut self) -> &mut dyn Study {
        match self {
            Self::Compression(study) => &mut **study,
            Self::HeartRate(study) => study,
            Self::Activities(study) => study,
            Self::CrossModal(study) => study,
            Self::Motifs(study) => study,
            Self::Positives(study) => study,
        }
    }
}

/// Refuses the first number that is not within its bounds.
fn within(rules: &[(&str, f64, f64, f64)]) -> Result<(), (String, String)> {
    match rules.iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
        Some((key, value, low, high)) => {
            Err(((*key).to_owned(), format!("{value} is not within {low} to {high}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_study_loads_and_mistakes_name_line_or_key() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim");
        for name in ["activities", "compression", "cross-modal", "heart-rate", "motifs", "positives"]
            .into_iter()
            .flat_map(|name| [name.to_owned(), format!("{name}-smoke")])
        {
            let lab =
                Lab::load(&folder.join(format!("{name}.toml"))).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(lab.unwrap().name(), name);
        }
        assert!(Lab::load(&folder.join("demo.toml")).unwrap().is_none());
        let cases = [
            ("study = 'motives'\n", "line 1: unknown variant `motives`"),
            ("study = 'motifs'\nstep = 3\n", "line 2: unknown key `step`; did you mean `steps`?"),
            ("study = 'motifs'\nsteps = 0\n", "`steps`: 0 is not within 1"),
            ("study = 'motifs'\nseeds = []\n", "`seeds`: 0 seeds"),
            ("study = 'motifs'\nseeds = [2, 1, 2]\n", "`seeds`: 2 is there twice"),
            ("study = 'activities'\nlabelled = [0]\n", "`labelled`: nobody"),
            ("study = 'motifs'\nname = ''\n", "`name`: 1 to 100"),
        ];
        for (text, expected) in cases {
            let error = Lab::from_text(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn a_study_is_about_what_it_says_and_takes_other_seeds() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim/motifs-smoke.toml");
        let lab = Lab::load(&path).unwrap().unwrap().with_seed(Some(7));
        let means = Means { jobs: 2, progress: |_| Progress::hidden() };
        let summary = lab.run(None, &means).unwrap();
        assert_eq!(summary.seeds, [7, 8]);
        assert_eq!(summary.grids[0].lines.len(), 6);
        assert!(summary.grids[0].lines.iter().flat_map(|line| &line.cells).all(|cell| cell.n == 2));
        assert!(somnus_report::table::run(&summary).starts_with("motifs-smoke: motif distance on made-up"));
    }
}
