//! A linear layer in eight bits: whole numbers are multiplied and added, one scale in the end makes them real again.
//!
//! The products are those of the f32 engine. Codes and their sums are whole numbers, and below 2^24, a thousand inputs at
//! their largest, f32 holds them exactly: the result is that of 32-bit integers. Loops of integers were tried: without
//! instructions for eight bits, which safe Rust does not reach, they took two to seven times as long.

use burn::tensor::{Device, Tensor};

use crate::conv;
use crate::matrix::{Host, matrix};
use crate::vector::{LANES, dispatch};

/// The largest code; symmetric, so that zero is zero.
const TOP: f32 = 127.0;

/// Weights as codes from -127 to 127, those of one output with one scale; the bias stays as it is.
pub(super) struct Linear {
    inputs: usize,
    /// `[inputs, outputs]`.
    weights: Vec<i8>,
    /// `[outputs]`.
    scales: Vec<f32>,
    /// `[outputs]`.
    bias: Vec<f32>,
}

/// Activations `[rows, width]` as codes from -127 to 127.
pub(super) struct Codes {
    width: usize,
    values: Vec<f32>,
    /// What 1 is, for each row.
    scales: Vec<f32>,
}

impl Codes {
    /// Each row with the scale of its own largest value.
    pub(super) fn of_rows(mut values: Vec<f32>, width: usize) -> Self {
        let mut scales = vec![0.0; values.len() / width];
        dispatch(
            #[inline(always)]
            || {
                for (row, scale) in values.chunks_exact_mut(width).zip(&mut scales) {
                    *scale = encode(row);
                }
            },
        );
        Self { width, values, scales }
    }

    /// All rows with one scale, so that sums may run over several of them.
    pub(super) fn of_all(mut values: Vec<f32>, width: usize) -> Self {
        let scale = dispatch(
            #[inline(always)]
            || encode(&mut values),
        );
        let scales = vec![scale; values.len() / width];
        Self { width, values, scales }
    }
}

impl Linear {
    /// The nearest codes of `weights` `[inputs, outputs]`.
    pub(super) fn new(weights: &[f32], bias: &[f32]) -> Self {
        let (outputs, inputs) = (bias.len(), weights.len() / bias.len());
        let mut codes = vec![0; weights.len()];
        let scale = |output: usize| {
            let mut column: Vec<f32> = weights.iter().skip(output).step_by(outputs).copied().collect();
            let scale = encode(&mut column);
            for (code, v) in codes.iter_mut().skip(output).step_by(outputs).zip(column) {
                *code = v as i8;
            }
            scale
        };
        let scales = (0..outputs).map(scale).collect();
        Self { inputs, weights: codes, scales, bias: bias.to_vec() }
    }

    /// `[n, outputs]`, row i from the numbers that begin at row i of `x`: as many as there are inputs, from several rows
    /// if one has fewer. n is the rows for which there are enough.
    pub(super) fn apply(&self, x: Codes, device: &Device) -> Vec<f32> {
        let Codes { width, values, scales } = x;
        let outputs = self.bias.len();
        let weights = self.weights.iter().map(|code| f32::from(*code)).collect();
        let weights = matrix(weights, self.inputs, outputs, device);
        let input: Tensor<2> = matrix(values, scales.len(), width, device);
        let product = match self.inputs / width {
            1 => input.matmul(weights),
            rows => conv::forward(input, weights, rows),
        };
        let mut out = Host::of(product).values().to_vec();
        dispatch(
            #[inline(always)]
            || {
                for (out, unit) in out.chunks_exact_mut(outputs).zip(&scales) {
                    for ((out, scale), bias) in out.iter_mut().zip(&self.scales).zip(&self.bias) {
                        *out = *out * (unit * scale) + bias;
                    }
                }
            },
        );
        out
    }

    /// What it takes in a file or in memory: a byte for a weight, four for a scale or bias.
    pub(super) fn bytes(&self) -> usize {
        self.weights.len() + 4 * (self.scales.len() + self.bias.len())
    }
}

/// Replaces `values` by the nearest codes; what 1 is.
#[inline(always)]
fn encode(values: &mut [f32]) -> f32 {
    // Adding this number rounds to an integer, ties to even, and taking it away leaves that.
    const ROUND: f32 = 12_582_912.0;
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut largest = [0.0f32; LANES];
    for block in blocks {
        for i in 0..LANES {
            let size = block[i].abs();
            largest[i] = if size > largest[i] { size } else { largest[i] };
        }
    }
    let largest = largest.iter().chain(rest).fold(0.0f32, |a, v| a.max(v.abs()));
    let inverse = if largest > 0.0 { TOP / largest } else { 0.0 };
    for v in values {
        *v = (*v * inverse + ROUND) - ROUND;
    }
    largest / TOP
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;

    fn device() -> Device {
        DeviceKind::Flex.open()
    }

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
    }

    #[test]
    fn codes_are_near_and_the_largest_is_exact() {
        let values = numbers(300, 1);
        for codes in [Codes::of_rows(values.clone(), 30), Codes::of_all(values.clone(), 30)] {
            for (i, v) in values.iter().enumerate() {
                let unit = codes.scales[i / 30];
                assert!((codes.values[i] * unit - v).abs() <= 0.501 * unit, "{v}");
            }
            assert_eq!(codes.values.iter().fold(0.0f32, |a, code| a.max(code.abs())), 127.0);
        }
        let silent = Codes::of_rows(vec![0.0, 0.0, -3.0, 1.0], 2);
        assert_eq!((silent.values, silent.scales[0]), (vec![0.0, 0.0, -127.0, 42.0], 0.0));
    }

    #[test]
    fn a_layer_of_codes_is_the_layer_but_for_rounding() {
        let (weights, bias, x) = (numbers(90 * 8, 1), numbers(8, 2), numbers(20 * 90, 3));
        let layer = Linear::new(&weights, &bias);
        assert_eq!(layer.bytes(), 90 * 8 + 4 * 16);
        let found = layer.apply(Codes::of_rows(x.clone(), 90), &device());
        assert_eq!(found.len(), 20 * 8);
        for (i, found) in found.iter().enumerate() {
            let (row, output) = (&x[i / 8 * 90..][..90], i % 8);
            let exact: f32 = row.iter().enumerate().map(|(c, v)| v * weights[c * 8 + output]).sum();
            // Two roundings of at most half of 2 / 127 each, on 90 products of numbers up to 2; by chance they nearly cancel.
            assert!((found - exact - bias[output]).abs() < 0.6, "{found} {exact}");
        }
    }

    #[test]
    fn sums_over_several_rows_slide_by_one() {
        // Two rows of three numbers each make an output.
        let weights: Vec<f32> = vec![127.0, -127.0, 64.0, 1.0, 2.0, 3.0];
        let layer = Linear::new(&weights, &[0.5]);
        let x: Vec<f32> = (0..12).map(|v| v as f32 - 100.0).chain([127.0; 3]).collect();
        let x: Vec<f32> = x.iter().map(|v| v.round()).collect();
        let found = layer.apply(Codes::of_all(x.clone(), 3), &device());
        let exact = |row: usize| -> f32 { x[3 * row..][..6].iter().zip(&weights).map(|(a, b)| a * b).sum() };
        assert_eq!(found, (0..4).map(|row| exact(row) + 0.5).collect::<Vec<_>>());
    }

    #[test]
    fn the_largest_sums_of_a_thousand_inputs_are_exact() {
        let n = 1_040;
        let layer = Linear::new(&vec![127.0; n], &[0.0]);
        let mut x = vec![127.0; n];
        x[7] = 126.0;
        assert_eq!(layer.apply(Codes::of_rows(x, n), &device()), [127.0 * (127.0 * n as f32 - 1.0)]);
    }
}
