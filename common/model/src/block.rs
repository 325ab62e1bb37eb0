//! One residual block of the mixer, forward and backward: layer norm over channels, dilated convolution, GELU, dropout.
//!
//! Written by hand rather than recorded by autodiff: a step is then four matrix products and four passes over the
//! activations a block, where elementwise tensor operations would make some forty. The gradients are checked against
//! autodiff of the same formula in this crate's tests. Activations are `[epochs, C]`, channels last.

use burn::tensor::{Device, Tensor};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use crate::adapter::{self, AdapterTape};
use crate::conv::{self, Phases};
use crate::matrix::{Host, matrix};
use crate::params::BlockPlaces;
use crate::vector::{LANES, add, dispatch, fold, gelu};

/// Added to variances, as in PyTorch's layer norm.
pub(crate) const EPSILON: f32 = 1e-5;

/// One block of one network over one night.
pub(crate) struct Block<'a> {
    pub(crate) places: &'a BlockPlaces,
    /// All weights of the network.
    pub(crate) weights: &'a [f32],
    pub(crate) channels: usize,
    pub(crate) taps: usize,
    pub(crate) phases: Phases,
    pub(crate) device: &'a Device,
}

/// What the backward pass needs of the forward pass. Rows are in the order of [`Phases::each`].
pub(crate) struct BlockTape {
    /// Input of the convolution with its padding, `[rows, C]`.
    padded: Tensor<2>,
    /// Normalised input before gain and shift, `[epochs, C]`.
    normed: Vec<f32>,
    /// One over the standard deviation, `[epochs]`.
    inverse: Vec<f32>,
    /// Slope of GELU and dropout together, `[epochs, C]`.
    gate: Vec<f32>,
    adapter: Option<AdapterTape>,
}

/// Which units a training step silences, and how the others make up for it.
pub(crate) struct Dropout<'a> {
    pub(crate) rng: &'a mut ChaCha8Rng,
    /// Probability in 256ths: one byte of chance decides a unit.
    pub(crate) threshold: u8,
}

impl<'a> Dropout<'a> {
    /// Dropout by the nearest 256th of `probability`, or none.
    pub(crate) fn new(probability: f32, rng: &'a mut ChaCha8Rng) -> Option<Self> {
        let threshold = (probability * 256.0).round().clamp(0.0, 255.0) as u8;
        (threshold > 0).then_some(Self { rng, threshold })
    }

    /// What the units that stay are multiplied by, so that the expectation is unchanged.
    pub(crate) fn scale(&self) -> f32 {
        256.0 / (256.0 - f32::from(self.threshold))
    }

    /// One byte for each of `units`.
    pub(crate) fn draw(&mut self, units: usize) -> Vec<u8> {
        let mut bytes = vec![0; units];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}

impl Block<'_> {
    /// Adds the block's residual to `h` `[epochs, C]`.
    pub(crate) fn forward(&self, h: &mut [f32], dropout: Option<&mut Dropout<'_>>) -> BlockTape {
        let (padded, normed, inverse) = self.norm(h);
        let padded = matrix(padded, self.phases.rows(), self.channels, self.device);
        let weight = self.weights[self.places.weight.clone()].to_vec();
        let weight = matrix(weight, self.taps * self.channels, self.channels, self.device);
        let product = Host::of(conv::forward(padded.clone(), weight, self.taps)); // [outputs, C]
        let gate = self.activate(h, product.values(), dropout);
        let adapter = self
            .places
            .adapter
            .as_ref()
            .map(|places| adapter::forward(places, self.weights, h, self.channels, self.device));
        BlockTape { padded, normed, inverse, gate, adapter }
    }

    /// Turns `dh`, the gradient of the block's output, into that of its input, and fills the block's places of
    /// `gradients`. With `frozen` only those of the adapter.
    pub(crate) fn backward(&self, tape: BlockTape, dh: &mut [f32], gradients: &mut [f32], frozen: bool) {
        if let (Some(places), Some(tape)) = (&self.places.adapter, tape.adapter) {
            adapter::backward(places, self.weights, tape, dh, gradients, self.channels, self.device);
        }
        let (padded, bias) = self.through_gate(dh, &tape.gate);
        let padded = matrix(padded, self.phases.rows(), self.channels, self.device);
        let back = &self.weights[self.places.weight.clone()];
        let back = conv::reversed(back, self.taps, self.channels, self.device);
        let product = Host::of(conv::forward(padded.clone(), back, self.taps)); // [outputs, C]
        let (gain, shift) = self.norm_backward(dh, product.values(), &tape.normed, &tape.inverse);
        if !frozen {
            let weight = Host::of(conv::weight_gradient(tape.padded, padded, self.taps));
            add(&mut gradients[self.places.weight.clone()], weight.values());
            add(&mut gradients[self.places.bias.clone()], &bias);
            add(&mut gradients[self.places.gain.clone()], &gain);
            add(&mut gradients[self.places.shift.clone()], &shift);
        }
    }

    /// Layer norm of each epoch over its channels (Ba et al. 2016): the padded input of the convolution, the normalised
    /// values, and one over the standard deviation.
    fn norm(&self, h: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let c = self.channels;
        let mut padded = vec![0.0; self.phases.rows() * c];
        let mut normed = vec![0.0; h.len()];
        let mut inverse = vec![0.0; h.len() / c];
        let gain = lanes(&self.weights[self.places.gain.clone()]);
        let shift = lanes(&self.weights[self.places.shift.clone()]);
        let (half, part) = (self.phases.half(), 1.0 / c as f32);
        dispatch(
            #[inline(always)]
            || {
                let mut next = 0;
                self.phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let input = lanes(&h[epoch * c..][..c]);
                        let out = lanes_mut(&mut padded[(row + half) * c..][..c]);
                        let normed = lanes_mut(&mut normed[next * c..][..c]);
                        let mean = sum(input.iter(), |v| v) * part;
                        let deviation = |v| (v - mean) * (v - mean);
                        let scale = 1.0 / (sum(input.iter(), deviation) * part + EPSILON).sqrt();
                        for ((((x, out), normed), gain), shift) in
                            input.iter().zip(out).zip(normed).zip(gain).zip(shift)
                        {
                            for i in 0..LANES {
                                normed[i] = (x[i] - mean) * scale;
                                out[i] = normed[i] * gain[i] + shift[i];
                            }
                        }
                        inverse[next] = scale;
                        next += 1;
                    },
                );
            },
        );
        (padded, normed, inverse)
    }

    /// Bias, GELU, dropout and the residual sum in one pass; returns the slopes for the way back.
    fn activate(&self, h: &mut [f32], product: &[f32], dropout: Option<&mut Dropout<'_>>) -> Vec<f32> {
        let c = self.channels;
        let mut gate = vec![0.0; h.len()];
        let bias = lanes(&self.weights[self.places.bias.clone()]);
        let (threshold, scale, mask) = match dropout {
            Some(dropout) => (dropout.threshold, dropout.scale(), dropout.draw(h.len())),
            None => (0, 1.0, vec![0; h.len()]),
        };
        dispatch(
            #[inline(always)]
            || {
                let mut next = 0;
                self.phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let product = lanes(&product[row * c..][..c]);
                        let mask = mask[next * c..][..c].as_chunks::<LANES>().0;
                        let h = lanes_mut(&mut h[epoch * c..][..c]);
                        let gate = lanes_mut(&mut gate[next * c..][..c]);
                        for ((((x, mask), h), gate), bias) in
                            product.iter().zip(mask).zip(h).zip(gate).zip(bias)
                        {
                            for i in 0..LANES {
                                let keep = if mask[i] >= threshold { scale } else { 0.0 };
                                let (y, slope) = gelu(x[i] + bias[i]);
                                h[i] += keep * y;
                                gate[i] = keep * slope;
                            }
                        }
                        next += 1;
                    },
                );
            },
        );
        gate
    }

    /// The gradient at the convolution's result, padded, and its sum over epochs (the bias's gradient).
    fn through_gate(&self, dh: &[f32], gate: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let c = self.channels;
        let mut padded = vec![0.0; self.phases.rows() * c];
        let mut bias = vec![0.0; c];
        let half = self.phases.half();
        dispatch(
            #[inline(always)]
            || {
                let mut next = 0;
                self.phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let dh = lanes(&dh[epoch * c..][..c]);
                        let gate = lanes(&gate[next * c..][..c]);
                        let out = lanes_mut(&mut padded[(row + half) * c..][..c]);
                        for (((dh, gate), out), bias) in
                            dh.iter().zip(gate).zip(out).zip(lanes_mut(&mut bias))
                        {
                            for i in 0..LANES {
                                out[i] = dh[i] * gate[i];
                                bias[i] += out[i];
                            }
                        }
                        next += 1;
                    },
                );
            },
        );
        (padded, bias)
    }

    /// Adds the gradient through the layer norm to `dh`; returns the gradients of gain and shift.
    fn norm_backward(
        &self,
        dh: &mut [f32],
        product: &[f32],
        normed: &[f32],
        inverse: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let c = self.channels;
        let (mut d_gain, mut d_shift) = (vec![0.0; c], vec![0.0; c]);
        let gain = lanes(&self.weights[self.places.gain.clone()]);
        let part = 1.0 / c as f32;
        dispatch(
            #[inline(always)]
            || {
                let mut next = 0;
                self.phases.each(
                    #[inline(always)]
                    |epoch, row| {
                        let dx = lanes(&product[row * c..][..c]);
                        let normed = lanes(&normed[next * c..][..c]);
                        let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
                        let sums = lanes_mut(&mut d_gain).iter_mut().zip(lanes_mut(&mut d_shift));
                        for (((dx, x), gain), (d_gain, d_shift)) in dx.iter().zip(normed).zip(gain).zip(sums)
                        {
                            for i in 0..LANES {
                                let dy = dx[i] * gain[i];
                                d_gain[i] += dx[i] * x[i];
                                d_shift[i] += dx[i];
                                first[i] += dy;
                                second[i] += dy * x[i];
                            }
                        }
                        let (mean, along, scale) = (fold(&first) * part, fold(&second) * part, inverse[next]);
                        let dh = lanes_mut(&mut dh[epoch * c..][..c]);
                        for (((dh, dx), x), gain) in dh.iter_mut().zip(dx).zip(normed).zip(gain) {
                            for i in 0..LANES {
                                dh[i] += scale * (dx[i] * gain[i] - mean - x[i] * along);
                            }
                        }
                        next += 1;
                    },
                );
            },
        );
        (d_gain, d_shift)
    }
}

/// A row as whole lanes; rows are multiples of [`LANES`] long.
#[inline(always)]
pub(crate) fn lanes(row: &[f32]) -> &[[f32; LANES]] {
    row.as_chunks().0
}

#[inline(always)]
fn lanes_mut(row: &mut [f32]) -> &mut [[f32; LANES]] {
    row.as_chunks_mut().0
}

#[inline(always)]
pub(crate) fn sum<'a>(row: impl Iterator<Item = &'a [f32; LANES]>, of: impl Fn(f32) -> f32) -> f32 {
    let mut total = [0.0; LANES];
    for lanes in row {
        for i in 0..LANES {
            total[i] += of(lanes[i]);
        }
    }
    fold(&total)
}
