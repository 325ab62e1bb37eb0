//! What a server gets to know of evaluations, and who decides it: the operator asks, the owner of a client allows.

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;
use crate::ids::Version;

/// Most classes of an evaluation.
pub const MAX_CLASSES: u8 = 8;

/// Most epochs in one client's evaluation: more than ten years of nights.
pub const MAX_EPOCHS: u32 = 1 << 22;

/// What a server gets to know of the evaluations of its releases, least first.
///
/// Clients score releases in each case, for their owners.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluationPolicy {
    /// That a client is done with it.
    None,
    /// The sum of the confusion matrices of a masked round's clients, and how many of them evaluated.
    Aggregate,
    /// Every client's confusion matrix.
    PerClient,
}

impl EvaluationPolicy {
    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Aggregate => "aggregate",
            Self::PerClient => "per-client",
        }
    }

    /// What a client gives that trusts its server with single updates, or does not.
    pub fn usual(plain: bool) -> Self {
        if plain { Self::PerClient } else { Self::Aggregate }
    }
}

/// What is scored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scoring {
    /// The release that the round starts from.
    pub version: Version,
    /// Classes that the model tells apart; a matrix has the square of it.
    pub classes: u8,
}

/// Whether counts of an evaluation ride in the masked vector of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Counting {
    /// No.
    #[default]
    Nothing,
    /// Beside the update, from those who can evaluate.
    Beside(Scoring),
    /// Instead of an update: nobody trains, and nothing is released.
    Alone(Scoring),
}

impl Counting {
    /// What is scored, if anything.
    pub fn scoring(self) -> Option<Scoring> {
        match self {
            Self::Nothing => None,
            Self::Beside(scoring) | Self::Alone(scoring) => Some(scoring),
        }
    }

    /// Whether the round has no update.
    pub fn is_alone(self) -> bool {
        matches!(self, Self::Alone(_))
    }

    /// Refuses what no lanes are made for.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        match self.scoring() {
            Some(Scoring { classes, .. }) if !(2..=MAX_CLASSES).contains(&classes) => {
                Err(ConfigError::value(
                    "evaluation",
                    format!("{classes} classes, 2 to {MAX_CLASSES} can be counted"),
                ))
            }
            _ => Ok(()),
        }
    }
}

/// What the clients of a masked round counted together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// The release that they scored.
    pub version: Version,
    /// How many of the round's clients did.
    pub clients: u32,
    /// Number of classes.
    pub classes: u8,
    /// The sum of their confusion matrices, rows truth, row-major.
    pub confusion: Vec<u64>,
}
