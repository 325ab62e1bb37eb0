//! RelCon's encoder: a pre-activation ResNet-1D with batch norm (Xu et al. 2025, arXiv 2411.18822).
//!
//! Its weights go by the names of the reference's PyTorch state dictionary, so that published checkpoints load. It is for
//! pretraining in one place: batch statistics mix people, and nothing with batch norm is ever federated.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool1d;
use burn::tensor::ops::MaxPoolOptions;
use serde::{Deserialize, Serialize};

use crate::encoder::layers::{EPSILON, Padding, column, conv, mean_over_time};
use crate::encoder::weights::{Spec, Start, Weights, affine, norm};

/// How much of a batch's statistics the running ones take on, as PyTorch's batch norm.
const MOMENTUM: f32 = 0.1;

/// Blocks of one width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// Residual blocks of two convolutions each.
    pub blocks: usize,
    /// Channels.
    pub width: usize,
    /// Taps of each convolution.
    pub kernel: usize,
}

/// Stem (7 taps, stride 2), batch norm, max pooling (3, stride 2), residual stages, mean over time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNet {
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the stem.
    pub stem: usize,
    /// The residual stages; the last one's width is the embedding's.
    pub stages: Vec<Stage>,
}

/// Where a forward pass takes the mean and variance of each channel from.
enum Moments<'a> {
    Running,
    Batch(&'a mut BatchMoments),
}

/// The statistics that a training pass saw, to be taken into the running ones.
#[derive(Default)]
#[must_use]
pub struct BatchMoments(Vec<(String, Tensor<1>, Tensor<1>)>);

impl BatchMoments {
    /// Moves the running means and (unbiased) variances a tenth of the way to the batch's.
    pub fn update(self, weights: &mut Weights) {
        for (norm, mean, variance) in self.0 {
            for (what, seen) in [("running_mean", mean), ("running_var", variance)] {
                let name = format!("{norm}.{what}");
                let old = weights.get::<1>(&name).inner();
                weights.remember(&name, old * (1.0 - MOMENTUM) + seen * MOMENTUM);
            }
        }
    }
}

impl ResNet {
    /// The published size: 3,635,840 weights, windows `[3, B, 256]` at 100 Hz to 256 numbers.
    pub fn relcon() -> Self {
        let stage = |blocks, width, kernel| Stage { blocks, width, kernel };
        Self { channels: 3, stem: 64, stages: vec![stage(3, 64, 3), stage(4, 128, 4), stage(6, 256, 4)] }
    }

    /// Its weights, by their PyTorch names.
    pub fn specs(&self) -> Vec<Spec> {
        let mut specs = affine("first_block_conv", &[self.stem, self.channels, 7]).to_vec();
        specs.extend(batch_norm_specs("first_block_bn", self.stem));
        for block in self.blocks() {
            let name = |what: &str| format!("{}.{what}", block.name);
            specs.extend(batch_norm_specs(&name("bn1"), block.from));
            specs.extend(affine(&name("conv1"), &[block.to, block.from, block.kernel]));
            specs.extend(batch_norm_specs(&name("bn2"), block.to));
            specs.extend(affine(&name("conv2"), &[block.to, block.to, block.kernel]));
            if block.from != block.to {
                specs.extend(affine(&name("projection_conv"), &[block.to, block.from, 1]));
            }
        }
        specs
    }

    /// Embeddings `[B, width]` of windows `[C, B, T]`, by the running statistics: a window's embedding is its own.
    ///
    /// # Panics
    /// When `T` is under 11: nothing is left behind the stem.
    pub fn embed(&self, weights: &Weights, x: Tensor<3>) -> Tensor<2> {
        self.forward(weights, x, Moments::Running)
    }

    /// [`ResNet::embed`] by the statistics of the batch, for training.
    ///
    /// # Panics
    /// When `T` is under 11: nothing is left behind the stem.
    pub fn embed_training(&self, weights: &Weights, x: Tensor<3>) -> (Tensor<2>, BatchMoments) {
        let mut seen = BatchMoments::default();
        let embedding = self.forward(weights, x, Moments::Batch(&mut seen));
        (embedding, seen)
    }

    fn forward(&self, weights: &Weights, x: Tensor<3>, mut moments: Moments<'_>) -> Tensor<2> {
        let x = conv(weights, "first_block_conv", x, 2, 1, Padding::Valid);
        let x = relu(batch_norm(weights, "first_block_bn", x, &mut moments));
        let mut h = max_pool1d(x, MaxPoolOptions::new([3]).with_stride([2]));
        for block in self.blocks() {
            let name = |what: &str| format!("{}.{what}", block.name);
            let mut half = |x: Tensor<3>, bn: &str, filter: &str| {
                let active = relu(batch_norm(weights, &name(bn), x, &mut moments));
                conv(weights, &name(filter), active, 1, 1, Padding::Same)
            };
            let inner = half(h.clone(), "bn1", "conv1");
            let residual = half(inner, "bn2", "conv2");
            let skip = if block.from == block.to {
                h
            } else {
                conv(weights, &name("projection_conv"), h, 1, 1, Padding::Same)
            };
            h = skip + residual;
        }
        mean_over_time(h)
    }

    fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        let mut from = self.stem;
        let shapes = self.stages.iter().flat_map(|stage| std::iter::repeat_n(*stage, stage.blocks));
        shapes.enumerate().map(move |(i, Stage { width, kernel, .. })| {
            let block = Block { name: format!("basicblock_list.{i}"), from, to: width, kernel };
            from = width;
            block
        })
    }
}

struct Block {
    name: String,
    from: usize,
    to: usize,
    kernel: usize,
}

fn batch_norm_specs(name: &str, channels: usize) -> impl Iterator<Item = Spec> {
    let mean = Spec::untrained(format!("{name}.running_mean"), &[channels], Start::Constant(0.0));
    let variance = Spec::untrained(format!("{name}.running_var"), &[channels], Start::Constant(1.0));
    norm(name, channels).into_iter().chain([mean, variance])
}

fn batch_norm(weights: &Weights, name: &str, x: Tensor<3>, moments: &mut Moments<'_>) -> Tensor<3> {
    let [channels, batch, len] = x.dims();
    let number = |what: &str| weights.get::<1>(&format!("{name}.{what}"));
    let (centred, variance) = match moments {
        Moments::Running => (x - column(number("running_mean")), column(number("running_var"))),
        Moments::Batch(seen) => {
            // A channel is one contiguous row.
            let mean = x.clone().reshape([channels, batch * len]).mean_dim(1).reshape([channels, 1, 1]);
            let centred = x - mean.clone();
            let squares = centred.clone().square().reshape([channels, batch * len]);
            let variance = squares.mean_dim(1).reshape([channels, 1, 1]);
            let (mean, biased) =
                (mean.inner().reshape([channels]), variance.clone().inner().reshape([channels]));
            let count = (batch * len) as f32;
            seen.0.push((name.to_owned(), mean, biased * (count / (count - 1.0).max(1.0))));
            (centred, variance)
        }
    };
    centred * (column(number("weight")) / (variance + EPSILON).sqrt()) + column(number("bias"))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::encoder::windows;
    use crate::matrix::Host;

    fn small() -> (ResNet, Weights) {
        let stage = |blocks, width, kernel| Stage { blocks, width, kernel };
        let net = ResNet { channels: 1, stem: 4, stages: vec![stage(1, 4, 3), stage(1, 8, 4)] };
        let weights = Weights::new(&net.specs(), &mut ChaCha8Rng::seed_from_u64(1), DeviceKind::Flex);
        (net, weights)
    }

    fn batch(weights: &Weights, count: usize) -> Tensor<3> {
        let wave = |w: usize| (0..64).map(|t| ((w * 64 + t) as f32 * 1.7).sin() + 3.0).collect::<Vec<f32>>();
        windows(&(0..count).map(wave).collect::<Vec<_>>(), 1, weights.device())
    }

    #[test]
    fn the_published_size_has_the_published_number_of_weights() {
        let specs = ResNet::relcon().specs();
        let trained = specs.iter().filter(|s| s.trained).map(|s| s.shape.iter().product::<usize>());
        assert_eq!(trained.sum::<usize>(), 3_635_840);
    }

    #[test]
    fn in_use_a_window_is_embedded_alone_and_in_training_with_its_batch() {
        let (net, weights) = small();
        let x = batch(&weights, 3);
        let first = |rows: Tensor<2>| Host::of(rows.slice([0..1, 0..8])).values().to_vec();
        let alone = net.embed(&weights, x.clone().slice([0..1, 0..1, 0..64]));
        let together = net.embed(&weights, x.clone());
        for (a, b) in first(alone).iter().zip(first(together)) {
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} {b}");
        }
        let (trained, _) = net.embed_training(&weights, x.clone());
        let (changed, _) = net.embed_training(&weights, x.slice([0..1, 0..2, 0..64]));
        assert_ne!(first(trained), first(changed));
    }

    #[test]
    fn running_statistics_converge_to_those_of_the_batch() {
        let (net, mut weights) = small();
        let x = batch(&weights, 8);
        for _ in 0..200 {
            net.embed_training(&weights, x.clone()).1.update(&mut weights);
        }
        let (trained, _) = net.embed_training(&weights, x.clone());
        let worst: f32 = (trained - net.embed(&weights, x)).abs().max().into_scalar();
        // The running variance is unbiased, so they differ by one in 8 x 14 samples at most.
        assert!(worst < 0.05, "{worst}");
    }
}
