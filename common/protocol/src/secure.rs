//! What an operator decides about masks, and what clients get to know of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::encoding::{Codec, EncodingConfig, Reduce, Setup};
use crate::fault::ConfigError;
use crate::secagg::Parameters;
use crate::secagg::roster::MAX_MEMBERS;
use crate::seed::{Label, Seed};
use crate::sum::Weighting;
use crate::update::UpdateLayout;

/// The smallest part of a large cohort that has to be withstood: with less, a server could thin out the graph.
const LEAST_COLLUDING: f64 = 0.05;

/// Most neighbours whose shares fit one message.
const MOST_NEIGHBOURS: u32 = 2048;

/// Masked rounds, as an operator writes them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SecureConfig {
    /// Of a cohort of more than 128, the fraction that may collude with the server without learning more than a sum. Smaller
    /// cohorts are masked pair by pair, each with each, and withstand just under a third. Default .05.
    pub colluding: f64,
    /// Of a cohort of more than 128, the fraction that may drop out after sharing. Smaller ones lose up to a third. Default .1.
    pub dropping: f64,
    /// Seconds without progress after which a step of masking goes on without those who are missing. Default 120.
    pub patience_seconds: f64,
    /// How updates become integers.
    pub encoding: EncodingConfig,
}

impl Default for SecureConfig {
    fn default() -> Self {
        Self { colluding: 0.05, dropping: 0.1, patience_seconds: 120.0, encoding: EncodingConfig::default() }
    }
}

/// How a round is masked: the same for all who take part.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SecurePlan {
    /// See [`SecureConfig::colluding`].
    pub colluding: f64,
    /// See [`SecureConfig::dropping`].
    pub dropping: f64,
    /// What one client weighs.
    pub weighting: Weighting,
    /// How updates become integers.
    pub encoding: EncodingConfig,
}

impl SecureConfig {
    /// Checks that the numbers can be used.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self, weighting: Weighting) -> Result<(SecurePlan, Duration), ConfigError> {
        let patience = self.patience_seconds;
        if !(1.0..=1e6).contains(&patience) {
            let why = format!("{patience} is not within 1 to 1,000,000 seconds");
            return Err(ConfigError::value("secure.patience_seconds", why));
        }
        let Self { colluding, dropping, encoding, .. } = self.clone();
        let plan = SecurePlan { colluding, dropping, weighting, encoding };
        plan.check()?;
        Ok((plan, Duration::from_secs_f64(patience)))
    }
}

impl SecurePlan {
    /// Refuses what no round can be masked with; clients do too.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let fractions =
            [("secure.colluding", self.colluding, LEAST_COLLUDING), ("secure.dropping", self.dropping, 0.0)];
        for (key, fraction, least) in fractions {
            if !(least..=1.0 / 3.0).contains(&fraction) {
                return Err(ConfigError::value(key, format!("{fraction} is not within {least} to a third")));
            }
        }
        if self.encoding.reduce != Reduce::None {
            let why = "clients do not keep what a reduction leaves out yet, and it would be lost";
            return Err(ConfigError::value("secure.encoding.reduce", why));
        }
        self.encoding.check()
    }

    /// Refuses a cohort that cannot be masked together.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check_cohort(&self, cohort: u32) -> Result<(), ConfigError> {
        if cohort > MAX_MEMBERS {
            let why = format!("{cohort} clients, a masked round has at most {MAX_MEMBERS}");
            return Err(ConfigError::value("cohort", why));
        }
        let neighbours = self.parameters(cohort).degree();
        if neighbours > MOST_NEIGHBOURS {
            let why = format!("{cohort} clients would need {neighbours} neighbours each; ask for less");
            return Err(ConfigError::value("secure.colluding", why));
        }
        Ok(())
    }

    /// How many neighbours and shares a roster of `members` has.
    pub fn parameters(&self, members: u32) -> Parameters {
        Parameters::choose(members, self.colluding, self.dropping)
    }

    /// What a round draws for everybody to know, from the number that its assignment carries.
    pub fn public(&self, number: u64) -> Seed {
        Seed::from_number(number).derive(Label::Encoding, &[])
    }

    /// The encoding of a round's updates.
    ///
    /// # Errors
    /// [`ConfigError`] if lanes cannot hold the sum.
    pub fn codec(&self, layout: UpdateLayout, members: u32, public: &Seed) -> Result<Codec, ConfigError> {
        let weighting = self.weighting;
        let setup = Setup { layout, weighting, roster: members, evaluation: None, public, last: None };
        Codec::new(&self.encoding, &setup)
    }
}
