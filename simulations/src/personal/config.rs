//! What a scenario says about personal models.

use serde::{Deserialize, Serialize};
use somnus_model::FineTuning;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::plan::{Personalisation, TrainPlan};

/// A study of the same people later: everybody is judged on the end of the last own night, whatever the model knows of
/// them comes from before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PersonalConfig {
    /// The beginning of an only night that may be learned from, 0 to 1. Who has several nights is judged on all of the
    /// last one. Default .7.
    pub train_part: f32,
    /// Epochs of an only night between what is learned from and what is judged. Default 20.
    pub gap: usize,
    /// How a release that never saw the person is fitted to the person.
    pub fine_tuning: FineTuning,
    /// Federations in which everybody takes part with the own beginning, and what of the model stays with its client:
    /// values of `federation.plan.personal`. Default all.
    pub methods: Vec<Personalisation>,
    /// The whole table again with epochs dealt out at random, on the first seed: a leak, to show its size. Default true.
    pub leak: bool,
}

impl Default for PersonalConfig {
    fn default() -> Self {
        use Personalisation::{Ditto, Head, None, Norms, Rep};
        Self {
            train_part: 0.7,
            gap: 20,
            fine_tuning: FineTuning::default(),
            methods: vec![None, Head, Rep { head_steps: 5 }, Norms, Ditto { lambda: 10.0 }],
            leak: true,
        }
    }
}

impl PersonalConfig {
    /// Refuses what cannot be studied with `plan`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, plan: &TrainPlan) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: String| Err(ConfigError::Value { key: key.to_owned(), why });
        if !(0.05..=0.95).contains(&self.train_part) {
            return refuse("personal.train_part", format!("{} is not within .05 to .95", self.train_part));
        }
        let inner = |key: &str, result: Result<(), ConfigError>| {
            result.or_else(|error| refuse(key, error.to_string()))
        };
        inner("personal.fine_tuning", self.fine_tuning.check())?;
        if plan.personal != Personalisation::None {
            return refuse("federation.plan.personal", "`personal.methods` says what is tried".into());
        }
        for (at, personal) in self.methods.iter().enumerate() {
            if self.methods[..at].iter().any(|before| name(*before) == name(*personal)) {
                return refuse("personal.methods", format!("{} is there twice", name(*personal)));
            }
            inner("personal.methods", TrainPlan { personal: *personal, ..plan.clone() }.check())?;
        }
        Ok(())
    }
}

/// A method as the literature calls it.
pub(super) fn name(method: Personalisation) -> &'static str {
    match method {
        Personalisation::None => "FedAvg",
        Personalisation::Head => "FedPer",
        Personalisation::Rep { .. } => "FedRep",
        Personalisation::Norms => "local norms",
        Personalisation::Ditto { .. } => "Ditto",
    }
}
