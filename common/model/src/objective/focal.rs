//! FOCAL (Liu et al. 2023, NeurIPS): embeddings of several modalities in two halves, one that they share and one of their
//! own.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use crate::objective::similarity::{cosine, log_sum_exp, unit};

/// How much each term counts. The defaults are the paper's, at the temperature of its convolutional encoder.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Focal {
    /// Divides cosines. Default 0.5.
    pub temperature: f32,
    /// Weight of modality matching between shared halves. Default 1.
    pub shared: f32,
    /// Weight of agreement between two views of one private half. Default 1.
    pub private: f32,
    /// Weight of the halves' independence. Default 3.
    pub orthogonality: f32,
}

impl Default for Focal {
    fn default() -> Self {
        Self { temperature: 0.5, shared: 1.0, private: 1.0, orthogonality: 3.0 }
    }
}

/// The loss and what it is made of, each a scalar before its weight.
pub struct FocalTerms {
    /// Same moment, same view, two modalities: shared halves match. Sum over views and pairs of modalities.
    pub shared: Tensor<1>,
    /// Same moment, same modality, two views: private halves match. Sum over modalities.
    pub private: Tensor<1>,
    /// Positive cosines between shared and private halves, and between private halves of two modalities.
    pub orthogonality: Tensor<1>,
    /// The weighted sum.
    pub total: Tensor<1>,
}

impl Focal {
    /// The terms for modalities of two views each, `[B, E]` with `E` even; the first half of a row is shared.
    ///
    /// # Panics
    /// When there is no modality, or embeddings differ in shape.
    pub fn terms(&self, modalities: &[[Tensor<2>; 2]]) -> FocalTerms {
        let [batch, width] = modalities.first().expect("at least one modality")[0].dims();
        let half = |z: &Tensor<2>, from: usize| z.clone().slice([0..batch, from..from + width / 2]);
        let device = modalities[0][0].device();
        let [mut shared, mut private, mut orthogonality] = [(); 3].map(|()| Tensor::zeros([1], &device));
        for (m, views) in modalities.iter().enumerate() {
            private = private + self.contrast(half(&views[0], width / 2), half(&views[1], width / 2));
            for (v, z) in views.iter().enumerate() {
                let (ours, own) = (half(z, 0), half(z, width / 2));
                orthogonality = orthogonality + alignment(ours.clone(), own.clone());
                for others in &modalities[m + 1..] {
                    shared = shared + self.contrast(ours.clone(), half(&others[v], 0));
                    orthogonality = orthogonality + alignment(own.clone(), half(&others[v], width / 2));
                }
            }
        }
        let total = shared.clone() * self.shared
            + private.clone() * self.private
            + orthogonality.clone() * self.orthogonality;
        FocalTerms { shared, private, orthogonality, total }
    }

    /// NT-Xent (Chen et al. 2020): each of the 2B rows must find its partner among the 2B - 1 others.
    fn contrast(&self, a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
        let rows = a.dims()[0] * 2;
        let positives = cosine(a.clone(), b.clone()).mean();
        let all = unit(Tensor::cat(vec![a, b], 0));
        let scores = all.clone().matmul(all.transpose()) / self.temperature;
        let itself = Tensor::<2>::eye(rows, &scores.device()).bool();
        let sums = log_sum_exp(scores, itself).mean();
        sums - positives / self.temperature
    }
}

/// The temporal term over `sequences` `[S, L, E]`: samples of one sequence should be nearer to each other than to those of
/// another by 1, `mean of max(0, D(a, a) - D(a, b) + 1)` over `a != b`, `D` the mean Euclidean distance of samples.
///
/// # Panics
/// When there are fewer than two sequences.
pub fn temporal(sequences: Tensor<3>) -> Tensor<1> {
    let [count, len, width] = sequences.dims();
    assert!(count > 1, "sequences are told from each other");
    let rows = count * len;
    let a = sequences.clone().reshape([rows, 1, width]);
    let b = sequences.reshape([1, rows, width]);
    // The small number is for the slope of the root at zero.
    let apart = ((a - b).square().sum_dim(2) + 1e-12).sqrt().reshape([count, len, count, len]);
    let apart = apart.mean_dim(3).mean_dim(1).reshape([count, count]);
    let itself = Tensor::<2>::eye(count, &apart.device());
    let within = (apart.clone() * itself.clone()).sum_dim(1);
    let hinge = relu(within - apart + 1.0) * (itself * -1.0 + 1.0);
    hinge.sum() / (count * (count - 1)) as f32
}

/// The mean of positive cosines; what points apart costs nothing.
fn alignment(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    relu(cosine(a, b)).mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::matrix::matrix;

    fn rows(rows: usize, salt: f32) -> Tensor<2> {
        let values = (0..rows * 8).map(|i| ((i as f32 + salt) * 12.9898).sin()).collect();
        matrix(values, rows, 8, &Device::flex())
    }

    fn number(scalar: Tensor<1>) -> f32 {
        scalar.into_scalar()
    }

    #[test]
    fn halves_that_point_apart_cost_nothing_and_parallel_ones_all() {
        let half = rows(6, 1.0).slice([0..6, 0..4]);
        let orthogonality = |private: Tensor<2>| {
            let z = Tensor::cat(vec![half.clone(), private], 1);
            number(Focal::default().terms(&[[z.clone(), z]]).orthogonality)
        };
        assert_eq!(orthogonality(half.clone() * -1.0), 0.0);
        // Two views, each with a cosine of 1.
        assert!((orthogonality(half.clone() * 3.0) - 2.0).abs() < 1e-5);
    }

    #[test]
    fn matching_falls_as_partners_agree_and_has_its_floor() {
        let focal = Focal { temperature: 0.1, ..Focal::default() };
        let (a, b) = (rows(12, 0.0), rows(12, 500.0));
        let matched =
            |share: f32| number(focal.contrast(a.clone(), a.clone() * share + b.clone() * (1.0 - share)));
        let losses = [0.0, 0.5, 0.8, 1.0].map(matched);
        assert!(losses.windows(2).all(|w| w[1] < w[0]) && losses[3] >= 0.0, "{losses:?}");
    }

    #[test]
    fn sequences_are_pushed_one_unit_apart() {
        let device = Device::flex();
        let far = |apart: f32| {
            let values = (0..3 * 4 * 2).map(|i| (i / 8) as f32 * apart + 0.01 * (i % 8) as f32).collect();
            number(temporal(matrix(values, 12, 2, &device).reshape([3, 4, 2])))
        };
        assert_eq!(far(10.0), 0.0);
        assert!((far(0.0) - 1.0).abs() < 1e-4);
        assert!(far(0.2) < far(0.1) && far(0.1) < far(0.0));
    }

    #[test]
    fn equal_samples_have_a_finite_slope() {
        let same = Tensor::<3>::ones([3, 2, 4], &Device::flex().autodiff()).require_grad();
        let gradients = temporal(same.clone()).backward();
        assert!(same.grad(&gradients).unwrap().is_finite().all().into_scalar::<bool>());
    }
}
