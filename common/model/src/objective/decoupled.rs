//! Decoupled distillation (Zhao et al. 2022, arXiv 2203.08679): what a teacher says of the target, and what of all others.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Bool, Tensor};

use crate::objective::similarity::log_sum_exp;

/// The two divergences that [`soft`](crate::objective::soft) is made of: it is `target + (1 - p) others` row by row, with `p`
/// the teacher's probability of the target, so that a sure teacher mutes the second.
pub struct Decoupled {
    /// `T² KL` of "the target or any other?".
    pub target: Tensor<1>,
    /// `T² KL` of "which of the others?".
    pub others: Tensor<1>,
}

/// Decoupled distillation (Zhao et al. 2022), means over the batch; the target of a row is where `labels` is largest.
#[must_use]
pub fn decoupled(student: Tensor<2>, teacher: Tensor<2>, labels: Tensor<2>, temperature: f32) -> Decoupled {
    let [batch, _] = student.dims();
    let target = largest(labels);
    let student = Parts::of(student / temperature, target.clone());
    let teacher = Parts::of(teacher.inner() / temperature, target);
    let size = temperature * temperature / batch as f32;
    let sum = |t: &Tensor<2>, s: Tensor<2>| ((t.clone() - s) * t.clone().exp()).sum();
    Decoupled {
        target: sum(&teacher.target, student.target) * size + sum(&teacher.rest, student.rest) * size,
        others: sum(&teacher.others, student.others) * size,
    }
}

/// Logarithms of a posterior's parts.
struct Parts {
    /// Of the target, `[B, 1]`.
    target: Tensor<2>,
    /// Of all others together, `[B, 1]`: their sum and not one less the target's, so that a sure network loses no digits.
    rest: Tensor<2>,
    /// Of each other if it is not the target, `[B, K]`; the target's own place holds what no exponential sees.
    others: Tensor<2>,
}

impl Parts {
    fn of(logits: Tensor<2>, target: Tensor<2, Bool>) -> Self {
        let logs = log_softmax(logits, 1);
        let rest = log_sum_exp(logs.clone(), target.clone());
        Self {
            target: (logs.clone() * target.clone().float()).sum_dim(1),
            rest: rest.clone(),
            others: (logs - rest).mask_fill(target, NOWHERE),
        }
    }
}

/// The logarithm of a probability that is zero in an `f32`, and finite.
const NOWHERE: f32 = -1e4;

/// Where a row is largest, once a row: the first of equals.
pub(crate) fn largest(rows: Tensor<2>) -> Tensor<2, Bool> {
    let rows = rows.inner();
    let [_, columns] = rows.dims();
    let at = rows.clone().argmax(1);
    let places = Tensor::arange(0..columns as i64, &rows.device()).reshape([1, columns]);
    places.expand(rows.dims()).equal(at.expand(rows.dims()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::softmax;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::matrix::{Host, matrix};
    use crate::objective::soft;

    const CLASSES: usize = 5;

    #[test]
    fn the_two_parts_make_the_whole() {
        let device = Device::flex();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for case in 0..200 {
            let target = case % CLASSES;
            let temperature = rng.random_range(0.7..8.0);
            let mut rows = || {
                let values = (0..CLASSES).map(|_| rng.random_range(-6.0..6.0f32)).collect();
                matrix(values, 1, CLASSES, &device)
            };
            let (student, teacher) = (rows(), rows());
            let hot = (0..CLASSES).map(|class| f32::from(u8::from(class == target))).collect();
            let hot = matrix(hot, 1, CLASSES, &device);
            let parts = decoupled(student.clone(), teacher.clone(), hot, temperature);
            let sure = Host::of(softmax(teacher.clone() / temperature, 1)).values()[target];
            let sum = parts.target.into_scalar::<f32>() + (1.0 - sure) * parts.others.into_scalar::<f32>();
            let whole: f32 = soft(student, teacher, temperature).into_scalar();
            assert!((sum - whole).abs() < 1e-4 * (1.0 + whole), "{sum} {whole}");
        }
    }

    #[test]
    fn a_teacher_beyond_doubt_leaves_slopes_finite() {
        let device = Device::flex().autodiff();
        // Class 4, 0 and 2.
        let labels: Vec<f32> = (0..15).map(|i| f32::from(u8::from([4, 5, 12].contains(&i)))).collect();
        for size in [1.0, 100.0, 1e4] {
            let z: Vec<f32> = (0..15).map(|i| size * (i as f32 * 12.9898).sin()).collect();
            let student = matrix(z.iter().map(|v| -v).collect(), 3, CLASSES, &device).require_grad();
            let teacher = matrix(z, 3, CLASSES, &device);
            let parts = decoupled(student.clone(), teacher, matrix(labels.clone(), 3, CLASSES, &device), 1.0);
            let gradients = (parts.target + parts.others).backward();
            let slope = student.grad(&gradients).unwrap();
            assert!(slope.is_finite().all().into_scalar::<bool>(), "at {size}");
        }
    }
}
