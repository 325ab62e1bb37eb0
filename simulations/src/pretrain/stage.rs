//! A stage under way: steps that can be put away, and what they leave.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use somnus_model::encoder::Wave;
use somnus_model::{Course, DeviceKind, ModelError, Stager};
use somnus_protocol::checkpoint::Tensor;
use somnus_signals::{DataError, StreamKind};

use super::beats::Neighbours;
use super::config::StageConfig;
use super::focal::Matching;
use super::nights;
use super::relcon::Ranking;
use super::windows::{self, Bank, Run};
use crate::model_file::{Model, ModelFileError};
use crate::start::Start;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// Work that is done step by step.
pub(super) trait Work {
    /// What the next step's loss is of; names its curve.
    fn part(&self) -> &'static str;

    /// The next step; its loss, `None` when it had nothing to learn from.
    fn step(&mut self) -> Result<Option<f32>, ModelError>;

    /// All that the next steps depend on.
    fn to_tensors(&self) -> Tensors;

    /// Goes on from [`Work::to_tensors`] after `done` steps.
    fn resume(&mut self, done: u32, tensors: &Tensors) -> Result<(), ModelError>;

    /// The model with what was learned.
    fn finish(self: Box<Self>) -> Result<Stager, ModelError>;
}

/// Why a stage cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Its recordings.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Its network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its teacher.
    #[error("teacher: {0}")]
    Teacher(#[from] ModelFileError),
    /// It was begun by another.
    #[error(
        "the teacher's file is another than the one that began it (SHA-256 {now}, not {known}); bring that back, or choose another \
         folder with --out"
    )]
    OtherTeacher {
        /// SHA-256 of the file that taught so far, in hexadecimal.
        known: String,
        /// Of the one that is there now.
        now: String,
    },
    /// Its recordings are all shorter than what it looks at.
    #[error("no recording has {0} s without a gap")]
    Short(f64),
}

/// Who teaches a stage, if somebody does.
pub(super) fn teacher(stage: &StageConfig, device: DeviceKind) -> Result<Option<Arc<Model>>, Trouble> {
    let Some(origin) = stage.teacher() else { return Ok(None) };
    match Start::load(origin, device)? {
        Start::Foundation(model) => Ok(Some(model)),
        Start::Random => Err(ModelError::Teacher("has random weights".into()).into()),
    }
}

/// A stage before its first step; `teacher` is [`teacher`]'s.
pub(super) fn open(
    stage: &StageConfig,
    stager: &Stager,
    teacher: Option<&Model>,
    root: Option<&Path>,
    device: DeviceKind,
    seed: u64,
) -> Result<Box<dyn Work>, Trouble> {
    // What reads a folder has one: that is checked before the first stage.
    let root = root.unwrap_or(Path::new(""));
    let gathered = || nights::gathered(&stage.sets(), stage.synthetic(), root);
    Ok(match stage {
        StageConfig::MaskedNights(stage) => {
            Box::new(Night("mean squared error", Course::masked(stager, gathered()?, &stage.plan, seed)?))
        }
        StageConfig::Distil(distil) => {
            let teacher = teacher.ok_or_else(|| ModelError::Teacher("is missing".into()))?;
            let course = distil.course(stager, &teacher.stager, &gathered()?, seed)?;
            Box::new(Night("distance from the teacher", course))
        }
        StageConfig::Rehearsal(stage) => {
            let nights = nights::scored(&stage.cohort);
            let prepared = nights.iter().map(|night| stager.prepare(night)).collect::<Result<_, _>>()?;
            let course = Course::rehearsal(stager, prepared, &stage.plan, stage.averaged, seed)?;
            Box::new(Night("cross-entropy", course))
        }
        StageConfig::Relcon(relcon) => {
            let wave = hub(StreamKind::Accel);
            let people = windows::accelerations(root, &stage.sets(), wave.rate)?;
            let bank = bank(people, seconds(&wave))?;
            Box::new(Ranking::new(relcon, bank, wave, stager, device, seed)?)
        }
        StageConfig::Focal(focal) => {
            let waves = [StreamKind::Accel, StreamKind::Ppg].map(hub);
            let people = windows::pairs(root, waves[0].rate, waves[1].rate)?;
            let bank = bank(people, seconds(&waves[0]))?;
            Box::new(Matching::drill(focal, bank, waves, stager, device, seed)?)
        }
        StageConfig::Ecg(ecg) => {
            let wave = hub(StreamKind::Ecg);
            let bank = bank(windows::electrocardiograms(root, wave.rate)?, 2.0 * seconds(&wave))?;
            Box::new(Neighbours::drill(ecg, bank, wave, stager, device, seed)?)
        }
    })
}

fn hub(stream: StreamKind) -> Wave {
    Wave::hub(stream).unwrap_or_else(|| unreachable!("{stream} is a waveform"))
}

fn seconds(wave: &Wave) -> f64 {
    wave.window as f64 / wave.rate as f64
}

fn bank(people: Vec<Vec<Run>>, seconds: f64) -> Result<Bank, Trouble> {
    Bank::new(people, seconds).ok_or(Trouble::Short(seconds))
}

/// A course of the staging network and the name of its loss.
struct Night(&'static str, Course);

impl Work for Night {
    fn part(&self) -> &'static str {
        self.0
    }

    fn step(&mut self) -> Result<Option<f32>, ModelError> {
        self.1.step()
    }

    fn to_tensors(&self) -> Tensors {
        self.1.to_tensors()
    }

    fn resume(&mut self, done: u32, tensors: &Tensors) -> Result<(), ModelError> {
        self.1.resume(done, tensors)
    }

    fn finish(self: Box<Self>) -> Result<Stager, ModelError> {
        self.1.finish()
    }
}
