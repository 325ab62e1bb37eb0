//! What a scenario says about attacks on privacy.

use serde::{Deserialize, Serialize};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::plan::{Personalisation, TrainableSet};
use somnus_protocol::sum::Weighting;
use somnus_protocol::update::Extra;

use crate::scenario::Scenario;

/// Attacks on people's privacy, with and without each defence. `folds`, `curve` and `baselines` do not apply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrivacyAttackConfig {
    /// People in a masked sum that is attacked. Default 3, 10, 20.
    pub cohorts: Vec<usize>,
    /// Budgets of the noise against which attacks are tried again, each for all rounds together. Default 8, 2.
    pub epsilons: Vec<f64>,
    /// What the federations train whose releases are asked who was in them. Default `full` and `head`.
    pub sets: Vec<TrainableSet>,
    /// Federations of each of these and each seed, every one with half of the people, drawn so that everybody is in half of them:
    /// an even number of at least 4. Default 8.
    pub references: usize,
    /// Epochs that each person's single-step updates are made of, drawn anew so many times. Default 4.
    pub draws: usize,
}

impl Default for PrivacyAttackConfig {
    fn default() -> Self {
        Self {
            cohorts: vec![3, 10, 20],
            epsilons: vec![8.0, 2.0],
            sets: vec![TrainableSet::Full, TrainableSet::Head],
            references: 8,
            draws: 4,
        }
    }
}

impl PrivacyAttackConfig {
    /// Refuses what cannot be studied on such a scenario.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ConfigError> {
        let refuse =
            |key: &str, why: String| Err(ConfigError::Value { key: format!("privacy_attacks{key}"), why });
        if self.cohorts.is_empty() {
            return refuse(".cohorts", "there is none".into());
        }
        if let Some(wrong) = self.cohorts.iter().find(|cohort| !(2..=1000).contains(*cohort)) {
            return refuse(".cohorts", format!("{wrong} is not within 2 to 1,000"));
        }
        if let Some(wrong) = self.epsilons.iter().find(|epsilon| !(1e-3..=1e3).contains(*epsilon)) {
            return refuse(".epsilons", format!("{wrong} is not within .001 to 1000"));
        }
        if !self.references.is_multiple_of(2) || !(4..=1000).contains(&self.references) {
            return refuse(".references", format!("{} is not even and within 4 to 1,000", self.references));
        }
        if !(1..=1000).contains(&self.draws) {
            return refuse(".draws", format!("{} is not within 1 to 1,000", self.draws));
        }
        let federation = &scenario.federation;
        let plain = federation.plan.personal == Personalisation::None
            && federation.plan.invariance.is_none()
            && federation.strategy.extra() == Extra::Nothing
            && federation.robust.is_mean()
            && federation.groups == 1;
        if !plain || scenario.attack.is_some() {
            return refuse(
                "",
                "it attacks means of changes of weights: `attack`, `federation.robust`, `federation.groups`, `plan.personal`, \
                 `plan.invariance`, scaffold and fed-nova do not go with it"
                    .into(),
            );
        }
        if federation.weighting != Weighting::Uniform {
            return refuse("", "noise needs `federation.weighting = \"uniform\"`".into());
        }
        if federation.privacy.is_some() || federation.danger_plain_aggregation {
            return refuse(
                "",
                "it has its own defences, beside `federation.privacy` and plain rounds".into(),
            );
        }
        Ok(())
    }

    /// The largest cohort.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.cohorts.iter().copied().max().unwrap_or(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privacy_attack_mistakes_name_the_key() {
        let base = "name = 'x'\n[data]\nkind = 'synthetic'\n[federation]\nweighting = 'uniform'\n";
        let read = |text: &str| Scenario::from_text(&(base.to_owned() + text));
        let config = read("[privacy_attacks]\ncohorts = [5]\n").unwrap().privacy_attacks.unwrap();
        assert_eq!((config.cohorts, config.references), (vec![5], 8));
        let cases = [
            ("[privacy_attacks]\ncohorts = []\n", "`privacy_attacks.cohorts`: there is none"),
            ("[privacy_attacks]\ncohorts = [1]\n", "`privacy_attacks.cohorts`: 1 is not"),
            ("[privacy_attacks]\nepsilons = [0.0]\n", "`privacy_attacks.epsilons`: 0 is not"),
            ("[privacy_attacks]\nreferences = 5\n", "`privacy_attacks.references`: 5 is not"),
            ("[privacy_attacks]\ndraws = 0\n", "`privacy_attacks.draws`: 0 is not"),
            ("[privacy_attacks]\nreference = 4\n", "did you mean `references`?"),
            ("danger_plain_aggregation = true\n[privacy_attacks]\n", "`privacy_attacks`: it has its own"),
            ("plan = { personal = 'head' }\n[privacy_attacks]\n", "`privacy_attacks`: it attacks means"),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
