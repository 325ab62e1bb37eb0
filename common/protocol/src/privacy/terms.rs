//! What a federation's configuration comes to: which of its keys go together with privacy, how much noise there is, and what
//! clients of masked rounds are told.

use super::clip::Clip;
use super::mechanism::{Distributed, Mechanism, PrivacyConfig, Sampling};
use super::planning::{Plan, Setting, plan};
use crate::config::FederationConfig;
use crate::encoding::{Beside, EncodingConfig, Reduce, Rounding, Spread};
use crate::fault::ConfigError;
use crate::secure::{ClientNoise, SecurePlan};
use crate::seed::Seed;
use crate::sum::Weighting;
use crate::update::{Extra, Sections, UpdateLayout};

/// Bits of one client's integer that are tried, fewest first.
const LEVELS_BITS: std::ops::RangeInclusive<u32> = 8..=20;

/// A plan for a model, and the encoding that makes it true.
#[derive(Clone, PartialEq, Debug)]
pub struct Terms {
    /// What the operator decided.
    pub config: PrivacyConfig,
    /// The noise.
    pub plan: Plan,
    /// How rounds are masked, with the first round's norm; none for plain ones.
    pub secure: Option<SecurePlan>,
}

/// Refuses keys that would tell of a person beside the noisy sum, or that need another sum.
///
/// # Errors
/// [`ConfigError::Value`] naming the key.
pub(crate) fn check(federation: &FederationConfig, privacy: &PrivacyConfig) -> Result<(), ConfigError> {
    privacy.check_cohort(federation.cohort)?;
    let need = |ok: bool, key: &str, why: &str| if ok { Ok(()) } else { Err(ConfigError::value(key, why)) };
    let masked = !federation.danger_plain_aggregation;
    need(
        federation.plan.invariance.is_none(),
        "plan.invariance",
        "embedding moments are released without noise: leave it out, or `privacy`",
    )?;
    need(
        federation.strategy.extra() != Extra::Control,
        "strategy",
        "SCAFFOLD's control variates are released without noise: use another strategy, or leave out `privacy`",
    )?;
    need(
        federation.strategy.extra() != Extra::Steps,
        "strategy",
        "FedNova's step counts are released without noise: use another strategy, or leave out `privacy`",
    )?;
    need(
        federation.robust.is_mean() && federation.groups == 1,
        "robust",
        "noise is planned for one sum of everybody: leave out `robust` and `groups`, or `privacy`",
    )?;
    need(
        federation.weighting == Weighting::Uniform,
        "weighting",
        "with `privacy` every person counts the same: write `weighting = \"uniform\"`",
    )?;
    need(
        privacy.sampling == Sampling::Fixed,
        "privacy.sampling",
        "cohorts are drawn from whoever is there, which is no coin for everyone of the population: use `fixed`",
    )?;
    if masked {
        let EncodingConfig { spread, reduce, .. } = federation.secure.encoding;
        need(
            spread == Spread::Rotation,
            "secure.encoding.spread",
            "with `privacy` the clip norm bounds coordinates: use `rotation`",
        )?;
        need(
            reduce == Reduce::None,
            "secure.encoding.reduce",
            "what is left out of one update returns in the next, which no plan for `privacy` counts: use `none`",
        )?;
    }
    if let Some((key, distributed)) = distributed(&privacy.mechanism) {
        need(masked, key, "clients add this noise inside their masks: it needs masked rounds")?;
        need(
            federation.min_reports >= distributed.survivors,
            &format!("{key}.survivors"),
            "more than `min_reports`: a round of fewer would have too little noise",
        )?;
        let fixed = matches!(privacy.clip, Clip::Fixed { .. });
        need(
            fixed,
            "privacy.clip",
            "the count of adaptive clipping has no noise of clients in this version: use `fixed`, or `gaussian`",
        )?;
    }
    if let Mechanism::Ftrl { separation } = privacy.mechanism {
        let people = separation.saturating_mul(u64::from(federation.min_clients));
        need(
            people <= privacy.population,
            "privacy.mechanism.ftrl.separation",
            "too few people for `min_clients` in each of so many rounds without anybody twice",
        )?;
    }
    Ok(())
}

fn distributed(mechanism: &Mechanism) -> Option<(&'static str, &Distributed)> {
    match mechanism {
        Mechanism::Skellam(distributed) => Some(("privacy.mechanism.skellam", distributed)),
        Mechanism::DiscreteGaussian(distributed) => {
            Some(("privacy.mechanism.discrete-gaussian", distributed))
        }
        Mechanism::Gaussian | Mechanism::Ftrl { .. } => None,
    }
}

impl Terms {
    /// For a model of `weights`, in `rounds` of `cohort` people of whom `roster` may be asked.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key that cannot be met.
    pub fn new(
        config: &PrivacyConfig,
        secure: Option<&SecurePlan>,
        (rounds, cohort, roster): (u64, u32, u32),
        weights: usize,
    ) -> Result<Self, ConfigError> {
        let setting = Setting { rounds, cohort, weights: weights as u64 };
        let Some((key, asked)) = distributed(&config.mechanism) else {
            let beside = match config.clip {
                Clip::Fixed { .. } => Beside::Nothing,
                Clip::Adaptive(_) => Beside::Clipped,
            };
            let secure = secure.map(|secure| private(secure, config.clip.initial(), beside));
            return Ok(Self { config: config.clone(), plan: plan(config, setting)?, secure });
        };
        let layout = UpdateLayout::new(weights, Sections::default());
        let secure =
            secure.ok_or_else(|| ConfigError::value(key, "clients add this noise inside their masks"))?;
        let mut secure = private(secure, config.clip.initial(), Beside::Nothing);
        secure.encoding.rounding = Rounding::Bounded;
        // The coarsest encoding that is as fine as asked; what it is exactly is what is accounted for.
        let mut exact = None;
        for bits in LEVELS_BITS {
            secure.encoding.levels_bits = bits;
            let sensitivity = secure.codec(layout, roster, &Seed::from_number(0), None)?.sensitivity();
            let units = config.clip.initial() / sensitivity.unit;
            if units >= asked.units {
                exact = Some((units, sensitivity.lanes as u64));
                break;
            }
        }
        let Some((units, lanes)) = exact else {
            let why = format!("{} lane units are more than {LEVELS_BITS:?} bits hold", asked.units);
            return Err(ConfigError::value(format!("{key}.units"), why));
        };
        let distributed = Distributed { units, ..*asked };
        let mechanism = match config.mechanism {
            Mechanism::Skellam(_) => Mechanism::Skellam(distributed),
            _ => Mechanism::DiscreteGaussian(distributed),
        };
        let exact = PrivacyConfig { mechanism, ..config.clone() };
        let plan = plan(&exact, Setting { weights: lanes, ..setting })?;
        let variance = plan.share.map_or(f64::NAN, |share| share.variance);
        secure.noise = Some(match mechanism {
            Mechanism::Skellam(_) => ClientNoise::Skellam { variance },
            _ => ClientNoise::DiscreteGaussian { variance },
        });
        secure.check()?;
        // Whether lanes are wide enough for all of it.
        secure.codec(layout, roster, &Seed::from_number(0), None)?;
        Ok(Self { config: exact, plan, secure: Some(secure) })
    }
}

/// Rounds in which clients clip to `norm` and say nothing exactly but `beside`.
fn private(secure: &SecurePlan, norm: f64, beside: Beside) -> SecurePlan {
    let encoding = EncodingConfig { clip_norm: norm, ..secure.encoding.clone() };
    SecurePlan { encoding, beside, noise: None, ..secure.clone() }
}
