//! One student on one fold: made, taught, judged.

use std::time::Instant;

use somnus_model::distil::{Strategy, Teacher};
use somnus_model::{Course, DeviceKind, ModelError, NetConfig, Posterior, Prepared, Quantised, Stager};
use somnus_protocol::plan::TrainPlan;
use somnus_protocol::seed::{Label, Seed};
use somnus_report::Confusion;
use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Night, NightRules, Task};

use super::{Compression, Size};
use crate::baselines::score;
use crate::cohort::People;
use crate::lab::LabError;

/// Predictions of which a size's time is the median.
const TIMED: usize = 15;

/// The width that the plan's rate is for: the narrower a network, the longer its best steps.
const USUAL_WIDTH: usize = 32;

/// How a student learns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Way {
    /// From labels alone.
    Scratch,
    /// From a teacher too.
    Taught(Strategy),
}

impl Way {
    /// Labels alone first.
    pub(super) fn all(strategies: &[Strategy]) -> Vec<Self> {
        std::iter::once(Self::Scratch).chain(strategies.iter().copied().map(Self::Taught)).collect()
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Scratch => "from scratch",
            Self::Taught(strategy) => strategy.name(),
        }
    }
}

/// What a study works on.
pub(super) struct Bench<'a> {
    pub(super) study: &'a Compression,
    pub(super) people: &'a People,
    /// What teachers start from.
    pub(super) foundation: &'a Stager,
}

/// A fold of one seed with its teacher.
pub(super) struct Fold {
    seed: u64,
    index: usize,
    teacher: Stager,
    /// The training people's and unscored ones, as the teacher takes them.
    nights: Vec<Prepared>,
    /// Of the teacher, on held-out people.
    pub(super) counts: Confusion,
}

/// Counts of a student on held-out people.
pub(super) struct Judged {
    /// As it is.
    pub(super) exact: Confusion,
    /// In eight bits.
    pub(super) rounded: Confusion,
}

/// What a size costs.
pub(super) struct Speed {
    pub(super) weights: usize,
    /// Of its weights, as f32 and as int8.
    pub(super) bytes: [usize; 2],
    /// Of one night, layout included; in the same order.
    pub(super) milliseconds: [f64; 2],
}

impl Bench<'_> {
    /// Sizes in their order, then the teacher's.
    pub(super) fn speeds(&self) -> Result<Vec<Speed>, LabError> {
        let night = &self.people.nights()[0];
        let own = self.study.sizes.iter().map(|size| size.net(self.foundation.config()));
        let mut speeds = Vec::new();
        for config in own.chain([self.foundation.config().clone()]) {
            let stager = Stager::new(&config, 1, DeviceKind::Flex)?;
            let small = Quantised::of(&stager);
            let weights = stager.parameters();
            speeds.push(Speed {
                weights,
                bytes: [weights * size_of::<f32>(), small.bytes()],
                milliseconds: [
                    median(|| stager.predict(night))?,
                    median(|| Ok(small.predict(&stager.prepare(night)?)))?,
                ],
            });
        }
        Ok(speeds)
    }

    /// Makes the teacher.
    pub(super) fn fold(&self, seed: u64, index: usize) -> Result<Fold, LabError> {
        let mut teacher = self.foundation.clone();
        let mut nights = self.nights(index, &teacher)?;
        let (plan, chance) = (self.plan(teacher.config()), self.chance(seed, index, "teacher"));
        teacher.fit(&nights.iter().collect::<Vec<_>>(), &plan, self.study.passes, chance)?;
        if let Some(config) = &self.study.unscored {
            nights.extend(unscored(config, &teacher)?);
        }
        let counts = self.judge(&teacher, index)?;
        Ok(Fold { seed, index, teacher, nights, counts })
    }

    /// Makes a student and judges it. All ways begin with the same weights.
    pub(super) fn student(&self, fold: &Fold, size: &Size, way: Way) -> Result<Judged, LabError> {
        let config = size.net(fold.teacher.config());
        let student = Stager::new(&config, self.chance(fold.seed, fold.index, "student"), DeviceKind::Flex)?;
        let (plan, averaged) = (self.plan(&config), self.study.averaged);
        let chance = self.chance(fold.seed, fold.index, "lessons");
        let course = match way {
            Way::Scratch => {
                let nights = self.nights(fold.index, &student)?;
                Course::rehearsal(&student, nights, &plan, averaged, chance)?
            }
            Way::Taught(strategy) => {
                let (teacher, nights) = (Teacher::Network(&fold.teacher), fold.nights.clone());
                Course::distilled(&student, teacher, nights, &plan, strategy, averaged, chance)?
            }
        };
        let student = course.complete()?;
        let small = Quantised::of(&student);
        let rounded =
            self.counts(student.task(), fold.index, |night| Ok(small.predict(&student.prepare(night)?)))?;
        Ok(Judged { exact: self.judge(&student, fold.index)?, rounded })
    }

    /// Counts on the fold's held-out people.
    pub(super) fn judge(&self, stager: &Stager, index: usize) -> Result<Confusion, LabError> {
        self.counts(stager.task(), index, |night| stager.predict(night))
    }

    fn counts(
        &self,
        task: Task,
        index: usize,
        predict: impl Fn(&Night) -> Result<Posterior, ModelError>,
    ) -> Result<Confusion, LabError> {
        let held_out = &self.people.folds[index].test;
        let scores = score(self.people, held_out, task, |night| Ok(predict(night)?.argmax()));
        let mut sum = Confusion::new(task.classes())?;
        for counts in scores?.values() {
            sum.merge(counts)?;
        }
        Ok(sum)
    }

    /// The fold's training nights, laid out for a network.
    fn nights(&self, index: usize, stager: &Stager) -> Result<Vec<Prepared>, LabError> {
        let nights = self.people.nights_of_all(&self.people.folds[index].train);
        let prepared = nights.iter().map(|night| stager.prepare(night.as_ref() as &Night));
        Ok(prepared.collect::<Result<_, _>>()?)
    }

    pub(super) fn plan(&self, config: &NetConfig) -> TrainPlan {
        let longer = USUAL_WIDTH as f32 / config.width as f32;
        TrainPlan { learning_rate: self.study.plan.learning_rate * longer, ..self.study.plan.clone() }
    }

    /// Chance for one use on one fold of one seed.
    pub(super) fn chance(&self, seed: u64, fold: usize, what: &str) -> u64 {
        Seed::from_number(seed)
            .derive(Label::Training, format!("compression {what} {fold}").as_bytes())
            .number()
    }
}

/// The usual time of something, in milliseconds.
fn median<T>(of: impl Fn() -> Result<T, ModelError>) -> Result<f64, ModelError> {
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        of()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMED / 2])
}

/// Nights of people who do not exist, without their stages.
pub(super) fn unscored(config: &SyntheticConfig, stager: &Stager) -> Result<Vec<Prepared>, LabError> {
    let cohort = synthetic::cohort(config, &NightRules::default());
    let nights = cohort.nights.into_iter().map(|mut night| {
        night.stages.fill(None);
        stager.prepare(&night)
    });
    Ok(nights.collect::<Result<_, _>>()?)
}
