//! What the networks are made of, on activations `[C, B, L]`.

use burn::tensor::{Device, Tensor, TensorData};

use crate::conv::{Slide, conv1d};
use crate::encoder::weights::Weights;

/// Variances below this are no signal; PyTorch's default for every norm.
pub(crate) const EPSILON: f32 = 1e-5;

/// Windows in host memory, each `[T, C]` with the channels of a moment side by side, as activations `[C, B, T]`.
///
/// # Panics
/// When the windows differ in length or are no multiple of `channels`.
pub fn windows<W: AsRef<[f32]>>(windows: &[W], channels: usize, device: &Device) -> Tensor<3> {
    let len = windows.first().map_or(0, |w| w.as_ref().len());
    assert!(len.is_multiple_of(channels), "a window of {len} numbers in {channels} channels");
    let mut values: Vec<f32> = Vec::with_capacity(len * windows.len());
    for channel in 0..channels {
        for window in windows {
            let window = window.as_ref();
            assert_eq!(window.len(), len, "windows of one batch have one length");
            values.extend(window.iter().skip(channel).step_by(channels).copied());
        }
    }
    Tensor::from_data(TensorData::new(values, [channels, windows.len(), len / channels]), device)
}

/// How much longer or shorter a convolution makes its input.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    /// No zeros: only where the filter fits.
    Valid,
    /// As many outputs as positions the stride visits; an even filter has its extra zero at the end.
    Same,
}

/// The convolution `name` with its bias; the filter is `[O, C, taps]` as in PyTorch.
pub(crate) fn conv(
    weights: &Weights,
    name: &str,
    x: Tensor<3>,
    stride: usize,
    dilation: usize,
    padding: Padding,
) -> Tensor<3> {
    let bias = weights.get::<1>(&format!("{name}.bias"));
    filtered(weights, name, x, stride, dilation, padding) + column(bias)
}

/// [`conv`] before its bias.
pub(crate) fn filtered(
    weights: &Weights,
    name: &str,
    x: Tensor<3>,
    stride: usize,
    dilation: usize,
    padding: Padding,
) -> Tensor<3> {
    let filter = weights.get::<3>(&format!("{name}.weight"));
    let [outputs, channels, taps] = filter.dims();
    let filter = filter.permute([0, 2, 1]).reshape([outputs, taps * channels]);
    let zeros = match padding {
        Padding::Valid => 0,
        Padding::Same => dilation * (taps - 1),
    };
    // Zeros on both sides are left to the convolution; one more at the end makes an even filter keep the length.
    let x = if zeros.is_multiple_of(2) {
        x
    } else {
        let [channels, batch, _] = x.dims();
        let zero = Tensor::zeros([channels, batch, 1], &x.device());
        Tensor::cat(vec![x, zero], 2)
    };
    conv1d(x, filter, taps, Slide { stride, padding: zeros / 2, dilation })
}

/// The linear layer `name` on rows `[B, inputs]`; its matrix is `[outputs, inputs]` as in PyTorch.
pub(crate) fn linear(weights: &Weights, name: &str, x: Tensor<2>) -> Tensor<2> {
    let matrix = weights.get::<2>(&format!("{name}.weight"));
    let bias = weights.get::<1>(&format!("{name}.bias"));
    x.matmul(matrix.transpose()) + bias.unsqueeze()
}

/// Per-channel numbers `[C]` beside activations.
pub(crate) fn column(channels: Tensor<1>) -> Tensor<3> {
    let len = channels.dims()[0];
    channels.reshape([len, 1, 1])
}

/// The group norm `name` (Wu and He 2018): each sample's groups of channels to mean 0 and variance 1, then gain and shift.
pub(crate) fn group_norm(weights: &Weights, name: &str, x: Tensor<3>, groups: usize) -> Tensor<3> {
    let [channels, batch, _] = x.dims();
    // Means of rows, then means of those few numbers: the rows are contiguous, groups are not.
    let pooled = |rows: Tensor<3>| {
        let grouped = rows.reshape([groups, channels / groups, batch]).mean_dim(1);
        grouped.expand([groups, channels / groups, batch]).reshape([channels, batch, 1])
    };
    let centred = x.clone() - pooled(x.mean_dim(2));
    let variance = pooled(centred.clone().square().mean_dim(2));
    let gain = column(weights.get(&format!("{name}.weight"))) / (variance + EPSILON).sqrt();
    centred * gain + column(weights.get(&format!("{name}.bias")))
}

/// Each channel of each sample to mean 0 and variance 1 over time.
pub(crate) fn instance_norm(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    centred / (variance + EPSILON).sqrt()
}

/// The mean over time, `[C, B, L]` to `[B, C]`.
pub(crate) fn mean_over_time(x: Tensor<3>) -> Tensor<2> {
    let [channels, batch, _] = x.dims();
    x.mean_dim(2).reshape([channels, batch]).transpose()
}
