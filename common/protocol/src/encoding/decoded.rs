//! What the sum of contributions says, or why it cannot be one.

use super::counters::Evaluated;

/// What the sum of contributions says.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    /// The weighted mean of all sections, as [`Sum::mean`](crate::sum::Sum::mean) gives it.
    pub mean: Vec<f32>,
    /// Clients in the sum.
    pub updates: u32,
    /// Total weight: the examples, or the clients with [`Weighting::Uniform`](crate::sum::Weighting::Uniform).
    pub weight: u64,
    /// Epochs of all clients; as many as clients if they do not say.
    pub examples: u64,
    /// Weighted mean of the losses; 0 if clients do not say.
    pub loss: f32,
    /// Clients whose change of the weights was longer than the clip norm; 0 if clients do not say.
    pub clipped: u32,
    /// Evaluations, if they ride along.
    pub evaluation: Option<Evaluated>,
}

/// Why a sum cannot be read: it is of another round, or one of its contributions was no encoding.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another length.
    #[error("a sum of {got} words where {expected} are due")]
    Length {
        /// Words of this encoding.
        expected: usize,
        /// Words of the sum.
        got: usize,
    },
    /// More clients than the lanes were made for.
    #[error("{got} clients in a sum for at most {limit}")]
    Clients {
        /// Clients.
        got: u32,
        /// The roster.
        limit: u32,
    },
    /// More in a lane than the clients could have given.
    #[error("lane {lane} of the {section} holds {got}, its clients can have given {limit} at most")]
    Beyond {
        /// The section.
        section: &'static str,
        /// The first such lane.
        lane: usize,
        /// What it holds.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// Fewer examples than clients.
    #[error("{got} examples of {clients} clients")]
    Examples {
        /// Examples.
        got: u64,
        /// Clients.
        clients: u32,
    },
}
