//! Everything that a client and the server say to each other. Each message names its round or version, so that a
//! late or doubled one is recognised and does no harm.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::asynchronous::Lag;
use crate::evaluation::{Counting, EvaluationPolicy};
use crate::ids::{BlobId, Digest, Round, UpdateId, Version};
use crate::plan::TrainPlan;
use crate::record::Evaluation;
use crate::secagg::{Member, Revealed, SealedShare, Signature, Subset};
use crate::secure::SecurePlan;
use crate::update::Sections;
use crate::wire;

/// The version of this protocol; the ALPN name says the same.
pub const PROTOCOL: u32 = 1;

/// The name of the protocol in the TLS handshake (RFC 7301).
pub const ALPN: &[u8] = b"somnus/1";

/// Most bytes of a blob or an update in one message. A transfer that was cut off goes on after the last whole one, so this is
/// what a broken connection costs: four seconds at 64 kbit/s.
pub const CHUNK: usize = 32 * 1024;

/// Most characters of a reason that a client gives for declining.
pub const REASON: usize = 200;

/// What a client takes part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Trains when selected, and evaluates.
    #[default]
    Trains,
    /// Evaluates only: a new person, whose nights no training sees.
    Evaluates,
}

/// From a client to the server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// The first message of every connection.
    CheckIn {
        /// [`PROTOCOL`] of the client.
        protocol: u32,
        /// What it takes part in.
        role: Role,
    },
    /// Asks for the next chunk of a blob.
    Fetch {
        /// Which blob.
        digest: Digest,
        /// From which byte.
        offset: u64,
    },
    /// The local training is done and an update can be uploaded.
    Offer {
        /// The round.
        round: Round,
        /// Tells a resumed upload from a new one.
        update: UpdateId,
        /// What the server gets to know of the training; nothing in a masked round.
        visible: Option<Visible>,
    },
    /// A piece of the update.
    Part {
        /// The round.
        round: Round,
        /// Where the piece starts.
        offset: u64,
        /// [`CHUNK`] bytes, fewer only at the end.
        bytes: Bytes,
    },
    /// The evaluation of a release is done.
    Evaluated {
        /// The release.
        version: Version,
        /// What it counted, if the server gets to know that of single clients.
        counts: Option<Evaluation>,
    },
    /// The client cannot do what this round asks.
    Decline {
        /// The round.
        round: Round,
        /// Why, for the operator; at most [`REASON`] characters count.
        reason: String,
    },
    /// The client cannot evaluate this release.
    DeclineEvaluation {
        /// The release.
        version: Version,
        /// Why, for the operator; at most [`REASON`] characters count.
        reason: String,
    },
    /// The local training of a masked round is done. Said again, it is answered with what this client has missed.
    Ready {
        /// The round.
        round: Round,
        /// The keys that this client masks with, signed by its enrolled identity.
        keys: Member,
    },
    /// This client's secrets, split and sealed for its neighbours in the order of the roster.
    Shares {
        /// The round.
        round: Round,
        /// One for each neighbour, by its place in the roster.
        shares: Vec<(u32, SealedShare)>,
    },
    /// These have survived, says this client, and it will never say another list of this round.
    Confirm {
        /// The round.
        round: Round,
        /// Its enrolled identity's, under the list.
        signature: Signature,
    },
    /// What removes the masks that the sum has because of this client's neighbours: for each one share, of the one secret
    /// or of the other.
    Revealed {
        /// The round.
        round: Round,
        /// One for each, and one of its own.
        shares: Vec<Revealed>,
    },
}

/// What a server that sees single updates gets to know beside them.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Visible {
    /// Scored epochs that the update was trained on.
    pub examples: u32,
    /// Mean training loss.
    pub loss: f32,
}

/// From the server to a client.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "an assignment comes once a round")]
pub enum ToClient {
    /// You are selected: train.
    Train(Assignment),
    /// Evaluate a release.
    Evaluate(Examination),
    /// A piece of a blob.
    Chunk {
        /// Which blob.
        digest: Digest,
        /// Where the piece starts.
        offset: u64,
        /// At most [`CHUNK`] bytes.
        bytes: Bytes,
    },
    /// Upload the offered update from this byte on.
    Upload {
        /// The round.
        round: Round,
        /// Bytes that have arrived already.
        offset: u64,
    },
    /// The update is in the sum. It is kept until the round is over: a server that is killed before asks for it again.
    Counted {
        /// The round.
        round: Round,
    },
    /// The round is over, whether you were counted or not.
    Over {
        /// The round.
        round: Round,
    },
    /// The federation is complete with this release.
    Finished {
        /// The last release.
        version: Version,
    },
    /// The answer to a check-in.
    Welcome {
        /// The newest release.
        version: Version,
    },
    /// The roster of a masked round is fixed: fetch it, check it, share your secrets.
    Share {
        /// The round.
        round: Round,
        /// The roster, a blob like the others.
        roster: BlobId,
    },
    /// What your neighbours have shared with you: mask your update and offer it.
    Mask {
        /// The round.
        round: Round,
        /// Who has shared.
        present: Subset,
        /// By their senders' places in the roster.
        shares: Vec<(u32, SealedShare)>,
    },
    /// These updates are in the sum: confirm it.
    Survivors {
        /// The round.
        round: Round,
        /// Of the roster.
        survivors: Subset,
    },
    /// Enough have confirmed the same survivors: reveal what removes their masks.
    Reveal {
        /// The round.
        round: Round,
        /// Of those who hold this client's shares, by place in the roster.
        signatures: BTreeMap<u32, Signature>,
    },
}

/// One client's part in one round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The round.
    pub round: Round,
    /// What to do, with this round's learning rate.
    pub plan: TrainPlan,
    /// The round's training seed; each client derives its own from it.
    pub seed: u64,
    /// The foundation checkpoint.
    pub foundation: BlobId,
    /// The release to start from.
    pub release: BlobId,
    /// What the strategy and subject-invariance send beside the release; none at the beginning, or if they need nothing.
    pub companion: Option<BlobId>,
    /// What the update has to bring beside the change of the weights.
    pub sections: Sections,
    /// How the update is masked; none lets the server see it, which clients refuse unless they are told otherwise.
    pub secure: Option<SecurePlan>,
    /// Time until the round's deadline, in milliseconds.
    pub time_left_ms: u64,
    /// The last round whose release has this client's update, which may not have heard of it.
    pub counted: Option<Round>,
    /// Whether a training for an older release may go on for this round; none in synchronous rounds.
    pub lag: Option<Lag>,
}

impl Assignment {
    /// Whether an update for `other` answers this assignment too: everything but the time that is left is the same.
    pub fn same_work(&self, other: &Self) -> bool {
        self.everybodys() == other.everybodys()
    }

    /// What it says to every client alike.
    fn everybodys(&self) -> Self {
        Self { time_left_ms: 0, counted: None, ..self.clone() }
    }

    /// How much less what was trained for `self` weighs in the round of `next`, which it goes on for: the weight of its change,
    /// above 0 and at most 1. None if it does not: it is too old, of another model or plan, or counts already.
    pub fn goes_on_for(&self, next: &Self) -> Option<f32> {
        let (base, lag) = (self.lag?, next.lag?);
        let late = next.version_after(&base)?;
        let learning_rate = next.plan.learning_rate;
        let same = TrainPlan { learning_rate, ..self.plan.clone() } == next.plan
            && (self.foundation, self.release.len) == (next.foundation, next.release.len)
            && self.sections == next.sections
            && (late > 0 || self.release == next.release);
        // This client has no other update since, so what counted since is this one.
        let counts = next.counted.is_some_and(|counted| counted >= self.round);
        (same && !counts && late <= lag.most).then(|| lag.weight(late))
    }

    /// Releases since that of `base`.
    fn version_after(&self, base: &Lag) -> Option<u64> {
        self.lag?.version.0.checked_sub(base.version.0)
    }

    /// Which counts of an evaluation it asks for.
    pub fn counting(&self) -> Counting {
        self.secure.as_ref().map_or(Counting::Nothing, |secure| secure.counting)
    }

    /// All that it asks for in one digest, to which the secrets of a masked round are bound.
    pub fn promise(&self) -> Digest {
        Digest::of(&wire::to_disk(&self.everybodys()))
    }
}

/// One federated evaluation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Examination {
    /// The release's version.
    pub version: Version,
    /// How it was trained: tells which weights the release holds.
    pub plan: TrainPlan,
    /// The foundation checkpoint.
    pub foundation: BlobId,
    /// The release.
    pub release: BlobId,
    /// What the server gets to know of evaluations: with anything but single clients' counts, this one is for the client's
    /// owner alone.
    pub policy: EvaluationPolicy,
}
