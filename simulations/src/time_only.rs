//! A stager that sees nothing but the time since the recording's start: what any real signal has to beat.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_signals::{Night, Task};

/// One hidden layer of tanh on smooth functions of the time, softmax on top.
pub struct TimeOnly {
    classes: usize,
    /// `[HIDDEN, INPUTS]`.
    first: Vec<f64>,
    /// `[classes, HIDDEN + 1]`.
    second: Vec<f64>,
}

const INPUTS: usize = 6;
const HIDDEN: usize = 16;
const PASSES: usize = 400;
const RATE: f64 = 0.02;

impl TimeOnly {
    /// Learns from all scored epochs of the nights, classes weighted by the inverse square root of their frequency,
    /// by full-batch Adam.
    #[must_use]
    pub fn fit(nights: &[Arc<Night>], task: Task, seed: u64) -> Self {
        let classes = task.classes();
        // Minutes are enough: counts of each class at each half hour's thirtieth, `[moments, classes]`.
        let mut counts: Vec<Vec<f64>> = Vec::new();
        for night in nights {
            for (hours, class) in night.time.iter().zip(night.classes(task)) {
                let moment = (hours * 60.0).max(0.0) as usize;
                if counts.len() <= moment {
                    counts.resize(moment + 1, vec![0.0; classes]);
                }
                if let Some(class) = class {
                    counts[moment][class] += 1.0;
                }
            }
        }
        let of_class = |class: usize| counts.iter().map(|row| row[class]).sum::<f64>();
        let total: f64 = (0..classes).map(of_class).sum::<f64>().max(1.0);
        let weights: Vec<f64> = (0..classes).map(|class| (total / of_class(class).max(1.0)).sqrt()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |n: usize, scale: f64| -> Vec<f64> {
            (0..n).map(|_| scale * (rng.random::<f64>() * 2.0 - 1.0)).collect()
        };
        let mut model =
            Self { classes, first: draw(HIDDEN * INPUTS, 1.0), second: draw(classes * (HIDDEN + 1), 0.1) };
        let mut moments = vec![(0.0, 0.0); model.first.len() + model.second.len()];
        for pass in 1..=PASSES {
            let mut slope = vec![0.0; moments.len()];
            for (moment, row) in counts.iter().enumerate().filter(|(_, row)| row.iter().any(|n| *n > 0.0)) {
                model.add_slope(moment as f64 / 60.0, row, &weights, &mut slope);
            }
            let (fix1, fix2) = (1.0 - 0.9f64.powi(pass as i32), 1.0 - 0.999f64.powi(pass as i32));
            let parameters = model.first.iter_mut().chain(&mut model.second);
            for ((w, (m, v)), g) in parameters.zip(&mut moments).zip(&slope) {
                let g = g / total;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                *w -= RATE * (*m / fix1) / ((*v / fix2).sqrt() + 1e-8);
            }
        }
        model
    }

    /// The likeliest class at each time in hours.
    #[must_use]
    pub fn predict(&self, time: &[f32]) -> Vec<usize> {
        let best = |p: Vec<f64>| (0..p.len()).rev().max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap_or(0);
        time.iter().map(|hours| best(self.forward(f64::from(*hours)).1)).collect()
    }

    /// Hidden activations with a 1 behind them, and probabilities.
    fn forward(&self, hours: f64) -> (Vec<f64>, Vec<f64>) {
        let inputs = inputs(hours);
        let dot = |row: &[f64], with: &[f64]| row.iter().zip(with).map(|(a, b)| a * b).sum::<f64>();
        let mut hidden: Vec<f64> =
            self.first.chunks_exact(INPUTS).map(|row| dot(row, &inputs).tanh()).collect();
        hidden.push(1.0);
        let logits: Vec<f64> = self.second.chunks_exact(HIDDEN + 1).map(|row| dot(row, &hidden)).collect();
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = logits.iter().map(|x| (x - top).exp()).collect();
        let sum: f64 = powers.iter().sum();
        (hidden, powers.into_iter().map(|p| p / sum).collect())
    }

    fn add_slope(&self, hours: f64, counts: &[f64], weights: &[f64], slope: &mut [f64]) {
        let inputs = inputs(hours);
        let (hidden, p) = self.forward(hours);
        let mass: f64 = counts.iter().zip(weights).map(|(n, w)| n * w).sum();
        let (first, second) = slope.split_at_mut(self.first.len());
        let mut back = [0.0; HIDDEN];
        for class in 0..self.classes {
            let d = mass * p[class] - weights[class] * counts[class];
            let row = class * (HIDDEN + 1)..(class + 1) * (HIDDEN + 1);
            for (g, h) in second[row.clone()].iter_mut().zip(&hidden) {
                *g += d * h;
            }
            for (b, w) in back.iter_mut().zip(&self.second[row]) {
                *b += d * w;
            }
        }
        for (unit, b) in back.iter().enumerate() {
            let d = b * (1.0 - hidden[unit] * hidden[unit]);
            for (g, x) in first[unit * INPUTS..(unit + 1) * INPUTS].iter_mut().zip(&inputs) {
                *g += d * x;
            }
        }
    }
}

/// Constant, line, parabola, the first minutes, and a sleep cycle of 90 minutes.
fn inputs(hours: f64) -> [f64; INPUTS] {
    let t = hours / 4.0 - 1.0;
    let cycle = std::f64::consts::TAU * hours / 1.5;
    [1.0, t, t * t, (-4.0 * hours).exp() * 2.0, cycle.sin(), cycle.cos()]
}

#[cfg(test)]
mod tests {
    use somnus_signals::{NightRules, Stage, synthetic};

    use super::*;

    #[test]
    fn it_learns_what_the_time_tells_and_nothing_else() {
        let config = synthetic::SyntheticConfig { people: 3, ..Default::default() };
        let mut nights = synthetic::cohort(&config, &NightRules::default()).nights;
        for night in &mut nights {
            // Awake for an hour, deep until the fourth, then REM.
            for (stage, hours) in night.stages.iter_mut().zip(&night.time) {
                *stage = Some(match hours {
                    h if *h < 1.0 => Stage::Wake,
                    h if *h < 4.0 => Stage::N3,
                    _ => Stage::Rem,
                });
            }
        }
        let nights: Vec<Arc<Night>> = nights.into_iter().map(Arc::new).collect();
        let model = TimeOnly::fit(&nights, Task::Four, 1);
        assert_eq!(model.predict(&[0.3, 2.0, 3.0, 5.0, 7.0]), [0, 2, 2, 3, 3]);
        let again = TimeOnly::fit(&nights, Task::Four, 1);
        assert_eq!(model.second, again.second);
    }
}
