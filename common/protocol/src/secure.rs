//! What an operator decides about masks, and what clients get to know of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::encoding::{Beside, Codec, Contribution, Encoded, EncodingConfig, Reduce, Setup};
use crate::evaluation::{Counting, Scoring};
use crate::fault::{ConfigError, Fault};
use crate::privacy::noise::{BadVariance, DiscreteGaussian, Skellam};
use crate::secagg::Parameters;
use crate::secagg::roster::MAX_MEMBERS;
use crate::seed::{Label, Seed};
use crate::sum::Weighting;
use crate::update::{Sections, UpdateLayout};

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
    /// What clients say beside their updates.
    pub beside: Beside,
    /// The noise that each client adds, if clients do.
    pub noise: Option<ClientNoise>,
    /// Whether counts of an evaluation ride along.
    pub counting: Counting,
}

/// Noise of one client on each lane of the weights, in lane units.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ClientNoise {
    /// A Poisson number less another.
    Skellam {
        /// Its variance.
        variance: f64,
    },
    /// Discrete Gaussian.
    DiscreteGaussian {
        /// Its variance.
        variance: f64,
    },
}

/// A source of [`ClientNoise`].
enum Sampler {
    Skellam(Skellam),
    DiscreteGaussian(DiscreteGaussian),
}

impl ClientNoise {
    fn sampler(&self) -> Result<Sampler, ConfigError> {
        let refuse = |why: BadVariance| ConfigError::value("privacy.mechanism", why.to_string());
        Ok(match *self {
            Self::Skellam { variance } => Sampler::Skellam(Skellam::new(variance).map_err(refuse)?),
            Self::DiscreteGaussian { variance } => {
                Sampler::DiscreteGaussian(DiscreteGaussian::new(variance).map_err(refuse)?)
            }
        })
    }

    fn deviation(&self) -> f64 {
        let (Self::Skellam { variance } | Self::DiscreteGaussian { variance }) = self;
        variance.sqrt()
    }
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
        let (beside, noise, counting) = (Beside::Everything, None, Counting::Nothing);
        let plan = SecurePlan { colluding, dropping, weighting, encoding, beside, noise, counting };
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
        if let Some(noise) = self.noise {
            noise.sampler()?;
        }
        self.counting.check()?;
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

    /// The encoding of a round's updates, or of counts alone; `favourites` came beside the release, if there is one and they are
    /// wanted.
    ///
    /// # Errors
    /// [`ConfigError`] if lanes cannot hold the sum.
    pub fn codec(
        &self,
        layout: UpdateLayout,
        members: u32,
        public: &Seed,
        favourites: Option<&[u8]>,
    ) -> Result<Codec, ConfigError> {
        let weighting = self.weighting;
        let (roster, mut encoding) = (members, self.encoding.clone());
        let evaluation = self.counting.scoring().map(|Scoring { classes, .. }| classes);
        let (layout, beside, favourites) = match self.counting {
            Counting::Alone(_) => {
                encoding.reduce = Reduce::None;
                (UpdateLayout::new(0, Sections::default()), Beside::Nothing, None)
            }
            Counting::Nothing | Counting::Beside(_) => (layout, self.beside, favourites),
        };
        let setup = Setup { layout, weighting, roster, evaluation, public, beside, favourites };
        let codec = Codec::new(&encoding, &setup)?;
        match self.noise {
            Some(noise) => codec.with_noise(noise.deviation()),
            None => Ok(codec),
        }
    }

    /// Encodes a contribution in a codec of [`SecurePlan::codec`]. `rounding` may be known to the server; `secret` is known to
    /// nobody, and what noise there is comes of it: the same secret gives the same bytes.
    ///
    /// # Errors
    /// What is wrong with the contribution.
    pub fn encode(
        &self,
        codec: &Codec,
        contribution: &Contribution<'_>,
        rounding: &Seed,
        secret: &Seed,
    ) -> Result<Encoded, Fault> {
        let Some(noise) = self.noise else { return codec.encode(contribution, rounding) };
        let mut rng = secret.derive(Label::Privacy, b"client").rng();
        match noise.sampler().map_err(|error| Fault::Malformed(error.to_string()))? {
            Sampler::Skellam(noise) => {
                codec.encode_noisy(contribution, rounding, &mut || noise.sample(&mut rng))
            }
            Sampler::DiscreteGaussian(noise) => {
                codec.encode_noisy(contribution, rounding, &mut || noise.sample(&mut rng))
            }
        }
    }
}
