//! Work on one loss from the first step to the last.

use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::Weights;
use somnus_model::tensor::Tensor;
use somnus_model::{ModelError, Stager};

use super::learner::Learner;
use super::stage::{Tensors, Work};

/// A loss, and what it is computed from.
pub(super) trait Lesson {
    /// What the loss is of.
    fn part(&self) -> &'static str;

    /// The loss of a step.
    fn loss(&self, weights: &Weights, rng: &mut ChaCha8Rng) -> Tensor<1>;
}

/// A lesson under way.
pub(super) struct Drill<L> {
    pub(super) lesson: L,
    pub(super) learner: Learner,
    pub(super) stager: Stager,
}

impl<L: Lesson> Work for Drill<L> {
    fn part(&self) -> &'static str {
        self.lesson.part()
    }

    fn step(&mut self) -> Result<Option<f32>, ModelError> {
        let Self { lesson, learner, .. } = self;
        learner.step(|weights, rng| lesson.loss(weights, rng)).map(Some)
    }

    fn to_tensors(&self) -> Tensors {
        self.learner.to_tensors("")
    }

    fn resume(&mut self, done: u32, tensors: &Tensors) -> Result<(), ModelError> {
        self.learner.resume(done, "", tensors)
    }

    fn finish(self: Box<Self>) -> Result<Stager, ModelError> {
        self.learner.give_to(self.stager)
    }
}
