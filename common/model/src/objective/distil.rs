//! What a student loses by being unlike its teacher: the losses of [`Strategy`], logits `[B, K]` and embeddings `[B, E]`.
//! The staging network has the same without autodiff, in `distil`; a test there holds the two together.
//!
//! A teacher is a constant; gradients reach the student, and the matrix between their embeddings.

use burn::tensor::Tensor;
use burn::tensor::activation::{log_softmax, softmax};

use crate::distil::Strategy;
use crate::encoder::layers::EPSILON;
use crate::encoder::{Spec, Start, Weights};
use crate::objective::decoupled::{decoupled, largest};

/// The matrix from a student's embedding to its teacher's.
const BRIDGE: &str = "distil.weight";

/// What a network makes of a batch.
#[derive(Clone)]
pub struct Seen {
    /// `[B, K]`, before the softmax.
    pub logits: Tensor<2>,
    /// What the last layer saw, `[B, E]`.
    pub features: Tensor<2>,
}

impl Strategy {
    /// What is learned beside a student whose embedding has `student` numbers, and thrown away afterwards.
    #[must_use]
    pub fn specs(&self, student: usize, teacher: usize) -> Vec<Spec> {
        match self {
            Self::Feature { .. } => {
                let start = Start::Uniform(1.0 / (student as f32).sqrt());
                vec![Spec::new(BRIDGE, &[teacher, student], start)]
            }
            Self::Hard { .. } | Self::Soft { .. } | Self::Dkd { .. } => Vec::new(),
        }
    }

    /// The loss of a batch. `labels` are what is known, `[B, K]`, rows with sum 1; the largest is the target of decoupled
    /// distillation. `share`, 0 to 1, is how much of the teacher's part counts: 1 but for a warm-up.
    ///
    /// `weights` has what [`Strategy::specs`] asked for.
    #[must_use]
    pub fn loss(
        &self,
        weights: &Weights,
        student: Seen,
        teacher: Seen,
        labels: Tensor<2>,
        share: f32,
    ) -> Tensor<1> {
        let known = cross_entropy(student.logits.clone(), labels.clone());
        match *self {
            Self::Hard { labels: weight } => {
                let choice = cross_entropy(student.logits, largest(teacher.logits).float());
                // Before the teacher counts, labels count fully.
                choice * share + known * (1.0 + share * (weight - 1.0))
            }
            Self::Soft { alpha, temperature } => {
                let alpha = alpha * share;
                known * (1.0 - alpha) + soft(student.logits, teacher.logits, temperature) * alpha
            }
            Self::Dkd { alpha, beta, temperature } => {
                let parts = decoupled(student.logits, teacher.logits, labels, temperature);
                known + (parts.target * alpha + parts.others * beta) * share
            }
            Self::Feature { gamma } => {
                let apart = apart(student.features, teacher.features, weights.get(BRIDGE));
                known + apart * (gamma * share)
            }
        }
    }
}

/// The mean over the batch of the cross-entropy of `softmax(logits)` with `labels` `[B, K]`, whose rows have sum 1.
#[must_use]
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    let batch = logits.dims()[0] as f32;
    (log_softmax(logits, 1) * labels).sum() / -batch
}

/// `T² KL(teacher || student)` at temperature `T`, mean over the batch (Hinton et al. 2015).
#[must_use]
pub fn soft(student: Tensor<2>, teacher: Tensor<2>, temperature: f32) -> Tensor<1> {
    let batch = student.dims()[0] as f32;
    let teacher = teacher.inner() / temperature;
    let apart = log_softmax(teacher.clone(), 1) - log_softmax(student / temperature, 1);
    (apart * softmax(teacher, 1)).sum() * (temperature * temperature / batch)
}

/// The squared distance between the embeddings per number of the teacher's, mean over the batch: both layer-normalised, the
/// student's after `bridge` `[E teacher, E student]`.
#[must_use]
pub fn apart(student: Tensor<2>, teacher: Tensor<2>, bridge: Tensor<2>) -> Tensor<1> {
    let student = normalised(student.matmul(bridge.transpose()));
    (student - normalised(teacher.inner())).square().mean()
}

/// Rows to mean 0 and variance 1.
fn normalised(rows: Tensor<2>) -> Tensor<2> {
    let centred = rows.clone() - rows.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + EPSILON).sqrt()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::matrix::{Host, matrix};

    const ROWS: usize = 3;
    const CLASSES: usize = 5;
    const LABELS: [usize; ROWS] = [4, 0, 2];

    fn numbers(len: usize, salt: f32, size: f32) -> Vec<f32> {
        (0..len).map(|i| size * ((i as f32 + salt) * 12.9898).sin()).collect()
    }

    fn labels(device: &Device) -> Tensor<2> {
        let hot = |row: usize| (0..CLASSES).map(move |c| f32::from(u8::from(c == LABELS[row])));
        matrix((0..ROWS).flat_map(hot).collect(), ROWS, CLASSES, device)
    }

    fn number(scalar: Tensor<1>) -> f32 {
        scalar.into_scalar()
    }

    fn seen(device: &Device, logits: Vec<f32>, features: Vec<f32>) -> Seen {
        let width = features.len() / ROWS;
        let logits = matrix(logits, ROWS, CLASSES, device);
        Seen { logits, features: matrix(features, ROWS, width, device) }
    }

    fn bridge(strategy: &Strategy, student: usize, teacher: usize) -> Weights {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        Weights::new(&strategy.specs(student, teacher), &mut rng, DeviceKind::Flex)
    }

    #[test]
    fn who_is_like_the_teacher_loses_nothing() {
        let device = Device::flex();
        let z = matrix(numbers(ROWS * CLASSES, 1.0, 5.0), ROWS, CLASSES, &device);
        let parts = decoupled(z.clone(), z.clone(), labels(&device), 4.0);
        let other = decoupled(z.clone() * -1.0, z.clone(), labels(&device), 4.0);
        assert!(number(parts.target).abs() < 1e-5 && number(parts.others).abs() < 1e-5);
        assert!(number(other.target) > 0.1 && number(other.others) > 0.1);
        assert!(number(soft(z.clone(), z.clone(), 4.0)).abs() < 1e-5);
        assert!(number(soft(z.clone() * 2.0, z, 4.0)) > 0.1);
        let f = matrix(numbers(ROWS * 4, 9.0, 1.0), ROWS, 4, &device);
        let same = Tensor::<2>::eye(4, &device);
        // Normalised: neither size nor level counts.
        assert!(number(apart(f.clone() * 3.0 + 7.0, f.clone(), same.clone())).abs() < 1e-4);
        assert!(number(apart(f.clone() * -1.0, f, same)) > 3.0);
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
        let (z, f) = (numbers(ROWS * CLASSES, 3.0, 2.0), numbers(ROWS * 4, 40.0, 1.5));
        let (tz, tf) = (numbers(ROWS * CLASSES, 90.0, 3.0), numbers(ROWS * 6, 70.0, 1.5));
        for strategy in Strategy::ALL {
            let weights = bridge(&strategy, 4, 6);
            let value = |z: &[f32], f: &[f32]| {
                let teacher = seen(&plain, tz.clone(), tf.clone());
                let student = seen(&plain, z.to_vec(), f.to_vec());
                number(strategy.loss(&weights.frozen(), student, teacher, labels(&plain), 0.6))
            };
            let student = seen(&autodiff, z.clone(), f.clone());
            let student =
                Seen { logits: student.logits.require_grad(), features: student.features.require_grad() };
            let teacher = seen(&autodiff, tz.clone(), tf.clone());
            let loss = strategy.loss(&weights, student.clone(), teacher, labels(&autodiff), 0.6);
            let gradients = loss.backward();
            let slope = |x: Tensor<2>, len: usize| {
                x.grad(&gradients).map_or_else(|| vec![0.0; len], |slope| Host::of(slope).values().to_vec())
            };
            let step = 1e-2;
            let moved = |values: &[f32], i: usize, by: f32| {
                let mut values = values.to_vec();
                values[i] += by;
                values
            };
            for (i, slope) in slope(student.logits, z.len()).into_iter().enumerate() {
                let rise = value(&moved(&z, i, step), &f) - value(&moved(&z, i, -step), &f);
                let expected = rise / (2.0 * step);
                assert!((slope - expected).abs() < 2e-3, "{} logit {i}: {slope} {expected}", strategy.name());
            }
            for (i, slope) in slope(student.features, f.len()).into_iter().enumerate() {
                let rise = value(&z, &moved(&f, i, step)) - value(&z, &moved(&f, i, -step));
                let expected = rise / (2.0 * step);
                assert!(
                    (slope - expected).abs() < 2e-3,
                    "{} feature {i}: {slope} {expected}",
                    strategy.name()
                );
            }
        }
    }

    #[test]
    fn without_its_share_a_teacher_says_nothing() {
        let device = Device::flex();
        let z = numbers(ROWS * CLASSES, 3.0, 2.0);
        let student = || seen(&device, z.clone(), numbers(ROWS * 4, 40.0, 1.5));
        let teacher = || seen(&device, numbers(ROWS * CLASSES, 90.0, 3.0), numbers(ROWS * 6, 70.0, 1.5));
        let alone = number(cross_entropy(student().logits, labels(&device)));
        for strategy in Strategy::ALL {
            let weights = bridge(&strategy, 4, 6).frozen();
            let loss = |share| number(strategy.loss(&weights, student(), teacher(), labels(&device), share));
            assert!((loss(0.0) - alone).abs() < 1e-6, "{}", strategy.name());
            assert!((loss(1.0) - alone).abs() > 1e-3, "{}", strategy.name());
        }
    }
}
