//! One-dimensional convolution as one matrix product; every convolution of this crate is here.
//!
//! [`conv1d`] is for networks under burn's autodiff (encoders): the taps are laid side by side (im2col) and multiplied
//! once. The mixer's blocks, which dominate the training of a hub, use `Phases`: activations are held channels-last
//! and sorted so that the taps of a dilated convolution are neighbours in memory. Then the im2col matrix is an
//! overlapping *view* of the activations and no copy is made, neither forward nor backward.

use burn::tensor::{Device, Tensor};

use crate::matrix::matrix;

/// How one-dimensional filters slide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slide {
    /// Outputs per input: every `stride`-th position is computed.
    pub stride: usize,
    /// Zeros on either side.
    pub padding: usize,
    /// Distance between taps.
    pub dilation: usize,
}

/// Convolution (cross-correlation) of `x` `[C, B, L]` with `weight` `[O, taps * C]`, to `[O, B, L']`.
///
/// `weight` holds for each output the taps in order, each with its input channels: column `t * C + c`. Activations are
/// channels-first over the whole batch, so that one matrix product serves it: `[O, taps * C] @ [taps * C, B * L']`.
/// `L' = (L + 2 padding - dilation (taps - 1) - 1) / stride + 1`.
///
/// # Panics
/// When `taps * C` is not the width of `weight`, or the padded input is shorter than the filter.
pub fn conv1d(x: Tensor<3>, weight: Tensor<2>, taps: usize, slide: Slide) -> Tensor<3> {
    let [channels, batch, len] = x.dims();
    let [outputs, columns] = weight.dims();
    assert_eq!(columns, taps * channels, "the filter's width");
    let Slide { stride, padding, dilation } = slide;
    let span = dilation * (taps - 1) + 1;
    let padded_len = len + 2 * padding;
    assert!(padded_len >= span, "a filter of {span} on {padded_len} samples");
    let out_len = (padded_len - span) / stride + 1;
    let padded = if padding > 0 {
        let zeros = Tensor::<3>::zeros([channels, batch, padding], &x.device());
        Tensor::cat(vec![zeros.clone(), x, zeros], 2) // [C, B, L + 2 padding]
    } else {
        x
    };
    let taps: Vec<Tensor<3>> = (0..taps)
        .map(|tap| {
            let from = tap * dilation;
            let to = from + (out_len - 1) * stride + 1;
            padded.clone().slice(burn::tensor::s![.., .., from..to;stride]) // [C, B, L']
        })
        .collect();
    let columns: Tensor<2> = Tensor::cat(taps, 0).reshape([columns, batch * out_len]);
    weight.matmul(columns).reshape([outputs, batch, out_len])
}

/// Where the epochs of a night stand so that a dilated convolution sees its taps side by side.
///
/// With dilation d the epochs fall into d phases (those at 0, d, 2d, .., at 1, d + 1, ..) that never meet. Each phase
/// becomes one run of rows, runs are separated by `half` rows of zeros (the convolution's padding), and over the whole
/// the convolution has dilation 1: output row r reads the rows r..r + taps, which is a window of one contiguous slice.
/// Cost: (d - 1) * half rows of padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    epochs: usize,
    dilation: usize,
    half: usize,
    /// Rows of one phase.
    run: usize,
}

impl Phases {
    pub(crate) fn new(epochs: usize, dilation: usize, taps: usize) -> Self {
        // A dilation longer than the night leaves phases empty; they would only cost padding.
        let dilation = dilation.min(epochs.max(1));
        Self { epochs, dilation, half: taps / 2, run: epochs.div_ceil(dilation) }
    }

    /// Rows of the padded buffer.
    pub(crate) fn rows(&self) -> usize {
        self.outputs() + 2 * self.half
    }

    /// Rows of the convolution's result.
    pub(crate) fn outputs(&self) -> usize {
        self.dilation * (self.run + self.half) - self.half
    }

    /// Rows of padding at the beginning of the buffer: output row r is centred on row r + `half`.
    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// Calls `visit(epoch, row)` for every epoch, `row` being its row in the result.
    #[inline(always)]
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, usize)) {
        for phase in 0..self.dilation {
            let first = phase * (self.run + self.half);
            for (i, epoch) in (phase..self.epochs).step_by(self.dilation).enumerate() {
                visit(epoch, first + i);
            }
        }
    }
}

/// The sliding windows of a padded buffer `[rows, C]`: `[rows - taps + 1, taps * C]`, a view where the device has views.
fn windows(padded: Tensor<2>, taps: usize) -> Tensor<2> {
    let [rows, channels] = padded.dims();
    padded.reshape([rows * channels]).unfold::<2, _>(0, taps * channels, channels)
}

/// The convolution of a padded buffer `[rows, C]` with `weight` `[taps * C, O]`, to `[outputs, O]`.
pub(crate) fn forward(padded: Tensor<2>, weight: Tensor<2>, taps: usize) -> Tensor<2> {
    windows(padded, taps).matmul(weight)
}

/// The gradient of the weights, `[taps * C, O]`, from the padded input `[rows, C]` and the padded gradient `[rows, O]`.
pub(crate) fn weight_gradient(padded: Tensor<2>, gradient: Tensor<2>, taps: usize) -> Tensor<2> {
    let [rows, outputs] = gradient.dims();
    let half = taps / 2;
    let centred = gradient.slice([half..rows - half, 0..outputs]);
    windows(padded, taps).transpose().matmul(centred)
}

/// The filter that carries gradients back: taps in reverse order, inputs and outputs exchanged.
///
/// `weight` is `[taps * C, O]`; the result `[taps * O, C]`, so that the gradient of the input is [`forward`] of the
/// padded gradient with it.
pub(crate) fn reversed(weight: &[f32], taps: usize, channels: usize, device: &Device) -> Tensor<2> {
    let outputs = weight.len() / (taps * channels);
    let mut back = vec![0.0; weight.len()];
    let size = channels * outputs;
    for (tap, to) in back.chunks_exact_mut(size).enumerate() {
        let from = &weight[(taps - 1 - tap) * size..][..size]; // [C, O]
        for (o, row) in to.chunks_exact_mut(channels).enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = from[c * outputs + o];
            }
        }
    }
    matrix(back, taps * outputs, channels, device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn::tensor::module::conv1d as stock;
    use burn::tensor::ops::ConvOptions;

    use super::*;

    /// Numbers without a pattern, the same on every run.
    fn numbers<const D: usize>(shape: [usize; D], salt: f32, device: &Device) -> Tensor<D> {
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| ((i as f32 + salt) * 12.9898).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn assert_close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
        assert_eq!(a.dims(), b.dims());
        let largest: f32 = b.clone().abs().max().into_scalar();
        let worst: f32 = (a - b).abs().max().into_scalar();
        assert!(worst <= 1e-5 * largest.max(1.0), "{worst} of {largest}");
    }

    #[test]
    fn im2col_is_the_stock_convolution_forward_and_backward() {
        let (c, o, batch, len, taps) = (3, 5, 2, 41, 5);
        for (stride, padding, dilation) in [(1, 0, 1), (1, 2, 1), (2, 3, 1), (1, 8, 4), (3, 4, 2)] {
            let device = Device::flex().autodiff();
            let x = numbers([batch, c, len], 0.0, &device).require_grad();
            let w = numbers([o, c, taps], 1e3, &device).require_grad();

            let expected =
                stock(x.clone(), w.clone(), None, ConvOptions::new([stride], [padding], [dilation], 1));
            let flat = w.clone().permute([0, 2, 1]).reshape([o, taps * c]);
            let ours = conv1d(x.clone().permute([1, 0, 2]), flat, taps, Slide { stride, padding, dilation });
            let ours = ours.permute([1, 0, 2]);
            assert_close(ours.clone().inner(), expected.clone().inner());

            let pull = numbers(expected.dims(), 2e3, &device);
            let theirs = (expected * pull.clone()).sum().backward();
            let ours = (ours * pull).sum().backward();
            assert_close(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap());
            assert_close(w.grad(&ours).unwrap(), w.grad(&theirs).unwrap());
        }
    }

    #[test]
    fn phases_visit_every_epoch_once_and_never_touch() {
        for (epochs, dilation) in [(1, 1), (10, 1), (10, 3), (10, 10), (10, 64), (960, 32), (951, 16)] {
            let phases = Phases::new(epochs, dilation, 7);
            let mut row_of = vec![None; epochs];
            phases.each(|epoch, row| {
                assert!(row < phases.outputs() && row_of[epoch].replace(row).is_none());
            });
            let row_of: Vec<usize> = row_of.into_iter().map(Option::unwrap).collect();
            for (a, row) in row_of.iter().enumerate() {
                for (b, other) in row_of.iter().enumerate() {
                    let near = row.abs_diff(*other) <= 3;
                    let taps = (-3..=3isize).any(|t| a as isize + t * dilation as isize == b as isize);
                    assert_eq!(near, taps, "{epochs} epochs, dilation {dilation}: {a} and {b}");
                }
            }
        }
    }
}
