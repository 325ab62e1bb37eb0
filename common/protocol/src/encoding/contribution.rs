//! What one client says: before it is encoded and after.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::packed::Packed;

/// What one client has to say.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'a> {
    /// The sections of [`UpdateLayout::pack`](crate::update::UpdateLayout::pack), little-endian f32.
    pub update: &'a [u8],
    /// Epochs behind it, 1 to [`MAX_EXAMPLES`](crate::sum::MAX_EXAMPLES).
    pub examples: u32,
    /// Mean training loss; beyond ±4096 it is cut off, and what is no number counts as 0.
    pub loss: f32,
    /// A confusion matrix, row-major, if the client has evaluated.
    pub evaluation: Option<&'a [u32]>,
    /// What the client's last counted contribution left behind.
    pub residual: Option<&'a [u8]>,
}

/// What a client sends, and what it keeps.
pub struct Encoded {
    /// To be masked and sent.
    pub packed: Packed,
    /// To be kept for the next contribution, once this one counts; `None` if nothing was left out.
    pub residual: Option<Bytes>,
}

/// What a contribution says beside the update, exactly and without noise: what is not said has no lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beside {
    /// How many examples it has, what the training lost, whether it was clipped.
    #[default]
    Everything,
    /// Whether it was clipped.
    Clipped,
    /// Nothing.
    Nothing,
}
