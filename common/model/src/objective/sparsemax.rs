//! Sparsemax (Martins and Astudillo 2016): the nearest point of the probability simplex, most of it exactly zero.

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};

/// The Euclidean projection of the last axis onto the probability simplex, `p = max(0, z - tau)`.
///
/// The threshold comes from sorted values, outside autodiff; then it is written again as a mean over the support, which
/// carries the right gradient: within the support, the upstream one less its mean; nothing outside.
pub fn sparsemax<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    let last = D - 1;
    // A shift changes nothing, and keeps the digits of large scores.
    let z = z.clone() - z.inner().max_dim(last);
    let values = z.clone().inner();
    let len = values.dims()[last];
    let mut shape = [1; D];
    shape[last] = len;
    let counts: Vec<f32> = (1..=len).map(|k| k as f32).collect();
    let counts = Tensor::<D>::from_data(TensorData::new(counts, shape), &values.device());
    // tau = max over k of (z_(1) + .. + z_(k) - 1) / k: the quotient rises up to the support's size, then falls.
    let sums = values.clone().sort_descending(last).cumsum(last);
    let threshold = ((sums - 1.0) / counts).max_dim(last);
    let support = values.greater(threshold.expand(z.dims())).float();
    let tau = ((z.clone() * support.clone()).sum_dim(last) - 1.0) / support.clone().sum_dim(last);
    relu((z - tau) * support)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::matrix::{Host, matrix};

    fn rows(seed: u64, scale: f32) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..40 * 9).map(|_| rng.random_range(-scale..scale)).collect()
    }

    fn project(z: Vec<f32>) -> Vec<f32> {
        Host::of(sparsemax(matrix(z, 40, 9, &Device::flex()))).values().to_vec()
    }

    #[test]
    fn it_is_the_nearest_point_of_the_simplex() {
        for scale in [0.01, 1.0, 50.0] {
            let z = rows(1, scale);
            for (z, p) in z.chunks(9).zip(project(z.clone()).chunks(9)) {
                assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5 && p.iter().all(|p| *p >= 0.0));
                // The optimality condition: z - p is one threshold on the support and no more than it outside.
                let top = z.iter().zip(p).map(|(z, p)| z - p).fold(f32::MIN, f32::max);
                for (z, p) in z.iter().zip(p).filter(|(_, p)| **p > 0.0) {
                    assert!((z - p - top).abs() < 1e-5 * scale.max(1.0), "{z} {p} {top}");
                }
            }
        }
    }

    #[test]
    fn huge_and_equal_scores_are_no_trouble() {
        let same = project(vec![1e6; 40 * 9]);
        assert!(same.iter().all(|p| (p - 1.0 / 9.0).abs() < 1e-6));
        let far: Vec<f32> = rows(2, 1.0).iter().map(|z| z * 1e6).collect();
        assert!(project(far).chunks(9).all(|p| p.iter().filter(|p| **p == 1.0).count() == 1));
    }

    #[test]
    fn the_gradient_is_the_upstream_one_centred_on_the_support() {
        let device = Device::flex().autodiff();
        let z = matrix(rows(3, 1.0), 40, 9, &device).require_grad();
        let pull = rows(4, 1.0);
        let p = sparsemax(z.clone());
        let p_values = Host::of(p.clone().inner());
        let gradients = (p * matrix(pull.clone(), 40, 9, &device)).sum().backward();
        let ours = Host::of(z.grad(&gradients).unwrap());
        let rows = p_values.values().chunks(9).zip(pull.chunks(9)).zip(ours.values().chunks(9));
        let mut sparse = 0;
        for ((p, pull), ours) in rows {
            let support: Vec<f32> = p.iter().zip(pull).filter(|(p, _)| **p > 0.0).map(|(_, g)| *g).collect();
            sparse += usize::from(support.len() < 9);
            let mean = support.iter().sum::<f32>() / support.len() as f32;
            for ((p, pull), ours) in p.iter().zip(pull).zip(ours) {
                let expected = if *p > 0.0 { pull - mean } else { 0.0 };
                assert!((ours - expected).abs() < 1e-5, "{ours} {expected}");
            }
        }
        assert!(sparse > 30, "{sparse} of 40 rows have zeros");
    }
}
