//! Slow work of a client: pure functions that a driver runs where blocking is allowed.

use bytes::Bytes;

use crate::ids::{BlobId, UpdateId};
use crate::message::{Assignment, Examination};
use crate::trainer::{EvaluateTask, LocalEvaluation, TrainTask, Trainer};
use crate::update::UpdateLayout;

/// The blobs that a piece of work needs: their names, or their contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Materials<T> {
    /// The foundation checkpoint.
    pub foundation: T,
    /// The release.
    pub release: T,
    /// What travels beside it, if anything.
    pub companion: Option<T>,
}

impl<T> Materials<T> {
    /// All of them, in the order in which they are fetched.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        [&self.foundation, &self.release].into_iter().chain(&self.companion)
    }

    /// The same with each name replaced by what `load` gives for it.
    ///
    /// # Errors
    /// The first one of `load`.
    pub fn try_map<U, E>(self, mut load: impl FnMut(T) -> Result<U, E>) -> Result<Materials<U>, E> {
        Ok(Materials {
            foundation: load(self.foundation)?,
            release: load(self.release)?,
            companion: self.companion.map(load).transpose()?,
        })
    }
}

impl From<&Assignment> for Materials<BlobId> {
    fn from(assignment: &Assignment) -> Self {
        let Assignment { foundation, release, companion, .. } = *assignment;
        Self { foundation, release, companion }
    }
}

impl From<&Examination> for Materials<BlobId> {
    fn from(examination: &Examination) -> Self {
        let Examination { foundation, release, .. } = *examination;
        Self { foundation, release, companion: None }
    }
}

/// Work for a thread that may block; the driver adds the materials and the trainer.
#[derive(Clone, Debug)]
pub enum Job {
    /// Train for a round.
    Train {
        /// What the server asks for.
        assignment: Assignment,
        /// This client's own seed.
        seed: u64,
        /// What the last update that counted left behind.
        memory: Option<Bytes>,
    },
    /// Score a release.
    Examine {
        /// What the server asks for.
        examination: Examination,
        /// What the last update that counted left behind.
        memory: Option<Bytes>,
    },
}

/// What a [`Job`] gave.
#[derive(Debug)]
pub enum JobResult {
    /// Of [`Job::Train`].
    Trained(Assignment, Result<Update, String>),
    /// Of [`Job::Examine`].
    Examined(Examination, Result<LocalEvaluation, String>),
}

/// An update, ready to travel.
pub struct Update {
    pub(super) bytes: Bytes,
    pub(super) id: UpdateId,
    pub(super) examples: u32,
    pub(super) loss: f32,
    /// What stays here once the update counts.
    pub(super) memory: Option<Bytes>,
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update").field("examples", &self.examples).finish_non_exhaustive()
    }
}

impl Job {
    /// The blobs that the driver has to load from its cache.
    pub fn materials(&self) -> Materials<BlobId> {
        match self {
            Job::Train { assignment, .. } => assignment.into(),
            Job::Examine { examination, .. } => examination.into(),
        }
    }

    /// Does the work.
    pub fn run(self, trainer: &dyn Trainer, materials: Materials<Bytes>) -> JobResult {
        match self {
            Job::Train { assignment, seed, memory } => {
                let result = train(&assignment, seed, memory, trainer, materials);
                JobResult::Trained(assignment, result)
            }
            Job::Examine { examination, memory } => {
                let (version, plan) = (examination.version, examination.plan.clone());
                let checked = plan.check().map_err(|e| e.to_string());
                let Materials { foundation, release: weights, .. } = materials;
                let task = EvaluateTask { version, plan, foundation, weights, memory };
                let result = checked.and_then(|()| trainer.evaluate(&task).map_err(|e| e.to_string()));
                JobResult::Examined(examination, result)
            }
        }
    }

    /// The result when the driver cannot even begin, for example because its cache cannot be read.
    pub fn fail(self, why: String) -> JobResult {
        match self {
            Job::Train { assignment, .. } => JobResult::Trained(assignment, Err(why)),
            Job::Examine { examination, .. } => JobResult::Examined(examination, Err(why)),
        }
    }
}

fn train(
    assignment: &Assignment,
    seed: u64,
    memory: Option<Bytes>,
    trainer: &dyn Trainer,
    materials: Materials<Bytes>,
) -> Result<Update, String> {
    let Assignment { round, plan, sections, .. } = assignment.clone();
    // A plan comes from another machine; absurd numbers in it must not reach a network.
    plan.check().map_err(|e| e.to_string())?;
    let Materials { foundation, release: weights, companion } = materials;
    let layout = UpdateLayout::new(weights.len() / 4, sections);
    let beside = layout.read(companion.as_ref()).map_err(|fault| format!("the companion: {fault}"))?;
    let pulls = plan.invariance.is_some_and(|invariance| round.0 >= invariance.from_round);
    let moments = beside.moments.filter(|_| pulls);
    let task = TrainTask {
        round,
        plan,
        seed,
        foundation,
        weights,
        sections,
        control: beside.control,
        moments,
        memory,
    };
    let mut update = trainer.train(&task).map_err(|e| e.to_string())?;
    let (examples, loss, memory) = (update.examples, update.loss, update.memory.take());
    let bytes = layout.pack(update).map_err(|e| e.to_string())?;
    Ok(Update { id: UpdateId::of(&bytes), bytes, examples, loss, memory })
}
