//! What a scenario says about poisoning.

use serde::{Deserialize, Serialize};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::robust::RobustConfig;

use crate::attack::{Attack, AttackConfig};
use crate::scenario::{MANY, Scenario};

/// Every rule against every attack at every strength.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoisoningConfig {
    /// Parts of the training people that lie, above 0 to .5; none of them is always part of the table, once for each rule.
    /// Default .1, .2, .3.
    pub fractions: Vec<f64>,
    /// Rules: values of `federation.robust`, each with its own `groups` if it is to see the sums of groups only, as it has to
    /// in masked rounds. The client that `fl-trust` trusts is an honest one of each fold, whatever the name here. Default
    /// `mean` and `median`.
    pub rules: Vec<Defence>,
    /// Attacks: as in `[attack]`, without a fraction. Default `sign-flip`.
    pub attacks: Vec<Attack>,
}

/// A rule, and what it sees.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Defence {
    /// The rule.
    #[serde(flatten)]
    pub rule: RobustConfig,
    /// `federation.groups`. Default 1: every update, or the one sum of a masked round.
    #[serde(default = "one")]
    pub groups: u32,
}

fn one() -> u32 {
    1
}

impl Defence {
    /// As it is called in tables.
    #[must_use]
    pub fn name(&self) -> String {
        match self.groups {
            1 => self.rule.name().to_owned(),
            groups => format!("{} of {groups} groups", self.rule.name()),
        }
    }
}

impl Default for PoisoningConfig {
    fn default() -> Self {
        let rules = [RobustConfig::default(), RobustConfig::Median {}];
        Self {
            fractions: vec![0.1, 0.2, 0.3],
            rules: rules.map(|rule| Defence { rule, groups: 1 }).into(),
            attacks: vec![Attack::SignFlip { scale: 1.0 }],
        }
    }
}

impl PoisoningConfig {
    /// Refuses what cannot be studied on such a scenario.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, scenario: &Scenario) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: String| Err(ConfigError::Value { key: format!("poisoning{key}"), why });
        if self.rules.is_empty() {
            return refuse(".rules", "there is none".into());
        }
        if let Some(wrong) = self.fractions.iter().find(|part| !(**part > 0.0 && **part <= 0.5)) {
            return refuse(".fractions", format!("{wrong} is not above 0 and at most .5"));
        }
        if scenario.folds == 0 {
            return refuse("", "releases are judged on people held out: `folds` is 0".into());
        }
        if scenario.attack.is_some() || !scenario.federation.robust.is_mean() {
            return refuse(
                "",
                "it has its own attacks and rules, beside `attack` and `federation.robust`".into(),
            );
        }
        for attack in &self.attacks {
            attack.check("poisoning.attacks", scenario.task, &scenario.federation)?;
        }
        for (at, defence) in self.rules.iter().enumerate() {
            if self.rules[..at].iter().any(|before| before.name() == defence.name()) {
                return refuse(".rules", format!("{} is there twice", defence.name()));
            }
            // What is wrong with the federation beside its rule is said elsewhere.
            if let Err(ConfigError::Value { key, why }) =
                defended(scenario, defence).federation_of(MANY).check()
                && (key.starts_with("robust") || key == "groups")
            {
                return refuse(".rules", format!("{}: {why}", defence.name()));
            }
        }
        Ok(())
    }
}

/// The scenario under a rule.
pub(super) fn defended(scenario: &Scenario, defence: &Defence) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.federation.robust = defence.rule.clone();
    scenario.federation.groups = defence.groups;
    scenario
}

/// The scenario with liars.
pub(super) fn attacked(scenario: &Scenario, attack: Attack, fraction: f64) -> Scenario {
    Scenario { attack: Some(AttackConfig { fraction, attack }), ..scenario.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "name = 'x'\n[data]\nkind = 'synthetic'\n[federation]\ndanger_plain_aggregation = true\n";

    #[test]
    fn poisoning_rules_have_groups_of_their_own() {
        let rules = "[poisoning]\nrules = [{ kind = 'mean' }, { kind = 'median', groups = 5 }]\n";
        let scenario = Scenario::from_text(&(BASE.to_owned() + rules)).unwrap();
        let names: Vec<String> = scenario.poisoning.unwrap().rules.iter().map(Defence::name).collect();
        assert_eq!(names, ["mean", "median of 5 groups"]);
    }

    #[test]
    fn in_masked_rounds_poisoning_is_studied_over_groups() {
        let masked = BASE.replace("danger_plain_aggregation = true\n", "");
        let rules = |groups: &str| {
            format!("{masked}[poisoning]\nrules = [{{ kind = 'mean' }}, {{ kind = 'median'{groups} }}]\n")
        };
        Scenario::from_text(&rules(", groups = 5")).unwrap();
        let error = Scenario::from_text(&rules("")).unwrap_err().to_string();
        assert!(error.contains("`poisoning.rules`: median: ") && error.contains("`groups = 5`"), "{error}");
    }

    #[test]
    fn poisoning_mistakes_name_the_key() {
        let cases = [
            ("rules = []", "`poisoning.rules`: there is none"),
            (
                "rules = [{ kind = 'mean', groups = 5 }]",
                "`poisoning.rules`: mean of 5 groups: the mean needs",
            ),
            ("rules = [{ kind = 'krum', fraction = 0.5 }]", "`poisoning.rules`: krum: 0.5 is not"),
            ("rules = [{ kind = 'mean' }, { kind = 'mean' }]", "`poisoning.rules`: mean is there twice"),
            ("attacks = [{ kind = 'sign-flip', scale = -1 }]", "`poisoning.attacks.scale`"),
            ("fractions = [0.6]", "`poisoning.fractions`"),
            ("[attack]\nkind = 'replay'\nfraction = 0.1", "`poisoning`: it has its own"),
        ];
        for (text, expected) in cases {
            let text = format!("{BASE}[poisoning]\n{text}\n");
            let error = Scenario::from_text(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
