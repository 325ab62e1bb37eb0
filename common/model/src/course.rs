//! A long training that can be put away after any step and taken up again: the same bits as without the pause.
//!
//! A step's night and its chance are functions of the seed and the step's number, so all that has to be kept is the
//! weights, their moments and their running mean.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_protocol::checkpoint::Tensor;
use somnus_protocol::plan::{Optimiser, TrainPlan, TrainableSet};
use somnus_signals::Night;

use crate::distil::{Distilled, Strategy, Teacher};
use crate::error::ModelError;
use crate::input::Prepared;
use crate::loss::Loss;
use crate::masked::{Decoder, Masked, MaskedPlan};
use crate::optimiser::Stepper;
use crate::stager::{Stager, one_cycle};
use crate::train::{Lesson, Run};

/// The first part of a distillation over which the teacher's share grows from nearly none to all, as Zhao et al. 2022 let in
/// theirs. What it leaves labels have, see [`Strategy`].
const WARM_UP: f32 = 0.1;

/// Steps on one network, one night each, nights in an order that is shuffled anew in every pass; the rate makes one cycle
/// ([`one_cycle`]).
pub struct Course {
    stager: Stager,
    lessons: Lessons,
    seed: u64,
    steps: u32,
    peak: f32,
    /// The first step after which weights enter the mean.
    late: u32,
    /// The network's weights, and behind them what is thrown away at the end.
    weights: Vec<f32>,
    mean: Vec<f32>,
    stepper: Stepper,
    done: u32,
}

enum Lessons {
    /// Stages that are known.
    Scored { nights: Vec<Prepared>, plan: TrainPlan },
    /// Measurements that are hidden.
    Hidden { nights: Vec<Night>, plan: MaskedPlan, decoder: Decoder },
    /// What another network makes of nights.
    Taught(Distilled),
}

impl Lessons {
    fn count(&self) -> usize {
        match self {
            Self::Scored { nights, .. } => nights.len(),
            Self::Hidden { nights, .. } => nights.len(),
            Self::Taught(distilled) => distilled.count(),
        }
    }
}

impl Course {
    /// Supervised training of all weights on scored nights for `plan.steps` steps up to `plan.learning_rate`, ending with
    /// the mean of the weights over the last part `averaged` (0 to 1) of the steps. Of the plan, `trainable`, `schedule` and
    /// `proximal` do not apply.
    ///
    /// # Errors
    /// [`ModelError::NoLabels`] when no night has a scored epoch.
    pub fn rehearsal(
        stager: &Stager,
        nights: Vec<Prepared>,
        plan: &TrainPlan,
        averaged: f32,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let nights: Vec<Prepared> = nights.into_iter().filter(|night| night.scored() > 0).collect();
        if nights.is_empty() {
            return Err(ModelError::NoLabels);
        }
        let plan = TrainPlan { trainable: TrainableSet::Full, proximal: 0.0, ..plan.clone() };
        let weights = stager.weights().to_vec();
        let stepper = Stepper::new(&plan, stager.net().layout.runs(plan.trainable), &weights);
        let (steps, peak) = (plan.steps, plan.learning_rate);
        Ok(Self {
            stager: stager.clone(),
            lessons: Lessons::Scored { nights, plan },
            seed,
            steps,
            peak,
            late: late(steps, averaged),
            mean: weights.clone(),
            weights,
            stepper,
            done: 0,
        })
    }

    /// Masked modelling of nights; moves everything but the head.
    ///
    /// # Errors
    /// [`ModelError::NoNights`], or [`ModelError::StreamWidth`] of the first night that does not fit.
    pub fn masked(
        stager: &Stager,
        nights: Vec<Night>,
        plan: &MaskedPlan,
        seed: u64,
    ) -> Result<Self, ModelError> {
        if nights.is_empty() {
            return Err(ModelError::NoNights);
        }
        for night in &nights {
            stager.prepare_part(night, 0..0)?;
        }
        let layout = &stager.net().layout;
        let mut weights = stager.weights().to_vec();
        let decoder = Decoder::behind(stager.net(), weights.len());
        weights.extend(decoder.start(&mut ChaCha8Rng::seed_from_u64(seed)));
        let body = layout.runs(TrainableSet::Full).into_iter().filter_map(|(run, decays)| {
            let run = run.start..run.end.min(layout.head.start);
            (!run.is_empty()).then_some((run, decays))
        });
        let runs = body.chain([(decoder.weight.clone(), true), (decoder.bias.clone(), false)]).collect();
        let optimiser = Optimiser::AdamW { weight_decay: plan.weight_decay };
        let rule = TrainPlan { optimiser, gradient_clip: 1.0, proximal: 0.0, ..TrainPlan::default() };
        let stepper = Stepper::new(&rule, runs, &weights);
        let (steps, peak) = (plan.steps, plan.learning_rate);
        Ok(Self {
            stager: stager.clone(),
            lessons: Lessons::Hidden { nights, plan: plan.clone(), decoder },
            seed,
            steps,
            peak,
            late: steps,
            mean: weights.clone(),
            weights,
            stepper,
            done: 0,
        })
    }

    /// Distillation: all weights of `student` learn what `teacher` makes of nights, scored or not, and their labels where there are
    /// some. Steps, rate and mean as in [`Course::rehearsal`]; the teacher's share grows to 1 over the first tenth of the steps, see [`Strategy`].
    ///
    /// A network teaches a student that takes no other streams and context windows than itself.
    ///
    /// # Errors
    /// [`ModelError::NoNights`], or [`ModelError::Teacher`] saying why this student cannot learn from this teacher.
    pub fn distilled(
        student: &Stager,
        teacher: Teacher<'_>,
        nights: Vec<Prepared>,
        plan: &TrainPlan,
        strategy: Strategy,
        averaged: f32,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let plan = TrainPlan { trainable: TrainableSet::Full, proximal: 0.0, ..plan.clone() };
        let distilled = Distilled::new(student, teacher, nights, plan.clone(), strategy)?;
        let mut weights = student.weights().to_vec();
        let mut runs = student.net().layout.runs(plan.trainable);
        if let Some(projection) = &distilled.projection {
            weights.extend(projection.start(&mut ChaCha8Rng::seed_from_u64(seed)));
            runs.push((projection.weight.clone(), true));
        }
        let stepper = Stepper::new(&plan, runs, &weights);
        let (steps, peak) = (plan.steps, plan.learning_rate);
        Ok(Self {
            stager: student.clone(),
            lessons: Lessons::Taught(distilled),
            seed,
            steps,
            peak,
            late: late(steps, averaged),
            mean: weights.clone(),
            weights,
            stepper,
            done: 0,
        })
    }

    /// The rest of it, in one go.
    ///
    /// # Errors
    /// [`ModelError::Diverged`].
    pub fn complete(mut self) -> Result<Stager, ModelError> {
        while self.done < self.steps {
            self.step()?;
        }
        self.finish()
    }

    /// Steps so far.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// Takes the next step. Its loss before the step; `None` when what it drew has nothing to learn from.
    ///
    /// # Errors
    /// [`ModelError::Diverged`]; the course is over then.
    pub fn step(&mut self) -> Result<Option<f32>, ModelError> {
        let step = self.done;
        let night = self.night_of(step);
        let mut gradients = vec![0.0; self.weights.len()];
        let loss = self.learn(night, chance(self.seed, u64::from(step)), &mut gradients)?;
        if let Some(loss) = loss {
            if !loss.is_finite() {
                return Err(ModelError::Diverged { step: step as usize });
            }
            self.stepper.step(&mut self.weights, &mut gradients, one_cycle(step, self.steps, self.peak));
        }
        self.done += 1;
        if step >= self.late {
            let share = 1.0 / (self.done - self.late) as f32;
            for (mean, weight) in self.mean.iter_mut().zip(&self.weights) {
                *mean += share * (*weight - *mean);
            }
        }
        Ok(loss)
    }

    /// What the course made of the network.
    ///
    /// # Errors
    /// [`ModelError::Diverged`] when a weight is not finite.
    pub fn finish(self) -> Result<Stager, ModelError> {
        let weights = if self.done > self.late { self.mean } else { self.weights };
        if weights.iter().any(|w| !w.is_finite()) {
            return Err(ModelError::Diverged { step: self.done as usize });
        }
        let len = self.stager.parameters();
        Ok(self.stager.with_weights(weights[..len].to_vec()))
    }

    /// All that the next steps depend on, beside what the course was made with and the number of steps.
    pub fn to_tensors(&self) -> BTreeMap<String, Tensor> {
        let [first, second] = self.stepper.moments();
        // Exact up to 16 million.
        let taken = [self.stepper.steps() as f32];
        let parts: [(&str, &[f32]); 5] = [
            ("weights", &self.weights),
            ("mean", &self.mean),
            ("first", first),
            ("second", second),
            ("taken", &taken),
        ];
        parts
            .into_iter()
            .map(|(name, values)| {
                (name.to_owned(), Tensor { shape: vec![values.len()], values: values.to_vec() })
            })
            .collect()
    }

    /// Goes on where a course made with the same arguments was after `done` steps.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], [`ModelError::Shape`] or [`ModelError::NotFinite`]; nothing has changed then.
    pub fn resume(&mut self, done: u32, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
        let read = |name: &str, len: usize| {
            let tensor = tensors.get(name).ok_or_else(|| ModelError::MissingTensor(name.to_owned()))?;
            if tensor.values.len() != len {
                let (name, got) = (name.to_owned(), tensor.shape.clone());
                return Err(ModelError::Shape { name, expected: vec![len], got });
            }
            if tensor.values.iter().any(|v| !v.is_finite()) {
                return Err(ModelError::NotFinite(name.to_owned()));
            }
            Ok(tensor.values.clone())
        };
        let len = self.weights.len();
        let [first, second] = self.stepper.moments().map(<[f32]>::len);
        let (weights, mean) = (read("weights", len)?, read("mean", len)?);
        let moments = [read("first", first)?, read("second", second)?];
        let taken = read("taken", 1)?[0];
        (self.weights, self.mean) = (weights, mean);
        // Fewer than `done` where a night had nothing to learn from.
        self.stepper.resume(taken as i32, moments);
        self.done = done;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn night_of(&self, step: u32) -> usize {
        let count = self.lessons.count();
        let mut order: Vec<usize> = (0..count).collect();
        // Streams of the generator from the middle on: steps take the lower ones.
        let pass = u64::from(step) / count as u64;
        order.shuffle(&mut chance(self.seed, (1 << 63) | pass));
        order[step as usize % count]
    }

    fn learn(
        &self,
        night: usize,
        mut rng: ChaCha8Rng,
        gradients: &mut [f32],
    ) -> Result<Option<f32>, ModelError> {
        let net = self.stager.net();
        match &self.lessons {
            Lessons::Scored { nights, plan } => {
                let loss = Loss::new(net.config.task, plan.class_weighting, plan.label_smoothing);
                let mut run = Run { net, plan, loss, rng, align: None, seen: None, night: 0 };
                Ok(nights[night].learn(&mut run, &self.weights, gradients))
            }
            Lessons::Hidden { nights, plan, decoder } => {
                let masked = Masked::draw(net, &nights[night], plan, &mut rng)?;
                Ok(masked.learn(net, decoder, &self.weights, plan.dropout, &mut rng, gradients))
            }
            Lessons::Taught(distilled) => {
                let share = ((self.done + 1) as f32 / (WARM_UP * self.steps as f32)).min(1.0);
                Ok(distilled.learn(net, night, share, &self.weights, &mut rng, gradients))
            }
        }
    }
}

/// The first of `steps` after which weights enter the mean of the last part `averaged`.
fn late(steps: u32, averaged: f32) -> u32 {
    steps - ((steps as f32 * averaged.clamp(0.0, 1.0)).round() as u32).min(steps)
}

/// A generator of one of the seed's streams.
fn chance(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

#[cfg(test)]
mod tests {
    use somnus_protocol::plan::Augmentation;
    use somnus_signals::NightRules;
    use somnus_signals::synthetic::{self, SyntheticConfig};

    use super::*;
    use crate::config::{DeviceKind, NetConfig};

    fn nights() -> Vec<Night> {
        let config = SyntheticConfig { people: 3, seed: 2, ..SyntheticConfig::default() };
        synthetic::cohort(&config, &NightRules::default()).nights
    }

    fn stager() -> Stager {
        let config = NetConfig { width: 16, dilations: vec![1, 4], context: vec![3], ..NetConfig::default() };
        Stager::new(&config, 1, DeviceKind::Flex).unwrap()
    }

    fn courses() -> [Course; 3] {
        let stager = stager();
        let prepared = nights().iter().map(|night| stager.prepare(night).unwrap()).collect();
        let augmentation =
            Augmentation { crop: 0.5, stream_dropout: 0.2, time_warp: 0.1, ..Augmentation::default() };
        let plan = TrainPlan { steps: 14, augmentation, ..TrainPlan::default() };
        let hidden = MaskedPlan { steps: 14, ..MaskedPlan::default() };
        let teacher =
            Stager::new(&NetConfig { context: vec![3], ..NetConfig::default() }, 2, DeviceKind::Flex)
                .unwrap();
        let taught = nights().iter().map(|night| teacher.prepare(night).unwrap()).collect();
        let features = Strategy::ALL[3];
        [
            Course::rehearsal(&stager, prepared, &plan, 0.5, 3).unwrap(),
            Course::masked(&stager, nights(), &hidden, 3).unwrap(),
            Course::distilled(&stager, Teacher::Network(&teacher), taught, &plan, features, 0.5, 3).unwrap(),
        ]
    }

    fn run(course: &mut Course, to: u32) -> Vec<f32> {
        let mut losses = Vec::new();
        while course.done() < to {
            losses.push(course.step().unwrap().unwrap());
        }
        losses
    }

    #[test]
    fn put_away_and_taken_up_again_it_ends_with_the_same_bits() {
        for (mut straight, halting) in courses().into_iter().zip([0, 1, 2]) {
            let losses = run(&mut straight, 14);
            let whole = straight.finish().unwrap();
            // Once in the middle of a pass, and once while weights are averaged.
            for pause in [5, 11] {
                let again = || courses().into_iter().nth(halting).unwrap();
                let (mut first, mut second) = (again(), again());
                run(&mut first, pause);
                second.resume(pause, &first.to_tensors()).unwrap();
                assert_eq!(run(&mut second, 14), losses[pause as usize..]);
                assert_eq!(second.finish().unwrap().weights(), whole.weights());
            }
        }
    }

    #[test]
    fn what_is_learned_lasts_and_the_mean_is_of_the_late_weights() {
        let [mut scored, mut hidden, _] = courses();
        let losses = run(&mut scored, 14);
        assert!(losses[11..].iter().sum::<f32>() < losses[..3].iter().sum::<f32>(), "{losses:?}");
        let last = scored.weights().to_vec();
        assert_ne!(scored.finish().unwrap().weights(), last, "the mean of seven steps is not the last one");
        run(&mut hidden, 14);
        let (len, last) = (stager().parameters(), hidden.weights().to_vec());
        let ended = hidden.finish().unwrap();
        assert_eq!(ended.weights(), &last[..len]);
        let head = ended.net().layout.head.start;
        assert_eq!(ended.weights()[head..], stager().weights()[head..]);
    }

    #[test]
    fn a_torn_state_names_its_tensor_and_changes_nothing() {
        let [mut course, ..] = courses();
        let mut state = course.to_tensors();
        state.remove("second");
        let error = course.resume(3, &state).unwrap_err().to_string();
        assert!(error.contains("`second`") && course.done() == 0, "{error}");
    }

    #[test]
    fn nothing_to_learn_from_is_said_before_the_first_step() {
        let none = Course::masked(&stager(), Vec::new(), &MaskedPlan::default(), 1).err();
        assert!(matches!(none, Some(ModelError::NoNights)));
        let none = Course::rehearsal(&stager(), Vec::new(), &TrainPlan::default(), 0.0, 1).err();
        assert!(matches!(none, Some(ModelError::NoLabels)));
    }
}
