//! What the driver needs of a trainer beyond the federation's [`Trainer`]: a report for the person.

use somnus_protocol::ids::ClientId;
use somnus_protocol::trainer::{EvaluateTask, TrainError, Trainer};
use somnus_report::ClientReport;

/// Whose report it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    /// The federation's name.
    pub federation: String,
    /// The hub's name in it.
    pub client: ClientId,
}

/// A trainer that can also show a person what a release makes of its nights.
pub trait Hands: Trainer {
    /// The report on a release, with hypnograms. It stays on the hub.
    ///
    /// # Errors
    /// [`TrainError`] if the checkpoint, the release or the nights cannot be used.
    fn report(&self, task: &EvaluateTask, about: &About) -> Result<ClientReport, TrainError>;
}
