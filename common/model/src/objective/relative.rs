//! RelCon's relative contrastive loss (Xu et al. 2025, arXiv 2411.18822): every candidate in turn is the positive, and the
//! candidates farther than it are its negatives.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::objective::similarity::{log_sum_exp, unit};

/// The loss and its temperature.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelativeLoss {
    /// Divides cosines; RelCon uses 0.1.
    pub temperature: f32,
}

impl RelativeLoss {
    /// The mean over anchors of the sum over candidates of
    /// `-log(e^{s_j} / (e^{s_j} + sum of e^{s_m} over the m farther than j))`, with `s` cosine over temperature.
    ///
    /// `anchors` are embeddings `[B, E]`, `within` the `C` candidates of each anchor's own person `[B, C, E]`, and
    /// `distances` `[B - 1 + C, B]` the ranks' cause: row r < B - 1 is anchor (i + 1 + r) mod B, then come the own
    /// candidates. Equal distances are no negatives of each other, so no order among them matters. Distances carry no
    /// gradient.
    ///
    /// Every positive has its own row of exponents with its own maximum, so no temperature overflows or loses digits, at
    /// `B n^2` numbers for `n = B - 1 + C`: 3.5 MB at the published 64 anchors and 20 candidates.
    ///
    /// # Panics
    /// When the shapes do not fit each other.
    pub fn loss(&self, anchors: Tensor<2>, within: Tensor<3>, distances: Tensor<2>) -> Tensor<1> {
        let [batch, width] = anchors.dims();
        let own = within.dims()[1];
        let n = batch - 1 + own;
        assert_eq!(within.dims(), [batch, own, width], "candidates and anchors");
        assert_eq!(distances.dims(), [n, batch], "a distance for each candidate of each anchor");

        let (anchors, within) = (unit(anchors), unit(within));
        let between = anchors.clone().matmul(anchors.clone().transpose()).reshape([batch * batch]);
        let between = between.select(0, others(batch, &anchors.device())).reshape([batch, batch - 1]);
        let within = (within * anchors.reshape([batch, 1, width])).sum_dim(2).reshape([batch, own]);
        let scores = Tensor::cat(vec![between, within], 1) / self.temperature; // [B, n]

        let distances = distances.inner().transpose();
        let of_positive = distances.clone().reshape([batch, n, 1]).expand([batch, n, n]);
        let of_other = distances.reshape([batch, 1, n]).expand([batch, n, n]);
        let itself = Tensor::<2>::eye(n, &of_other.device()).bool().reshape([1, n, n]).expand([batch, n, n]);
        let left_out = of_other.lower_equal(of_positive).bool_and(itself.bool_not());
        let rows = scores.clone().reshape([batch, 1, n]).expand([batch, n, n]);
        let sums = log_sum_exp(rows, left_out).reshape([batch, n]);
        (sums - scores).sum() / batch as f32
    }
}

/// For each of `batch` anchors the others in their order, as places in a `[batch, batch]` table.
fn others(batch: usize, device: &Device) -> Tensor<1, Int> {
    let place = |i: usize| (1..batch).map(move |by| (i * batch + (i + by) % batch) as i64);
    let places: Vec<i64> = (0..batch).flat_map(place).collect();
    let len = places.len();
    Tensor::from_data(TensorData::new(places, [len]), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::matrix;

    fn numbers(len: usize, salt: f32) -> Vec<f32> {
        (0..len).map(|i| ((i as f32 + salt) * 12.9898).sin()).collect()
    }

    fn loss(temperature: f32, distances: Vec<f32>, within: &[f32]) -> f32 {
        let device = Device::flex();
        let anchors = matrix(numbers(4 * 6, 0.0), 4, 6, &device);
        let within = matrix(within.to_vec(), 8, 6, &device).reshape([4, 2, 6]);
        RelativeLoss { temperature }.loss(anchors, within, matrix(distances, 5, 4, &device)).into_scalar()
    }

    #[test]
    fn only_the_order_of_distances_matters_and_equal_ones_do_not_compete() {
        let within = numbers(8 * 6, 50.0);
        let distances = numbers(20, 9.0);
        let stretched = distances.iter().map(|d| (3.0 * d).exp()).collect();
        assert!((loss(0.1, distances, &within) - loss(0.1, stretched, &within)).abs() < 1e-5);
        assert_eq!(loss(0.1, vec![1.0; 20], &within), 0.0);
    }

    #[test]
    fn it_is_finite_at_any_temperature() {
        let within = numbers(8 * 6, 50.0);
        for temperature in [1e-4, 1e-2, 1.0, 100.0] {
            let loss = loss(temperature, numbers(20, 9.0), &within);
            assert!(loss.is_finite() && loss > 0.0, "{loss} at {temperature}");
        }
    }

    #[test]
    fn it_is_lowest_when_similarity_follows_distance() {
        // Own candidates that are the anchor itself and its opposite, near and far, or the other way round.
        let anchors = numbers(4 * 6, 0.0);
        let within: Vec<f32> =
            anchors.chunks(6).flat_map(|a| a.iter().copied().chain(a.iter().map(|v| -v))).collect();
        let ranked = |same: f32, opposite: f32| {
            let mut distances = vec![0.5; 12];
            distances.extend([[same; 4], [opposite; 4]].concat());
            loss(0.1, distances, &within)
        };
        assert!(ranked(0.0, 1.0) + 1.0 < ranked(1.0, 0.0));
    }
}
