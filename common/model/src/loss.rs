//! The loss of a night: cross-entropy over its scored epochs.

use somnus_protocol::plan::ClassWeighting;
use somnus_signals::{Stage, Task};

use crate::vector::exp;

/// How often each stage is in typical sleep: W, N1, N2, N3, REM. Round figures of healthy adult laboratory nights, e.g.
/// Ohayon et al. 2004; not estimated from any evaluated cohort.
const TYPICAL: [f32; 5] = [0.10, 0.05, 0.50, 0.15, 0.20];

/// Cross-entropy with class weights and label smoothing.
pub(crate) struct Loss {
    /// Weight of each class.
    weights: Vec<f32>,
    smoothing: f32,
}

/// A loss and where it falls.
pub(crate) struct Slope {
    /// Mean over the scored epochs.
    pub(crate) loss: f32,
    /// Gradient of the logits, `[epochs, classes]`; zero for unscored epochs.
    pub(crate) d_logits: Vec<f32>,
}

impl Loss {
    pub(crate) fn new(task: Task, weighting: ClassWeighting, smoothing: f32) -> Self {
        Self { weights: class_weights(task, weighting), smoothing }
    }

    /// The loss of `logits` `[epochs, classes]`; `None` without a scored epoch.
    ///
    /// Divided by the number of scored epochs and not by the sum of their weights, so that the mean over clients,
    /// weighted by their examples, is the loss of all nights together.
    pub(crate) fn of(&self, logits: &[f32], classes: &[Option<u8>]) -> Option<Slope> {
        let k = self.weights.len();
        let scored = classes.iter().flatten().count();
        if scored == 0 {
            return None;
        }
        let part = 1.0 / scored as f32;
        let other = self.smoothing / (k - 1) as f32;
        let mut total = 0.0f64;
        let mut d_logits = vec![0.0; logits.len()];
        for ((row, d), class) in logits.chunks_exact(k).zip(d_logits.chunks_exact_mut(k)).zip(classes) {
            let Some(class) = class.map(usize::from) else { continue };
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (p, x) in d.iter_mut().zip(row) {
                *p = exp(x - top);
            }
            let sum: f32 = d.iter().sum();
            let (log_sum, weight) = (sum.ln(), self.weights[class]);
            for (c, (p, x)) in d.iter_mut().zip(row).enumerate() {
                let target = if c == class { 1.0 - self.smoothing } else { other };
                total += f64::from(weight * target * (log_sum - (x - top)));
                *p = weight * part * (*p / sum - target);
            }
        }
        Some(Slope { loss: (total * f64::from(part)) as f32, d_logits })
    }
}

/// The weights of a task's classes; their mean over typical sleep is 1.
fn class_weights(task: Task, weighting: ClassWeighting) -> Vec<f32> {
    let mut frequency = vec![0.0; task.classes()];
    for (stage, part) in Stage::ALL.into_iter().zip(TYPICAL) {
        frequency[task.class_of(stage)] += part;
    }
    match weighting {
        ClassWeighting::None => vec![1.0; frequency.len()],
        ClassWeighting::InverseSqrt => {
            let mean: f32 = frequency.iter().map(|f: &f32| f.sqrt()).sum();
            frequency.iter().map(|f| 1.0 / (f.sqrt() * mean)).collect()
        }
    }
}

/// Probabilities from logits, in place, `[epochs, classes]`.
pub(crate) fn softmax(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_exact_mut(classes) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = exp(*x - top));
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typical_sleep_weighs_one_and_rare_classes_more() {
        for task in Task::ALL {
            let weights = class_weights(task, ClassWeighting::InverseSqrt);
            let mean: f32 =
                Stage::ALL.into_iter().zip(TYPICAL).map(|(s, part)| part * weights[task.class_of(s)]).sum();
            assert!((mean - 1.0).abs() < 1e-6);
        }
        let four = class_weights(Task::Four, ClassWeighting::InverseSqrt);
        assert!((four[0] / four[1] - (0.55f32 / 0.10).sqrt()).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_is_the_slope_and_unscored_epochs_have_none() {
        let loss = Loss::new(Task::Four, ClassWeighting::InverseSqrt, 0.1);
        let logits: Vec<f32> = (0..12).map(|i| (i as f32 * 0.7).sin() * 2.0).collect();
        let classes = [Some(2), None, Some(0)];
        let slope = loss.of(&logits, &classes).unwrap();
        assert_eq!(slope.d_logits[4..8], [0.0; 4]);
        for i in 0..12 {
            let at = |d: f32| {
                let mut moved = logits.clone();
                moved[i] += d;
                loss.of(&moved, &classes).unwrap().loss
            };
            let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((slope.d_logits[i] - expected).abs() < 1e-4, "{i}: {} {expected}", slope.d_logits[i]);
        }
        assert!(loss.of(&logits, &[None, None, None]).is_none());
    }
}
