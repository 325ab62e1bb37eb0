//! The named weights of networks under autodiff: how they begin, travel, and are found by a forward pass.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::Rng;
use somnus_protocol::checkpoint;

use crate::config::DeviceKind;
use crate::error::ModelError;
use crate::matrix::Host;

/// How a weight begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Start {
    /// The same number everywhere.
    Constant(f32),
    /// Uniform within plus and minus the bound.
    Uniform(f32),
}

/// A weight that a network needs.
#[derive(Clone, PartialEq, Debug)]
pub struct Spec {
    /// Its name in a checkpoint.
    pub name: String,
    /// Its axes, slowest first, as PyTorch lays them out.
    pub shape: Vec<usize>,
    /// How it begins.
    pub start: Start,
    /// Whether gradients move it; a running statistic is not trained.
    pub trained: bool,
}

impl Spec {
    /// A trained weight.
    pub fn new(name: impl Into<String>, shape: &[usize], start: Start) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), start, trained: true }
    }

    /// A number that is remembered beside the weights, not trained.
    pub fn untrained(name: impl Into<String>, shape: &[usize], start: Start) -> Self {
        Self { trained: false, ..Self::new(name, shape, start) }
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A layer's weight and bias as PyTorch begins them: uniform within one over the square root of a unit's inputs.
pub(crate) fn affine(name: &str, shape: &[usize]) -> [Spec; 2] {
    let fan_in: usize = shape[1..].iter().product();
    let start = Start::Uniform(1.0 / (fan_in as f32).sqrt());
    [Spec::new(format!("{name}.weight"), shape, start), Spec::new(format!("{name}.bias"), &shape[..1], start)]
}

/// A norm's gain and shift.
pub(crate) fn norm(name: &str, channels: usize) -> [Spec; 2] {
    [
        Spec::new(format!("{name}.weight"), &[channels], Start::Constant(1.0)),
        Spec::new(format!("{name}.bias"), &[channels], Start::Constant(0.0)),
    ]
}

/// Named weights on a device; a clone is a snapshot that later steps do not move.
#[derive(Clone)]
pub struct Weights {
    leaves: BTreeMap<String, Leaf>,
    device: Device,
}

#[derive(Clone)]
struct Leaf {
    shape: Vec<usize>,
    trained: bool,
    value: Tensor<1>,
}

impl Weights {
    /// Fresh weights under autodiff; the draws follow the order of `specs`.
    pub fn new(specs: &[Spec], rng: &mut impl Rng, device: DeviceKind) -> Self {
        let mut draw = |spec: &Spec| match spec.start {
            Start::Constant(value) => vec![value; spec.len()],
            Start::Uniform(bound) => (0..spec.len()).map(|_| rng.random_range(-bound..=bound)).collect(),
        };
        let values: Vec<_> = specs.iter().map(|spec| (spec, draw(spec))).collect();
        Self::build(values, &device.open())
    }

    /// Weights under autodiff from a checkpoint's tensors; tensors of other names are ignored.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::Shape`] or [`ModelError::NotFinite`] naming the tensor.
    pub fn from_tensors(
        specs: &[Spec],
        tensors: &BTreeMap<String, checkpoint::Tensor>,
        device: DeviceKind,
    ) -> Result<Self, ModelError> {
        let mut values = Vec::with_capacity(specs.len());
        for spec in specs {
            let name = || spec.name.clone();
            let tensor = tensors.get(&spec.name).ok_or_else(|| ModelError::MissingTensor(name()))?;
            if tensor.shape != spec.shape || tensor.values.len() != spec.len() {
                let (expected, got) = (spec.shape.clone(), tensor.shape.clone());
                return Err(ModelError::Shape { name: name(), expected, got });
            }
            if tensor.values.iter().any(|v| !v.is_finite()) {
                return Err(ModelError::NotFinite(name()));
            }
            values.push((spec, tensor.values.clone()));
        }
        Ok(Self::build(values, &device.open()))
    }

    fn build(values: Vec<(&Spec, Vec<f32>)>, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let leaf = |(spec, values): (&Spec, Vec<f32>)| {
            let len = values.len();
            let value = Tensor::from_data(TensorData::new(values, [len]), &device);
            let value = if spec.trained { value.require_grad() } else { value };
            (spec.name.clone(), Leaf { shape: spec.shape.clone(), trained: spec.trained, value })
        };
        Self { leaves: values.into_iter().map(leaf).collect(), device }
    }

    /// The tensors of a checkpoint.
    pub fn to_tensors(&self) -> BTreeMap<String, checkpoint::Tensor> {
        let tensor = |leaf: &Leaf| checkpoint::Tensor {
            shape: leaf.shape.clone(),
            values: Host::of(leaf.value.clone()).values().to_vec(),
        };
        self.leaves.iter().map(|(name, leaf)| (name.clone(), tensor(leaf))).collect()
    }

    /// The same weights as constants outside autodiff: what passes through them is differentiated, they are not.
    #[must_use]
    pub fn frozen(&self) -> Self {
        let freeze = |leaf: &Leaf| Leaf { trained: false, value: leaf.value.clone().inner(), ..leaf.clone() };
        let leaves = self.leaves.iter().map(|(name, leaf)| (name.clone(), freeze(leaf))).collect();
        Self { leaves, device: self.device.clone().inner() }
    }

    /// Moves each weight towards that of the same name in `online`: `memory` of it stays (a momentum branch, He et al.
    /// 2020). No gradient passes.
    ///
    /// # Panics
    /// When `online` lacks one of these weights or has it in another shape.
    pub fn follow(&mut self, online: &Self, memory: f32) {
        for (name, leaf) in &mut self.leaves {
            let own = leaf.value.clone().inner();
            let moved = own * memory + online.leaf(name).value.clone().inner() * (1.0 - memory);
            leaf.value = if leaf.value.is_autodiff() { moved.autodiff() } else { moved };
        }
    }

    /// Adds another network's weights, so that one optimiser moves both.
    ///
    /// # Panics
    /// When the two share a name.
    pub fn extend(&mut self, other: Self) {
        for (name, leaf) in other.leaves {
            assert!(!self.leaves.contains_key(&name), "two weights named `{name}`");
            self.leaves.insert(name, leaf);
        }
    }

    /// How many numbers are trained.
    pub fn trained(&self) -> usize {
        self.leaves
            .values()
            .filter(|leaf| leaf.trained)
            .map(|leaf| leaf.shape.iter().product::<usize>())
            .sum()
    }

    /// Where the weights live; data that meets them belongs there.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A weight in its own shape.
    ///
    /// # Panics
    /// When there is no such weight or it has another rank: the network asks for what its own [`Spec`]s do not list.
    pub fn get<const D: usize>(&self, name: &str) -> Tensor<D> {
        let leaf = self.leaf(name);
        let shape: [usize; D] = leaf.shape.clone().try_into().unwrap_or_else(|shape: Vec<usize>| {
            panic!("`{name}` has {} axes, not {D}", shape.len());
        });
        leaf.value.clone().reshape(shape)
    }

    /// The gradient of a trained weight, `None` where the loss does not depend on it.
    pub fn gradient(&self, name: &str, gradients: &Gradients) -> Option<checkpoint::Tensor> {
        let leaf = self.leaf(name);
        let values = Host::of(leaf.value.grad(gradients)?).values().to_vec();
        Some(checkpoint::Tensor { shape: leaf.shape.clone(), values })
    }

    /// Names of the trained weights, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves.iter().filter(|(_, leaf)| leaf.trained).map(|(name, _)| name.as_str())
    }

    /// Replaces an untrained number, flat.
    pub(crate) fn remember(&mut self, name: &str, value: Tensor<1>) {
        let leaf = self.leaves.get_mut(name).unwrap_or_else(|| panic!("no weight named `{name}`"));
        assert!(!leaf.trained && value.dims() == leaf.value.dims(), "`{name}` is not such a statistic");
        leaf.value = if leaf.value.is_autodiff() { value.inner().autodiff() } else { value.inner() };
    }

    /// The flat gradients of the trained weights that the loss depends on, outside autodiff, in order of names.
    pub(crate) fn take_gradients(&self, gradients: &mut Gradients) -> Vec<(String, Tensor<1>)> {
        let trained = self.leaves.iter().filter(|(_, leaf)| leaf.trained);
        trained.filter_map(|(name, leaf)| Some((name.clone(), leaf.value.grad_remove(gradients)?))).collect()
    }

    /// Whether decay is for this weight: vectors (biases, gains) are left alone.
    pub(crate) fn decays(&self, name: &str) -> bool {
        self.leaf(name).shape.len() > 1
    }

    pub(crate) fn len_of(&self, name: &str) -> usize {
        self.leaf(name).value.dims()[0]
    }

    /// Gives a trained weight the value that `change` makes of its flat one, outside autodiff.
    pub(crate) fn replace(&mut self, name: &str, change: impl FnOnce(Tensor<1>) -> Tensor<1>) {
        let leaf = self.leaves.get_mut(name).unwrap_or_else(|| panic!("no weight named `{name}`"));
        leaf.value = change(leaf.value.clone().inner()).autodiff().require_grad();
    }

    fn leaf(&self, name: &str) -> &Leaf {
        self.leaves.get(name).unwrap_or_else(|| panic!("no weight named `{name}`"))
    }
}
