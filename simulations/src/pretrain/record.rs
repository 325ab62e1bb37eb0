//! What came of a pretraining, as numbers: `pretrain.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::PretrainConfig;

/// A pretraining and what it left.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub config: PretrainConfig,
    /// SHA-256 of the configuration file, in hexadecimal.
    pub config_sha256: String,
    /// SHA-256 of `foundation.safetensors`, in hexadecimal.
    pub model_sha256: String,
    /// Its length.
    pub model_bytes: usize,
    /// Weights of the staging network.
    pub weights: usize,
    /// What was read, with its licence, by the name of its folder.
    pub data: BTreeMap<String, String>,
    /// The stages, in their order.
    pub stages: Vec<StageRecord>,
}

/// One stage.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its kind, as the configuration calls it.
    pub kind: String,
    /// Steps of the optimiser.
    pub steps: u32,
    /// Seconds they took, loading included; the only thing that differs between two runs.
    pub seconds: f64,
    /// What was learned, in the order of learning.
    pub curves: Vec<Curve>,
}

/// The course of one loss.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What the loss is.
    pub loss: String,
    /// Steps of the stage so far, and the mean loss since the point before.
    pub points: Vec<(u32, f32)>,
}

impl StageRecord {
    /// Adds a point to the curve of `loss`.
    pub(super) fn push(&mut self, loss: &str, step: u32, mean: f32) {
        match self.curves.last_mut() {
            Some(curve) if curve.loss == loss => curve.points.push((step, mean)),
            _ => self.curves.push(Curve { loss: loss.to_owned(), points: vec![(step, mean)] }),
        }
    }

    /// Steps and last losses in words, for a manifest.
    #[must_use]
    pub fn summary(&self) -> String {
        let last = |curve: &Curve| Some(format!("{} {:.4}", curve.loss, curve.points.last()?.1));
        let losses: Vec<String> = self.curves.iter().filter_map(last).collect();
        format!("{}: {} steps, {}", self.kind, self.steps, losses.join(", "))
    }
}
