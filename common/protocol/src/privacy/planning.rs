//! The least noise that makes a target true.

use serde::Serialize;

use super::clip::Clip;
use super::cost::{Cost, Noise, Spend};
use super::mechanism::{Distributed, Mechanism, PrivacyConfig};
use super::noise::{BadVariance, DiscreteGaussian, Skellam};
use super::sensitivity::{Rounding, Sensitivity};
use super::{pld, rdp};
use crate::fault::ConfigError;

/// Multipliers that are tried.
const LEAST: f64 = 1e-2;
const MOST: f64 = 1e6;
/// How close to the least multiplier a plan comes.
const CLOSE: f64 = 1e-4;
/// How often a client may expect to round anew: e^-.5 of the trials.
const ROUNDING: Rounding = Rounding::Conditional { beta: 0.606_530_659_712_633_4 };

/// A federation that is to be private.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Setting {
    /// Rounds to make.
    pub rounds: u64,
    /// People in a round: exactly with fixed cohorts, on average with sampled ones. The fixed denominator of the mean.
    pub cohort: u32,
    /// Weights that travel.
    pub weights: u64,
}

/// The noise that a [`PrivacyConfig`] needs. Only [`plan`] makes one.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Plan {
    /// What it is for.
    pub setting: Setting,
    /// Its delta.
    pub delta: f64,
    /// Probability with which each person is in a round.
    pub rate: f64,
    /// Noise in a round's sum of updates: standard deviation over clip norm. For `ftrl`, in one node of the tree.
    pub multiplier: f64,
    /// Noise in the number of short updates, with adaptive clipping: standard deviation, in people.
    pub count_deviation: Option<f64>,
    /// What each client adds, when clients do.
    pub share: Option<Share>,
    /// What one round costs; reserve this in the ledger.
    pub round: Cost,
    /// Epsilon after all rounds by loss distributions, where they apply.
    pub epsilon_pld: Option<f64>,
    /// Epsilon after all rounds by Rényi divergences.
    pub epsilon_rdp: f64,
}

/// A client's part of distributed noise.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Share {
    /// Variance of its noise on each weight, lane units squared.
    pub variance: f64,
    /// Variance of its noise on the count of adaptive clipping, where it adds +1 or -1.
    pub count_variance: Option<f64>,
    /// Lane units in a clip norm.
    pub units: f64,
    /// Longest rounded update, in lane units: round again until it is no longer.
    pub longest: f64,
}

impl Plan {
    /// Epsilon after all rounds: the better bound.
    pub fn epsilon(&self) -> f64 {
        self.epsilon_pld.map_or(self.epsilon_rdp, |pld| pld.min(self.epsilon_rdp))
    }

    /// Standard deviation of the noise on each weight of a round's mean, in clip norms.
    pub fn deviation_on_mean(&self) -> f64 {
        self.multiplier / f64::from(self.setting.cohort)
    }

    /// The norm of the noise on a round's mean, all weights together, in clip norms. Beyond 1 there is more noise in it than
    /// any update could be long.
    pub fn noise_norm(&self) -> f64 {
        self.deviation_on_mean() * (self.setting.weights as f64).sqrt()
    }

    /// The most weights for which the noise on a round's mean is no longer than a clip norm.
    pub fn bearable_weights(&self) -> u64 {
        self.deviation_on_mean().powi(-2) as u64
    }
}

/// The least noise with which all rounds stay within the configuration's epsilon.
///
/// # Errors
/// [`ConfigError::Value`] naming the key that cannot be used or met.
pub fn plan(config: &PrivacyConfig, setting: Setting) -> Result<Plan, ConfigError> {
    config.check_cohort(setting.cohort)?;
    let (delta, rate) = (config.delta(), config.rate(setting.cohort));
    let all = |multiplier: f64| {
        let mut all = Cost::default();
        all.extend(&round_cost(config, setting, multiplier), setting.rounds);
        all
    };
    // Orders are quick and lead close to the answer.
    let near = least_multiplier(config.epsilon, 1.0, |z| rdp::epsilon(&all(z), delta));
    let exact = near.and_then(|z| least_multiplier(config.epsilon, z, |z| all(z).epsilon(delta)));
    let Some(multiplier) = exact else {
        let why =
            format!("no noise reaches {} in {} rounds with this mechanism", config.epsilon, setting.rounds);
        return Err(ConfigError::value("privacy.epsilon", why));
    };
    let adaptive = if let Clip::Adaptive(adaptive) = config.clip { Some(adaptive) } else { None };
    let count_deviation = adaptive.map(|adaptive| adaptive.count_deviation(multiplier, setting.cohort));
    let share = match config.mechanism {
        Mechanism::Skellam(distributed) | Mechanism::DiscreteGaussian(distributed) => Some(Share {
            variance: distributed.share(multiplier),
            count_variance: count_deviation.map(|sd| 4.0 * sd * sd / f64::from(distributed.honest())),
            units: distributed.units,
            longest: Sensitivity::of(distributed.units, setting.weights, ROUNDING).l2,
        }),
        Mechanism::Gaussian | Mechanism::Ftrl { .. } => None,
    };
    if let Some(share) = share {
        let (key, sampler) = match config.mechanism {
            Mechanism::Skellam(_) => ("skellam", Skellam::new(share.variance).map(drop)),
            _ => ("discrete-gaussian", DiscreteGaussian::new(share.variance).map(drop)),
        };
        let refuse =
            |why: BadVariance| ConfigError::value(format!("privacy.mechanism.{key}.units"), why.to_string());
        sampler.map_err(refuse)?;
    }
    let spent = all(multiplier);
    Ok(Plan {
        setting,
        delta,
        rate,
        multiplier: match (config.mechanism, adaptive) {
            (Mechanism::Gaussian, Some(adaptive)) => adaptive.left_for_updates(multiplier, setting.cohort),
            _ => multiplier,
        },
        count_deviation,
        share,
        round: round_cost(config, setting, multiplier),
        epsilon_pld: pld::epsilon(&spent, delta),
        epsilon_rdp: rdp::epsilon(&spent, delta),
    })
}

impl Distributed {
    /// One client's variance, so that the honest among the fewest survivors make `multiplier` clip norms together.
    fn share(&self, multiplier: f64) -> f64 {
        (multiplier * self.units).powi(2) / f64::from(self.honest())
    }
}

/// What a round costs with noise of `multiplier` clip norms in its sum.
fn round_cost(config: &PrivacyConfig, setting: Setting, multiplier: f64) -> Cost {
    let rate = config.rate(setting.cohort);
    let spend = |noise| Spend { noise, rate };
    let bound = |units| Sensitivity::of(units, setting.weights, ROUNDING);
    let (update, distributed) = match config.mechanism {
        // The count of adaptive clipping is within it.
        Mechanism::Gaussian => (Noise::Gaussian { multiplier }, None),
        Mechanism::Ftrl { separation } => (Noise::Tree { multiplier, separation }, None),
        Mechanism::Skellam(distributed) => {
            let Sensitivity { l1, l2 } = bound(distributed.units);
            let variance = distributed.share(multiplier) * f64::from(distributed.honest());
            (Noise::Skellam { l1, l2, variance }, Some(distributed))
        }
        Mechanism::DiscreteGaussian(distributed) => {
            let (l2, variance) = (bound(distributed.units).l2, distributed.share(multiplier));
            let (clients, weights) = (distributed.honest(), setting.weights);
            (Noise::DiscreteGaussian { l2, variance, clients, weights }, Some(distributed))
        }
    };
    let mut cost = Cost::of(spend(update), 1);
    if let (Some(distributed), Clip::Adaptive(adaptive)) = (distributed, config.clip) {
        // Each client adds +1 or -1, an absent one nothing.
        let variance = 4.0 * adaptive.count_deviation(multiplier, setting.cohort).powi(2);
        let clients = distributed.honest();
        let count = match config.mechanism {
            Mechanism::Skellam(_) => Noise::Skellam { l1: 1.0, l2: 1.0, variance },
            _ => Noise::DiscreteGaussian {
                l2: 1.0,
                variance: variance / f64::from(clients),
                clients,
                weights: 1,
            },
        };
        cost.add(spend(count), 1);
    }
    cost
}

/// The least multiplier (to 1 in 10,000, from above) whose epsilon is within `target`, sought from `start`.
pub fn least_multiplier(target: f64, start: f64, epsilon: impl Fn(f64) -> f64) -> Option<f64> {
    let (mut low, mut high) = (start, start);
    if epsilon(start) <= target {
        while epsilon(low) <= target {
            high = low;
            low /= 1.25;
            if low < LEAST {
                return Some(high);
            }
        }
    } else {
        while epsilon(high) > target {
            low = high;
            high *= 1.25;
            if high > MOST {
                return None;
            }
        }
    }
    while high / low > 1.0 + CLOSE {
        let middle = (low * high).sqrt();
        if epsilon(middle) <= target { high = middle } else { low = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::super::mechanism::Sampling;
    use super::*;

    fn config(epsilon: f64, mechanism: Mechanism) -> PrivacyConfig {
        let clip = Clip::Fixed { norm: 0.1 };
        PrivacyConfig {
            epsilon,
            delta: Some(1e-2),
            population: 31,
            sampling: Sampling::Fixed,
            mechanism,
            clip,
        }
    }

    const SETTING: Setting = Setting { rounds: 50, cohort: 31, weights: 1000 };

    #[test]
    fn a_plan_meets_its_target_and_hardly_more() {
        for mechanism in [
            Mechanism::Gaussian,
            Mechanism::Ftrl { separation: 50 },
            Mechanism::Skellam(Distributed { survivors: 20, colluders: 2, units: 4096.0 }),
            Mechanism::DiscreteGaussian(Distributed { survivors: 20, colluders: 2, units: 4096.0 }),
        ] {
            let plan = plan(&config(8.0, mechanism), SETTING).unwrap();
            assert!(plan.epsilon() <= 8.0 && plan.epsilon() > 7.99, "{mechanism:?}: {}", plan.epsilon());
        }
    }

    #[test]
    fn mechanisms_compare_as_they_should() {
        let multiplier = |mechanism| plan(&config(8.0, mechanism), SETTING).unwrap().multiplier;
        let by_server = multiplier(Mechanism::Gaussian);
        let fine =
            multiplier(Mechanism::Skellam(Distributed { survivors: 31, colluders: 0, units: 65536.0 }));
        let coarse = multiplier(Mechanism::Skellam(Distributed { survivors: 31, colluders: 0, units: 16.0 }));
        // Skellam is accounted for by orders alone, which costs a few percent.
        assert!(
            by_server < fine && fine < 1.2 * by_server && coarse > 1.3 * fine,
            "{by_server} {fine} {coarse}"
        );
        // Once per person: six nodes of a tree in place of a lone leaf, and no more for 50 rounds.
        let once = multiplier(Mechanism::Ftrl { separation: 50 });
        let always = multiplier(Mechanism::Ftrl { separation: 1 });
        assert!(once < by_server && by_server < always, "{once} {by_server} {always}");
    }

    #[test]
    fn clients_share_the_noise_of_the_fewest_honest_survivors() {
        let distributed = Distributed { survivors: 20, colluders: 5, units: 1024.0 };
        let plan = plan(&config(8.0, Mechanism::Skellam(distributed)), SETTING).unwrap();
        let share = plan.share.unwrap();
        assert!((15.0 * share.variance / (plan.multiplier * 1024.0).powi(2) - 1.0).abs() < 1e-12);
        assert!(share.longest > 1024.0 && share.longest < 1024.0 + 1000f64.sqrt());
    }

    #[test]
    fn adaptive_clipping_costs_some_noise() {
        let mut config = config(8.0, Mechanism::Gaussian);
        let fixed = plan(&config, SETTING).unwrap();
        config.clip = Clip::Adaptive(super::super::clip::Adaptive::default());
        let adaptive = plan(&config, SETTING).unwrap();
        assert!(adaptive.multiplier > fixed.multiplier && adaptive.multiplier < 1.17 * fixed.multiplier);
        assert_eq!(adaptive.round, fixed.round);
        assert!(adaptive.count_deviation.unwrap() >= 31.0 / 20.0);
        let distributed = Distributed { survivors: 20, colluders: 0, units: 4096.0 };
        config.mechanism = Mechanism::DiscreteGaussian(distributed);
        let plan = plan(&config, SETTING).unwrap();
        assert!(plan.round.spends().len() == 2 && plan.share.unwrap().count_variance.is_some());
    }

    #[test]
    fn noise_is_weighed_against_the_clip_norm() {
        let many = Setting { rounds: 100, cohort: 31, weights: 100_000 };
        let plan = plan(&config(8.0, Mechanism::Gaussian), many).unwrap();
        assert!(plan.noise_norm() > 35.0 && plan.noise_norm() < 47.0, "{}", plan.noise_norm());
        assert!(plan.bearable_weights() < 100);
    }

    #[test]
    fn what_no_noise_can_do_is_refused() {
        let never = Mechanism::Skellam(Distributed { survivors: 31, colluders: 0, units: 1.0 });
        let many = Setting { rounds: u64::MAX, cohort: 31, weights: u64::MAX };
        let error = plan(&config(0.001, never), many).unwrap_err().to_string();
        assert!(error.contains("`privacy.epsilon`: no noise reaches 0.001"), "{error}");
        let fine = Mechanism::DiscreteGaussian(Distributed { survivors: 1, colluders: 0, units: 1e9 });
        let error = plan(&config(8.0, fine), SETTING).unwrap_err().to_string();
        assert!(error.contains("`privacy.mechanism.discrete-gaussian.units`: noise of variance"), "{error}");
    }
}
