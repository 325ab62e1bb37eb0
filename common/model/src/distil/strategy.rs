//! What a student takes from its teacher: its choice, its doubts, or what it sees.

use serde::{Deserialize, Serialize};
use somnus_protocol::fault::ConfigError;

/// One of four ways to learn from a teacher, `kind = "soft"` and so on in a file.
///
/// `CE` is the cross-entropy of the student's posterior with the label, `KL` the divergence of the student's from the
/// teacher's, both at the temperature `T`, which divides logits and makes doubts visible.
///
/// While a training warms up only a share of the teacher counts: its terms are multiplied by that share, and where labels
/// weigh less or more because of it, in `hard` and `soft`, they begin with a weight of 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// The teacher's choice is one more label: `CE(choice) + labels · CE`.
    Hard {
        /// Weight of the true labels. Default 1.
        #[serde(default = "one")]
        labels: f32,
    },
    /// The teacher's posterior (Hinton et al. 2015, arXiv 1503.02531): `(1 - alpha) CE + alpha T² KL`.
    Soft {
        /// Weight of the teacher, the labels have the rest. Default 0.7.
        #[serde(default = "most")]
        alpha: f32,
        /// Divides logits. Default 4.
        #[serde(default = "warm")]
        temperature: f32,
    },
    /// The teacher's posterior in two parts with weights of their own (decoupled distillation, Zhao et al. 2022, arXiv 2203.08679):
    /// `CE + T² (alpha KL(is it the target?) + beta KL(which of the others?))`. The target is the label, and the teacher's choice
    /// where there is none.
    Dkd {
        /// Weight of the target against all others. Default 1.
        #[serde(default = "one")]
        alpha: f32,
        /// Weight of the others among themselves. Default 4.
        #[serde(default = "four")]
        beta: f32,
        /// Divides logits. Default 4.
        #[serde(default = "warm")]
        temperature: f32,
    },
    /// The teacher's embedding (Romero et al. 2015, arXiv 1412.6550): `CE + gamma |W f - g|² / d`, both sides layer-normalised, `W` learned.
    Feature {
        /// Weight of the embedding. Default 1.
        #[serde(default = "one")]
        gamma: f32,
    },
}

fn one() -> f32 {
    1.0
}

fn most() -> f32 {
    0.7
}

fn four() -> f32 {
    4.0
}

fn warm() -> f32 {
    4.0
}

impl Strategy {
    /// All four with their defaults.
    pub const ALL: [Self; 4] = [
        Self::Hard { labels: 1.0 },
        Self::Soft { alpha: 0.7, temperature: 4.0 },
        Self::Dkd { alpha: 1.0, beta: 4.0, temperature: 4.0 },
        Self::Feature { gamma: 1.0 },
    ];

    /// As it is called in files and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hard { .. } => "hard",
            Self::Soft { .. } => "soft",
            Self::Dkd { .. } => "dkd",
            Self::Feature { .. } => "feature",
        }
    }

    /// Refuses weights and temperatures that teach nothing.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key under `key`.
    pub fn check(&self, key: &str) -> Result<(), ConfigError> {
        let within = |name: &str, value: f32, least: f32, most: f32| match value {
            v if (least..=most).contains(&v) => Ok(()),
            v => Err(ConfigError::Value {
                key: format!("{key}.{name}"),
                why: format!("{v} is not within {least} to {most}"),
            }),
        };
        match *self {
            Self::Hard { labels } => within("labels", labels, 0.0, 1e3),
            Self::Soft { alpha, temperature } => {
                within("alpha", alpha, 0.0, 1.0)?;
                within("temperature", temperature, 0.1, 100.0)
            }
            Self::Dkd { alpha, beta, temperature } => {
                within("alpha", alpha, 0.0, 1e3)?;
                within("beta", beta, 0.0, 1e3)?;
                within("temperature", temperature, 0.1, 100.0)
            }
            Self::Feature { gamma } => within("gamma", gamma, 0.0, 1e3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_a_file_that_says_nothing_else() {
        for strategy in Strategy::ALL {
            let text = format!("{{\"kind\": \"{}\"}}", strategy.name());
            assert_eq!(serde_json::from_str::<Strategy>(&text).unwrap(), strategy);
            strategy.check("distil").unwrap();
        }
        let error = serde_json::from_str::<Strategy>(r#"{"kind": "soft", "beta": 1}"#).unwrap_err();
        assert!(error.to_string().contains("beta"), "{error}");
    }

    #[test]
    fn absurd_values_name_their_key() {
        let cases = [
            (Strategy::Hard { labels: -1.0 }, "`distil.labels`: -1"),
            (Strategy::Soft { alpha: 1.5, temperature: 4.0 }, "`distil.alpha`: 1.5"),
            (Strategy::Soft { alpha: 0.5, temperature: 0.0 }, "`distil.temperature`: 0 "),
            (Strategy::Dkd { alpha: 1.0, beta: f32::NAN, temperature: 4.0 }, "`distil.beta`: NaN"),
            (Strategy::Feature { gamma: f32::INFINITY }, "`distil.gamma`: inf"),
        ];
        for (strategy, expected) in cases {
            let error = strategy.check("distil").unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
