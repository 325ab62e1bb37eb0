//! What a view's logits lose, by the rule of each [`Strategy`]; without autodiff, where `objective` has the same with it.

use somnus_protocol::plan::TrainPlan;
use somnus_signals::Task;

use super::Strategy;
use super::divergence::{Parts, decoupled, soft};
use crate::loss::{Loss, Slope};

/// Parts of a loss of one view's logits, put together.
pub(super) struct Terms<'a> {
    labels: Loss,
    /// `[epochs, classes]`.
    logits: &'a [f32],
    classes: usize,
    pub(super) loss: f32,
    /// `[epochs, classes]`.
    pub(super) slope: Vec<f32>,
    /// Whether there was any part.
    pub(super) learned: bool,
}

impl<'a> Terms<'a> {
    pub(super) fn new(task: Task, plan: &TrainPlan, logits: &'a [f32]) -> Self {
        let labels = Loss::new(task, plan.class_weighting, plan.label_smoothing);
        let (classes, slope) = (task.classes(), vec![0.0; logits.len()]);
        Self { labels, logits, classes, loss: 0.0, slope, learned: false }
    }

    /// What the strategy asks of logits: `taught` `[epochs, classes]` are the teacher's, of which `share` counts; `labels`
    /// `[epochs]` what somebody scored.
    pub(super) fn add(&mut self, strategy: Strategy, taught: &[f32], labels: &[Option<u8>], share: f32) {
        match strategy {
            Strategy::Hard { labels: weight } => {
                let choice: Vec<Option<u8>> =
                    taught.chunks_exact(self.classes).map(|row| Some(likeliest(row))).collect();
                self.cross_entropy(&choice, share);
                // Before the teacher counts, labels count fully.
                self.cross_entropy(labels, 1.0 + share * (weight - 1.0));
            }
            Strategy::Soft { alpha, temperature } => {
                let alpha = alpha * share;
                self.cross_entropy(labels, 1.0 - alpha);
                self.of_rows(taught, alpha, |_, taught, own, weight, slope| {
                    soft(taught, own, temperature.into(), weight, slope)
                });
            }
            Strategy::Dkd { alpha, beta, temperature } => {
                self.cross_entropy(labels, 1.0);
                let parts = Parts { target: alpha.into(), others: beta.into() };
                self.of_rows(taught, share, |epoch, taught, own, weight, slope| {
                    // Where nobody scored the epoch, what the teacher takes it for.
                    let target = labels[epoch].unwrap_or_else(|| likeliest(taught)).into();
                    decoupled(taught, own, target, parts, temperature.into(), weight, slope)
                });
            }
            Strategy::Feature { .. } => self.cross_entropy(labels, 1.0),
        }
    }

    /// With classes, where there are any; weighted and smoothed as the plan has it.
    fn cross_entropy(&mut self, classes: &[Option<u8>], weight: f32) {
        if weight == 0.0 {
            return;
        }
        let Some(Slope { loss, d_logits }) = self.labels.of(self.logits, classes) else { return };
        self.loss += weight * loss;
        self.slope.iter_mut().zip(d_logits).for_each(|(to, d)| *to += weight * d);
        self.learned = true;
    }

    /// The mean over epochs of what a teacher's and a student's row come to.
    fn of_rows(
        &mut self,
        taught: &[f32],
        weight: f32,
        of: impl Fn(usize, &[f32], &[f32], f64, &mut [f32]) -> f64,
    ) {
        let k = self.classes;
        let part = f64::from(weight) / (taught.len() / k).max(1) as f64;
        let rows =
            taught.chunks_exact(k).zip(self.logits.chunks_exact(k)).zip(self.slope.chunks_exact_mut(k));
        let mut total = 0.0;
        for (epoch, ((taught, own), slope)) in rows.enumerate() {
            total += of(epoch, taught, own, part, slope);
            self.learned = true;
        }
        self.loss += (part * total) as f32;
    }
}

/// The first of equals.
fn likeliest(row: &[f32]) -> u8 {
    let mut best = 0;
    for (class, logit) in row.iter().enumerate() {
        if *logit > row[best] {
            best = class;
        }
    }
    best as u8
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use somnus_protocol::plan::ClassWeighting;

    use super::*;
    use crate::config::DeviceKind;
    use crate::encoder::Weights;
    use crate::matrix::{Host, matrix};
    use crate::objective::Seen;

    /// Every epoch scored, nothing weighed or smoothed: then both ways of writing a strategy down are about the same thing.
    #[test]
    fn autodiff_comes_to_the_same_loss_and_slopes() {
        const ROWS: usize = 9;
        let (task, k) = (Task::Four, Task::Four.classes());
        let plan =
            TrainPlan { class_weighting: ClassWeighting::None, label_smoothing: 0.0, ..TrainPlan::default() };
        let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut numbers = || (0..ROWS * k).map(|_| rng.random_range(-4.0..4.0f32)).collect::<Vec<_>>();
        let (own, taught) = (numbers(), numbers());
        let labels: Vec<Option<u8>> = (0..ROWS).map(|row| Some((row * 7 % k) as u8)).collect();
        let hot = |row: usize| (0..k).map(move |class| f32::from(u8::from(class == row * 7 % k)));
        let hot: Tensor<2> = matrix((0..ROWS).flat_map(hot).collect(), ROWS, k, &autodiff);
        let seen = |logits: Tensor<2>| Seen { features: logits.clone(), logits };
        let weights = Weights::new(&[], &mut ChaCha8Rng::seed_from_u64(1), DeviceKind::Flex);
        let ways = [
            Strategy::Hard { labels: 0.3 },
            Strategy::Soft { alpha: 0.7, temperature: 4.0 },
            Strategy::Dkd { alpha: 0.8, beta: 4.0, temperature: 2.0 },
        ];
        for (strategy, share) in ways.into_iter().flat_map(|way| [0.0, 0.35, 1.0].map(|share| (way, share))) {
            let mut terms = Terms::new(task, &plan, &own);
            terms.add(strategy, &taught, &labels, share);
            let student = matrix(own.clone(), ROWS, k, &autodiff).require_grad();
            let teacher = seen(matrix(taught.clone(), ROWS, k, &plain));
            let loss = strategy.loss(&weights, seen(student.clone()), teacher, hot.clone(), share);
            let value: f32 = loss.clone().into_scalar();
            assert!(
                (value - terms.loss).abs() < 1e-4 * value,
                "{strategy:?} {share}: {value} {}",
                terms.loss
            );
            let slope = student.grad(&loss.backward()).unwrap();
            for (theirs, ours) in Host::of(slope).values().iter().zip(&terms.slope) {
                assert!((theirs - ours).abs() < 1e-5, "{strategy:?} {share}: {theirs} {ours}");
            }
        }
    }
}
