//! What a client can do with a model and its private nights; the machines only see the results.

use bytes::Bytes;

use crate::ids::{Round, Version};
use crate::moments::Moments;
use crate::plan::TrainPlan;
use crate::update::Sections;

/// One round's training, with everything that it may depend on.
#[derive(Clone, Debug, Default)]
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
    /// What the update has to bring beside the change of the weights.
    pub sections: Sections,
    /// The server's control variate, one number a weight: there if and only if the update has to bring a change of the
    /// client's own.
    pub control: Option<Vec<f32>>,
    /// What the embeddings of all clients were like in the round that made the release; none before there are any, and
    /// before the plan wants this client's pulled towards them.
    pub moments: Option<Moments>,
    /// What this client's last update that counted left behind for this one; none at the beginning.
    pub memory: Option<Bytes>,
}

/// One federated evaluation of a release.
#[derive(Clone, Debug, Default)]
pub struct EvaluateTask {
    /// The release's version.
    pub version: Version,
    /// What was trained: tells which weights a release holds.
    pub plan: TrainPlan,
    /// The foundation checkpoint.
    pub foundation: Bytes,
    /// The release's weights.
    pub weights: Bytes,
    /// What this client's last update that counted left behind.
    pub memory: Option<Bytes>,
}

/// What training yields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalUpdate {
    /// Trained weights minus the release, one per trainable weight.
    pub delta: Vec<f32>,
    /// New minus old control variate of this client, one number a weight, if the task has the server's.
    pub control: Option<Vec<f32>>,
    /// What this client's embeddings are like, if [`TrainTask::sections`] asks for it.
    pub moments: Option<Moments>,
    /// Local steps that were taken.
    pub steps: u32,
    /// Scored epochs that were trained on.
    pub examples: u32,
    /// Mean loss over the local steps, before each step.
    pub loss: f32,
    /// What this client keeps for its next training and evaluation, once this update counts. It never leaves the client;
    /// none keeps what there was.
    pub memory: Option<Bytes>,
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
