//! Rules that combine visible updates so that a few lying clients cannot move a release far.
//!
//! A table of contents:
//!
//! - `mean`: the weighted mean, which one client can move anywhere;
//! - `median`, `trimmed`: coordinate by coordinate, over [`columns`];
//! - `krum`: who has close neighbours, alone or averaged;
//! - `geometric`: the point with the smallest sum of distances (RFA);
//! - `clip`: the mean of updates that are no longer than the median one;
//! - `trust`: the mean of what points the way of a client that the operator trusts (FLTrust);
//! - [`config`]: which of them, as an operator writes it; [`gather`]: what a plain round keeps of its updates;
//! - [`groups`]: the same rules over the sums of groups, for rounds in which single updates are hidden.
//!
//! The rules are deterministic: they sort by client first, so the order of arrival changes nothing. Updates are finite
//! and of one length; whoever collects them has refused others.

use crate::ids::ClientId;

mod clip;
pub mod columns;
pub mod config;
pub mod gather;
mod geometric;
pub mod groups;
mod krum;
mod mean;
mod median;
#[cfg(test)]
mod properties;
mod trimmed;
mod trust;
mod vector;

pub use clip::NormClip;
pub use config::{RobustConfig, Voters};
pub use gather::{Gather, Gathered};
pub use geometric::GeometricMedian;
pub use krum::{Krum, MultiKrum};
pub use mean::Mean;
pub use median::Median;
pub use trimmed::TrimmedMean;
pub use trust::FlTrust;

/// One client's update on its way into a rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Weighted<'a> {
    /// Whose it is; names the order in which rules look at updates.
    pub client: &'a ClientId,
    /// How much it weighs, at least 1. A client may claim what it likes within its bounds, so rules that pick or rank count
    /// everybody alike and say so.
    pub weight: u32,
    /// The update, finite numbers.
    pub update: &'a [f32],
}

/// What a rule made of a round's updates.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Combined {
    /// The update to release, as long as those that came in; empty if none came in.
    pub update: Vec<f32>,
    /// Who was not taken at face value, in the order of clients. Rules that work coordinate by coordinate judge nobody.
    pub verdicts: Vec<(ClientId, Verdict)>,
}

/// Why an update was left out or counts for less.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Verdict {
    /// Left out: others have closer neighbours.
    FarFromNeighbours {
        /// Root of the mean squared distance to its nearest neighbours.
        distance: f64,
    },
    /// Counts for less: it is far from where most updates are.
    FarFromCentre {
        /// The median distance divided by its own: what is left of its weight, 0 to 1.
        share: f64,
    },
    /// Shortened.
    Clipped {
        /// Its Euclidean norm.
        norm: f64,
        /// The norm that it was shortened to.
        limit: f64,
    },
    /// Left out: it points away from the trusted update, or nowhere.
    AgainstReference {
        /// Cosine of the angle between the two.
        cosine: f64,
    },
    /// Left out, as everybody: the trusted client has sent nothing, or zeros.
    NoReference,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FarFromNeighbours { distance } => {
                write!(f, "left out: {distance:.3} from its nearest neighbours")
            }
            Self::FarFromCentre { share } => write!(f, "counts for {:.0} % of its weight", 100.0 * share),
            Self::Clipped { norm, limit } => write!(f, "shortened from {norm:.3} to {limit:.3}"),
            Self::AgainstReference { cosine } => {
                write!(f, "left out: cosine {cosine:.3} to the trusted update")
            }
            Self::NoReference => write!(f, "left out: there is no trusted update to compare with"),
        }
    }
}

/// A way of making one update of many.
pub trait RobustRule: Send + Sync {
    /// Combines the updates of a round, all of one length.
    ///
    /// # Panics
    /// If lengths differ.
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined;
}

/// The order in which every rule looks at updates.
fn by_client<'a>(updates: &[Weighted<'a>]) -> Vec<Weighted<'a>> {
    let mut sorted = updates.to_vec();
    sorted.sort_by(|a, b| a.client.cmp(b.client));
    let len = sorted.first().map_or(0, |first| first.update.len());
    assert!(sorted.iter().all(|one| one.update.len() == len), "updates of different models");
    sorted
}
