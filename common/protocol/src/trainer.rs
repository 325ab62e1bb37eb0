//! What a client can do with a model and its private nights; the machines only see the results.

use bytes::Bytes;

use crate::ids::{Round, Version};
use crate::plan::TrainPlan;

/// One round's training, with everything that it may depend on.
#[derive(Clone, Debug)]
pub struct TrainTask {
    /// The round.
    pub round: Round,
    /// What to do. `plan.learning_rate` is already this round's rate.
    pub plan: TrainPlan,
    /// This client's training seed for this round.
    pub seed: u64,
    /// The foundation checkpoint (a safetensors file).
    pub foundation: Bytes,
    /// The release: the trainable weights as little-endian f32, in the order of the checkpoint's layout.
    pub weights: Bytes,
}

/// One federated evaluation of a release.
#[derive(Clone, Debug)]
pub struct EvaluateTask {
    /// The release's version.
    pub version: Version,
    /// What was trained: tells which weights a release holds.
    pub plan: TrainPlan,
    /// The foundation checkpoint.
    pub foundation: Bytes,
    /// The release's weights.
    pub weights: Bytes,
}

/// What training yields.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    /// Trained weights minus the release, one per trainable weight.
    pub delta: Vec<f32>,
    /// Scored epochs that were trained on.
    pub examples: u32,
    /// Mean loss over the local steps, before each step.
    pub loss: f32,
}

/// What an evaluation yields: counts only, rows truth, columns prediction, row-major, classes squared of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEvaluation {
    /// Number of classes.
    pub classes: u8,
    /// The confusion matrix.
    pub confusion: Vec<u32>,
}

/// Why a client could not do its work; the text is for its own operator and names the culprit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TrainError(pub String);

/// The client's hands: private nights, a network, and time to train it.
///
/// Calls are pure: the same task on the same nights gives the same result, on any number of threads.
pub trait Trainer: Send + Sync {
    /// Trains on the private nights.
    ///
    /// # Errors
    /// [`TrainError`] if the checkpoint, the release or the nights cannot be used.
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError>;

    /// Scores a release on the private nights that training never sees.
    ///
    /// # Errors
    /// [`TrainError`] if the checkpoint, the release or the nights cannot be used.
    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError>;
}
