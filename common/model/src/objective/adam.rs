//! Adam with decoupled decay (Loshchilov and Hutter 2019) over named weights, with a state that can be put away.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use somnus_protocol::checkpoint;

use crate::encoder::Weights;
use crate::error::ModelError;
use crate::matrix::Host;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// The tensor that counts steps; exact up to 16 million of them.
const STEPS: &str = "adam.steps";

/// The rule and what it remembers of each weight.
#[derive(Clone)]
pub struct Adam {
    rule: AdamRule,
    steps: u32,
    moments: BTreeMap<String, Moments>,
}

/// What does not change from step to step.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamRule {
    /// The share of a matrix or filter that a step at rate 1 takes away; vectors never decay. Default 0.
    pub weight_decay: f32,
    /// The largest norm of all gradients together; longer ones are scaled down. 0 for no limit, the default.
    pub clip: f32,
}

impl Default for AdamRule {
    fn default() -> Self {
        Self { weight_decay: 0.0, clip: 0.0 }
    }
}

#[derive(Clone)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

impl Adam {
    /// Before its first step.
    pub fn new(rule: AdamRule) -> Self {
        Self { rule, steps: 0, moments: BTreeMap::new() }
    }

    /// How many steps it took.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// One step at `rate` along the gradients of the trained weights, which are taken out of `gradients`.
    ///
    /// A weight that the loss does not depend on stays where it is, and so do its moments. The result is the norm of
    /// the gradients before clipping; when it is not finite, nothing moves, and the caller knows that training diverged.
    pub fn step(&mut self, weights: &mut Weights, gradients: &mut Gradients, rate: f32) -> f32 {
        let taken = weights.take_gradients(gradients);
        let squares: f64 = taken
            .iter()
            .map(|(_, gradient)| f64::from(gradient.clone().square().sum().into_scalar::<f32>()))
            .sum();
        let norm = squares.sqrt() as f32;
        if !norm.is_finite() {
            return norm;
        }
        self.steps += 1;
        let factor = if self.rule.clip > 0.0 && norm > self.rule.clip { self.rule.clip / norm } else { 1.0 };
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let rate_now = rate / (1.0 - BETA1.powi(exponent));
        let second_now = 1.0 / (1.0 - BETA2.powi(exponent));
        for (name, gradient) in taken {
            let gradient = gradient * factor;
            let old = self
                .moments
                .remove(&name)
                .unwrap_or_else(|| Moments { first: gradient.zeros_like(), second: gradient.zeros_like() });
            let first = old.first * BETA1 + gradient.clone() * (1.0 - BETA1);
            let second = old.second * BETA2 + gradient.square() * (1.0 - BETA2);
            let change = first.clone() * rate_now / ((second.clone() * second_now).sqrt() + EPSILON);
            let keep = if weights.decays(&name) { 1.0 - rate * self.rule.weight_decay } else { 1.0 };
            weights.replace(&name, |value| value * keep - change);
            self.moments.insert(name, Moments { first, second });
        }
        norm
    }

    /// What it remembers, as tensors for a checkpoint beside the weights: `adam.steps`, and `adam.first.` and
    /// `adam.second.` before each weight's name.
    pub fn to_tensors(&self) -> BTreeMap<String, checkpoint::Tensor> {
        let flat = |tensor: &Tensor<1>| {
            let values = Host::of(tensor.clone()).values().to_vec();
            checkpoint::Tensor { shape: vec![values.len()], values }
        };
        let steps = checkpoint::Tensor { shape: vec![1], values: vec![self.steps as f32] };
        let mut tensors = BTreeMap::from([(STEPS.to_owned(), steps)]);
        for (name, moments) in &self.moments {
            tensors.insert(format!("adam.first.{name}"), flat(&moments.first));
            tensors.insert(format!("adam.second.{name}"), flat(&moments.second));
        }
        tensors
    }

    /// Continues from [`Adam::to_tensors`], bit for bit; tensors of other names are ignored.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::Shape`] or [`ModelError::NotFinite`] naming the tensor.
    pub fn from_tensors(
        rule: AdamRule,
        weights: &Weights,
        tensors: &BTreeMap<String, checkpoint::Tensor>,
    ) -> Result<Self, ModelError> {
        let read = |name: &str, len: usize| {
            let tensor = tensors.get(name).ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
            if tensor.shape != [len] || tensor.values.len() != len {
                let (expected, got) = (vec![len], tensor.shape.clone());
                return Err(ModelError::Shape { name: name.to_owned(), expected, got });
            }
            if tensor.values.iter().any(|v| !v.is_finite()) {
                return Err(ModelError::NotFinite(name.to_owned()));
            }
            Ok(tensor.values.clone())
        };
        let steps = read(STEPS, 1)?[0] as u32;
        let device = weights.device().clone().inner();
        let mut moments = BTreeMap::new();
        for name in weights.names() {
            let first = format!("adam.first.{name}");
            if !tensors.contains_key(&first) {
                continue; // No loss has depended on it so far.
            }
            let len = weights.len_of(name);
            let moment = |name: &str| {
                Ok::<_, ModelError>(Tensor::from_data(TensorData::new(read(name, len)?, [len]), &device))
            };
            let both = Moments { first: moment(&first)?, second: moment(&format!("adam.second.{name}"))? };
            moments.insert(name.to_owned(), both);
        }
        Ok(Self { rule, steps, moments })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::encoder::{Spec, Start};

    fn weights() -> Weights {
        let one = Start::Constant(1.0);
        let specs =
            [Spec::new("matrix", &[1, 2], one), Spec::new("vector", &[1], one), Spec::new("idle", &[3], one)];
        Weights::new(&specs, &mut ChaCha8Rng::seed_from_u64(0), DeviceKind::Flex)
    }

    /// 3 (a + b) + 7 v^2: gradients 3, 3 and 14 v.
    fn step(adam: &mut Adam, weights: &mut Weights, rate: f32) -> f32 {
        let loss = weights.get::<2>("matrix").sum() * 3.0 + weights.get::<1>("vector").square().sum() * 7.0;
        adam.step(weights, &mut loss.backward(), rate)
    }

    #[test]
    fn the_first_step_is_the_rate_and_only_matrices_decay() {
        let mut weights = weights();
        let mut adam = Adam::new(AdamRule { weight_decay: 0.5, clip: 1.0 });
        let norm = step(&mut adam, &mut weights, 0.1);
        assert!((norm - (9.0f32 + 9.0 + 196.0).sqrt()).abs() < 1e-4, "{norm}");
        let after = weights.to_tensors();
        for (name, expected) in [("matrix", 0.85), ("vector", 0.9), ("idle", 1.0)] {
            assert!(after[name].values.iter().all(|w| (w - expected).abs() < 1e-5), "{name}: {after:?}");
        }
    }

    #[test]
    fn a_kept_copy_does_not_move_when_training_goes_on() {
        let mut weights = weights();
        let best = weights.clone();
        step(&mut Adam::new(AdamRule::default()), &mut weights, 0.1);
        assert!(
            best.to_tensors()["vector"].values == [1.0] && weights.to_tensors()["vector"].values != [1.0]
        );
    }

    #[test]
    fn put_away_and_taken_up_again_it_takes_the_same_steps() {
        let rule = AdamRule { weight_decay: 0.01, clip: 5.0 };
        let (mut straight, mut adam) = (weights(), Adam::new(rule));
        for _ in 0..10 {
            step(&mut adam, &mut straight, 0.05);
        }
        let (mut halting, mut first) = (weights(), Adam::new(rule));
        for _ in 0..5 {
            step(&mut first, &mut halting, 0.05);
        }
        let mut second = Adam::from_tensors(rule, &halting, &first.to_tensors()).unwrap();
        for _ in 0..5 {
            step(&mut second, &mut halting, 0.05);
        }
        assert_eq!((second.steps(), halting.to_tensors()), (10, straight.to_tensors()));
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() {
        let mut weights = weights();
        let mut adam = Adam::new(AdamRule::default());
        let infinite = (weights.get::<1>("vector") - 1.0).log().sum();
        assert!(!adam.step(&mut weights, &mut infinite.backward(), 0.1).is_finite());
        assert_eq!((adam.steps(), weights.to_tensors()["vector"].values[0]), (0, 1.0));
    }

    #[test]
    fn a_torn_state_names_its_tensor() {
        let mut weights = weights();
        let mut adam = Adam::new(AdamRule::default());
        step(&mut adam, &mut weights, 0.1);
        let mut state = adam.to_tensors();
        state.get_mut("adam.second.vector").unwrap().shape = vec![2];
        let error = Adam::from_tensors(AdamRule::default(), &weights, &state).err().unwrap();
        assert!(error.to_string().contains("adam.second.vector"), "{error}");
        state.remove("adam.steps");
        let error = Adam::from_tensors(AdamRule::default(), &weights, &state).err().unwrap();
        assert!(error.to_string().contains("adam.steps"), "{error}");
    }
}
