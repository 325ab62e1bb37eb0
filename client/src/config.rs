//! `client.toml`: what the person whose hub this is decides. Every key is documented in the file that `enrol` writes.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use somnus_protocol::config::parse;
use somnus_protocol::evaluation::EvaluationPolicy;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::message::Role;
use somnus_protocol::participant::Policy;

use crate::files::FileError;
use crate::limits::{self, Limits};
use crate::link::Pace;

/// The file's name in the hub's folder.
pub const CONFIG: &str = "client.toml";
/// The commented file that `enrol` writes.
pub const DEFAULT_FILE: &str = include_str!("client.toml");

/// The file as it is written.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    role: Role,
    danger_plain_aggregation: bool,
    min_cohort: Option<u32>,
    evaluation: Option<EvaluationPolicy>,
    data: DataConfig,
    network: Network,
    limits: limits::config::Raw,
}

/// Which nights train, which judge, and how they are computed.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Of a single night, the beginning that is trained on, as a fraction. Default .7.
    pub train_fraction: f32,
    /// Epochs of 30 s between what trains and what judges. Default 20.
    pub gap_epochs: usize,
    /// Which engine computes. Default flex.
    pub device: Device,
}

/// Which engine computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The fast one.
    #[default]
    Flex,
    /// The other one, to compare.
    Ndarray,
}

#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Network {
    keep_alive_seconds: f64,
    idle_seconds: f64,
    backoff_seconds: f64,
    longest_backoff_seconds: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { train_fraction: 0.7, gap_epochs: 20, device: Device::Flex }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            keep_alive_seconds: 5.0,
            idle_seconds: 60.0,
            backoff_seconds: 1.0,
            longest_backoff_seconds: 60.0,
        }
    }
}

/// A configuration that can be run. Only [`ClientConfig::parse`] makes one.
#[derive(Clone, PartialEq, Debug)]
pub struct ClientConfig {
    /// What this hub takes part in.
    pub role: Role,
    /// What it allows, whatever the server asks for.
    pub policy: Policy,
    /// Nights.
    pub data: DataConfig,
    /// What it may use of this machine, and when.
    pub limits: Limits,
    /// Signs of life.
    pub pace: Pace,
    /// How long to wait before connecting again.
    pub backoff: Backoff,
}

/// Exponential backoff: the wait doubles with each failure, and a random part of up to half is taken off, so that the
/// hubs of a server that restarts do not all come at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk's fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The operator's.
    #[error("{path}: {error}")]
    Config {
        /// The file.
        path: String,
        /// The key and what is wrong with it.
        error: ConfigError,
    },
}

impl ClientConfig {
    /// Reads and checks the text of a `client.toml`.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let Raw { role, danger_plain_aggregation, min_cohort, evaluation, data, network, limits } =
            parse(text)?;
        let need = |ok: bool, key: &str, why: &str| {
            let error = || ConfigError::Value { key: key.to_owned(), why: why.to_owned() };
            if ok { Ok(()) } else { Err(error()) }
        };
        need((0.1..=0.95).contains(&data.train_fraction), "data.train_fraction", "not within .1 to .95")?;
        need(data.gap_epochs <= 1000, "data.gap_epochs", "more than 1000")?;
        let seconds = |key: &str, value: f64, low: f64, high: f64| {
            need((low..=high).contains(&value), key, &format!("not within {low} to {high} seconds"))?;
            Ok(Duration::from_secs_f64(value))
        };
        let Network { keep_alive_seconds, idle_seconds, backoff_seconds, longest_backoff_seconds } = network;
        let pace = Pace {
            keep_alive: seconds("network.keep_alive_seconds", keep_alive_seconds, 0.1, 600.0)?,
            idle: seconds("network.idle_seconds", idle_seconds, 1.0, 3600.0)?,
        };
        need(
            pace.keep_alive * 2 <= pace.idle,
            "network.keep_alive_seconds",
            "more than half of `network.idle_seconds`: one lost packet would end the connection",
        )?;
        let backoff = Backoff {
            first: seconds("network.backoff_seconds", backoff_seconds, 0.01, 3600.0)?,
            longest: seconds("network.longest_backoff_seconds", longest_backoff_seconds, 0.01, 86_400.0)?,
        };
        need(
            backoff.first <= backoff.longest,
            "network.longest_backoff_seconds",
            "less than `network.backoff_seconds`",
        )?;
        let min_cohort = min_cohort.unwrap_or(Policy::default().min_cohort);
        need((3..=4096).contains(&min_cohort), "min_cohort", "not within 3 to 4096 hubs")?;
        let evaluation = evaluation.unwrap_or(EvaluationPolicy::usual(danger_plain_aggregation));
        let policy = Policy { danger_plain_aggregation, min_cohort, evaluation };
        Ok(Self { role, policy, data, limits: limits.check()?, pace, backoff })
    }

    /// The configuration in a hub's folder; the defaults if it has none.
    ///
    /// # Errors
    /// [`LoadError`] naming the file.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join(CONFIG);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|cause| FileError::new(&path, cause))?,
        };
        Self::parse(&text).map_err(|error| LoadError::Config { path: path.display().to_string(), error })
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row, from 1; `chance` is uniform in 0 to 1.
    pub fn wait(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(30)));
        doubled.min(self.longest).mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_enrol_writes_says_the_defaults() {
        assert_eq!(ClientConfig::parse(DEFAULT_FILE).unwrap(), ClientConfig::parse("").unwrap());
        // And with every key that it comments out, the same.
        let spoken: String = DEFAULT_FILE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains(" = ") && !key.starts_with(char::is_uppercase) => key,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            spoken.contains("\nkeep_alive_seconds = ") && spoken.contains("\ntrain_between = "),
            "{spoken}"
        );
        assert_eq!(ClientConfig::parse(&spoken).unwrap(), ClientConfig::parse("").unwrap());
    }

    #[test]
    fn a_hub_tells_its_own_counts_only_to_who_may_see_its_updates() {
        let most = |text: &str| ClientConfig::parse(text).unwrap().policy.evaluation;
        assert_eq!(most(""), EvaluationPolicy::Aggregate);
        assert_eq!(most("danger_plain_aggregation = true"), EvaluationPolicy::PerClient);
        assert_eq!(most("danger_plain_aggregation = true\nevaluation = \"none\""), EvaluationPolicy::None);
        assert_eq!(most("evaluation = \"per-client\""), EvaluationPolicy::PerClient);
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        let cases = [
            ("roel = \"trains\"\n", "line 1: unknown key `roel`; did you mean `role`?"),
            (
                "[data]\ntrain_fracton = 0.5\n",
                "line 2: unknown key `train_fracton`; did you mean `train_fraction`?",
            ),
            ("[data]\ntrain_fraction = 1.5\n", "`data.train_fraction`: not within .1 to .95"),
            (
                "[network]\nlongest_backoff_seconds = 0.5\n",
                "`network.longest_backoff_seconds`: less than `network.backoff_seconds`",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(ClientConfig::parse(text).unwrap_err().to_string(), error);
        }
        let error = ClientConfig::parse("[network]\nkeep_alive_seconds = 40.0\n").unwrap_err().to_string();
        assert!(error.contains("one lost packet"), "{error}");
    }

    #[test]
    fn waits_double_up_to_the_longest_and_differ_between_hubs() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        let waits: Vec<u64> = (1..9).map(|n| backoff.wait(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.wait(7, 1.0), Duration::from_secs(30));
        assert_eq!(backoff.wait(u32::MAX, 0.0), Duration::from_secs(60));
    }

    #[test]
    fn the_files_in_configs_load() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/client");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let config = ClientConfig::parse(&std::fs::read_to_string(&path).unwrap());
                config.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                seen += 1;
            }
        }
        assert!(seen >= 2, "only {seen} files in {folder}");
    }
}
