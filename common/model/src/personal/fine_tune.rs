//! After the federation: a model is fitted to one person, on that person's own nights alone.

use serde::{Deserialize, Serialize};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::plan::{TrainPlan, TrainableSet};

use crate::error::ModelError;
use crate::input::Prepared;
use crate::optimiser::Pull;
use crate::stager::{Stager, one_cycle};
use crate::train::{Lead, Lessons};

/// How far a model may follow one person.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FineTuning {
    /// Which weights move. Default `head`.
    pub trainable: TrainableSet,
    /// Steps; each sees one night. Default 60.
    pub steps: u32,
    /// Peak of one cycle of the rate. Default .001.
    pub learning_rate: f32,
    /// Strength of a pull back to where it began, as Ditto's `lambda`; 0 for none. Default 0. (Li et al. 2018, "Explicit
    /// Inductive Bias for Transfer Learning", call it L2-SP.)
    pub pull: f32,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self { trainable: TrainableSet::Head, steps: 60, learning_rate: 1e-3, pull: 0.0 }
    }
}

impl FineTuning {
    /// Refuses numbers that no training could use.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key as it is in a plan, or `plan.pull`.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.plan(&TrainPlan::default()).check()?;
        if !(0.0..=1e6).contains(&self.pull) {
            let why = format!("{} is not within 0 to 1000000", self.pull);
            return Err(ConfigError::Value { key: "plan.pull".into(), why });
        }
        Ok(())
    }

    /// A copy of `model`, trained on `nights`; classes, dropout and augmentation as in `plan`.
    ///
    /// # Errors
    /// As [`Stager::train`].
    pub fn tune(
        &self,
        model: &Stager,
        nights: &[&Prepared],
        plan: &TrainPlan,
        seed: u64,
    ) -> Result<Stager, ModelError> {
        let plan = self.plan(plan);
        let mut tuned = model.clone();
        let rate = |step| one_cycle(step, plan.steps, plan.learning_rate);
        let pull = Some(Pull { towards: model.weights().to_vec(), strength: self.pull });
        let lead = Lead { pull, ..Lead::new(seed, &rate) };
        tuned.train_led(Lessons::Nights(nights), &plan, lead)?;
        Ok(tuned)
    }

    fn plan(&self, plan: &TrainPlan) -> TrainPlan {
        let Self { trainable, steps, learning_rate, .. } = *self;
        TrainPlan { trainable, steps, passes: 0, learning_rate, proximal: 0.0, ..plan.clone() }
    }
}
