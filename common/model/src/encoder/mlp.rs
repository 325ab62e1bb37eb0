//! Small heads on embeddings: linear layers with rectifiers between them.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

use crate::encoder::layers::linear;
use crate::encoder::weights::{Spec, Weights, affine};

/// A projection or a prediction behind an encoder, thrown away when the encoder is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mlp {
    /// Before the names of its weights.
    pub name: &'static str,
    /// Inputs, hidden units of each layer, outputs: at least two numbers.
    pub sizes: Vec<usize>,
}

impl Mlp {
    /// Its weights, `NAME.0.weight` `[outputs, inputs]` and so on.
    pub fn specs(&self) -> Vec<Spec> {
        let layer = |(i, ends): (usize, &[usize])| affine(&format!("{}.{i}", self.name), &[ends[1], ends[0]]);
        self.sizes.windows(2).enumerate().flat_map(layer).collect()
    }

    /// Rows `[B, inputs]` to `[B, outputs]`.
    pub fn apply(&self, weights: &Weights, rows: Tensor<2>) -> Tensor<2> {
        let last = self.sizes.len().saturating_sub(2);
        (0..self.sizes.len() - 1).fold(rows, |rows, i| {
            let rows = linear(weights, &format!("{}.{i}", self.name), rows);
            if i < last { relu(rows) } else { rows }
        })
    }
}
