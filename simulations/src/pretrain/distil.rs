//! A stage in which a big staging network teaches the small one of the file.

use serde::{Deserialize, Serialize};
use somnus_model::distil::{Strategy, Teacher};
use somnus_model::{Course, ModelError, Stager};
use somnus_protocol::plan::TrainPlan;
use somnus_signals::Night;
use somnus_signals::synthetic::SyntheticConfig;

use super::config::quarter;
use crate::start::Origin;

/// A distillation; at least one source of nights. Labels of synthetic nights are the simulator's; others have none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distil {
    /// Who teaches: `base` (the model that ships), or a checkpoint's path, relative to this file. It has to tell the same classes
    /// and see at least the streams and context windows of the network that it teaches. Default `base`.
    #[serde(default = "base")]
    pub teacher: Origin,
    /// How: `{ kind = "hard" }`, `soft`, `dkd` or `feature`, each with its numbers. Default `dkd`.
    #[serde(default = "decoupled")]
    pub strategy: Strategy,
    /// The quietest 8.5 hours of each day of heart rate. Default false.
    #[serde(default)]
    pub crisdb: bool,
    /// The nights of movement, heart rate and beats. Default false.
    #[serde(default)]
    pub mmash: bool,
    /// Nights of people who do not exist. Default none.
    #[serde(default)]
    pub synthetic: Option<SyntheticConfig>,
    /// The last part of the steps, 0 to 1, over which weights are averaged. Default .25.
    #[serde(default = "quarter")]
    pub averaged: f32,
    /// How; `steps` and `learning_rate` (the peak of one cycle) are the whole stage's.
    #[serde(default)]
    pub plan: TrainPlan,
}

fn base() -> Origin {
    Origin::Base
}

fn decoupled() -> Strategy {
    Strategy::ALL[2]
}

impl Distil {
    /// The training, before its first step.
    pub(super) fn course(
        &self,
        student: &Stager,
        teacher: &Stager,
        nights: &[Night],
        seed: u64,
    ) -> Result<Course, ModelError> {
        let teacher = teacher.for_task(student.task());
        let prepared = nights.iter().map(|night| teacher.prepare(night)).collect::<Result<_, _>>()?;
        let teacher = Teacher::Network(&teacher);
        let (plan, strategy) = (&self.plan, self.strategy);
        Course::distilled(student, teacher, prepared, plan, strategy, self.averaged, seed)
    }
}
