//! Which rule combines the updates of a round, as an operator writes it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::groups::SMALLEST;
use super::{FlTrust, GeometricMedian, Krum, Mean, Median, MultiKrum, NormClip, RobustRule, TrimmedMean};
use crate::fault::ConfigError;
use crate::ids::ClientId;

/// How updates become one. Everything but `mean` needs to see single updates (`danger_plain_aggregation`) or the sums of
/// groups (`groups`), keeps them all in memory until the round ends, and gives up some accuracy where nobody lies.
///
/// `fraction` is the part of clients, or of groups, that may lie. Rules that rank or pick count everybody alike, whatever the
/// examples that they claim.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RobustConfig {
    /// The weighted mean: no defence.
    Mean {},
    /// The median of each coordinate.
    Median {},
    /// The mean of each coordinate without its ends.
    TrimmedMean {
        /// Dropped on either side, 0 to below .5. Default .2.
        #[serde(default = "fifth")]
        fraction: f64,
    },
    /// The one update with the closest neighbours.
    Krum {
        /// Of `n` clients `f = ceil(fraction n)` may lie, and `n >= 2 f + 3` is needed. Default .2.
        #[serde(default = "fifth")]
        fraction: f64,
    },
    /// The mean of the `n - f` updates with the closest neighbours.
    MultiKrum {
        /// As for `krum`. Default .2.
        #[serde(default = "fifth")]
        fraction: f64,
    },
    /// The point nearest to all updates (RFA). By weight: see `weighting`.
    GeometricMedian {
        /// Most steps towards it, 1 to 1,000. Default 20.
        #[serde(default = "twenty")]
        iterations: u32,
        /// Shorter distances count as this, 1e-12 to 1. Default 1e-6.
        #[serde(default = "millionth")]
        smoothing: f64,
    },
    /// The weighted mean of updates that are shortened to the round's median length.
    NormClip {
        /// Times that length, above 0 to 100. Default 1.
        #[serde(default = "one")]
        factor: f64,
    },
    /// The mean of what points the way of a client that the operator trusts, nothing in rounds without it (FLTrust).
    FlTrust {
        /// That client's name.
        reference: ClientId,
    },
}

fn fifth() -> f64 {
    0.2
}

fn twenty() -> u32 {
    20
}

fn millionth() -> f64 {
    1e-6
}

fn one() -> f64 {
    1.0
}

impl Default for RobustConfig {
    fn default() -> Self {
        Self::Mean {}
    }
}

/// Who votes in a round: what a rule has to cope with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voters {
    /// How many updates a round may have.
    pub reports: RangeInclusive<usize>,
    /// Into how many groups they are dealt; 1 for none.
    pub groups: usize,
    /// Whether single updates are hidden.
    pub masked: bool,
}

impl Voters {
    /// How many vectors the rule sees.
    fn votes(&self) -> RangeInclusive<usize> {
        if self.groups > 1 { self.groups..=self.groups } else { self.reports.clone() }
    }
}

/// Fewest votes among which one liar is outvoted.
const FEWEST: usize = 3;

/// Of `clients`, how many may lie.
pub(super) fn lying(fraction: f64, clients: usize) -> usize {
    // .07 times 100 is a little more than 7.
    (fraction * clients as f64 - 1e-9).ceil().max(0.0) as usize
}

impl RobustConfig {
    /// The rule.
    pub fn build(&self) -> Box<dyn RobustRule> {
        match *self {
            Self::Mean {} => Box::new(Mean),
            Self::Median {} => Box::new(Median),
            Self::TrimmedMean { fraction } => Box::new(TrimmedMean { fraction }),
            Self::Krum { fraction } => Box::new(Krum { fraction }),
            Self::MultiKrum { fraction } => Box::new(MultiKrum { fraction }),
            Self::GeometricMedian { iterations, smoothing } => {
                Box::new(GeometricMedian { iterations, smoothing })
            }
            Self::NormClip { factor } => Box::new(NormClip { factor }),
            Self::FlTrust { ref reference } => Box::new(FlTrust { reference: reference.clone() }),
        }
    }

    /// The name that configuration files use.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mean {} => "mean",
            Self::Median {} => "median",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::Krum { .. } => "krum",
            Self::MultiKrum { .. } => "multi-krum",
            Self::GeometricMedian { .. } => "geometric-median",
            Self::NormClip { .. } => "norm-clip",
            Self::FlTrust { .. } => "fl-trust",
        }
    }

    /// Whether it is the mean, for which a sum is enough.
    pub fn is_mean(&self) -> bool {
        matches!(self, Self::Mean {})
    }

    /// The same rule with this client trusted, if it trusts one.
    #[must_use]
    pub fn trusting(self, reference: ClientId) -> Self {
        match self {
            Self::FlTrust { .. } => Self::FlTrust { reference },
            other => other,
        }
    }

    /// How many it needs at least where there are `votes`.
    pub fn least(&self, votes: usize) -> usize {
        match *self {
            Self::Mean {} => 1,
            Self::Krum { fraction } | Self::MultiKrum { fraction } => 2 * lying(fraction, votes) + 3,
            _ => FEWEST,
        }
    }

    /// Refuses what cannot work among these voters.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key: `groups`, `robust`, or one of its own.
    pub fn check(&self, voters: &Voters) -> Result<(), ConfigError> {
        self.check_numbers()?;
        self.check_groups(voters)?;
        let (Self::Krum { fraction } | Self::MultiKrum { fraction }) = *self else { return Ok(()) };
        for votes in voters.votes() {
            let lying = lying(fraction, votes);
            let needed = self.least(votes);
            if votes < needed {
                let (name, whose) = (self.name(), if voters.groups > 1 { "groups" } else { "updates" });
                let why =
                    format!("{name} with {lying} lying of {votes} {whose} needs at least {needed} of them");
                return Err(ConfigError::value("robust.fraction", why));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let refuse = |key: &str, why: String| Err(ConfigError::value(format!("robust.{key}"), why));
        match *self {
            Self::TrimmedMean { fraction } | Self::Krum { fraction } | Self::MultiKrum { fraction }
                if !(0.0..0.5).contains(&fraction) =>
            {
                refuse("fraction", format!("{fraction} is not within 0 to below .5"))
            }
            Self::GeometricMedian { iterations, .. } if !(1..=1000).contains(&iterations) => {
                refuse("iterations", format!("{iterations} is not within 1 to 1,000"))
            }
            Self::GeometricMedian { smoothing, .. } if !(1e-12..=1.0).contains(&smoothing) => {
                refuse("smoothing", format!("{smoothing} is not within 1e-12 to 1"))
            }
            Self::NormClip { factor } if !(factor > 0.0 && factor <= 100.0) => {
                refuse("factor", format!("{factor} is not above 0 and at most 100"))
            }
            _ => Ok(()),
        }
    }

    fn check_groups(&self, voters: &Voters) -> Result<(), ConfigError> {
        let Voters { ref reports, groups, masked } = *voters;
        let refuse = |key: &str, why: String| Err(ConfigError::value(key, why));
        let least = *reports.start();
        match (self, groups) {
            (_, 0) => refuse("groups", "at least one group is needed; 1 is everybody in one sum".into()),
            (Self::Mean {}, 1) => Ok(()),
            (Self::Mean {}, _) => {
                refuse("groups", "the mean needs one sum; more of them reveal more for nothing".into())
            }
            (Self::FlTrust { .. }, _) if masked || groups > 1 => {
                refuse("robust", "fl-trust has to see the trusted client's update, which a sum hides".into())
            }
            (_, 1) if masked => refuse(
                "groups",
                format!(
                    "{} looks at updates, which masks hide: write `groups = 5` and `min_reports = {}`, or more, to let \
                     the server see the sums of groups, or `robust = {{ kind = \"mean\" }}`",
                    self.name(),
                    5 * SMALLEST
                ),
            ),
            (_, 1) => Ok(()),
            (_, _) if least / groups < SMALLEST => refuse(
                "groups",
                format!(
                    "{groups} groups of {least} clients have fewer than {SMALLEST} in one of them: raise `min_reports` to \
                     {} or make fewer groups",
                    groups * SMALLEST
                ),
            ),
            (_, _) if masked && groups < FEWEST => refuse(
                "groups",
                format!(
                    "{} of {groups} sums cannot tell which one is the liar's: write `groups = {FEWEST}` or more",
                    self.name()
                ),
            ),
            (_, _) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[derive(Deserialize)]
    struct File {
        robust: RobustConfig,
    }

    fn read(value: &str) -> Result<RobustConfig, ConfigError> {
        parse::<File>(&format!("robust = {value}")).map(|file| file.robust)
    }

    fn plain(reports: RangeInclusive<usize>) -> Voters {
        Voters { reports, groups: 1, masked: false }
    }

    #[test]
    fn files_name_the_rule_with_the_name_that_it_prints() {
        let kinds = [
            "mean",
            "median",
            "trimmed-mean",
            "krum",
            "multi-krum",
            "geometric-median",
            "norm-clip",
            "fl-trust\", reference = \"hub-1",
        ];
        for kind in kinds {
            let rule = read(&format!("{{ kind = \"{kind}\" }}")).unwrap();
            assert!(kind.starts_with(rule.name()));
            rule.check(&plain(20..=30)).unwrap();
            let text = toml::to_string(&rule).unwrap();
            assert_eq!(parse::<RobustConfig>(&text).unwrap(), rule);
        }
        assert_eq!(read("{ kind = \"krum\" }").unwrap(), RobustConfig::Krum { fraction: 0.2 });
        let error = read("{ kind = \"krum\", fracton = 0.1 }").unwrap_err().to_string();
        assert_eq!(error, "line 1: unknown key `fracton`; did you mean `fraction`?");
        assert!(read("{ kind = \"mean\", fraction = 0.1 }").is_err(), "the mean takes no numbers");
        assert!(read("{ kind = \"bulyan\" }").unwrap_err().to_string().contains("bulyan"));
    }

    #[test]
    fn as_many_lie_as_the_fraction_says_and_no_more() {
        assert_eq!([0, 1, 10, 30, 100].map(|n| lying(0.07, n)), [0, 1, 1, 3, 7]);
        assert_eq!([5, 10, 15].map(|n| lying(0.2, n)), [1, 2, 3]);
        assert_eq!(lying(0.0, 9), 0);
    }

    #[test]
    fn krum_needs_two_honest_neighbours_more_than_twice_the_liars() {
        let krum = RobustConfig::Krum { fraction: 0.3 };
        // n = 7: f = 3 needs 9; from 9 on it fits, but 11 has f = 4 and needs 11.
        let error = krum.check(&plain(7..=9)).unwrap_err().to_string();
        assert_eq!(error, "`robust.fraction`: krum with 3 lying of 7 updates needs at least 9 of them");
        krum.check(&plain(9..=11)).unwrap();
        let error =
            RobustConfig::MultiKrum { fraction: 0.45 }.check(&plain(20..=20)).unwrap_err().to_string();
        assert!(error.starts_with("`robust.fraction`: multi-krum with 9 lying of 20"), "{error}");
        let groups = Voters { reports: 40..=40, groups: 4, masked: true };
        let error = RobustConfig::Krum { fraction: 0.2 }.check(&groups).unwrap_err().to_string();
        assert!(error.contains("1 lying of 4 groups needs at least 5"), "{error}");
    }

    #[test]
    fn what_cannot_work_names_its_key() {
        let masked = |groups| Voters { reports: 20..=30, groups, masked: true };
        let trust = RobustConfig::FlTrust { reference: "hub-1".parse().unwrap() };
        let geometric = |iterations, smoothing| RobustConfig::GeometricMedian { iterations, smoothing };
        let cases = [
            ("`robust.fraction`", RobustConfig::TrimmedMean { fraction: 0.5 }, plain(9..=9)),
            ("`robust.fraction`", RobustConfig::Krum { fraction: f64::NAN }, plain(9..=9)),
            ("`robust.iterations`", geometric(0, 1e-6), plain(9..=9)),
            ("`robust.smoothing`", geometric(5, 0.0), plain(9..=9)),
            ("`robust.factor`", RobustConfig::NormClip { factor: 0.0 }, plain(9..=9)),
            ("`groups`", RobustConfig::Median {}, Voters { groups: 0, ..plain(9..=9) }),
            ("`groups`", RobustConfig::Median {}, masked(1)),
            ("`groups`", RobustConfig::Median {}, masked(2)),
            ("`groups`", RobustConfig::Median {}, masked(8)),
            ("`groups`", RobustConfig::default(), masked(5)),
            ("`robust`", trust.clone(), masked(5)),
            ("`robust`", trust, masked(1)),
        ];
        for (key, rule, voters) in cases {
            let error = rule.check(&voters).unwrap_err().to_string();
            assert!(error.starts_with(key), "{rule:?} among {voters:?}: {error}");
        }
        RobustConfig::Median {}.check(&masked(5)).unwrap();
        let advice = RobustConfig::Median {}.check(&masked(1)).unwrap_err().to_string();
        assert!(advice.contains("`groups = 5` and `min_reports = 15`"), "{advice}");
        RobustConfig::Median {}.check(&Voters { reports: 15..=15, groups: 5, masked: true }).unwrap();
        RobustConfig::default().check(&masked(1)).unwrap();
    }
}
