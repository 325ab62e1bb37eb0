//! Directions and logarithms of sums, without infinities in value or slope.

use burn::tensor::{Bool, Tensor};

/// What a masked-out exponent is set to: its exponential is zero next to anything.
const NOTHING: f32 = -1e30;

/// Rows `[.., E]` scaled to length 1; a zero row stays zero, and its gradient finite.
pub(crate) fn unit<const D: usize>(rows: Tensor<D>) -> Tensor<D> {
    let length = (rows.clone().square().sum_dim(D - 1) + 1e-12).sqrt();
    rows / length
}

/// The cosine between rows of two matrices `[B, E]`, `[B]`.
pub(crate) fn cosine(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let batch = a.dims()[0];
    (unit(a) * unit(b)).sum_dim(1).reshape([batch])
}

/// `log sum exp` over the last axis where `left_out` is false; that axis becomes 1.
pub(crate) fn log_sum_exp<const D: usize>(x: Tensor<D>, left_out: Tensor<D, Bool>) -> Tensor<D> {
    let x = x.mask_fill(left_out, NOTHING);
    let top = x.clone().inner().max_dim(D - 1);
    (x - top.clone()).exp().sum_dim(D - 1).log() + top
}
