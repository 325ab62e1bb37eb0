//! A phase is a type: what is true of a round at a moment is what its phase holds, and leaving it drops that.

use super::evaluating::{Aggregating, Evaluating};
use super::groups;
use super::keying::Keying;
use super::masks::Masks;
use super::open::Open;
use super::selecting::Selecting;
use super::sharing::Sharing;
use super::unmasking::Unmasking;
use super::uploads::Collecting;
use crate::config::RoundConfig;
use crate::ids::ClientId;
use crate::time::Instant;

/// Where the open round is.
///
/// ```text
///            ┌────────────────────── below a threshold ◄────────────────────┐
///            ▼                                                              │
/// Idle ─► Selecting ─► Keying ─► Sharing ─► Collecting ─► Unmasking ─► Aggregating ─► Evaluating ─► Selecting | Finished
///                   └─────── plain ──────►            └───── plain ───►
/// ```
#[allow(clippy::large_enum_variant, reason = "there is one phase, and it moves a few times a round")]
pub(super) enum Phase {
    /// Resting until a moment after a round that came to nothing.
    Idle(Instant),
    /// Waiting for enough clients.
    Selecting(Selecting),
    /// Clients train and advertise the keys that they will mask with.
    Keying(Keying),
    /// Clients share their secrets with their neighbours.
    Sharing(Sharing),
    /// Clients upload; in a plain round they train first.
    Collecting(Collecting),
    /// Survivors reveal what removes the masks of the sums.
    Unmasking(Unmasking),
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

impl Phase {
    pub(super) fn selecting() -> Self {
        Self::Selecting(Selecting::default())
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Idle(_) => "idle",
            Self::Selecting(_) => "selecting",
            Self::Keying(_) => "keying",
            Self::Sharing(_) => "sharing",
            Self::Collecting(_) => "collecting",
            Self::Unmasking(_) => "unmasking",
            Self::Aggregating(_) => "aggregating",
            Self::Evaluating(_) => "evaluating",
            Self::Finished => "finished",
        }
    }

    /// The masked round that is open, once its rosters are fixed.
    pub(super) fn masked(&self) -> Option<&Open> {
        match self {
            Self::Sharing(sharing) => Some(&sharing.open),
            Self::Collecting(collecting) => (!collecting.is_plain()).then_some(&collecting.open),
            Self::Unmasking(unmasking) => Some(&unmasking.open),
            _ => None,
        }
    }

    /// The masks of the group of that round that a client is in.
    pub(super) fn masks(&self, client: &ClientId) -> Option<&Masks> {
        match self {
            Self::Sharing(sharing) => groups::of(sharing.groups.iter(), client),
            Self::Collecting(collecting) => groups::of(collecting.groups(), client),
            Self::Unmasking(unmasking) => {
                groups::of(unmasking.groups.iter().map(|group| &group.masks), client)
            }
            _ => None,
        }
    }

    /// The next moment at which time alone changes something.
    pub(super) fn deadline(&self, config: &RoundConfig) -> Option<Instant> {
        match self {
            Self::Idle(until) => Some(*until),
            Self::Selecting(selecting) => selecting.deadline(config),
            Self::Keying(keying) => Some(keying.deadline),
            Self::Sharing(sharing) => Some(sharing.deadline),
            Self::Unmasking(unmasking) => (!unmasking.is_busy()).then_some(unmasking.deadline),
            Self::Collecting(collecting) if collecting.is_adding() => None,
            Self::Collecting(collecting) => Some(collecting.next_deadline(config)),
            Self::Aggregating(_) | Self::Finished => None,
            Self::Evaluating(evaluating) => Some(evaluating.deadline),
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
