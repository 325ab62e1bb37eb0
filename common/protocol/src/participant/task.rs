//! What a client works on, one thing at a time, and how far it has come.

use super::job::Update;
use super::needs::{Materials, Needs};
use super::part::Part;
use crate::ids::{BlobId, Round};
use crate::message::{Assignment, Examination};

/// What the server last asked for.
pub(super) enum Work {
    Train(Assignment),
    Examine(Examination),
    /// Make keys for a round, and sign them: what to mask is there.
    Sign(Assignment),
    /// Share secrets with those on the roster.
    Join(Box<Part>, BlobId),
}

impl Work {
    /// What to fetch, in order.
    pub(super) fn blobs(&self) -> Vec<BlobId> {
        match self {
            Work::Train(assignment) => Needs::Model(Materials::from(assignment)).iter().copied().collect(),
            Work::Examine(examination) => {
                Needs::Model(Materials::from(examination)).iter().copied().collect()
            }
            Work::Join(_, roster) => vec![*roster],
            Work::Sign(_) => Vec::new(),
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Work::Train(a) | Work::Sign(a), Work::Train(b)) => a.same_work(b),
            (Work::Examine(a), Work::Examine(b)) => a == b,
            (Work::Join(part, _), Work::Train(b)) => part.assignment.same_work(b),
            _ => false,
        }
    }

    pub(super) fn round(&self) -> Option<Round> {
        match self {
            Work::Train(assignment) | Work::Sign(assignment) => Some(assignment.round),
            Work::Join(part, _) => Some(part.assignment.round),
            Work::Examine(_) => None,
        }
    }
}

/// How far it has come.
pub(super) enum Task {
    /// Nothing to do.
    Idle,
    /// Asking the cache for the blobs, in order; `next` is the one that it was asked for last.
    Gathering { work: Work, next: usize },
    /// Fetching blob `next`: `have` bytes are cached, those up to `asked` are requested.
    Fetching { work: Work, next: usize, have: u64, asked: u64 },
    /// All blobs are there; the job runs, or will as soon as an older one is done.
    Working(Work),
    /// The update is offered, uploaded or counted; kept until the server says that the round is over.
    Holding { assignment: Assignment, update: Box<Update> },
    /// The same in a masked round.
    Masking(Box<Part>),
}

impl Task {
    /// Whether it is a part in the round of `assignment`, beyond its training.
    pub(super) fn is_in(&self, assignment: &Assignment) -> bool {
        match self {
            Task::Gathering { work, .. } | Task::Fetching { work, .. } | Task::Working(work) => match work {
                Work::Sign(seat) => seat.same_work(assignment),
                Work::Join(part, _) => part.assignment.same_work(assignment),
                Work::Train(_) | Work::Examine(_) => false,
            },
            Task::Holding { assignment: seat, .. } => seat.same_work(assignment),
            Task::Masking(part) => part.assignment.same_work(assignment),
            Task::Idle => false,
        }
    }

    /// The round that it is for.
    pub(super) fn round(&self) -> Option<Round> {
        match self {
            Task::Idle => None,
            Task::Gathering { work, .. } | Task::Fetching { work, .. } | Task::Working(work) => work.round(),
            Task::Holding { assignment, .. } => Some(assignment.round),
            Task::Masking(part) => Some(part.assignment.round),
        }
    }
}
