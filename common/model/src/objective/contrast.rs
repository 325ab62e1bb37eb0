//! Contrast of pairs: InfoNCE between two sides, NT-Xent among views, and the KoLeo term that keeps directions apart.

use burn::tensor::{Bool, Tensor};

use crate::objective::similarity::{log_sum_exp, unit};

/// InfoNCE (van den Oord et al. 2018, arXiv 1807.03748): each row of `queries` `[B, E]` should resemble its own row of
/// `keys` `[B, E]` more than any other, by cosines over `temperature`. The mean over queries; `ln B` for directions
/// that say nothing.
///
/// # Panics
/// When the shapes differ.
pub fn info_nce(queries: Tensor<2>, keys: Tensor<2>, temperature: f32) -> Tensor<1> {
    assert_eq!(queries.dims(), keys.dims(), "a key for each query");
    let scores = unit(queries).matmul(unit(keys).transpose()) / temperature;
    own_among_all(scores)
}

/// InfoNCE in both directions between two sides of the same moments, both `[B, E]`: `weight` of it asks `a` for `b`.
///
/// # Panics
/// As [`info_nce`].
pub fn symmetric_info_nce(a: Tensor<2>, b: Tensor<2>, temperature: f32, weight: f32) -> Tensor<1> {
    assert_eq!(a.dims(), b.dims(), "a key for each query");
    let scores = unit(a).matmul(unit(b).transpose()) / temperature;
    own_among_all(scores.clone()) * weight + own_among_all(scores.transpose()) * (1.0 - weight)
}

/// The mean over rows of `-log softmax` at the diagonal.
fn own_among_all(scores: Tensor<2>) -> Tensor<1> {
    let [rows, _] = scores.dims();
    let diagonal = Tensor::<2>::eye(rows, &scores.device());
    let own = (scores.clone() * diagonal.clone()).sum();
    let nobody = diagonal.greater_elem(2.0);
    (log_sum_exp(scores, nobody).sum() - own) / rows as f32
}

/// NT-Xent (Chen et al. 2020, SimCLR, arXiv 2002.05709): of two views `[B, E]` of the same windows, each one's other view
/// among all the other 2B - 1. The mean over the 2B views.
///
/// # Panics
/// When the shapes differ.
pub fn nt_xent(a: Tensor<2>, b: Tensor<2>, temperature: f32) -> Tensor<1> {
    assert_eq!(a.dims(), b.dims(), "two views of each window");
    let [batch, width] = a.dims();
    let all = unit(Tensor::cat(vec![a, b], 0));
    let scores = all.clone().matmul(all.clone().transpose()) / temperature;
    let itself: Tensor<2, Bool> = Tensor::<2>::eye(2 * batch, &scores.device()).greater_elem(0.5);
    let half = |from: usize| all.clone().slice([from..from + batch, 0..width]);
    let own = (half(0) * half(batch)).sum() * (2.0 / temperature);
    (log_sum_exp(scores, itself).sum() - own) / (2 * batch) as f32
}

/// The Kozachenko-Leonenko term (Sablayrolles et al. 2019, arXiv 1806.03198): minus the mean logarithm of each
/// direction's distance to its nearest neighbour, of rows `[B, E]`. Low when directions fill the sphere evenly.
pub fn koleo(rows: Tensor<2>) -> Tensor<1> {
    let rows = unit(rows);
    let [batch, _] = rows.dims();
    let cosines = rows.clone().matmul(rows.transpose());
    let itself = Tensor::<2>::eye(batch, &cosines.device());
    // Of unit vectors the squared distance is 2 - 2 cos; oneself is nobody's neighbour.
    let nearest = (cosines - itself * 4.0).max_dim(1);
    let squared = (nearest * -2.0 + 2.0).clamp_min(1e-8);
    squared.log().mean() * -0.5
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::matrix::{Host, matrix};

    fn rows(n: usize, salt: f32) -> Vec<f32> {
        (0..n * 3).map(|i| ((i as f32 + salt) * 12.9898).sin()).collect()
    }

    fn value(loss: Tensor<1>) -> f64 {
        f64::from(loss.into_scalar::<f32>())
    }

    /// Cosine by the book, in double precision.
    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn losses_are_what_their_papers_say() {
        let device = Device::flex();
        let (a, b) = (rows(5, 0.0), rows(5, 77.0));
        let tensor = |v: &Vec<f32>| matrix(v.clone(), 5, 3, &device);
        let tau = 0.3;
        let row = |v: &'_ [f32], i: usize| v[i * 3..i * 3 + 3].to_vec();
        let own = |queries: &[f32], keys: &[f32], i: usize| {
            let all: f64 = (0..5).map(|j| (cosine(&row(queries, i), &row(keys, j)) / tau).exp()).sum();
            all.ln() - cosine(&row(queries, i), &row(keys, i)) / tau
        };
        let there = (0..5).map(|i| own(&a, &b, i)).sum::<f64>() / 5.0;
        let back = (0..5).map(|i| own(&b, &a, i)).sum::<f64>() / 5.0;
        assert!((value(info_nce(tensor(&a), tensor(&b), 0.3)) - there).abs() < 1e-4);
        let both = value(symmetric_info_nce(tensor(&a), tensor(&b), 0.3, 0.25));
        assert!((both - (0.25 * there + 0.75 * back)).abs() < 1e-4);

        let all = [a.clone(), b.clone()].concat();
        let of = |i: usize| {
            let score = |j: usize| cosine(&row(&all, i), &row(&all, j)) / tau;
            let others: f64 = (0..10).filter(|j| *j != i).map(|j| score(j).exp()).sum();
            others.ln() - score((i + 5) % 10)
        };
        let expected = (0..10).map(of).sum::<f64>() / 10.0;
        assert!((value(nt_xent(tensor(&a), tensor(&b), 0.3)) - expected).abs() < 1e-4);

        let nearest = |i: usize| {
            let far = |j: usize| (2.0 - 2.0 * cosine(&row(&a, i), &row(&a, j))).sqrt();
            (0..5).filter(|j| *j != i).map(far).fold(f64::INFINITY, f64::min)
        };
        let expected = -(0..5).map(|i| nearest(i).ln()).sum::<f64>() / 5.0;
        assert!((value(koleo(tensor(&a))) - expected).abs() < 1e-4);
    }

    #[test]
    fn koleo_drives_neighbours_apart_and_survives_twins() {
        let device = Device::flex().autodiff();
        let twins = vec![1.0, 0.0, 0.0, 1.0, 1e-2, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];
        let leaf = matrix(twins, 4, 3, &device).require_grad();
        let loss = koleo(leaf.clone());
        assert!(value(loss.clone()).is_finite());
        let slope = Host::of(leaf.grad(&loss.backward()).unwrap());
        // Down the slope the first two part: one goes down along the second axis, the other up.
        assert!(slope.values().iter().all(|v| v.is_finite()));
        assert!(slope.values()[1] > 0.0 && slope.values()[4] < 0.0, "{:?}", slope.values());
    }
}
