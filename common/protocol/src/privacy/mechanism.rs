//! What an operator decides about privacy.

use serde::{Deserialize, Serialize};

use super::clip::Clip;
use crate::fault::ConfigError;

/// How private a federation is to be, as an operator writes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// The most that all rounds together may tell of one person's presence. 1 is strong, 8 is usual, above 10 the guarantee
    /// says little.
    pub epsilon: f64,
    /// Probability that the guarantee does not hold; below one in `population`. Default population^-1.1.
    #[serde(default)]
    pub delta: Option<f64>,
    /// People among whom one is to be hidden: who could be in a cohort, no more. A number that is too large weakens the
    /// guarantee.
    pub population: u64,
    /// How cohorts come about. Default `fixed`.
    #[serde(default)]
    pub sampling: Sampling,
    /// Who adds which noise. Default `gaussian`.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// How long an update may be.
    #[serde(default)]
    pub clip: Clip,
}

/// How a round's cohort comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Whoever is there. Everyone is accounted for as if in every round.
    #[default]
    Fixed,
    /// Everyone of the population by an own secret coin, with probability cohort / population. Only true if nobody's
    /// presence depends on the hour or the network, and if those who see a release do not know who was asked.
    Poisson,
}

/// Who adds which noise to a sum.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mechanism {
    /// The server, to the sum that it has seen: releases are private, the server is trusted with the sum.
    #[default]
    Gaussian,
    /// Each client, inside its mask; the server never sees a sum without noise.
    Skellam(Distributed),
    /// The same with discrete Gaussian noise.
    DiscreteGaussian(Distributed),
    /// The server, to the running sum of all rounds (DP-FTRL). For few rounds per person and no random sampling.
    Ftrl {
        /// The server lets a person take part in at most one of so many consecutive rounds. With 1, independent noise is
        /// better.
        separation: u64,
    },
}

/// Noise that clients add.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distributed {
    /// Clients whose updates are in a sum at least: each adds noise enough for so few. Rounds with fewer must abort.
    pub survivors: u32,
    /// Of these, clients that may tell the server their noise. Default 0.
    #[serde(default)]
    pub colluders: u32,
    /// Lane units in a clip norm: how finely updates are rounded before noise is added. More is better and needs wider
    /// lanes; many times the square root of the number of weights leaves nothing to gain.
    pub units: f64,
}

impl Distributed {
    /// Clients whose noise counts.
    pub fn honest(&self) -> u32 {
        self.survivors.saturating_sub(self.colluders)
    }
}

impl PrivacyConfig {
    /// The delta that is used.
    pub fn delta(&self) -> f64 {
        self.delta.unwrap_or_else(|| (self.population as f64).powf(-1.1))
    }

    /// Refuses what no noise can make true.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let need = |ok: bool, key: &str, why: String| {
            if ok { Ok(()) } else { Err(ConfigError::value(key, why)) }
        };
        let Self { epsilon, population, .. } = *self;
        need(
            (1e-3..=1e3).contains(&epsilon),
            "privacy.epsilon",
            format!("{epsilon} is not within .001 to 1000"),
        )?;
        need(population >= 2, "privacy.population", "nobody can be hidden among fewer than 2".into())?;
        let (delta, most) = (self.delta(), (population as f64).recip());
        let fits = delta >= 1e-12 && delta < most;
        need(
            fits,
            "privacy.delta",
            format!("{delta} is not within 1e-12 to {most:.3e}, one person of the population"),
        )?;
        self.clip.check()?;
        match self.mechanism {
            Mechanism::Gaussian => Ok(()),
            Mechanism::Skellam(distributed) => distributed.check("privacy.mechanism.skellam"),
            Mechanism::DiscreteGaussian(distributed) => {
                distributed.check("privacy.mechanism.discrete-gaussian")
            }
            Mechanism::Ftrl { separation } => {
                let key = "privacy.mechanism.ftrl";
                need(separation >= 1, &format!("{key}.separation"), "at least 1 round".into())?;
                let drawn = self.sampling == Sampling::Poisson;
                need(!drawn, "privacy.sampling", "`ftrl` gains nothing by sampling: use `fixed`".into())?;
                let fixed = matches!(self.clip, Clip::Fixed { .. });
                need(
                    fixed,
                    "privacy.clip",
                    "`ftrl` sums updates over rounds: their clip norm must be fixed".into(),
                )
            }
        }
    }

    /// The same for a federation of this shape.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(crate) fn check_cohort(&self, cohort: u32) -> Result<(), ConfigError> {
        self.check()?;
        if cohort == 0 || u64::from(cohort) > self.population {
            let why = format!("a cohort of {cohort} is not within 1 to the population's {}", self.population);
            return Err(ConfigError::value("privacy.population", why));
        }
        let key = match self.mechanism {
            Mechanism::Skellam(distributed) if distributed.survivors > cohort => "skellam",
            Mechanism::DiscreteGaussian(distributed) if distributed.survivors > cohort => "discrete-gaussian",
            _ => return Ok(()),
        };
        Err(ConfigError::value(
            format!("privacy.mechanism.{key}.survivors"),
            format!("more than the cohort's {cohort}"),
        ))
    }

    /// Probability with which each person is in a round.
    pub fn rate(&self, cohort: u32) -> f64 {
        match self.sampling {
            Sampling::Fixed => 1.0,
            Sampling::Poisson => f64::from(cohort) / self.population as f64,
        }
    }
}

impl Distributed {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        let need = |ok: bool, name: &str, why: &str| {
            if ok { Ok(()) } else { Err(ConfigError::value(format!("{key}.{name}"), why)) }
        };
        need(self.survivors >= 1, "survivors", "at least 1 client")?;
        need(
            self.colluders < self.survivors,
            "colluders",
            "fewer than `survivors`, or nobody's noise counts",
        )?;
        need((1.0..=1e9).contains(&self.units), "units", "1 to 1,000,000,000 lane units")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn read(text: &str) -> Result<PrivacyConfig, ConfigError> {
        parse::<PrivacyConfig>(text).and_then(|config| config.check().map(|()| config))
    }

    #[test]
    fn a_configuration_says_little() {
        let config = read("epsilon = 8\npopulation = 1000\n").unwrap();
        assert_eq!((config.sampling, config.mechanism), (Sampling::Fixed, Mechanism::Gaussian));
        assert!((config.delta() - 1000f64.powf(-1.1)).abs() < 1e-15);
        assert_eq!(config.rate(100), 1.0);
        let text = "epsilon = 4\ndelta = 1e-6\npopulation = 1000\nsampling = \"poisson\"\n\
                    [mechanism.skellam]\nsurvivors = 20\nunits = 1024\n[clip.adaptive]\nquantile = 0.6\n";
        let config = read(text).unwrap();
        let distributed = Distributed { survivors: 20, colluders: 0, units: 1024.0 };
        assert_eq!(config.mechanism, Mechanism::Skellam(distributed));
        assert_eq!(config.rate(100), 0.1);
        let Clip::Adaptive(adaptive) = config.clip else { panic!("{config:?}") };
        assert_eq!((adaptive.quantile, adaptive.rate), (0.6, 0.2));
    }

    #[test]
    fn what_cannot_be_names_its_key() {
        let cases = [
            ("epsilon = 0\npopulation = 9\n", "`privacy.epsilon`"),
            ("epsilon = nan\npopulation = 9\n", "`privacy.epsilon`"),
            ("epsilon = 1\npopulation = 1\n", "`privacy.population`"),
            ("epsilon = 1\npopulation = 9\ndelta = 0.2\n", "`privacy.delta`"),
            ("epsilon = 1\npopulation = 9\ndelta = 0.0\n", "`privacy.delta`"),
            (
                "epsilon = 1\npopulation = 9\nclip = { fixed = { norm = -1.0 } }\n",
                "`privacy.clip.fixed.norm`",
            ),
            (
                "epsilon = 1\npopulation = 9\n[clip.adaptive]\nquantile = 2\n",
                "`privacy.clip.adaptive.quantile`",
            ),
            (
                "epsilon = 1\npopulation = 9\n[mechanism.skellam]\nsurvivors = 3\ncolluders = 3\nunits = 9\n",
                "`privacy.mechanism.skellam.colluders`",
            ),
            (
                "epsilon = 1\npopulation = 9\n[mechanism.discrete-gaussian]\nsurvivors = 3\nunits = 0\n",
                "`privacy.mechanism.discrete-gaussian.units`",
            ),
            (
                "epsilon = 1\npopulation = 9\n[mechanism.ftrl]\nseparation = 0\n",
                "`privacy.mechanism.ftrl.separation`",
            ),
            (
                "epsilon = 1\npopulation = 9\nsampling = \"poisson\"\n[mechanism.ftrl]\nseparation = 5\n",
                "`privacy.sampling`",
            ),
            (
                "epsilon = 1\npopulation = 9\n[mechanism.ftrl]\nseparation = 5\n[clip.adaptive]\n",
                "`privacy.clip`",
            ),
            ("epsilon = 1\npopulation = 9\ndeltta = 1\n", "unknown key `deltta`; did you mean `delta`?"),
        ];
        for (text, key) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
        let config =
            read("epsilon = 1\npopulation = 9\n[mechanism.skellam]\nsurvivors = 7\nunits = 9\n").unwrap();
        assert!(config.check_cohort(9).is_ok());
        assert!(
            config.check_cohort(6).unwrap_err().to_string().contains("`privacy.mechanism.skellam.survivors`")
        );
        assert!(config.check_cohort(10).unwrap_err().to_string().contains("`privacy.population`"));
    }
}
