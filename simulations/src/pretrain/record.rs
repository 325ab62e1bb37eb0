//! What came of a pretraining, as numbers: `pretrain.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use somnus_protocol::ids::Digest;

use super::config::PretrainConfig;
use crate::model_file::Model;

/// What a manifest says of training from which labels of humans were kept.
const UNLABELLED: &str = "pretrained; no label of a human was used";

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
    /// Who taught it, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecord>,
}

/// The network that taught a stage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TeacherRecord {
    /// As its manifest calls it.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
    /// What its manifest says of its own training, if anything.
    pub training: Option<String>,
}

impl TeacherRecord {
    pub(super) fn of(model: &Model) -> Self {
        Self {
            name: model.manifest.name.clone(),
            sha256: Digest::of(&model.file).to_hex(),
            training: model.manifest.provenance.get("training").cloned(),
        }
    }
}

/// What a manifest says of such a training. What a teacher has seen its student has seen too, so of labels only a teacher
/// whose own manifest denies them lets it be silent.
pub(super) fn training(stages: &[StageRecord]) -> &'static str {
    let denies = |teacher: &TeacherRecord| teacher.training.as_deref() == Some(UNLABELLED);
    match stages.iter().filter_map(|stage| stage.teacher.as_ref()).all(denies) {
        true => UNLABELLED,
        false => "pretrained; a teacher may have learned from labels of humans",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_denied_only_where_every_teacher_denies_them() {
        let taught = |training: Option<&str>| {
            let (name, sha256) = ("t".to_owned(), String::new());
            let teacher = TeacherRecord { name, sha256, training: training.map(str::to_owned) };
            StageRecord { teacher: Some(teacher), ..StageRecord::default() }
        };
        let alone = StageRecord::default();
        assert_eq!(training(&[alone.clone(), taught(Some(UNLABELLED))]), UNLABELLED);
        for other in [None, Some("federated on 20 people")] {
            assert!(training(&[taught(Some(UNLABELLED)), alone.clone(), taught(other)]).contains("may have"));
        }
    }
}
