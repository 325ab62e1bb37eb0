//! People and nights from a seed, as hard to stage as real ones.

use serde::{Deserialize, Serialize};

use crate::{Cohort, NightRules, Recording};

/// Which synthetic people to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// How many people.
    pub people: usize,
    /// Nights of each.
    pub nights_per_person: usize,
    /// The same seed gives the same bytes.
    pub seed: u64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { people: 24, nights_per_person: 1, seed: 0 }
    }
}

/// Every night of every person, in the order of person and name.
#[must_use]
pub fn recordings(_config: &SyntheticConfig) -> Vec<Recording> {
    Vec::new()
}

/// The nights prepared under `rules`.
#[must_use]
pub fn cohort(config: &SyntheticConfig, rules: &NightRules) -> Cohort {
    Cohort::from_recordings(&recordings(config), rules)
}
