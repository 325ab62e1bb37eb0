//! One person's night as it came from the sensors.

use std::collections::BTreeMap;

use crate::{PersonId, Stage, Stream, StreamKind};

/// Seconds in an epoch, the unit sleep is scored in.
pub const EPOCH_SECONDS: f64 = 30.0;

/// The name of a night that needs none, because it is its person's only or first one.
pub const DEFAULT_NIGHT: &str = "night";

/// One person's night: raw streams, and a stage per epoch where a human scored it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Whose night it is.
    pub person: PersonId,
    /// Tells the nights of one person apart; see [`crate::sleep_accel`] for how it appears in file names.
    pub name: String,
    /// The streams that were recorded; a missing one is normal.
    pub streams: BTreeMap<StreamKind, Stream>,
    /// One per 30-s epoch from time 0; its length is the night's length. All `None` for an unlabelled night.
    pub labels: Vec<Option<Stage>>,
}

impl Recording {
    /// How the night is called in reports and exclusions: the person's id, or `PERSON/NAME` unless the
    /// name is [`DEFAULT_NIGHT`].
    #[must_use]
    pub fn id(&self) -> String {
        night_id(&self.person, &self.name)
    }

    /// The number of 30-s epochs.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.labels.len()
    }
}

pub(crate) fn night_id(person: &PersonId, name: &str) -> String {
    if name == DEFAULT_NIGHT { person.to_string() } else { format!("{person}/{name}") }
}
