//! What of a network is one client's own. One file a method; each says what stays at home and how it is trained.
//!
//! An update has the length that it always has: what stays at home changes by zero. So nothing else of a federation needs to
//! know, and a sum of masked updates carries it as it carries any other.

mod ditto;
mod fed_per;
mod fed_rep;
mod fine_tune;
mod local_norms;
mod own;

use bytes::Bytes;
use somnus_protocol::moments::Moments;
use somnus_protocol::plan::{Personalisation, TrainPlan};

use crate::error::ModelError;
use crate::stager::Stager;
use crate::train::{Lead, Lessons, TrainReport};

pub use fine_tune::FineTuning;

/// One client's round.
#[derive(Clone, Copy)]
pub(crate) struct Round<'a> {
    pub(crate) release: &'a Stager,
    pub(crate) lessons: Lessons<'a>,
    pub(crate) plan: &'a TrainPlan,
    pub(crate) seed: u64,
    /// What everybody's embeddings are like, where the plan pulls towards that.
    pub(crate) moments: Option<&'a Moments>,
    pub(crate) memory: Option<&'a [u8]>,
}

/// What a round gives.
pub(crate) struct Outcome {
    /// The network whose change is sent; what stays at home is as in the release.
    pub(crate) shared: Stager,
    pub(crate) report: TrainReport,
    /// What stays at home.
    pub(crate) memory: Bytes,
}

impl Round<'_> {
    /// Steps of `plan` from `stager`'s weights. Places in `held` do not move.
    fn train(
        &self,
        stager: &mut Stager,
        plan: &TrainPlan,
        held: &[u32],
        seen: Option<&mut Moments>,
    ) -> Result<TrainReport, ModelError> {
        let rate = |_| plan.learning_rate;
        let align = self.release.alignment(plan, self.moments)?;
        let lead = Lead { held, align, seen, ..Lead::new(self.seed, &rate) };
        stager.train_led(self.lessons, plan, lead)
    }
}

/// Trains as the plan's [`Personalisation`] says; `None` if it says that nothing is personal. `seen` takes in the embeddings
/// that were trained on of the network whose change is sent.
///
/// # Errors
/// Those of training, and [`ModelError::Memory`].
pub(crate) fn train(round: &Round<'_>, seen: Option<&mut Moments>) -> Result<Option<Outcome>, ModelError> {
    match round.plan.personal {
        Personalisation::None => Ok(None),
        Personalisation::Head => fed_per::train(round, seen).map(Some),
        Personalisation::Rep { head_steps } => fed_rep::train(round, head_steps, seen).map(Some),
        Personalisation::Norms => local_norms::train(round, seen).map(Some),
        Personalisation::Ditto { lambda } => ditto::train(round, lambda, seen).map(Some),
    }
}

/// The network that stages this client's nights: the release, with the client's own weights in it if it has any.
///
/// # Errors
/// [`ModelError::Memory`].
pub(crate) fn recall(
    release: &Stager,
    plan: &TrainPlan,
    memory: Option<&[u8]>,
) -> Result<Option<Stager>, ModelError> {
    let Some(memory) = memory else { return Ok(None) };
    let layout = &release.net().layout;
    let own = match plan.personal {
        Personalisation::None => return Ok(None),
        Personalisation::Head => fed_per::own(layout)?,
        Personalisation::Rep { .. } => fed_rep::own(layout)?,
        Personalisation::Norms => local_norms::own(layout),
        Personalisation::Ditto { .. } => ditto::own(layout, plan.trainable)?,
    };
    own.recall(release, Some(memory)).map(Some)
}

impl Stager {
    /// The network that stages a client's own nights: this release, with what the client keeps for itself under `plan` in
    /// it; the release as it is for who keeps nothing.
    ///
    /// # Errors
    /// [`ModelError::Memory`] if the bytes are not what `plan` leaves.
    pub fn with_memory(self, plan: &TrainPlan, memory: Option<&[u8]>) -> Result<Self, ModelError> {
        Ok(recall(&self, plan, memory)?.unwrap_or(self))
    }
}
