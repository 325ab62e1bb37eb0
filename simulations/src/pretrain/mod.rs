//! Pretraining: a foundation model from a configuration and public recordings, without one human label of its own.
//!
//! [`Pretraining`] runs the stages of a [`PretrainConfig`] one after the other and puts itself away after every hundredth of a
//! stage; opened again on the same folder it goes on from there, and ends with the same bytes. What it
//! leaves: `foundation.safetensors`, whose manifest says where it comes from, `pretrain.json` ([`Record`]) and
//! `pretrain.html`, the same for people.
//!
//! `config` is the file and `sets` the public sets; `nights` and `windows` make of them what is learned from; `stage` is a
//! stage under way, of the staging network itself (`distil`: by a bigger one) or of an encoder of waveforms (`relcon`, `focal`, `beats`, moved by
//! `learner`; `drill` is what those of one loss have in common); `state` is what is put away, `record` and `page` what came of it.

mod beats;
mod config;
mod distil;
mod drill;
mod focal;
pub(crate) mod learner;
mod nights;
mod page;
mod record;
pub(crate) mod relcon;
mod sets;
mod stage;
mod state;
pub(crate) mod windows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use beats::Ecg;
pub use config::{Loaded, MaskedNights, PretrainConfig, Rehearsal, StageConfig};
pub use distil::Distil;
pub use focal::Paired;
pub use record::{Curve, Record, StageRecord, TeacherRecord};
pub use relcon::Relcon;
pub use sets::PublicSet;
pub use stage::Trouble;
pub use state::StateError;

use somnus_model::{ModelError, Stager};
use somnus_protocol::checkpoint::CheckpointError;
use somnus_protocol::ids::Digest;
use somnus_protocol::seed::{Label, Seed};

use crate::progress::Progress;
use stage::{Tensors, Work};

/// Parts of a stage: points of its curve, and places where it can be taken up again.
const PARTS: u32 = 100;

/// Why a pretraining cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum PretrainError {
    /// A stage reads recordings and no folder was given.
    #[error("stage {number} ({kind}) reads `{folder}`: give the folder it is in with --data ROOT")]
    NoData {
        /// The stage, from 1.
        number: usize,
        /// Its kind.
        kind: &'static str,
        /// The public set.
        folder: &'static str,
    },
    /// A stage reads a folder that is not there.
    #[error("stage {number} ({kind}) reads {}: no such folder", path.display())]
    NoFolder {
        /// The stage, from 1.
        number: usize,
        /// Its kind.
        kind: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// A stage failed.
    #[error("stage {number} ({kind}): {source}")]
    Stage {
        /// The stage, from 1.
        number: usize,
        /// Its kind.
        kind: &'static str,
        /// Why.
        source: Trouble,
    },
    /// The first network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What was put away.
    #[error(transparent)]
    State(#[from] StateError),
    /// The finished model.
    #[error("foundation: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A pretraining under way.
pub struct Pretraining<'a> {
    loaded: Loaded,
    root: Option<PathBuf>,
    out: PathBuf,
    stager: Stager,
    progress: state::Progress,
    /// The stage under way.
    work: Option<Running>,
    /// What the stage under way had put away, until it is taken up.
    kept: Tensors,
    announce: &'a dyn Fn(&str, u64) -> Progress,
}

struct Running {
    work: Box<dyn Work>,
    bar: Progress,
}

impl<'a> Pretraining<'a> {
    /// Begins, or goes on with what `out` holds. `announce` is told what comes next and in how many steps.
    ///
    /// # Errors
    /// [`PretrainError`] naming the stage and the folder that it lacks, before anything is computed; or the state's file.
    pub fn open(
        loaded: Loaded,
        root: Option<&Path>,
        out: &Path,
        announce: &'a dyn Fn(&str, u64) -> Progress,
    ) -> Result<Self, PretrainError> {
        let config = &loaded.config;
        for (i, stage) in config.stages.iter().enumerate() {
            let (number, kind) = (i + 1, stage.kind());
            for set in stage.sets() {
                let Some(root) = root else {
                    return Err(PretrainError::NoData { number, kind, folder: set.folder() });
                };
                let path = set.path(root);
                if !path.is_dir() {
                    return Err(PretrainError::NoFolder { number, kind, path });
                }
            }
        }
        let (stager, kept, progress) = match state::read(out, &loaded.digest, config.device)? {
            Some(found) => found,
            None => {
                let seed = Seed::from_number(config.seed).derive(Label::Initialisation, b"").number();
                let stager = Stager::new(&config.net, seed, config.device)?;
                let config = loaded.digest.to_hex();
                (stager, Tensors::new(), state::Progress { config, ..Default::default() })
            }
        };
        let (root, out) = (root.map(Path::to_owned), out.to_owned());
        Ok(Self { loaded, root, out, stager, progress, work: None, kept, announce })
    }

    /// Does the next hundredth of a stage and puts it away; `false` when there was nothing left to do.
    ///
    /// # Errors
    /// [`PretrainError`] naming the stage, or the file that cannot be written.
    pub fn advance(&mut self) -> Result<bool, PretrainError> {
        let start = Instant::now();
        // A stage is over when its steps are; the next one begins with a new record.
        let over = |record: &StageRecord| self.progress.done == record.steps;
        if self.progress.stages.last().is_none_or(over) {
            let Some(stage) = self.loaded.config.stages.get(self.progress.stages.len()) else {
                return Ok(false);
            };
            let (kind, steps) = (stage.kind().to_owned(), stage.steps());
            self.progress.stages.push(StageRecord { kind, steps, ..Default::default() });
            self.progress.done = 0;
        }
        let index = self.progress.stages.len() - 1;
        let mut running = match self.work.take() {
            Some(running) => running,
            None => self.begin(index)?,
        };
        let steps = self.progress.stages[index].steps;
        let until = steps.min(self.progress.done + steps.div_ceil(PARTS));
        let learned = self.learn(&mut running, index, until);
        learned.map_err(|source| self.trouble(index, source.into()))?;
        let state = if self.progress.done < steps {
            let state = running.work.to_tensors();
            self.work = Some(running);
            state
        } else {
            running.bar.finish();
            let finished = running.work.finish();
            self.stager = finished.map_err(|source| self.trouble(index, source.into()))?;
            Tensors::new()
        };
        // In milliseconds, which JSON gives back as they were.
        let record = &mut self.progress.stages[index];
        record.seconds = ((record.seconds + start.elapsed().as_secs_f64()) * 1e3).round() / 1e3;
        state::write(&self.out, &self.stager, state, &self.progress)?;
        Ok(true)
    }

    fn begin(&mut self, index: usize) -> Result<Running, PretrainError> {
        let config = &self.loaded.config;
        let stage = &config.stages[index];
        let number = (index as u64).to_le_bytes();
        let seed = Seed::from_number(config.seed).derive(Label::Training, &number).number();
        let teacher = stage::teacher(stage, config.device).map_err(|source| self.trouble(index, source))?;
        if let Some(now) = teacher.as_deref().map(TeacherRecord::of) {
            let known = self.progress.stages[index].teacher.get_or_insert_with(|| now.clone()).clone();
            if known.sha256 != now.sha256 {
                let other = Trouble::OtherTeacher { known: known.sha256, now: now.sha256 };
                return Err(self.trouble(index, other));
            }
        }
        let opened =
            stage::open(stage, &self.stager, teacher.as_deref(), self.root.as_deref(), config.device, seed);
        let mut work = opened.map_err(|source| self.trouble(index, source))?;
        let done = self.progress.done;
        if done > 0 {
            let kept = std::mem::take(&mut self.kept);
            work.resume(done, &kept).map_err(|source| self.trouble(index, source.into()))?;
        }
        let (count, steps) = (config.stages.len(), stage.steps());
        let what = format!("stage {} of {count}: {}, {steps} steps", index + 1, stage.kind());
        let bar = (self.announce)(&what, u64::from(steps - done));
        bar.tell(stage.kind().to_owned());
        Ok(Running { work, bar })
    }

    fn learn(&mut self, running: &mut Running, index: usize, until: u32) -> Result<(), ModelError> {
        let record = &mut self.progress.stages[index];
        let (mut sum, mut counted) = (0.0f64, 0u32);
        while self.progress.done < until {
            let part = running.work.part();
            if let Some(loss) = running.work.step()? {
                sum += f64::from(loss);
                counted += 1;
            }
            self.progress.done += 1;
            running.bar.steps(1);
            let turned = running.work.part() != part;
            if counted > 0 && (turned || self.progress.done == until) {
                record.push(part, self.progress.done, (sum / f64::from(counted)) as f32);
                (sum, counted) = (0.0, 0);
            }
        }
        Ok(())
    }

    fn trouble(&self, index: usize, source: Trouble) -> PretrainError {
        PretrainError::Stage { number: index + 1, kind: self.loaded.config.stages[index].kind(), source }
    }

    /// Writes the model, the record and the page of a pretraining that is done.
    ///
    /// # Errors
    /// [`PretrainError::State`] naming the file that cannot be written.
    ///
    /// # Panics
    /// When [`Pretraining::advance`] has not yet said that nothing is left.
    pub fn finish(self) -> Result<Record, PretrainError> {
        let Loaded { config, digest } = self.loaded;
        let stages = &self.progress.stages;
        assert!(stages.len() == config.stages.len() && self.work.is_none(), "the pretraining is not over");
        let data: BTreeMap<String, String> = config
            .stages
            .iter()
            .flat_map(|stage| {
                let sets = stage.sets().into_iter().map(|set| (set.folder(), set.licence()));
                sets.chain(stage.synthetic().map(|_| ("synthetic", "made by a simulator of this project")))
            })
            .map(|(name, licence)| (name.to_owned(), licence.to_owned()))
            .collect();
        let mut provenance = BTreeMap::from([
            ("config".to_owned(), config.name.clone()),
            ("config_sha256".to_owned(), digest.to_hex()),
            ("seed".to_owned(), config.seed.to_string()),
            ("training".to_owned(), record::training(stages).to_owned()),
        ]);
        provenance.extend(data.iter().map(|(name, licence)| (format!("data.{name}"), licence.clone())));
        let numbered = || stages.iter().enumerate();
        provenance.extend(numbered().filter_map(|(i, stage)| {
            let TeacherRecord { name, sha256, .. } = stage.teacher.as_ref()?;
            Some((format!("teacher.{}", i + 1), format!("{name}, SHA-256 {sha256}")))
        }));
        provenance.extend(numbered().map(|(i, stage)| (format!("stage.{}", i + 1), stage.summary())));
        let bytes = self.stager.to_checkpoint(&config.name, provenance).to_bytes()?;
        state::replace(&self.out.join("foundation.safetensors"), &bytes)?;
        let record = Record {
            config_sha256: digest.to_hex(),
            model_sha256: Digest::of(&bytes).to_hex(),
            model_bytes: bytes.len(),
            weights: self.stager.parameters(),
            data,
            stages: self.progress.stages,
            config,
        };
        let json = serde_json::to_string_pretty(&record)
            .unwrap_or_else(|error| unreachable!("plain numbers: {error}"));
        state::replace(&self.out.join("pretrain.json"), json.as_bytes())?;
        state::replace(&self.out.join("pretrain.html"), page::page(&record).as_bytes())?;
        Ok(record)
    }
}
