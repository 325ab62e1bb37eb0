//! The same network written in burn's own tensor operations under autodiff, with its stock convolution: slow, obvious,
//! and what the hand-written passes are checked against.

use std::collections::BTreeMap;

use burn::tensor::activation::log_softmax;
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use somnus_protocol::checkpoint;
use somnus_protocol::plan::{Augmentation, ClassWeighting, TrainPlan, TrainableSet};
use somnus_signals::{StreamKind, Task};

use crate::config::{DeviceKind, NetConfig};
use crate::input::Prepared;
use crate::net::Net;
use crate::train::gradients;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Reference<'a> {
    config: &'a NetConfig,
    tensors: &'a BTreeMap<String, checkpoint::Tensor>,
    leaves: BTreeMap<String, Tensor<1>>,
    device: Device,
}

impl Reference<'_> {
    /// A weight in its checkpoint's shape; its flat leaf collects the gradient.
    fn weight<const D: usize>(&mut self, name: &str) -> Tensor<D> {
        let tensor = &self.tensors[name];
        let leaf = self.leaves.entry(name.to_owned()).or_insert_with(|| {
            let data = TensorData::new(tensor.values.clone(), [tensor.values.len()]);
            Tensor::from_data(data, &self.device).require_grad()
        });
        let shape: [usize; D] = tensor.shape.clone().try_into().unwrap();
        leaf.clone().reshape(shape)
    }

    fn column(&mut self, name: &str) -> Tensor<2> {
        let values = self.weight::<1>(name);
        let len = values.dims()[0];
        values.reshape([len, 1])
    }

    fn rows(&self, night: &Prepared, from: usize, width: usize) -> Tensor<2> {
        let values: Vec<f32> = (from..from + width)
            .flat_map(|i| night.values.chunks_exact(night.inputs).map(move |row| row[i]))
            .collect();
        Tensor::from_data(TensorData::new(values, [width, night.epochs()]), &self.device)
    }

    /// Logits `[classes, epochs]`.
    fn logits(&mut self, net: &Net, night: &Prepared) -> Tensor<2> {
        let (c, epochs) = (self.config.width, night.epochs());
        let mut h = self.column("encoder.bias").expand([c, epochs]);
        for (stream, (column, width)) in &net.layout.streams {
            let x = self.rows(night, *column, *width);
            let missing = self.rows(night, column + width, 1);
            h = h + self.weight::<2>(&format!("encoder.{stream}.weight")).matmul(x);
            h = h + self.column(&format!("encoder.{stream}.missing")).matmul(missing);
        }
        let time = self.rows(night, night.inputs - 2, 2);
        h = h + self.weight::<2>("encoder.time.weight").matmul(time);
        for (i, dilation) in self.config.dilations.iter().enumerate() {
            let mean = h.clone().mean_dim(0);
            let centred = h.clone() - mean;
            let variance = (centred.clone() * centred.clone()).mean_dim(0);
            let normed = centred / (variance + 1e-5).sqrt();
            let x = normed * self.column(&format!("blocks.{i}.norm.weight"))
                + self.column(&format!("blocks.{i}.norm.bias"));
            let padding = dilation * (self.config.kernel / 2);
            let y = conv1d(
                x.reshape([1, c, epochs]),
                self.weight::<3>(&format!("blocks.{i}.conv.weight")),
                Some(self.weight::<1>(&format!("blocks.{i}.conv.bias"))),
                ConvOptions::new([1], [padding], [*dilation], 1),
            );
            h = h + gelu(y.reshape([c, epochs]));
            if self.config.adapters > 0 {
                let name = |what: &str| format!("blocks.{i}.adapter.{what}");
                let z = self.weight::<2>(&name("down.weight")).matmul(h.clone());
                let z = gelu(z + self.column(&name("down.bias")));
                let up = self.weight::<2>(&name("up.weight")).matmul(z);
                h = h + up + self.column(&name("up.bias"));
            }
        }
        self.weight::<2>("head.weight").matmul(h) + self.column("head.bias")
    }
}

fn gelu(x: Tensor<2>) -> Tensor<2> {
    let cubed = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cubed * 0.044_715) * (2.0 / std::f32::consts::PI).sqrt();
    x * (inner.tanh() + 1.0) * 0.5
}

fn night(net: &Net, epochs: usize, rng: &mut ChaCha8Rng) -> Prepared {
    let inputs = net.layout.inputs;
    let mut values: Vec<f32> = (0..epochs * inputs).map(|_| rng.random_range(-1.0..1.0)).collect();
    for row in values.chunks_exact_mut(inputs) {
        for (column, width) in net.layout.streams.values() {
            let missing = rng.random::<f32>() < 0.2;
            row[column + width] = f32::from(u8::from(missing));
            if missing {
                row[*column..column + width].fill(0.0);
            }
        }
    }
    let classes = (0..epochs).map(|_| (rng.random::<f32>() < 0.8).then(|| rng.random_range(0..4))).collect();
    Prepared { values, classes, inputs }
}

fn plain() -> TrainPlan {
    TrainPlan {
        dropout: 0.0,
        class_weighting: ClassWeighting::None,
        augmentation: Augmentation { input_noise: 0.0, ..Augmentation::default() },
        ..TrainPlan::default()
    }
}

/// 50 epochs, so that the dilations divide the night evenly, unevenly and not at all.
fn config(adapters: usize) -> NetConfig {
    NetConfig { width: 16, dilations: vec![1, 2, 5, 32, 64], adapters, ..NetConfig::default() }
}

fn weights(net: &Net, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut weights = net.layout.start(rng);
    // Zeros (adapters, norms' shifts) would hide a wrong gradient behind them.
    weights.iter_mut().for_each(|w| *w += rng.random_range(-0.1..0.1));
    weights
}

#[test]
fn gradients_agree_with_autodiff_of_the_same_formula() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let net = Net::new(config(4), DeviceKind::Flex);
    assert_eq!(net.config.task, Task::Four);
    let weights = weights(&net, &mut rng);
    let night = night(&net, 50, &mut rng);

    let (loss, ours) = gradients(&net, &weights, &night, &plain(), 0);
    let ours = net.layout.tensors(&ours);

    let tensors = net.layout.tensors(&weights);
    let device = Device::flex().autodiff();
    let mut reference = Reference { config: &net.config, tensors: &tensors, leaves: BTreeMap::new(), device };
    let log_p = log_softmax(reference.logits(&net, &night), 0);
    let mut picked = vec![0.0; 4 * night.epochs()];
    for (epoch, class) in night.classes.iter().enumerate() {
        if let Some(class) = class {
            picked[usize::from(*class) * night.epochs() + epoch] = -1.0 / night.scored() as f32;
        }
    }
    let picked = Tensor::<2>::from_data(TensorData::new(picked, [4, night.epochs()]), &reference.device);
    let total = (log_p * picked).sum();
    let expected: f32 = total.clone().into_scalar();
    assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");

    let graph = total.backward();
    assert_eq!(reference.leaves.len(), ours.len());
    for (name, leaf) in &reference.leaves {
        let expected = leaf.grad(&graph).unwrap().into_data();
        let expected = expected.as_slice::<f32>().unwrap();
        let largest = expected.iter().fold(1e-3f32, |a, v| a.max(v.abs()));
        for (i, (a, b)) in ours[name].values.iter().zip(expected).enumerate() {
            assert!((a - b).abs() < 2e-4 * largest, "{name}[{i}]: {a}, autodiff says {b}");
        }
    }
}

#[test]
fn frozen_gradients_are_those_of_full_training() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let net = Net::new(config(4), DeviceKind::Flex);
    let weights = weights(&net, &mut rng);
    let night = night(&net, 50, &mut rng);
    let (_, full) = gradients(&net, &weights, &night, &plain(), 0);
    for set in [TrainableSet::Adapters, TrainableSet::Full] {
        let plan = TrainPlan { trainable: set, ..plain() };
        let (_, some) = gradients(&net, &weights, &night, &plan, 0);
        for (run, _) in net.layout.runs(set) {
            assert_eq!(some[run.clone()], full[run]);
        }
    }
}

#[test]
fn dropout_is_part_of_the_gradient() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let net = Net::new(config(0), DeviceKind::Flex);
    let weights = weights(&net, &mut rng);
    let night = night(&net, 30, &mut rng);
    let plan = TrainPlan { dropout: 0.3, ..plain() };
    let (_, slope) = gradients(&net, &weights, &night, &plan, 9);
    // Along the gradient, the same masks being drawn on either side.
    let norm: f32 = slope.iter().map(|g| g * g).sum::<f32>().sqrt();
    let at = |d: f32| {
        let moved: Vec<f32> = weights.iter().zip(&slope).map(|(w, g)| w + d * g / norm).collect();
        gradients(&net, &moved, &night, &plan, 9).0
    };
    let measured = (at(2e-3) - at(-2e-3)) / 4e-3;
    assert!((measured / norm - 1.0).abs() < 1e-2, "{measured} {norm}");
}

#[test]
fn flex_and_ndarray_agree_on_the_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let nets = [DeviceKind::Flex, DeviceKind::Ndarray].map(|device| Net::new(config(4), device));
    let weights = weights(&nets[0], &mut rng);
    let night = night(&nets[0], 50, &mut rng);
    let plan = TrainPlan { dropout: 0.2, ..plain() };
    let [(loss, ours), (other_loss, theirs)] = nets.map(|net| gradients(&net, &weights, &night, &plan, 5));
    assert!((loss - other_loss).abs() < 1e-5);
    let largest = ours.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5 * largest, "{worst} of {largest}");
}

#[test]
fn an_unscored_epoch_changes_no_loss() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let net = Net::new(NetConfig { dilations: vec![1], ..config(0) }, DeviceKind::Flex);
    let weights = weights(&net, &mut rng);
    let mut night = night(&net, 40, &mut rng);
    // Only the first epoch is scored; what is beyond the reach of its taps cannot matter.
    night.classes.fill(None);
    night.classes[0] = Some(1);
    let (before, _) = gradients(&net, &weights, &night, &plain(), 0);
    let far = 10 * night.inputs;
    night.values[far..].iter_mut().for_each(|v| *v = -*v);
    let (after, _) = gradients(&net, &weights, &night, &plain(), 0);
    assert_eq!(before.to_bits(), after.to_bits());
    let near = net.layout.streams[&StreamKind::Hr].0;
    night.values[near] += 1.0;
    assert_ne!(before.to_bits(), gradients(&net, &weights, &night, &plain(), 0).0.to_bits());
}
