//! Models that a person has without taking part: what others made, fitted to the person's own beginning.

use std::sync::Arc;

use somnus_model::{FineTuning, Prepared, Stager};
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::plan::TrainableSet;
use somnus_protocol::seed::{Label, Seed};
use somnus_signals::PersonId;

use super::cut::Cut;
use crate::baselines::BaselineError;
use crate::progress::Progress;
use crate::recipe::RecipeError;
use crate::scenario::Scenario;
use crate::start::Start;

/// Where a model comes from and what happens to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alone {
    /// From random weights, everything trained on the own beginning.
    Base,
    /// The foundation model, its head trained on the own beginning.
    Foundation,
    /// The release of a federation that never saw the person.
    Federated,
    /// The same, fitted to the own beginning.
    FineTuned,
}

/// One person under one seed.
pub(super) struct Case {
    pub(super) scenario: Arc<Scenario>,
    pub(super) origin: Start,
    /// The release of a federation that never saw the person.
    pub(super) release: Arc<Stager>,
    pub(super) person: PersonId,
    pub(super) cut: Cut,
    pub(super) seed: u64,
    pub(super) progress: Progress,
}

impl Alone {
    /// In the table's order; without a foundation there is nothing to put a head on.
    pub(super) fn all(origin: &Start) -> Vec<Self> {
        match origin {
            Start::Random => vec![Self::Base, Self::Federated, Self::FineTuned],
            Start::Foundation(_) => vec![Self::Base, Self::Foundation, Self::Federated, Self::FineTuned],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Base => "own data only",
            Self::Foundation => "foundation, own head",
            Self::Federated => "federated",
            Self::FineTuned => "federated, fine-tuned",
        }
    }

    /// The training of one person; none for what is used as it comes.
    pub(super) fn tuning(self, scenario: &Scenario, nights: usize) -> Option<FineTuning> {
        let plan = &scenario.federation.plan;
        let steps = scenario.passes().saturating_mul(u32::try_from(nights).unwrap_or(u32::MAX));
        let as_long =
            |trainable| FineTuning { trainable, steps, learning_rate: plan.learning_rate, pull: 0.0 };
        match self {
            Self::Base => Some(as_long(TrainableSet::Full)),
            Self::Foundation => Some(as_long(TrainableSet::Head)),
            Self::Federated => None,
            Self::FineTuned => scenario.personal.as_ref().map(|personal| personal.fine_tuning),
        }
    }

    /// The person's model.
    ///
    /// # Errors
    /// [`BaselineError`] naming the key, the tensor or the night.
    pub(super) fn model(self, case: &Case) -> Result<Stager, BaselineError> {
        let scenario = &case.scenario;
        let first = |origin: &Start| -> Result<Stager, BaselineError> {
            let file = origin.checkpoint(scenario, case.seed)?;
            let checkpoint = Checkpoint::from_bytes(&file).map_err(RecipeError::from)?;
            Ok(Stager::from_checkpoint(&checkpoint, scenario.device)?)
        };
        let model = match self {
            Self::Base => first(&Start::Random)?,
            Self::Foundation => first(&case.origin)?,
            Self::Federated | Self::FineTuned => Stager::clone(&case.release),
        };
        let Some(tuning) = self.tuning(scenario, case.cut.learn.len()) else { return Ok(model) };
        let lessons = case.cut.lessons(&model)?;
        let lessons: Vec<&Prepared> = lessons.iter().collect();
        let seed = Seed::from_number(case.seed).derive(Label::Client, case.person.as_str().as_bytes());
        let tuned = tuning.tune(&model, &lessons, &scenario.federation.plan, seed.number())?;
        case.progress.steps(u64::from(tuning.steps));
        Ok(tuned)
    }
}
