//! How well people are told apart by what a network makes of their nights.

use serde::{Deserialize, Serialize};

use crate::Spread;

/// What a probe that was trained for nothing else knows of whose an epoch is: accuracies, each person weighing alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identification {
    /// The way of making a model, as in [`crate::Row::name`]; or `inputs`, what a network is given.
    pub row: String,
    /// Of whom: `trained`, `held-out`, ...
    pub who: String,
    /// What a guess gets.
    pub chance: f64,
    /// Share of epochs whose sleeper is named, over folds and seeds.
    pub epoch: Spread,
    /// Share of nights whose sleeper most epochs name.
    pub night: Spread,
}
