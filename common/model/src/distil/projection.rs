//! Embeddings of two widths compared: a learned linear map of the student's, layer norm of both sides, mean square.
//!
//! The map is thrown away at the end; its weights lie behind the network's while it is learned.

use std::ops::Range;

use burn::tensor::Device;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::matrix::{Host, matrix};
use crate::net::Net;
use crate::vector::add;

/// Added to variances, as in the network's own layer norms.
const EPSILON: f32 = 1e-5;

/// The map W, `[C_student, C_teacher]`.
pub(crate) struct Projection {
    pub(crate) weight: Range<usize>,
    student: usize,
    teacher: usize,
    device: Device,
}

impl Projection {
    /// Its place behind the `len` weights of the student.
    pub(super) fn behind(student: &Net, teacher: &Net, len: usize) -> Self {
        let (own, taught) = (student.config.width, teacher.config.width);
        Self {
            weight: len..len + own * taught,
            student: own,
            teacher: taught,
            device: student.device.clone(),
        }
    }

    /// First weights, as an untrained layer has them.
    pub(crate) fn start(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let bound = 1.0 / (self.student as f32).sqrt();
        self.weight.clone().map(|_| rng.random_range(-bound..=bound)).collect()
    }

    /// The mean over epochs of `||norm(W f) - norm(g)||^2 / d`, where f is `[epochs, C_student]` and g `[epochs, C_teacher]`.
    /// Adds `gamma` times the gradients: of W to its place in `gradients`, of f to `df`.
    pub(super) fn apart(
        &self,
        weights: &[f32],
        own: &[f32],
        taught: &[f32],
        gamma: f32,
        gradients: &mut [f32],
        df: &mut [f32],
    ) -> f32 {
        let (c, d) = (self.student, self.teacher);
        let epochs = own.len() / c;
        let f = matrix(own.to_vec(), epochs, c, &self.device);
        let map = matrix(weights[self.weight.clone()].to_vec(), c, d, &self.device);
        let product = Host::of(f.clone().matmul(map.clone())); // [epochs, d]
        let part = 1.0 / (epochs * d) as f32;
        let mut total = 0.0f64;
        let mut slope = vec![0.0; epochs * d];
        let rows = product.values().chunks_exact(d).zip(taught.chunks_exact(d));
        for ((row, taught), slope) in rows.zip(slope.chunks_exact_mut(d)) {
            let ((mine, scale), (theirs, _)) = (norm(row), norm(taught));
            let apart: Vec<f32> = mine.iter().zip(&theirs).map(|(a, b)| a - b).collect();
            total += apart.iter().map(|v| f64::from(v * v)).sum::<f64>();
            let mean = apart.iter().sum::<f32>() / d as f32;
            let along = apart.iter().zip(&mine).map(|(a, b)| a * b).sum::<f32>() / d as f32;
            for ((slope, apart), mine) in slope.iter_mut().zip(&apart).zip(&mine) {
                *slope = 2.0 * gamma * part * scale * (apart - mean - mine * along);
            }
        }
        let slope = matrix(slope, epochs, d, &self.device);
        let of_map = Host::of(f.transpose().matmul(slope.clone()));
        add(&mut gradients[self.weight.clone()], of_map.values());
        add(df, Host::of(slope.matmul(map.transpose())).values());
        (total * f64::from(part)) as f32
    }
}

/// A row with mean 0 and variance 1, and what it was multiplied by.
fn norm(row: &[f32]) -> (Vec<f32>, f32) {
    let n = row.len() as f32;
    let mean = row.iter().sum::<f32>() / n;
    let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
    let scale = 1.0 / (variance + EPSILON).sqrt();
    (row.iter().map(|v| (v - mean) * scale).collect(), scale)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;
    use rand::SeedableRng;

    use super::*;
    use crate::config::{DeviceKind, NetConfig};
    use crate::objective;

    #[test]
    fn autodiff_comes_to_the_same_distance() {
        let net = |width| Net::new(NetConfig { width, ..NetConfig::default() }, DeviceKind::Flex);
        let (student, teacher, epochs) = (net(16), net(32), 7);
        let projection = Projection::behind(&student, &teacher, 0);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let map = projection.start(&mut rng);
        let mut rows = |len: usize| (0..len).map(|_| rng.random_range(-2.0..2.0f32)).collect::<Vec<_>>();
        let (own, taught) = (rows(epochs * 16), rows(epochs * 32));
        let (mut gradients, mut df) = (vec![0.0; map.len()], vec![0.0; own.len()]);
        let value = projection.apart(&map, &own, &taught, 1.0, &mut gradients, &mut df);

        let device = &student.device.autodiff();
        let f = matrix(own, epochs, 16, device).require_grad();
        let bridge: Tensor<2> = matrix(map, 16, 32, device).transpose();
        let loss = objective::apart(f.clone(), matrix(taught, epochs, 32, device), bridge);
        let other: f32 = loss.clone().into_scalar();
        assert!((value - other).abs() < 1e-4 * other, "{value} {other}");
        let slope = Host::of(f.grad(&loss.backward()).unwrap());
        for (theirs, ours) in slope.values().iter().zip(&df) {
            assert!((theirs - ours).abs() < 1e-5, "{theirs} {ours}");
        }
    }
}
