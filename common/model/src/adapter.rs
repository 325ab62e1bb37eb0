//! The residual adapter behind a block (Houlsby et al. 2019): a small bottleneck that can be trained while the block
//! stays as it is. `h + up(gelu(down(h)))`, with `up` zero at first.

use burn::tensor::{Device, Tensor};

use crate::matrix::{Host, matrix};
use crate::params::AdapterPlaces;
use crate::vector::{add, add_columns, dispatch, gelu};

/// What the backward pass needs of the forward pass, bottleneck `b`.
pub(crate) struct AdapterTape {
    /// `[epochs, C]`.
    input: Tensor<2>,
    /// After GELU, `[epochs, b]`.
    active: Tensor<2>,
    /// Slope of GELU, `[epochs, b]`.
    slope: Vec<f32>,
}

/// Adds the adapter's residual to `h` `[epochs, C]`.
pub(crate) fn forward(
    places: &AdapterPlaces,
    weights: &[f32],
    h: &mut [f32],
    channels: usize,
    device: &Device,
) -> AdapterTape {
    let (epochs, b) = (h.len() / channels, places.down_bias.len());
    let input = matrix(h.to_vec(), epochs, channels, device);
    let down = matrix(weights[places.down.clone()].to_vec(), channels, b, device);
    let product = Host::of(input.clone().matmul(down)); // [epochs, b]
    let bias = &weights[places.down_bias.clone()];
    let mut active = vec![0.0; epochs * b];
    let mut slope = vec![0.0; epochs * b];
    dispatch(
        #[inline(always)]
        || {
            let rows = product.values().chunks_exact(b).zip(active.chunks_exact_mut(b));
            for ((x, y), slope) in rows.zip(slope.chunks_exact_mut(b)) {
                for (((x, y), slope), bias) in x.iter().zip(y).zip(slope).zip(bias) {
                    (*y, *slope) = gelu(x + bias);
                }
            }
        },
    );
    let active = matrix(active, epochs, b, device);
    let up = matrix(weights[places.up.clone()].to_vec(), b, channels, device);
    let product = Host::of(active.clone().matmul(up)); // [epochs, C]
    let bias = &weights[places.up_bias.clone()];
    add(h, product.values());
    dispatch(
        #[inline(always)]
        || {
            for row in h.chunks_exact_mut(channels) {
                for (h, bias) in row.iter_mut().zip(bias) {
                    *h += bias;
                }
            }
        },
    );
    AdapterTape { input, active, slope }
}

/// Adds the gradient through the adapter to `dh` and fills the adapter's places of `gradients`.
pub(crate) fn backward(
    places: &AdapterPlaces,
    weights: &[f32],
    tape: AdapterTape,
    dh: &mut [f32],
    gradients: &mut [f32],
    channels: usize,
    device: &Device,
) {
    let (epochs, b) = (dh.len() / channels, places.down_bias.len());
    add_columns(&mut gradients[places.up_bias.clone()], dh);
    let outer = matrix(dh.to_vec(), epochs, channels, device);
    let up = Host::of(tape.active.transpose().matmul(outer.clone()));
    add(&mut gradients[places.up.clone()], up.values());

    let up = matrix(weights[places.up.clone()].to_vec(), b, channels, device);
    let product = Host::of(outer.matmul(up.transpose())); // [epochs, b]
    let mut inner = tape.slope;
    for (slope, d) in inner.iter_mut().zip(product.values()) {
        *slope *= d;
    }
    add_columns(&mut gradients[places.down_bias.clone()], &inner);
    let inner = matrix(inner, epochs, b, device);
    let down = Host::of(tape.input.transpose().matmul(inner.clone()));
    add(&mut gradients[places.down.clone()], down.values());

    let down = matrix(weights[places.down.clone()].to_vec(), channels, b, device);
    let product = Host::of(inner.matmul(down.transpose())); // [epochs, C]
    add(dh, product.values());
}
