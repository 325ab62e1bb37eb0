//! The blobs that work needs, by name or loaded.

use crate::ids::BlobId;
use crate::message::{Assignment, Examination};

/// The blobs that a piece of work with a model needs: their names, or their contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Materials<T> {
    /// The foundation checkpoint.
    pub foundation: T,
    /// The release.
    pub release: T,
    /// What travels beside it, if anything.
    pub companion: Option<T>,
}

/// The blobs that a piece of work needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs<T> {
    /// None.
    Nothing,
    /// The roster of a masked round.
    Roster(T),
    /// A model.
    Model(Materials<T>),
}

impl<T> Needs<T> {
    /// All of them, in the order in which they are fetched.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let (first, second, third) = match self {
            Needs::Nothing => (None, None, None),
            Needs::Roster(roster) => (Some(roster), None, None),
            Needs::Model(Materials { foundation, release, companion }) => {
                (Some(foundation), Some(release), companion.as_ref())
            }
        };
        first.into_iter().chain(second).chain(third)
    }

    /// The same with each name replaced by what `load` gives for it.
    ///
    /// # Errors
    /// The first one of `load`.
    pub fn try_map<U, E>(self, mut load: impl FnMut(T) -> Result<U, E>) -> Result<Needs<U>, E> {
        Ok(match self {
            Needs::Nothing => Needs::Nothing,
            Needs::Roster(roster) => Needs::Roster(load(roster)?),
            Needs::Model(Materials { foundation, release, companion }) => Needs::Model(Materials {
                foundation: load(foundation)?,
                release: load(release)?,
                companion: companion.map(load).transpose()?,
            }),
        })
    }
}

impl From<&Assignment> for Materials<BlobId> {
    fn from(assignment: &Assignment) -> Self {
        let Assignment { foundation, release, companion, .. } = *assignment;
        Self { foundation, release, companion }
    }
}

impl From<&Examination> for Materials<BlobId> {
    fn from(examination: &Examination) -> Self {
        let Examination { foundation, release, .. } = *examination;
        Self { foundation, release, companion: None }
    }
}
