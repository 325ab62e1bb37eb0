//! What a driver tells a client's machine, and what the machine wants of it.

use bytes::Bytes;

use super::job::{Job, JobResult};
use super::owner::{Keep, Secret};
use crate::fault::Fault;
use crate::ids::{BlobId, Digest, Round, Version};
use crate::message::{ToClient, ToServer};
use crate::time::Instant;
use crate::trainer::LocalEvaluation;

/// What happens to a participant.
#[derive(Debug)]
pub enum Input {
    /// The server is there.
    Connected,
    /// It is not any more.
    Disconnected,
    /// It said something.
    Message(ToClient),
    /// It asks for work that this machine cannot do now, and why not. What is being done already goes on; work that is new
    /// is declined before anything of it is fetched.
    Unfit(ToClient, String),
    /// The answer to [`Output::Lookup`]: so many bytes are in the cache, `blob.len` of them only if they are verified.
    Cached(BlobId, u64),
    /// A [`Job`] is done.
    Finished(JobResult),
    /// The moment that [`Output::Wait`] named has come.
    Timeout,
}

/// What a participant wants from its driver, in this order.
pub enum Output {
    /// Append these bytes to the cached blob, which has `offset` bytes so far.
    Persist {
        /// The blob.
        blob: BlobId,
        /// Bytes before these.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Say with [`Input::Cached`] what the cache has of this blob, after all `Persist` before it. A complete blob
    /// with a wrong digest is thrown away and counts as nothing.
    Lookup(BlobId),
    /// Keep these bytes in place of those before, whole or not at all, for [`Participant::new`](super::Participant::new) after a restart, and have
    /// them on the disk before anything that is wanted later. They are this client's own and never leave it.
    Remember(Keep, Secret),
    /// Send this, if connected.
    Send(ToServer),
    /// Run this on a thread that may block, and bring the result back as [`Input::Finished`].
    Run(Box<Job>),
    /// Tell the person whose hub this is.
    Event(Event),
    /// Nothing more until this moment, or until something happens.
    Wait(Option<Instant>),
}

// What is remembered has no place in a log.
impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Persist { blob, offset, .. } => write!(f, "Persist({blob:?} from {offset})"),
            Self::Lookup(blob) => write!(f, "Lookup({blob:?})"),
            Self::Remember(keep, _) => write!(f, "Remember({keep:?})"),
            Self::Send(message) => write!(f, "Send({message:?})"),
            Self::Run(job) => write!(f, "Run({job:?})"),
            Self::Event(event) => write!(f, "Event({event:?})"),
            Self::Wait(until) => write!(f, "Wait({until:?})"),
        }
    }
}

/// What a person may want to know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Training began.
    Training(Round),
    /// Training is done.
    Trained {
        /// The round.
        round: Round,
        /// Scored epochs.
        examples: u32,
        /// Mean loss.
        loss: f32,
    },
    /// From here on a step of a masked round can happen in this way only. That is on the disk; what follows from it is about to
    /// leave.
    Bound {
        /// The round.
        round: Round,
        /// Digest of this client's public round keys, which stand for its masks.
        keys: Digest,
        /// Which step.
        step: &'static str,
        /// Digest of the way: of a roster, of who has shared, of a masked update, of a list of survivors.
        way: Digest,
    },
    /// The update is part of the next release.
    Counted(Round),
    /// A release was scored on this client's nights.
    Evaluated(Version, LocalEvaluation),
    /// The work could not be done.
    Declined(String),
    /// The federation is complete.
    Finished(Version),
    /// The server said something that makes no sense.
    Refused(Fault),
}
