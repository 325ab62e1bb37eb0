//! A phase is a type: what is true of a round at a moment is what its phase holds, and leaving it drops that.

use std::convert::Infallible;

use super::collecting::Collecting;
use super::evaluating::{Aggregating, Evaluating};
use super::selecting::Selecting;
use crate::config::RoundConfig;
use crate::ids::ClientId;
use crate::time::Instant;

/// Where the open round is.
///
/// ```text
///            ┌────────────────────────── below the threshold ◄───┐
///            ▼                                                    │
/// Idle ─► Selecting ─► Collecting ─► Aggregating ─► Evaluating ─► Selecting | Finished
///                   └► Keying ─► Sharing ─► (Collecting) ─► Unmasking ─► (Aggregating)
/// ```
///
/// Plain averaging never enters the phases of the second line. They are uninhabited until masks exist: the compiler
/// proves that nobody can be in them.
#[expect(dead_code, reason = "the phases of masking have their place, and nobody can be in them yet")]
pub(super) enum Phase {
    /// Resting until a moment after a round that came to nothing.
    Idle(Instant),
    /// Waiting for enough clients.
    Selecting(Selecting),
    /// Clients advertise their keys for one round.
    Keying(Masks),
    /// Clients share their secrets with their neighbours.
    Sharing(Masks),
    /// Clients train and upload.
    Collecting(Collecting),
    /// Survivors reveal what removes the masks of the sum.
    Unmasking(Masks),
    /// The sum becomes a release.
    Aggregating(Aggregating),
    /// Clients score the release.
    Evaluating(Evaluating),
    /// All releases are made.
    Finished,
}

/// What a phase does when it is looked at: end, or wait.
pub(super) enum Step {
    /// The next phase.
    Go(Phase),
    /// The same phase.
    Stay(Phase),
}

/// Nothing yet: a masked round cannot be configured.
pub(super) type Masks = Infallible;

impl Phase {
    pub(super) fn selecting() -> Self {
        Self::Selecting(Selecting::default())
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::Selecting(_) => "selecting",
            Self::Collecting(_) => "collecting",
            Self::Aggregating(_) => "aggregating",
            Self::Evaluating(_) => "evaluating",
            Self::Finished => "finished",
            Self::Keying(never) | Self::Sharing(never) | Self::Unmasking(never) => match *never {},
        }
    }

    /// The next moment at which time alone changes something.
    pub(super) fn deadline(&self, config: &RoundConfig) -> Option<Instant> {
        match self {
            Self::Idle(until) => Some(*until),
            Self::Selecting(selecting) => selecting.deadline(config),
            Self::Collecting(collecting) if collecting.is_adding() => None,
            Self::Collecting(collecting) => Some(collecting.next_deadline(config)),
            Self::Aggregating(_) | Self::Finished => None,
            Self::Evaluating(evaluating) => Some(evaluating.deadline),
            Self::Keying(never) | Self::Sharing(never) | Self::Unmasking(never) => match *never {},
        }
    }

    /// A client's connection is gone.
    pub(super) fn disconnected(&mut self, client: &ClientId) {
        match self {
            Self::Collecting(collecting) => collecting.disconnected(client),
            Self::Evaluating(evaluating) => {
                evaluating.expected.remove(client);
            }
            _ => {}
        }
    }
}
