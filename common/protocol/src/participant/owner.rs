//! What belongs to the owner of a client, not to a round: what its disk keeps, and what it allows.

use zeroize::Zeroizing;

/// Bytes for the disk of their owner alone: overwritten when they are dropped, and with no `Debug`.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes them over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Zeroizing::new(bytes).into()
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for Secret {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

/// What a client keeps on its disk beside blobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// What rounds leave behind for later ones: the trainer's own memory, and what a reduction left out.
    Memory,
    /// The secrets of the open round. They are to be readable by nobody else.
    Secrets,
}

/// What a client's disk has of an earlier life.
#[derive(Clone, Default)]
pub struct Kept {
    /// Of [`Keep::Memory`].
    pub memory: Option<Secret>,
    /// Of [`Keep::Secrets`].
    pub secrets: Option<Secret>,
}

impl Kept {
    /// After [`Output::Remember`](super::Output::Remember).
    pub fn set(&mut self, keep: Keep, bytes: Secret) {
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
    /// Fewest clients that a masked sum has to be of, where there are groups that of its own. At least 3: with two, each knows
    /// the other's.
    pub min_cohort: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { danger_plain_aggregation: false, min_cohort: 3 }
    }
}
