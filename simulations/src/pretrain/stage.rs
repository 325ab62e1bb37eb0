//! A stage under way: steps that can be put away, and what they leave.

use std::collections::BTreeMap;
use std::path::Path;

use somnus_model::{Course, ModelError, Stager};
use somnus_protocol::checkpoint::Tensor;
use somnus_signals::DataError;

use super::config::StageConfig;
use super::nights;

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
}

/// A stage before its first step.
pub(super) fn open(
    stage: &StageConfig,
    stager: &Stager,
    root: Option<&Path>,
    seed: u64,
) -> Result<Box<dyn Work>, Trouble> {
    Ok(match stage {
        StageConfig::MaskedNights(stage) => {
            let nights = nights::unscored(stage, root)?;
            // A network without beats takes no notice of them; only streams that it knows are looked at.
            Box::new(Night("mean squared error", Course::masked(stager, nights, stage.plan.clone(), seed)?))
        }
        StageConfig::Rehearsal(stage) => {
            let nights = nights::scored(&stage.cohort);
            let prepared = nights.iter().map(|night| stager.prepare(night)).collect::<Result<_, _>>()?;
            let course = Course::rehearsal(stager, prepared, stage.plan.clone(), stage.averaged, seed)?;
            Box::new(Night("cross-entropy", course))
        }
    })
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
