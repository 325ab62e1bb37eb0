//! The rules of secure aggregation, one variant for each way to break one.

use crate::ids::{ClientId, Round};

/// A rule that a server or another client broke. The words name the rule and the culprit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A roster of another round than the one that this client joins.
    #[error("the roster is for round {got}, this client joins round {expected}")]
    WrongRound {
        /// The round that this client joins.
        expected: Round,
        /// The roster's.
        got: Round,
    },
    /// A roster for another task than the one that this client was given.
    #[error("the roster is for another assignment than this client's")]
    WrongAssignment,
    /// The server changed or left out this client's own keys.
    #[error("the roster does not hold this client's own round keys")]
    OwnKeysMissing,
    /// A cohort below what this client agreed to.
    #[error("a cohort of {got}, this client hides among no fewer than {minimum}")]
    CohortTooSmall {
        /// Members.
        got: u32,
        /// This client's own minimum.
        minimum: u32,
    },
    /// Round keys that no enrolled identity signed for this round.
    #[error("the round keys of {client} are not signed by its enrolled identity for this round")]
    NotSigned {
        /// Whose.
        client: ClientId,
    },
    /// A certificate that the authority did not issue to this client.
    #[error("{client} has no certificate of this federation")]
    NotEnrolled {
        /// Whose.
        client: ClientId,
    },
    /// A public key with which every agreement gives the same secret.
    #[error("a round key of {client} is of low order")]
    LowOrderKey {
        /// Whose.
        client: ClientId,
    },
    /// A public key that appears twice.
    #[error("{client} uses a round key that is in the roster already")]
    RepeatedKey {
        /// The second to use it.
        client: ClientId,
    },
    /// A sealed share that was changed, or sealed for another round, sender or receiver.
    #[error("the sealed share from {client} does not open")]
    SealBroken {
        /// The sender.
        client: ClientId,
    },
    /// A list of members that is not of this roster.
    #[error("a list over {got} members where the roster has {expected}")]
    WrongSubset {
        /// Members of the roster.
        expected: u32,
        /// Members that the list speaks of.
        got: u32,
    },
    /// A list of those who shared, or of survivors, that leaves this client out.
    #[error("the list leaves out this client itself")]
    LeftOut,
    /// Fewer of those who hold this client's shares are there than are needed to recover a secret.
    #[error("{got} of those who hold this client's shares are there, {threshold} are needed")]
    BelowThreshold {
        /// How many are there.
        got: u32,
        /// How many recover a secret.
        threshold: u32,
    },
    /// A survivor who has not shared its secrets, so that its self-mask could never be removed.
    #[error("{client} is said to have survived without ever sharing its secrets")]
    NeverShared {
        /// Who.
        client: ClientId,
    },
    /// A second list of survivors in one round, which would ask for the other secret of somebody.
    #[error("a second, different list of survivors in one round")]
    Equivocation,
    /// Survivors to reveal for that this client did not confirm first.
    #[error("nothing is revealed before the survivors are confirmed")]
    NotConfirmed,
    /// Too few signatures under the list of survivors.
    #[error("{got} of those who share secrets with this client confirm the survivors, {needed} are needed")]
    NoQuorum {
        /// Good signatures.
        got: u32,
        /// The threshold.
        needed: u32,
    },
    /// A signature under another list than ours, or of somebody else.
    #[error("the confirmation of {client} is not its signature under this list of survivors")]
    BadConfirmation {
        /// Whose.
        client: ClientId,
    },
    /// Shares that fit no polynomial, or one through another secret than was committed to.
    #[error("the shares of {client} do not give the secret that it committed to")]
    Unrecoverable {
        /// Whose secret.
        client: ClientId,
    },
    /// Fewer shares than the threshold.
    #[error("{got} shares of {client} are there, {threshold} are needed")]
    TooFewShares {
        /// Whose secret.
        client: ClientId,
        /// How many.
        got: u32,
        /// The threshold.
        threshold: u32,
    },
}
