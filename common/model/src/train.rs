//! The training loop: random views of nights, gradients, steps.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_protocol::moments::Moments;
use somnus_protocol::plan::{TrainPlan, TrainableSet};

use crate::augment::{self, View};
use crate::block::Dropout;
use crate::error::ModelError;
use crate::input::Prepared;
use crate::invariance::{self, Align};
use crate::loss::{Loss, Slope};
use crate::net::Net;
use crate::optimiser::{Pull, Stepper};

/// What a training did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrainReport {
    /// Mean loss over the steps, each before its step.
    pub loss: f32,
    /// Optimiser steps, less those whose crop had no scored epoch.
    pub steps: u32,
    /// Scored epochs of the nights that were trained on, each counted once.
    pub examples: u32,
}

/// How one training is led, beside its plan.
pub(crate) struct Lead<'a> {
    pub(crate) seed: u64,
    /// The rate of a step, counted from 0.
    pub(crate) rate: &'a dyn Fn(u32) -> f32,
    /// See [`Stepper::corrected`]; in the order of the flat vector.
    pub(crate) correction: Vec<f32>,
    /// Places of the flat vector that stay although their set moves.
    pub(crate) held: &'a [u32],
    /// Where every step is drawn to, if anywhere.
    pub(crate) pull: Option<Pull>,
    /// What else embeddings are to be. Training of the head leaves them where they are, and does not ask.
    pub(crate) align: Option<Box<dyn Align>>,
    /// Takes in the embeddings of every view that is trained on, which `align` pulls. Training of the head has no views of
    /// nights, and adds nothing.
    pub(crate) seen: Option<&'a mut Moments>,
}

impl<'a> Lead<'a> {
    pub(crate) fn new(seed: u64, rate: &'a dyn Fn(u32) -> f32) -> Self {
        Self { seed, rate, correction: Vec::new(), held: &[], pull: None, align: None, seen: None }
    }
}

/// A night behind the frozen part of a network: what training of the head needs, and what a probe looks into.
#[derive(Clone, Debug)]
pub struct Embedded {
    /// `[epochs, C]`.
    pub(crate) values: Vec<f32>,
    pub(crate) classes: Vec<Option<u8>>,
}

impl Embedded {
    /// `[epochs, C]`, epoch-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// What a training learns from.
#[derive(Clone, Copy)]
pub(crate) enum Lessons<'a> {
    /// Any set.
    Nights(&'a [&'a Prepared]),
    /// The head alone, on what is in front of it.
    Embedded(&'a [&'a Embedded]),
}

impl Lessons<'_> {
    /// Trains `weights` on them.
    pub(crate) fn train(
        self,
        net: &Net,
        weights: &mut [f32],
        plan: &TrainPlan,
        lead: Lead<'_>,
    ) -> Result<TrainReport, ModelError> {
        match self {
            Self::Nights(nights) => on_nights(net, weights, nights, plan, lead, &mut |_, _| {}),
            Self::Embedded(nights) => on_embeddings(net, weights, nights, plan, lead),
        }
    }
}

/// A night that a step can take a view of and learn from.
pub(crate) trait Lesson {
    fn classes(&self) -> &[Option<u8>];

    /// One step's loss; adds to `gradients`. `None` if the view has no scored epoch.
    fn learn(&self, run: &mut Run<'_>, weights: &[f32], gradients: &mut [f32]) -> Option<f32>;
}

/// What stays the same over the steps, and the generator.
pub(crate) struct Run<'a> {
    pub(crate) net: &'a Net,
    pub(crate) plan: &'a TrainPlan,
    pub(crate) loss: Loss,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) align: Option<Box<dyn Align>>,
    pub(crate) seen: Option<&'a mut Moments>,
    /// The night of this step, by its place among those given.
    pub(crate) night: usize,
}

impl Lesson for Prepared {
    fn classes(&self) -> &[Option<u8>] {
        &self.classes
    }

    fn learn(&self, run: &mut Run<'_>, weights: &[f32], gradients: &mut [f32]) -> Option<f32> {
        let net = run.net;
        let View { values, classes, .. } =
            augment::view(self, &net.layout, &run.plan.augmentation, &mut run.rng);
        let mut dropout = Dropout::new(run.plan.dropout, &mut run.rng);
        let (h, tape) = net.embed_taped(weights, values, dropout.as_mut());
        if let Some(seen) = run.seen.as_deref_mut() {
            invariance::add(seen, &h, &classes);
        }
        let Slope { loss, d_logits } = run.loss.of(&net.head(weights, &h), &classes)?;
        net.head_backward(&h, &d_logits, gradients);
        let mut dh = net.head_input_gradient(weights, &d_logits);
        if let Some(align) = &mut run.align {
            align.pull(run.night, &h, &classes, &mut dh);
        }
        net.backward(weights, tape, dh, gradients, run.plan.trainable != TrainableSet::Full);
        Some(loss)
    }
}

impl Lesson for Embedded {
    fn classes(&self) -> &[Option<u8>] {
        &self.classes
    }

    /// Crops and dropout act on the embeddings; what would change the frozen part's input does not apply.
    fn learn(&self, run: &mut Run<'_>, weights: &[f32], gradients: &mut [f32]) -> Option<f32> {
        let c = run.net.config.width;
        let epochs = augment::epochs(self.classes.len(), &run.plan.augmentation, &mut run.rng);
        let classes: Vec<_> = epochs.iter().map(|epoch| self.classes[*epoch]).collect();
        let mut h: Vec<f32> =
            epochs.iter().flat_map(|epoch| &self.values[epoch * c..][..c]).copied().collect();
        if let Some(mut dropout) = Dropout::new(run.plan.dropout, &mut run.rng) {
            let (mask, scale) = (dropout.draw(h.len()), dropout.scale());
            for (value, chance) in h.iter_mut().zip(mask) {
                *value *= if chance >= dropout.threshold { scale } else { 0.0 };
            }
        }
        let Slope { loss, d_logits } = run.loss.of(&run.net.head(weights, &h), &classes)?;
        run.net.head_backward(&h, &d_logits, gradients);
        Some(loss)
    }
}

/// Trains on whole nights, and calls `after` with each step's weights. With the `head` set, the frozen part runs once a night and its result is kept.
pub(crate) fn on_nights(
    net: &Net,
    weights: &mut [f32],
    nights: &[&Prepared],
    plan: &TrainPlan,
    lead: Lead<'_>,
    after: &mut dyn FnMut(u32, &mut [f32]),
) -> Result<TrainReport, ModelError> {
    if plan.trainable == TrainableSet::Head {
        let embedded: Vec<Embedded> = nights.iter().map(|night| embed(net, weights, night)).collect();
        let embedded: Vec<&Embedded> = embedded.iter().collect();
        return run(net, weights, &embedded, plan, lead, after);
    }
    run(net, weights, nights, plan, lead, after)
}

/// Trains the head on embeddings.
pub(crate) fn on_embeddings(
    net: &Net,
    weights: &mut [f32],
    nights: &[&Embedded],
    plan: &TrainPlan,
    lead: Lead<'_>,
) -> Result<TrainReport, ModelError> {
    run(net, weights, nights, plan, lead, &mut |_, _| {})
}

/// A night behind the frozen part.
pub(crate) fn embed(net: &Net, weights: &[f32], night: &Prepared) -> Embedded {
    let values = net.embed(weights, night.values.clone(), None);
    Embedded { values, classes: night.classes.clone() }
}

fn run<L: Lesson>(
    net: &Net,
    weights: &mut [f32],
    nights: &[&L],
    plan: &TrainPlan,
    lead: Lead<'_>,
    after: &mut dyn FnMut(u32, &mut [f32]),
) -> Result<TrainReport, ModelError> {
    let Lead { seed, rate, correction, held, pull, align, seen } = lead;
    let scored = |night: &L| night.classes().iter().flatten().count();
    let nights: Vec<(usize, &L)> =
        nights.iter().copied().enumerate().filter(|(_, night)| scored(night) > 0).collect();
    if nights.is_empty() {
        return Err(ModelError::NoLabels);
    }
    if !net.layout.sets().contains(&plan.trainable) {
        return Err(ModelError::NoSuchSet(plan.trainable));
    }
    let loss = Loss::new(net.config.task, plan.class_weighting, plan.label_smoothing);
    let mut run = Run { net, plan, loss, rng: ChaCha8Rng::seed_from_u64(seed), align, seen, night: 0 };
    let runs = net.layout.runs_without(plan.trainable, held);
    let mut stepper = Stepper::new(plan, runs, weights).corrected(correction).pulled(pull);
    let mut gradients = vec![0.0; weights.len()];
    let mut order: Vec<usize> = (0..nights.len()).collect();
    let (mut total, mut counted) = (0.0f64, 0u32);
    let steps = plan.steps_over(nights.len());
    for step in 0..steps {
        net.between.steps()?;
        let at = step as usize % nights.len();
        if at == 0 {
            order.shuffle(&mut run.rng);
        }
        gradients.fill(0.0);
        let (number, night) = nights[order[at]];
        run.night = number;
        // A crop can miss every scored epoch; such a step teaches nothing.
        let Some(loss) = night.learn(&mut run, weights, &mut gradients) else { continue };
        if !loss.is_finite() {
            return Err(ModelError::Diverged { step: step as usize });
        }
        stepper.step(weights, &mut gradients, rate(step));
        after(step, weights);
        total += f64::from(loss);
        counted += 1;
    }
    if weights.iter().any(|w| !w.is_finite()) {
        return Err(ModelError::Diverged { step: steps as usize });
    }
    let visited = &order[..nights.len().min(steps as usize)];
    let examples: usize = visited.iter().map(|i| scored(nights[*i].1)).sum();
    let loss = (total / f64::from(counted.max(1))) as f32;
    Ok(TrainReport { loss, steps: counted, examples: examples as u32 })
}

/// The loss of one view of a night and the gradient of every weight, for the tests.
#[cfg(test)]
pub(crate) fn gradients(
    net: &Net,
    weights: &[f32],
    night: &Prepared,
    plan: &TrainPlan,
    seed: u64,
) -> (f32, Vec<f32>) {
    let loss = Loss::new(net.config.task, plan.class_weighting, plan.label_smoothing);
    let mut run =
        Run { net, plan, loss, rng: ChaCha8Rng::seed_from_u64(seed), align: None, seen: None, night: 0 };
    let mut gradients = vec![0.0; weights.len()];
    let loss = night.learn(&mut run, weights, &mut gradients).expect("a scored epoch");
    (loss, gradients)
}
