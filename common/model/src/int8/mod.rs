//! Staging with weights and activations of eight bits: a quarter of the size at rest.
//!
//! At rest, not in memory while it computes: a layer's codes are laid out as f32 for the engine's products, one layer at a time.
//! Weights have a scale for each output; a layer's activations get theirs as they come, an epoch at a time, and a whole night
//! at once in front of a convolution, whose sums run over epochs. Norms, GELU, biases and sums of residuals stay f32. Nothing is
//! calibrated and nothing trained: it is the network as it is, rounded (Jacob et al. 2018 without their training).

mod linear;

use burn::tensor::Device;

use crate::block::{EPSILON, lanes, sum};
use crate::conv::Phases;
use crate::input::Prepared;
use crate::loss::softmax;
use crate::params::AdapterPlaces;
use crate::stager::{Posterior, Stager};
use crate::vector::{dispatch, gelu};

use linear::{Codes, Linear};

/// A stager in eight bits; it can only predict.
pub struct Quantised {
    device: Device,
    width: usize,
    kernel: usize,
    classes: usize,
    input: Linear,
    blocks: Vec<Block>,
    head: Linear,
}

struct Block {
    dilation: usize,
    gain: Vec<f32>,
    shift: Vec<f32>,
    /// From the taps of all channels, `[taps * C]`, to `[C]`.
    conv: Linear,
    adapter: Option<[Linear; 2]>,
}

impl Quantised {
    /// The nearest network in eight bits.
    pub fn of(stager: &Stager) -> Self {
        let (net, weights) = (stager.net(), stager.weights());
        let (config, layout) = (&net.config, &net.layout);
        let linear = |matrix: &std::ops::Range<usize>, bias: &std::ops::Range<usize>| {
            Linear::new(&weights[matrix.clone()], &weights[bias.clone()])
        };
        let adapter = |places: &AdapterPlaces| {
            [linear(&places.down, &places.down_bias), linear(&places.up, &places.up_bias)]
        };
        let blocks = layout.blocks.iter().zip(&config.dilations).map(|(places, dilation)| Block {
            dilation: *dilation,
            gain: weights[places.gain.clone()].to_vec(),
            shift: weights[places.shift.clone()].to_vec(),
            conv: linear(&places.weight, &places.bias),
            adapter: places.adapter.as_ref().map(adapter),
        });
        Self {
            device: net.device.clone(),
            width: config.width,
            kernel: config.kernel,
            classes: net.classes(),
            input: linear(&layout.input, &layout.input_bias),
            blocks: blocks.collect(),
            head: linear(&layout.head, &layout.head_bias),
        }
    }

    /// Stages a night that was prepared by the network that this one is of.
    pub fn predict(&self, night: &Prepared) -> Posterior {
        let mut h = self.input.apply(Codes::of_rows(night.values.clone(), night.inputs), &self.device);
        for block in &self.blocks {
            block.forward(&mut h, self.width, self.kernel, &self.device);
        }
        let mut values = self.head.apply(Codes::of_rows(h, self.width), &self.device);
        softmax(&mut values, self.classes);
        Posterior { classes: self.classes, values }
    }

    /// Bytes of all its numbers at rest; what [`Quantised::predict`] computes with comes on top.
    pub fn bytes(&self) -> usize {
        let of_block = |block: &Block| {
            let adapter = block.adapter.iter().flatten().map(Linear::bytes).sum::<usize>();
            4 * (block.gain.len() + block.shift.len()) + block.conv.bytes() + adapter
        };
        self.input.bytes() + self.blocks.iter().map(of_block).sum::<usize>() + self.head.bytes()
    }
}

impl Block {
    /// Adds the block's residual to `h` `[epochs, C]`, as the block of the network does.
    fn forward(&self, h: &mut [f32], width: usize, taps: usize, device: &Device) {
        let phases = Phases::new(h.len() / width, self.dilation, taps);
        let product = self.conv.apply(Codes::of_all(self.norm(h, width, &phases), width), device); // [outputs, C]
        dispatch(
            #[inline(always)]
            || {
                phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let product = &product[row * width..][..width];
                        for (h, x) in h[epoch * width..][..width].iter_mut().zip(product) {
                            *h += gelu(*x).0;
                        }
                    },
                );
            },
        );
        if let Some([down, up]) = &self.adapter {
            let mut inner = down.apply(Codes::of_rows(h.to_vec(), width), device);
            dispatch(
                #[inline(always)]
                || {
                    for x in &mut inner {
                        *x = gelu(*x).0;
                    }
                },
            );
            let bottleneck = inner.len() * width / h.len().max(1);
            let residual = up.apply(Codes::of_rows(inner, bottleneck), device);
            h.iter_mut().zip(residual).for_each(|(h, x)| *h += x);
        }
    }

    /// The layer norm of each epoch where the convolution finds it, `[rows, C]`, zeros between.
    fn norm(&self, h: &[f32], width: usize, phases: &Phases) -> Vec<f32> {
        let mut padded = vec![0.0; phases.rows() * width];
        let (half, part) = (phases.half(), 1.0 / width as f32);
        dispatch(
            #[inline(always)]
            || {
                phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let x = &h[epoch * width..][..width];
                        let mean = sum(lanes(x).iter(), |v| v) * part;
                        let deviation = |v| (v - mean) * (v - mean);
                        let scale = 1.0 / (sum(lanes(x).iter(), deviation) * part + EPSILON).sqrt();
                        let out = padded[(row + half) * width..][..width].iter_mut();
                        for (((out, x), gain), shift) in out.zip(x).zip(&self.gain).zip(&self.shift) {
                            *out = (x - mean) * scale * gain + shift;
                        }
                    },
                );
            },
        );
        padded
    }
}

#[cfg(test)]
mod tests {
    use somnus_signals::synthetic::{SyntheticConfig, cohort};
    use somnus_signals::{Night, NightRules};

    use super::*;
    use crate::config::{DeviceKind, NetConfig};

    fn night() -> Night {
        let config = SyntheticConfig { people: 1, ..SyntheticConfig::default() };
        cohort(&config, &NightRules::default()).nights.remove(0)
    }

    fn furthest(a: &Posterior, b: &Posterior) -> f32 {
        a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn it_stages_as_the_network_does() {
        for config in [NetConfig::default(), NetConfig { adapters: 8, kernel: 3, ..NetConfig::default() }] {
            let mut stager = Stager::new(&config, 5, DeviceKind::Flex).unwrap();
            // Zeros (fresh adapters, shifts of norms) would hide a mistake behind them.
            let set = somnus_protocol::plan::TrainableSet::Full;
            let moved: Vec<f32> = stager
                .trainable(set)
                .unwrap()
                .iter()
                .enumerate()
                .map(|(i, w)| w + 0.1 * (i as f32).sin())
                .collect();
            stager.set_trainable(set, &moved).unwrap();
            let prepared = stager.prepare(&night()).unwrap();
            let (exact, coded) =
                (stager.predict_prepared(&prepared), Quantised::of(&stager).predict(&prepared));
            assert_eq!((coded.classes, coded.epochs()), (4, prepared.epochs()));
            let same = exact.argmax().iter().zip(coded.argmax()).filter(|(a, b)| **a == *b).count();
            assert!(same as f32 > 0.95 * prepared.epochs() as f32, "{same} of {}", prepared.epochs());
            assert!(furthest(&exact, &coded) < 0.15, "{}", furthest(&exact, &coded));
        }
    }

    #[test]
    fn at_rest_it_is_little_more_than_a_quarter_as_large() {
        let stager = Stager::new(&NetConfig::default(), 1, DeviceKind::Flex).unwrap();
        let (exact, coded) = (4 * stager.parameters(), Quantised::of(&stager).bytes());
        assert!(coded > exact / 4 && coded < exact * 3 / 10, "{coded} of {exact}");
    }
}
