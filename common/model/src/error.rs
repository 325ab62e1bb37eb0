//! What can be wrong with a configuration, a checkpoint or a night, named so that its owner can mend it.

use somnus_protocol::checkpoint::CheckpointError;
use somnus_protocol::moments::Embedding;
use somnus_protocol::plan::TrainableSet;
use somnus_signals::StreamKind;

/// Why a network cannot be built, loaded, trained or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A configuration that describes no network.
    #[error("net.{key}: {reason}")]
    Config {
        /// The key under `net`.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The checkpoint's bytes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The manifest's architecture is none of ours.
    #[error("the checkpoint's architecture cannot be read: {0}")]
    Architecture(#[source] serde_json::Error),
    /// A tensor that the architecture needs is not there.
    #[error("the checkpoint has no tensor `{0}`")]
    MissingTensor(String),
    /// A tensor that is neither the architecture's nor a frozen encoder's.
    #[error("the checkpoint has a tensor `{0}`, which its architecture does not know")]
    UnknownTensor(String),
    /// A tensor of another shape than the architecture says.
    #[error("tensor `{name}` has shape {got:?}, the architecture needs {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// What the architecture needs.
        expected: Vec<usize>,
        /// What the file has.
        got: Vec<usize>,
    },
    /// A weight that is infinite or not a number.
    #[error("tensor `{0}` has a value that is not finite")]
    NotFinite(String),
    /// The manifest lists the weights of a set in another order than this code lays them out.
    #[error("the checkpoint lists the {0:?} trainable set differently from its architecture")]
    Order(TrainableSet),
    /// The network has no such weights, adapters for example.
    #[error("the network has no {0:?} trainable set")]
    NoSuchSet(TrainableSet),
    /// Weights of another network.
    #[error("{got} weights were given, the trainable set has {expected}")]
    Length {
        /// Weights of the set.
        expected: usize,
        /// Weights given.
        got: usize,
    },
    /// Moments of another network.
    #[error("moments of {asked:?} are asked for, the network has {own:?}")]
    Moments {
        /// The network's own shape.
        own: Embedding,
        /// The server's.
        asked: Embedding,
    },
    /// A client's memory that another plan left, or none of ours.
    #[error("the memory holds {got}, personal weights of the {expected} are due")]
    Memory {
        /// What the plan keeps.
        expected: &'static str,
        /// What the bytes are.
        got: String,
    },
    /// A night whose stream has another number of features than the network was built for.
    #[error("night {night}: stream {stream} has {got} features an epoch, the network takes {expected}")]
    StreamWidth {
        /// The night.
        night: String,
        /// The stream.
        stream: StreamKind,
        /// What the network takes.
        expected: usize,
        /// What the night has.
        got: usize,
    },
    /// A part of a night that is not within it.
    #[error("night {night} has {epochs} epochs, not {start}..{end}")]
    Range {
        /// The night.
        night: String,
        /// Its length.
        epochs: usize,
        /// First epoch asked for.
        start: usize,
        /// One past the last epoch asked for.
        end: usize,
    },
    /// A teacher that this student cannot learn from.
    #[error("the teacher {0}")]
    Teacher(String),
    /// No night at all.
    #[error("there is no night to learn from")]
    NoNights,
    /// Nothing to learn from.
    #[error("no night has a scored epoch to train on")]
    NoLabels,
    /// It was ended from outside, see [`Between`](crate::Between).
    #[error("{0}")]
    Stopped(String),
    /// The loss became infinite or not a number.
    #[error("training diverged at step {step}: the loss is not finite; lower the learning rate")]
    Diverged {
        /// The step, from 0.
        step: usize,
    },
}
