//! The whole network over one night: encoders, blocks, head; and the way back.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use somnus_protocol::moments::Embedding;
use somnus_signals::Task;

use crate::between::Between;
use crate::block::{Block, BlockTape, Dropout};
use crate::config::{DeviceKind, NetConfig};
use crate::conv::Phases;
use crate::matrix::{Host, matrix};
use crate::params::Layout;
use crate::vector::{add, add_columns, dispatch};

/// A network without its weights.
#[derive(Clone)]
pub(crate) struct Net {
    pub(crate) config: NetConfig,
    /// Shared by copies: clients of one process train copies of one network.
    pub(crate) layout: Arc<Layout>,
    pub(crate) device: Device,
    /// Of the trainings of this network and its copies.
    pub(crate) between: Between,
}

/// What the backward pass of the body needs.
pub(crate) struct Tape {
    /// `[epochs, inputs]`.
    input: Tensor<2>,
    blocks: Vec<BlockTape>,
}

impl Net {
    pub(crate) fn new(config: NetConfig, device: DeviceKind) -> Self {
        Self {
            layout: Arc::new(Layout::new(&config)),
            config,
            device: device.open(),
            between: Between::default(),
        }
    }

    /// The same network with a head for `task`; everything before the head keeps its place.
    pub(crate) fn for_task(&self, task: Task) -> Self {
        self.of(NetConfig { task, ..self.config.clone() })
    }

    /// Another network on the same device.
    pub(crate) fn of(&self, config: NetConfig) -> Self {
        let (device, between) = (self.device.clone(), self.between.clone());
        Self { layout: Arc::new(Layout::new(&config)), config, device, between }
    }

    pub(crate) fn classes(&self) -> usize {
        self.config.task.classes()
    }

    /// What the head sees of an epoch.
    pub(crate) fn embedding(&self) -> Embedding {
        let small = "a checked configuration: at most 8 classes and a width of at most 512";
        let (classes, width) = (u8::try_from(self.classes()), u16::try_from(self.config.width));
        Embedding { classes: classes.expect(small), width: width.expect(small) }
    }

    /// Everything before the head: `input` `[epochs, inputs]` to embeddings `[epochs, C]`.
    ///
    /// Encoders and time encoding are one product: an epoch's inputs hold every stream's features (zero where it is
    /// missing) and its "missing" flag, so the sum over streams of `W_s x_s`, or of the learnt embedding of a missing
    /// stream, is the row times the stacked matrix.
    pub(crate) fn embed(
        &self,
        weights: &[f32],
        input: Vec<f32>,
        dropout: Option<&mut Dropout<'_>>,
    ) -> Vec<f32> {
        self.body(weights, input, dropout, None).0
    }

    /// [`Net::embed`] with what [`Net::backward`] needs.
    pub(crate) fn embed_taped(
        &self,
        weights: &[f32],
        input: Vec<f32>,
        dropout: Option<&mut Dropout<'_>>,
    ) -> (Vec<f32>, Tape) {
        let mut blocks = Vec::with_capacity(self.layout.blocks.len());
        let (h, input) = self.body(weights, input, dropout, Some(&mut blocks));
        (h, Tape { input, blocks })
    }

    fn body(
        &self,
        weights: &[f32],
        input: Vec<f32>,
        mut dropout: Option<&mut Dropout<'_>>,
        mut tapes: Option<&mut Vec<BlockTape>>,
    ) -> (Vec<f32>, Tensor<2>) {
        let (inputs, c) = (self.layout.inputs, self.config.width);
        let epochs = input.len() / inputs;
        let input = matrix(input, epochs, inputs, &self.device);
        let encoder = matrix(weights[self.layout.input.clone()].to_vec(), inputs, c, &self.device);
        let mut h = biased(input.clone().matmul(encoder), &weights[self.layout.input_bias.clone()]);
        for index in 0..self.layout.blocks.len() {
            let tape = self.block(weights, index, epochs).forward(&mut h, dropout.as_deref_mut());
            if let Some(tapes) = &mut tapes {
                tapes.push(tape);
            }
        }
        (h, input)
    }

    /// The head: embeddings `[epochs, C]` to logits `[epochs, classes]`.
    pub(crate) fn head(&self, weights: &[f32], h: &[f32]) -> Vec<f32> {
        let c = self.config.width;
        let head = matrix(weights[self.layout.head.clone()].to_vec(), c, self.classes(), &self.device);
        let h = matrix(h.to_vec(), h.len() / c, c, &self.device);
        biased(h.matmul(head), &weights[self.layout.head_bias.clone()])
    }

    /// Fills the head's places of `gradients` from the gradient of the logits `[epochs, classes]`.
    pub(crate) fn head_backward(&self, h: &[f32], d_logits: &[f32], gradients: &mut [f32]) {
        let (c, k) = (self.config.width, self.classes());
        let epochs = h.len() / c;
        let h = matrix(h.to_vec(), epochs, c, &self.device);
        let d = matrix(d_logits.to_vec(), epochs, k, &self.device);
        let head = Host::of(h.transpose().matmul(d));
        add(&mut gradients[self.layout.head.clone()], head.values());
        add_columns(&mut gradients[self.layout.head_bias.clone()], d_logits);
    }

    /// The gradient of the embeddings `[epochs, C]` from that of the logits `[epochs, classes]`.
    pub(crate) fn head_input_gradient(&self, weights: &[f32], d_logits: &[f32]) -> Vec<f32> {
        let (c, k) = (self.config.width, self.classes());
        let head = matrix(weights[self.layout.head.clone()].to_vec(), c, k, &self.device);
        let d = matrix(d_logits.to_vec(), d_logits.len() / k, k, &self.device);
        Host::of(d.matmul(head.transpose())).values().to_vec()
    }

    /// Fills the body's places of `gradients` (with `frozen` only the adapters') from the gradient of the embeddings.
    pub(crate) fn backward(
        &self,
        weights: &[f32],
        tape: Tape,
        mut dh: Vec<f32>,
        gradients: &mut [f32],
        frozen: bool,
    ) {
        let epochs = dh.len() / self.config.width;
        for (index, block) in tape.blocks.into_iter().enumerate().rev() {
            self.block(weights, index, epochs).backward(block, &mut dh, gradients, frozen);
        }
        if !frozen {
            add_columns(&mut gradients[self.layout.input_bias.clone()], &dh);
            let d = matrix(dh, epochs, self.config.width, &self.device);
            let encoder = Host::of(tape.input.transpose().matmul(d));
            add(&mut gradients[self.layout.input.clone()], encoder.values());
        }
    }

    fn block<'a>(&'a self, weights: &'a [f32], index: usize, epochs: usize) -> Block<'a> {
        Block {
            places: &self.layout.blocks[index],
            weights,
            channels: self.config.width,
            taps: self.config.kernel,
            phases: Phases::new(epochs, self.config.dilations[index], self.config.kernel),
            device: &self.device,
        }
    }
}

/// `product` `[rows, n]` plus `bias` `[n]` on every row, in host memory.
fn biased(product: Tensor<2>, bias: &[f32]) -> Vec<f32> {
    let product = Host::of(product);
    let mut out = product.values().to_vec();
    dispatch(
        #[inline(always)]
        || {
            for row in out.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        },
    );
    out
}
