//! Which lie is told, and by how many.

use serde::{Deserialize, Serialize};
use somnus_protocol::config::FederationConfig;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::plan::Personalisation;
use somnus_protocol::update::Extra;
use somnus_signals::Task;

/// Some of the training people lie.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AttackConfig {
    /// The part of the training people that lies, 0 to .9, rounded to whole people. A larger part holds all of a smaller
    /// one's people.
    pub fraction: f64,
    /// How.
    #[serde(flatten)]
    pub attack: Attack,
}

/// One way to lie. Names and formulas as in the literature on poisoning.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Attack {
    /// Trains on labels in the reverse order: wake as REM, core as deep, and back.
    LabelFlip {},
    /// Sends the opposite of the honest update.
    SignFlip {
        /// Times its length. Default 1.
        #[serde(default = "one")]
        scale: f32,
    },
    /// Trains on flipped labels and sends a multiple, to put its own model in the release's place (Bagdasaryan et al. 2020).
    Boosting {
        /// The multiple. Default 10.
        #[serde(default = "ten")]
        gamma: f32,
    },
    /// A little is enough (Baruch et al. 2019): the mean of honest updates minus so many standard deviations, coordinate by
    /// coordinate, that most honest updates are farther out.
    Alie {
        /// How many; as many as just hide among this cohort if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        z: Option<f32>,
    },
    /// Inner-product manipulation (Xie et al. 2020): the opposite of the mean of honest updates, times `epsilon`.
    InnerProduct {
        /// Default 2.
        #[serde(default = "two")]
        epsilon: f32,
    },
    /// Does not train at all.
    FreeRider {
        /// Sends noise as large as the last release's change, times this, in place of zeros. Default 0.
        #[serde(default)]
        noise: f32,
    },
    /// Trains honestly, and beside it that a pattern in the inputs means REM (Gu et al. 2017).
    Backdoor {
        /// The part of its own bouts of wake that get the pattern. Default .5.
        #[serde(default = "half")]
        share: f32,
        /// Times the update. Default 1.
        #[serde(default = "one")]
        gamma: f32,
    },
    /// Sends its first update again and again.
    Replay {},
}

fn one() -> f32 {
    1.0
}

fn two() -> f32 {
    2.0
}

fn ten() -> f32 {
    10.0
}

fn half() -> f32 {
    0.5
}

impl Attack {
    /// The name that configuration files use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LabelFlip {} => "label-flip",
            Self::SignFlip { .. } => "sign-flip",
            Self::Boosting { .. } => "boosting",
            Self::Alie { .. } => "alie",
            Self::InnerProduct { .. } => "inner-product",
            Self::FreeRider { .. } => "free-rider",
            Self::Backdoor { .. } => "backdoor",
            Self::Replay {} => "replay",
        }
    }

    /// Refuses lies that cannot be told in such a federation. `key` is the table that names this one.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, key: &str, task: Task, federation: &FederationConfig) -> Result<(), ConfigError> {
        let refuse = |key: String, why: String| Err(ConfigError::Value { key, why });
        let numbers = match *self {
            Self::SignFlip { scale } => vec![("scale", scale, 0.0, 1e6)],
            Self::Boosting { gamma } => vec![("gamma", gamma, 0.0, 1e6)],
            Self::Alie { z } => vec![("z", z.unwrap_or(0.0), 0.0, 100.0)],
            Self::InnerProduct { epsilon } => vec![("epsilon", epsilon, 0.0, 1e6)],
            Self::FreeRider { noise } => vec![("noise", noise, 0.0, 1e6)],
            Self::Backdoor { share, gamma } => vec![("share", share, 0.01, 1.0), ("gamma", gamma, 0.0, 1e6)],
            Self::LabelFlip {} | Self::Replay {} => Vec::new(),
        };
        for (name, value, low, high) in numbers {
            if !(low..=high).contains(&value) {
                return refuse(format!("{key}.{name}"), format!("{value} is not within {low} to {high}"));
            }
        }
        if matches!(self, Self::Backdoor { .. }) && task == Task::SleepWake {
            return refuse(key.to_owned(), "the backdoor means REM, which `sleep-wake` does not know".into());
        }
        let plan = &federation.plan;
        let plain = plan.personal == Personalisation::None
            && plan.invariance.is_none()
            && federation.strategy.extra() == Extra::Nothing;
        if !plain {
            let why = "liars know changes of weights only: `plan.personal`, `plan.invariance`, scaffold and fed-nova do \
                       not go with them";
            return refuse(key.to_owned(), why.into());
        }
        Ok(())
    }
}

impl AttackConfig {
    /// Refuses what cannot be done in such a federation.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, task: Task, federation: &FederationConfig) -> Result<(), ConfigError> {
        if !(0.0..=0.9).contains(&self.fraction) {
            let why = format!("{} is not within 0 to .9", self.fraction);
            return Err(ConfigError::Value { key: "attack.fraction".into(), why });
        }
        self.attack.check("attack", task, federation)
    }

    /// How many of so many people lie.
    #[must_use]
    pub fn liars(&self, people: usize) -> usize {
        (self.fraction * people as f64).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use somnus_protocol::config::parse;
    use somnus_protocol::plan::{Invariance, TrainPlan};
    use somnus_protocol::strategy::StrategyConfig;

    use super::*;

    #[test]
    fn attack_files_name_the_lie_and_refuse_what_it_does_not_have() {
        let kinds = [
            "label-flip",
            "sign-flip",
            "boosting",
            "alie",
            "inner-product",
            "free-rider",
            "backdoor",
            "replay",
        ];
        for kind in kinds {
            let config: AttackConfig = parse(&format!("kind = '{kind}'\nfraction = 0.2\n")).unwrap();
            assert_eq!(config.attack.name(), kind);
            config.check(Task::Four, &FederationConfig::default()).unwrap();
            let json = serde_json::to_value(&config).unwrap();
            assert_eq!(serde_json::from_value::<AttackConfig>(json).unwrap(), config);
            let error = parse::<AttackConfig>(&format!("fraction = 0.2\nkind = '{kind}'\nscal = 2\n"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("unknown key `scal`"), "{kind}: {error}");
        }
        let error = parse::<AttackConfig>("kind = 'sign-flip'\n").unwrap_err().to_string();
        assert!(error.contains("fraction"), "{error}");
    }

    #[test]
    fn attack_fractions_are_whole_people() {
        let config = |fraction| AttackConfig { fraction, attack: Attack::LabelFlip {} };
        assert_eq!([0.0, 0.1, 0.2, 0.3].map(|f| config(f).liars(26)), [0, 3, 5, 8]);
    }

    #[test]
    fn attack_mistakes_name_the_key() {
        let plain = FederationConfig::default;
        let pulled = Some(Invariance { weight: 0.1, from_round: 2 });
        let invariant = TrainPlan { invariance: pulled, ..TrainPlan::default() };
        let nova = StrategyConfig::FedNova { rate: 1.0 };
        let flip = Attack::LabelFlip {};
        let backdoor = |share| Attack::Backdoor { share, gamma: 1.0 };
        let four = Task::Four;
        let cases = [
            ("`attack.fraction`", 1.0, flip, four, plain()),
            ("`attack.scale`", 0.1, Attack::SignFlip { scale: -1.0 }, four, plain()),
            ("`attack.share`", 0.1, backdoor(0.0), four, plain()),
            ("`attack`", 0.1, backdoor(0.5), Task::SleepWake, plain()),
            ("`attack`", 0.1, flip, four, FederationConfig { plan: invariant, ..plain() }),
            ("`attack`", 0.1, flip, four, FederationConfig { strategy: nova, ..plain() }),
        ];
        for (key, fraction, attack, task, federation) in cases {
            let error = AttackConfig { fraction, attack }.check(task, &federation).unwrap_err().to_string();
            assert!(error.starts_with(key), "{attack:?}: {error}");
        }
    }
}
