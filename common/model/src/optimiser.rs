//! From gradients to steps, on the flat vector of weights.

use std::ops::Range;

use somnus_protocol::plan::{Optimiser, TrainPlan};

use crate::vector::{dispatch, sum_of_squares};

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// AdamW (Loshchilov and Hutter 2019) or SGD with momentum, with clipping and the proximal term of FedProx
/// (Li et al. 2020). Moments begin at zero.
pub(crate) struct Stepper {
    rule: Optimiser,
    clip: f32,
    proximal: f32,
    /// Runs of weights that move, and whether they decay.
    runs: Vec<(Range<usize>, bool)>,
    /// Where the proximal term pulls to; empty without one.
    anchor: Vec<f32>,
    /// Added to the gradient behind the clipping, so that a control variate is a mean of clipped gradients; empty for none.
    correction: Vec<f32>,
    pull: Option<Pull>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

/// Weights that a step is drawn back to once it is taken, beside the rule and not through it: AdamW's steps are as long for a
/// small gradient as for a large one, so a pull inside them would say where to go but not how far. It is the proximal
/// operator of `strength / 2 ||w - towards||^2`: no strength overshoots.
#[derive(Clone)]
pub(crate) struct Pull {
    /// All weights, as the flat vector has them.
    pub(crate) towards: Vec<f32>,
    pub(crate) strength: f32,
}

impl Stepper {
    pub(crate) fn new(plan: &TrainPlan, runs: Vec<(Range<usize>, bool)>, weights: &[f32]) -> Self {
        let len = weights.len();
        let adam = matches!(plan.optimiser, Optimiser::AdamW { .. });
        Self {
            rule: plan.optimiser,
            clip: plan.gradient_clip,
            proximal: plan.proximal,
            runs,
            anchor: if plan.proximal > 0.0 { weights.to_vec() } else { Vec::new() },
            correction: Vec::new(),
            pull: None,
            first: vec![0.0; len],
            second: if adam { vec![0.0; len] } else { Vec::new() },
            steps: 0,
        }
    }

    /// Corrects every step of plain gradient descent, one number a weight (SCAFFOLD).
    pub(crate) fn corrected(mut self, correction: Vec<f32>) -> Self {
        self.correction = correction;
        self
    }

    /// Draws every step back; a pull without strength is none, to the last bit.
    pub(crate) fn pulled(mut self, pull: Option<Pull>) -> Self {
        self.pull = pull.filter(|pull| pull.strength > 0.0);
        self
    }

    /// One step at `rate` along `gradients`, which are overwritten.
    pub(crate) fn step(&mut self, weights: &mut [f32], gradients: &mut [f32], rate: f32) {
        self.steps += 1;
        if self.proximal > 0.0 {
            for (run, _) in &self.runs {
                let pull = weights[run.clone()].iter().zip(&self.anchor[run.clone()]);
                for (g, (w, anchor)) in gradients[run.clone()].iter_mut().zip(pull) {
                    *g += self.proximal * (w - anchor);
                }
            }
        }
        let factor = self.clip_factor(gradients);
        for (run, decays) in &self.runs {
            let run = run.clone();
            let (w, g, m) =
                (&mut weights[run.clone()], &gradients[run.clone()], &mut self.first[run.clone()]);
            match self.rule {
                Optimiser::AdamW { weight_decay } => {
                    let keep = if *decays { 1.0 - rate * weight_decay } else { 1.0 };
                    adam(w, g, m, &mut self.second[run], self.steps, Scales { factor, rate, keep });
                }
                Optimiser::Sgd { momentum } => {
                    for ((w, g), m) in w.iter_mut().zip(g).zip(m) {
                        *m = momentum * *m + factor * g;
                        *w -= rate * *m;
                    }
                    if let Some(correction) = self.correction.get(run) {
                        w.iter_mut().zip(correction).for_each(|(w, c)| *w -= rate * c);
                    }
                }
            }
        }
        if let Some(Pull { towards, strength }) = &self.pull {
            let keep = 1.0 / (1.0 + rate * strength);
            for (run, _) in &self.runs {
                for (w, to) in weights[run.clone()].iter_mut().zip(&towards[run.clone()]) {
                    *w = to + keep * (*w - to);
                }
            }
        }
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> i32 {
        self.steps
    }

    /// First and second moments; without Adam there are no second ones.
    pub(crate) fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// Goes on where another one of the same make was.
    pub(crate) fn resume(&mut self, steps: i32, [first, second]: [Vec<f32>; 2]) {
        (self.steps, self.first, self.second) = (steps, first, second);
    }

    fn clip_factor(&self, gradients: &[f32]) -> f32 {
        if self.clip == 0.0 {
            return 1.0;
        }
        let squares: f64 = self.runs.iter().map(|(run, _)| sum_of_squares(&gradients[run.clone()])).sum();
        let norm = squares.sqrt() as f32;
        if norm > self.clip { self.clip / norm } else { 1.0 }
    }
}

/// What multiplies what in a step.
#[derive(Clone, Copy)]
struct Scales {
    /// Of the gradient, from clipping.
    factor: f32,
    rate: f32,
    /// Of the weight, from decay.
    keep: f32,
}

fn adam(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], steps: i32, scales: Scales) {
    let Scales { factor, rate, keep } = scales;
    let rate = rate / (1.0 - BETA1.powi(steps));
    let second = 1.0 / (1.0 - BETA2.powi(steps));
    dispatch(
        #[inline(always)]
        || {
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * factor;
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *w = *w * keep - rate * *m / ((*v * second).sqrt() + EPSILON);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(optimiser: Optimiser) -> TrainPlan {
        TrainPlan { optimiser, gradient_clip: 0.0, ..TrainPlan::default() }
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate_and_decay_is_decoupled() {
        let plan = plan(Optimiser::AdamW { weight_decay: 0.5 });
        let mut weights = vec![1.0, 1.0, 1.0];
        let mut stepper = Stepper::new(&plan, vec![(0..1, true), (1..2, false)], &weights);
        stepper.step(&mut weights, &mut [3.0, -7.0, 9.0], 0.1);
        // 1 - .1 x .5 - .1, 1 + .1, and a weight that is not trained.
        for (w, expected) in weights.iter().zip([0.85, 1.1, 1.0]) {
            assert!((w - expected).abs() < 1e-6, "{weights:?}");
        }
    }

    #[test]
    fn momentum_adds_up_and_clipping_bounds_the_step() {
        let clipped = TrainPlan { gradient_clip: 1.0, ..plan(Optimiser::Sgd { momentum: 0.5 }) };
        let mut weights = vec![0.0, 0.0];
        let mut stepper = Stepper::new(&clipped, vec![(0..2, true)], &weights);
        stepper.step(&mut weights, &mut [30.0, 40.0], 1.0);
        assert!((weights[0] + 0.6).abs() < 1e-6 && (weights[1] + 0.8).abs() < 1e-6);
        stepper.step(&mut weights, &mut [0.0, 0.0], 1.0);
        assert!((weights[0] + 0.9).abs() < 1e-6, "{weights:?}");
    }

    #[test]
    fn a_correction_is_added_behind_the_clipping_where_weights_move() {
        let clipped = TrainPlan { gradient_clip: 1.0, ..plan(Optimiser::Sgd { momentum: 0.0 }) };
        let mut weights = vec![0.0, 0.0];
        let stepper = Stepper::new(&clipped, vec![(0..1, true)], &weights);
        let mut stepper = stepper.corrected(vec![0.25, 7.0]);
        stepper.step(&mut weights, &mut [30.0, 40.0], 0.5);
        assert_eq!(weights, [-0.5 * (1.0 + 0.25), 0.0]);
    }

    #[test]
    fn a_pull_divides_the_way_out_and_never_overshoots() {
        let rule = plan(Optimiser::Sgd { momentum: 0.0 });
        for (strength, left) in [(0.0, 1.0), (2.0, 0.5), (1e6, 0.0)] {
            let pull = Some(Pull { towards: vec![1.0, 0.0], strength });
            let mut weights = vec![2.5, 7.0];
            Stepper::new(&rule, vec![(0..1, true)], &weights).pulled(pull).step(
                &mut weights,
                &mut [1.0, 1.0],
                0.5,
            );
            assert!((weights[0] - (1.0 + left)).abs() < 1e-5, "{strength}: {weights:?}");
            assert_eq!(weights[1], 7.0);
        }
    }

    #[test]
    fn the_proximal_term_pulls_back_to_the_release() {
        let near = TrainPlan { proximal: 0.5, ..plan(Optimiser::Sgd { momentum: 0.0 }) };
        let mut weights = vec![2.0];
        let mut stepper = Stepper::new(&near, vec![(0..1, true)], &weights);
        stepper.step(&mut weights, &mut [1.0], 1.0);
        assert_eq!(weights, [1.0]);
        stepper.step(&mut weights, &mut [0.0], 1.0);
        assert_eq!(weights, [1.5]);
    }
}
