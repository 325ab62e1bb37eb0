//! Who is at fault: the peer ([`Fault`]) or the operator ([`ConfigError`]).

use crate::ids::Round;
use crate::secagg::Violation;

/// What a peer did wrong. It costs that peer its message, never the driver its life.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A frame says it is longer than any message may be.
    #[error("oversized frame: {len} bytes announced, at most {limit} allowed")]
    Oversized {
        /// Announced length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The message speaks of a round that is not open.
    #[error("the message is for round {got}, which is not open")]
    Stale {
        /// The round of the message.
        got: Round,
    },
    /// The peer was not asked.
    #[error("{0} was not asked of this client")]
    Unsolicited(&'static str),
    /// A blob that this server does not hold, or an offset beyond its end.
    #[error("no such blob or offset")]
    NoSuchBlob,
    /// An update or a part of it has the wrong size.
    #[error("{got} bytes where {expected} are due")]
    WrongLength {
        /// Expected bytes.
        expected: u64,
        /// Received bytes.
        got: u64,
    },
    /// A part of an upload does not continue where the last one ended.
    #[error("upload continues at {got}, expected {expected}")]
    WrongOffset {
        /// Bytes received so far.
        expected: u64,
        /// Offset of the part.
        got: u64,
    },
    /// A weight is infinite or not a number.
    #[error("weight {index} of the update is not finite")]
    NotFinite {
        /// Index of the first such weight.
        index: usize,
    },
    /// A weight is outside of what the fixed-point ring can add.
    #[error("weight {index} of the update is beyond ±{limit}")]
    OutOfRange {
        /// Index of the first such weight.
        index: usize,
        /// The limit.
        limit: u32,
    },
    /// A sample count of zero or beyond the cap.
    #[error("{got} examples claimed, 1 to {limit} allowed")]
    BadExamples {
        /// Claimed.
        got: u32,
        /// The cap.
        limit: u32,
    },
    /// An evaluation whose confusion matrix has the wrong shape or too many epochs.
    #[error("the evaluation's confusion matrix has the wrong shape or too many epochs")]
    BadEvaluation,
    /// A rule of secure aggregation.
    #[error(transparent)]
    Secagg(#[from] Violation),
    /// A server that asks for a step of a masked round in two ways.
    #[error("a second, different {0} in one masked round")]
    Equivocated(&'static str),
    /// The peer speaks another version of the protocol.
    #[error("protocol version {got}, this server speaks {expected}")]
    WrongProtocol {
        /// Ours.
        expected: u32,
        /// Theirs.
        got: u32,
    },
}

/// What an operator wrote that cannot be done. Names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML or does not have the right shape.
    #[error("{0}")]
    Syntax(String),
    /// A key that does not exist.
    #[error("line {line}: unknown key `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// Its line, from 1.
        line: usize,
        /// The closest key that does exist.
        nearest: Option<String>,
    },
    /// A value that cannot be used.
    #[error("`{key}`: {why}")]
    Value {
        /// The key, with its tables.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Value { key: key.into(), why: why.into() }
    }
}
