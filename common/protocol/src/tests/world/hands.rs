//! A client's hands and a model without weights of its own.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, FORMAT, Manifest, floats};
use crate::ids::Digest;
use crate::moments::{Embedding, Moments};
use crate::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use crate::update::Sections;

/// A client's hands in the tests: the update is a function of nothing but the task, and it remembers how often it
/// counted.
pub(in crate::tests) struct Arithmetic {
    pub(in crate::tests) weights: usize,
    /// Another one gives other updates.
    pub(in crate::tests) mood: u64,
    /// It has nothing to evaluate.
    pub(in crate::tests) blind: bool,
}

impl Trainer for Arithmetic {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        assert_eq!(floats(&task.weights).len(), self.weights);
        let count = remembered(task.memory.as_ref());
        Ok(self.update(task.seed, count, task.control.as_deref(), task.sections))
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        if self.blind {
            return Ok(LocalEvaluation { classes: 2, confusion: vec![0; 4] });
        }
        let count = remembered(task.memory.as_ref()) as u32;
        Ok(LocalEvaluation { classes: 2, confusion: vec![task.version.0 as u32, count, 0, 1] })
    }
}

/// Hands of somebody who sends another update than it has trained, but one that is not refused: so many times as long.
pub(super) struct Boosted {
    pub(super) hands: Arithmetic,
    pub(super) times: f32,
}

impl Trainer for Boosted {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        self.hands.train(task).map(|update| self.boost(update))
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        self.hands.evaluate(task)
    }
}

impl Boosted {
    pub(super) fn boost(&self, mut update: LocalUpdate) -> LocalUpdate {
        update.delta.iter_mut().for_each(|change| *change *= self.times);
        update
    }
}

pub(super) fn remembered(memory: Option<&Bytes>) -> u64 {
    memory.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()))
}

impl Arithmetic {
    pub(in crate::tests) fn new(weights: usize) -> Self {
        Self { weights, mood: 0, blind: false }
    }

    pub(super) fn update(
        &self,
        seed: u64,
        count: u64,
        control: Option<&[f32]>,
        sections: Sections,
    ) -> LocalUpdate {
        let digest = Digest::of(&[seed.to_le_bytes(), (count + self.mood).to_le_bytes()].concat());
        let chance = |i: usize| f32::from(digest.as_bytes()[i % 32]) / 256.0 - 0.5;
        let at = |i: usize| control.map_or(0.0, |control| control[i]);
        let examples = 100 + u32::from(digest.as_bytes()[0]);
        let moments = sections.moments.map(|shape| {
            let mut moments = Moments::new(shape);
            (0..examples as usize).for_each(|i| moments.add((i % 2) as u8, &[chance(i), chance(i + 1)]));
            moments
        });
        LocalUpdate {
            delta: (0..self.weights).map(|i| chance(i) + 0.25 * at(i)).collect(),
            control: control
                .map(|control| control.iter().enumerate().map(|(i, c)| chance(i + 7) - c).collect()),
            moments,
            steps: 1 + seed as u32 % 9,
            examples,
            loss: 1.0,
            memory: Some(Bytes::copy_from_slice(&(count + 1).to_le_bytes())),
        }
    }
}

/// A checkpoint of which only the manifest is ever read.
pub(in crate::tests) fn foundation() -> Bytes {
    let manifest = Manifest {
        format: FORMAT,
        name: "arithmetic".into(),
        architecture: serde_json::Value::Null,
        licence: "MIT OR Apache-2.0".into(),
        provenance: BTreeMap::new(),
        trainable: BTreeMap::new(),
        embedding: Some(Embedding { classes: 2, width: 2 }),
    };
    Checkpoint { manifest, tensors: BTreeMap::new() }.to_bytes().unwrap().into()
}
