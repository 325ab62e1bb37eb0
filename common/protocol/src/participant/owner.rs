//! What belongs to the owner of a client, not to a round: what its disk keeps, and what it allows.

use bytes::Bytes;

/// What a client keeps on its disk beside blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What training leaves behind from round to round.
    Memory,
    /// The secrets of the open round. They are to be readable by nobody else.
    Secrets,
}

/// What a client's disk has of an earlier life.
#[derive(Clone, Default)]
pub struct Kept {
    /// Of [`Keep::Memory`].
    pub memory: Option<Bytes>,
    /// Of [`Keep::Secrets`].
    pub secrets: Option<Bytes>,
}

impl Kept {
    /// After [`Output::Remember`](super::Output::Remember).
    pub fn set(&mut self, keep: Keep, bytes: Bytes) {
        match keep {
            Keep::Memory => self.memory = Some(bytes),
            Keep::Secrets => self.secrets = Some(bytes),
        }
    }
}

/// What a client allows, whatever the server asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether the server may see this client's update by itself.
    pub danger_plain_aggregation: bool,
    /// Fewest clients that a masked sum has to be of. At least 3: with two, each knows the other's.
    pub min_cohort: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { danger_plain_aggregation: false, min_cohort: 3 }
    }
}
