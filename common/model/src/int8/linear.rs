//! A linear layer in eight bits: whole numbers are multiplied and added, one scale in the end makes them real again.

use crate::vector::{LANES, dispatch};

/// The largest code; symmetric, so that zero is zero.
const TOP: f32 = 127.0;

/// Weights as codes from -127 to 127, those of one output with one scale; the bias stays as it is.
pub(super) struct Linear {
    inputs: usize,
    /// `[outputs, inputs]`.
    weights: Vec<i8>,
    /// `[outputs]`.
    scales: Vec<f32>,
    /// `[outputs]`.
    bias: Vec<f32>,
}

/// Activations `[rows, width]` as codes.
pub(super) struct Codes {
    width: usize,
    /// From -127 to 127; in 16 bits, since processors multiply those in pairs.
    values: Vec<i16>,
    /// What 1 is, for each row.
    scales: Vec<f32>,
}

impl Codes {
    /// Each row with the scale of its own largest value.
    pub(super) fn of_rows(values: &[f32], width: usize) -> Self {
        let mut codes = vec![0; values.len()];
        let mut scales = vec![0.0; values.len() / width];
        dispatch(
            #[inline(always)]
            || {
                let rows = values.chunks_exact(width).zip(codes.chunks_exact_mut(width));
                for ((row, codes), scale) in rows.zip(&mut scales) {
                    *scale = encode(row, codes);
                }
            },
        );
        Self { width, values: codes, scales }
    }

    /// All rows with one scale, so that sums may run over several of them.
    pub(super) fn of_all(values: &[f32], width: usize) -> Self {
        let mut codes = vec![0; values.len()];
        let scale = dispatch(
            #[inline(always)]
            || encode(values, &mut codes),
        );
        Self { width, values: codes, scales: vec![scale; values.len() / width] }
    }
}

impl Linear {
    /// The nearest codes of `weights` `[inputs, outputs]`.
    pub(super) fn new(weights: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        let inputs = weights.len() / outputs;
        let mut codes = Vec::with_capacity(weights.len());
        let mut wide = vec![0; inputs];
        let scale = |output: usize| {
            let column: Vec<f32> = weights.iter().skip(output).step_by(outputs).copied().collect();
            let scale = encode(&column, &mut wide);
            codes.extend(wide.iter().map(|code| *code as i8));
            scale
        };
        let scales = (0..outputs).map(scale).collect();
        Self { inputs, weights: codes, scales, bias: bias.to_vec() }
    }

    /// `[n, outputs]`, row i from the numbers that begin at row i of `x`: as many as there are inputs, from several rows
    /// if one has fewer. n is the rows for which there are enough.
    pub(super) fn apply(&self, x: &Codes) -> Vec<f32> {
        let outputs = self.bias.len();
        let rows = (x.values.len() + x.width).saturating_sub(self.inputs) / x.width;
        let weights: Vec<i16> = self.weights.iter().map(|code| i16::from(*code)).collect();
        let mut out = vec![0.0; rows * outputs];
        dispatch(
            #[inline(always)]
            || {
                for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
                    let (input, unit) = (&x.values[row * x.width..][..self.inputs], x.scales[row]);
                    let layers = weights.chunks_exact(self.inputs).zip(&self.scales).zip(&self.bias);
                    for (out, ((weights, scale), bias)) in out.iter_mut().zip(layers) {
                        *out = dot(input, weights) * (unit * scale) + bias;
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

/// The nearest codes of `values`, and what 1 is.
#[inline(always)]
fn encode(values: &[f32], codes: &mut [i16]) -> f32 {
    // Adding this number rounds to an integer, ties to even, in the low bits of the sum.
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
    for (code, v) in codes.iter_mut().zip(values) {
        *code = (v * inverse + ROUND).to_bits() as i16;
    }
    largest / TOP
}

/// The sum of products, exact until the end: each of sixteen sums holds those of two million inputs, more than any network
/// has.
#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0i32; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += i32::from(a[i]) * i32::from(b[i]);
        }
    }
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
    (sums.iter().map(|sum| i64::from(*sum)).sum::<i64>() + i64::from(rest)) as f32
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
    }

    #[test]
    fn codes_are_near_and_the_largest_is_exact() {
        let values = numbers(300, 1);
        for codes in [Codes::of_rows(&values, 30), Codes::of_all(&values, 30)] {
            for (i, v) in values.iter().enumerate() {
                let unit = codes.scales[i / 30];
                assert!((f32::from(codes.values[i]) * unit - v).abs() <= 0.501 * unit, "{v}");
            }
            assert_eq!(codes.values.iter().map(|code| code.abs()).max(), Some(127));
        }
        let silent = Codes::of_rows(&[0.0, 0.0, -3.0, 1.0], 2);
        assert_eq!((silent.values, silent.scales[0]), (vec![0, 0, -127, 42], 0.0));
    }

    #[test]
    fn a_layer_of_codes_is_the_layer_but_for_rounding() {
        let (weights, bias, x) = (numbers(90 * 8, 1), numbers(8, 2), numbers(20 * 90, 3));
        let layer = Linear::new(&weights, &bias);
        assert_eq!(layer.bytes(), 90 * 8 + 4 * 16);
        let found = layer.apply(&Codes::of_rows(&x, 90));
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
        let found = layer.apply(&Codes::of_all(&x, 3));
        let exact = |row: usize| -> f32 { x[3 * row..][..6].iter().zip(&weights).map(|(a, b)| a * b).sum() };
        assert_eq!(found, (0..4).map(|row| exact(row) + 0.5).collect::<Vec<_>>());
    }

    #[test]
    fn long_sums_do_not_overflow() {
        let n = 300_000;
        let layer = Linear::new(&vec![1.0; n], &[0.0]);
        let found = layer.apply(&Codes::of_rows(&vec![1.0; n], n));
        assert!((found[0] - n as f32).abs() < 1.0, "{found:?}");
    }
}
