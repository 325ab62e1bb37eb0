//! What the server does with the mean of the updates. One file each; textbook forms and defaults.

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;
use crate::update::{Extra, Mean};

mod adaptive;
#[cfg(test)]
mod drift;
mod fed_adagrad;
mod fed_adam;
mod fed_avg;
mod fed_avg_m;
mod fed_nova;
mod fed_prox;
mod fed_yogi;
mod late_average;
mod own;
mod scaffold;

pub use adaptive::Rates;
pub use fed_adagrad::FedAdagrad;
pub use fed_adam::FedAdam;
pub use fed_avg::FedAvg;
pub use fed_avg_m::FedAvgM;
pub use fed_nova::FedNova;
pub use fed_prox::FedProx;
pub use fed_yogi::FedYogi;
pub use late_average::LateAverage;
pub(crate) use own::OwnRule;
pub use scaffold::{ClientControl, Scaffold};

/// The server's rule: from the release and the weighted mean update to the next release.
///
/// Implementations are deterministic; whatever they remember from round to round is in [`Strategy::state`].
pub trait Strategy: Send {
    /// Moves `weights` by the mean update; its sections have the length of `weights` or are empty.
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>);

    /// The control variate that clients get beside the next release, if the rule has one.
    fn control(&self) -> Option<&[f32]> {
        None
    }

    /// What the rule remembers, as vectors of weights' length; none for a rule without memory.
    fn state(&self) -> Vec<&[f32]> {
        Vec::new()
    }

    /// Takes the memory back, in the order of [`Strategy::state`].
    fn restore(&mut self, state: Vec<Vec<f32>>) {
        drop(state);
    }
}

/// Which rule, as an operator writes it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StrategyConfig {
    /// The mean itself, times `rate`.
    FedAvg {
        /// Server rate, 1 in the original.
        #[serde(default = "one")]
        rate: f32,
    },
    /// FedAvg whose clients are held near the release.
    FedProx {
        /// Weight of half the squared distance; try .001 to 1.
        mu: f32,
    },
    /// FedAvg with server momentum.
    FedAvgM {
        /// Momentum. Default .9.
        #[serde(default = "nine_tenths")]
        momentum: f32,
        /// Server rate. Default 1.
        #[serde(default = "one")]
        rate: f32,
    },
    /// Adam on the server.
    FedAdam(Rates),
    /// Yogi on the server.
    FedYogi(Rates),
    /// Adagrad on the server.
    FedAdagrad(Rates),
    /// Clients correct their steps by how they differ from everybody. Needs plain gradient descent.
    Scaffold {
        /// Server rate, 1 in the original.
        #[serde(default = "one")]
        rate: f32,
        /// Clients in the federation, of which a round has some.
        population: u32,
    },
    /// Changes per local step, times the mean number of steps.
    FedNova {
        /// Server rate, 1 in the original.
        #[serde(default = "one")]
        rate: f32,
    },
}

fn one() -> f32 {
    1.0
}

fn nine_tenths() -> f32 {
    0.9
}

impl Default for StrategyConfig {
    fn default() -> Self {
        Self::FedAvg { rate: 1.0 }
    }
}

impl StrategyConfig {
    /// The rule, with an empty memory for `len` weights.
    pub fn build(&self, len: usize) -> Box<dyn Strategy> {
        match *self {
            Self::FedAvg { rate } => Box::new(FedAvg::new(rate)),
            Self::FedProx { .. } => Box::new(FedProx),
            Self::FedAvgM { momentum, rate } => Box::new(FedAvgM::new(momentum, rate, len)),
            Self::FedAdam(rates) => Box::new(FedAdam::new(rates, len)),
            Self::FedYogi(rates) => Box::new(FedYogi::new(rates, len)),
            Self::FedAdagrad(rates) => Box::new(FedAdagrad::new(rates, len)),
            Self::Scaffold { rate, population } => Box::new(Scaffold::new(rate, population, len)),
            Self::FedNova { rate } => Box::new(FedNova::new(rate)),
        }
    }

    /// What the rule needs of clients beside the change of the weights.
    pub fn extra(&self) -> Extra {
        match *self {
            Self::Scaffold { .. } => Extra::Control,
            Self::FedNova { .. } => Extra::Steps,
            _ => Extra::Nothing,
        }
    }

    /// The same rule in a federation of so many clients.
    #[must_use]
    pub fn among(self, population: u32) -> Self {
        match self {
            Self::Scaffold { rate, .. } => Self::Scaffold { rate, population },
            other => other,
        }
    }

    /// The pull towards the release that clients are asked for.
    pub fn proximal(&self) -> f32 {
        match *self {
            Self::FedProx { mu } => mu,
            _ => 0.0,
        }
    }

    /// Refuses numbers that no rule can use.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |key: &str, value: f32, low: f32, high: f32| {
            let fits = (low..=high).contains(&value);
            fits.then_some(())
                .ok_or_else(|| ConfigError::value(key, format!("{value} is not within {low} to {high}")))
        };
        match *self {
            Self::FedAvg { rate } | Self::FedNova { rate } => {
                within("strategy.rate", rate, f32::MIN_POSITIVE, 10.0)
            }
            Self::Scaffold { rate, population } => {
                within("strategy.rate", rate, f32::MIN_POSITIVE, 10.0)?;
                within("strategy.population", population as f32, 1.0, 1e7)
            }
            Self::FedProx { mu } => within("strategy.mu", mu, 0.0, 1e3),
            Self::FedAvgM { momentum, rate } => {
                within("strategy.momentum", momentum, 0.0, 0.999)?;
                within("strategy.rate", rate, f32::MIN_POSITIVE, 10.0)
            }
            Self::FedAdam(r) | Self::FedYogi(r) | Self::FedAdagrad(r) => {
                within("strategy.rate", r.rate, f32::MIN_POSITIVE, 10.0)?;
                within("strategy.beta1", r.beta1, 0.0, 0.9999)?;
                within("strategy.beta2", r.beta2, 0.0, 0.9999)?;
                within("strategy.tau", r.tau, 1e-9, 1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [StrategyConfig; 8] = [
        StrategyConfig::FedAvg { rate: 1.0 },
        StrategyConfig::FedProx { mu: 0.1 },
        StrategyConfig::FedAvgM { momentum: 0.9, rate: 1.0 },
        StrategyConfig::FedAdam(Rates::DEFAULT),
        StrategyConfig::FedYogi(Rates::DEFAULT),
        StrategyConfig::FedAdagrad(Rates::DEFAULT),
        StrategyConfig::Scaffold { rate: 1.0, population: 3 },
        StrategyConfig::FedNova { rate: 1.0 },
    ];

    #[test]
    fn every_rule_walks_downhill_on_a_bowl() {
        for config in ALL {
            let mut rule = config.build(2);
            let mut weights = [1.0f32, -2.0];
            let start: f32 = weights.iter().map(|w| w * w).sum();
            for _ in 0..600 {
                let mean: Vec<f32> = weights.iter().map(|w| -0.05 * w).collect();
                rule.step(&mut weights, &Mean::plain(&mean, 1));
            }
            let end: f32 = weights.iter().map(|w| w * w).sum();
            assert!(end < 0.7 * start, "{config:?}: {start} to {end}");
        }
    }

    #[test]
    fn a_rule_that_is_saved_and_restored_goes_on_as_if_nothing_happened() {
        for config in ALL {
            let mut lasting = config.build(3);
            let mut broken = config.build(3);
            let (mut a, mut b) = ([0.5f32, 0.0, -1.0], [0.5f32, 0.0, -1.0]);
            for round in 0..6 {
                let mean = [0.1 * round as f32, -0.2, 0.03];
                let mean = Mean { control: &[0.3, 0.0, -0.1], steps: 2.0, ..Mean::plain(&mean, 1) };
                lasting.step(&mut a, &mean);
                let saved: Vec<Vec<f32>> = broken.state().into_iter().map(<[f32]>::to_vec).collect();
                broken = config.build(3);
                broken.restore(saved);
                broken.step(&mut b, &mean);
                assert_eq!((a, lasting.control()), (b, broken.control()), "{config:?} in round {round}");
            }
        }
    }

    #[test]
    fn files_name_the_rule_and_absurd_numbers_name_the_key() {
        #[derive(Deserialize)]
        struct File {
            strategy: StrategyConfig,
        }
        let parse = |text: &str| crate::config::parse::<File>(text).map(|f| f.strategy);
        assert_eq!(parse("strategy.kind = \"fed-avg\"").unwrap(), StrategyConfig::default());
        let adam = parse("strategy = { kind = \"fed-adam\", rate = 0.02 }").unwrap();
        assert_eq!(adam, StrategyConfig::FedAdam(Rates { rate: 0.02, ..Rates::DEFAULT }));
        assert!(parse("strategy = { kind = \"fed-magic\" }").is_err());
        let error = StrategyConfig::FedAvg { rate: -1.0 }.check().unwrap_err().to_string();
        assert!(error.contains("strategy.rate"), "{error}");
    }
}
