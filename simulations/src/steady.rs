//! A model without a network and a trainer that only adds, to measure everything but training.

use std::collections::BTreeMap;

use somnus_protocol::checkpoint::{Checkpoint, CheckpointError, FORMAT, Manifest, Tensor};
use somnus_protocol::plan::TrainableSet;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};

/// Each of its updates is a thousandth everywhere.
pub(crate) struct Steady;

impl Trainer for Steady {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let delta = vec![1e-3; task.weights.len() / 4];
        Ok(LocalUpdate { delta, examples: 900, loss: 0.5, ..LocalUpdate::default() })
    }

    fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Ok(LocalEvaluation { classes: 2, confusion: vec![5, 1, 2, 4] })
    }
}

/// A checkpoint of `weights` zeros.
pub(crate) fn checkpoint(weights: usize) -> Result<Vec<u8>, CheckpointError> {
    let tensor = Tensor { shape: vec![weights], values: vec![0.0; weights] };
    let manifest = Manifest {
        format: FORMAT,
        name: "steady".into(),
        architecture: serde_json::Value::Null,
        licence: "MIT OR Apache-2.0".into(),
        provenance: BTreeMap::new(),
        trainable: BTreeMap::from([(TrainableSet::Full, vec!["w".to_owned()])]),
        embedding: None,
    };
    Checkpoint { manifest, tensors: BTreeMap::from([("w".to_owned(), tensor)]) }.to_bytes()
}
