//! What an operator writes becomes a checked [`RoundConfig`].

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::asynchronous::AsynchronousConfig;
use crate::deadline::Deadline;
use crate::encoding::Reduce;
use crate::evaluation::EvaluationPolicy;
use crate::fault::ConfigError;
use crate::plan::{Optimiser, Personalisation, TrainPlan};
use crate::privacy::mechanism::PrivacyConfig;
use crate::privacy::terms;
use crate::robust::{RobustConfig, Voters};
pub use crate::round_config::RoundConfig;
use crate::secure::SecureConfig;
use crate::strategy::StrategyConfig;
use crate::sum::{MAX_UPDATES, Weighting};
use crate::update::Extra;

/// Reads any of our TOML files.
///
/// # Errors
/// [`ConfigError::UnknownKey`] with the nearest key that exists, or [`ConfigError::Syntax`] with the line.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        unknown_key(error.message(), line, text)
            .unwrap_or_else(|| ConfigError::Syntax(format!("line {line}: {}", error.message())))
    })
}

/// serde reports "unknown field `x`, expected one of `a`, `b`"; people want the one that they meant.
fn unknown_key(message: &str, line: usize, text: &str) -> Option<ConfigError> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let key = quoted.next()?.to_owned();
    // Inside an enum of several kinds the parser only knows where the table begins.
    let names = |candidate: &&(usize, &str)| candidate.1.trim_start().starts_with(&key);
    let exact = text.lines().enumerate().skip(line - 1).collect::<Vec<_>>();
    let line = exact.iter().find(names).map_or(line, |(index, _)| index + 1);
    let nearest = quoted
        .map(|name| (strsim::damerau_levenshtein(&key, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name.to_owned());
    Some(ConfigError::UnknownKey { key, line, nearest })
}

/// Fewest updates in a masked sum: of two, each member knows the other's.
const LEAST_MASKED: u32 = 3;

/// The rounds of a federation, as an operator writes them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FederationConfig {
    /// Releases to make before the federation is complete. Default 40.
    pub rounds: u64,
    /// Clients whose updates a round wants. Default 8.
    pub cohort: u32,
    /// Clients to select for each one that is wanted, so that stragglers do not hold up a round. Default 1.
    pub over_select: f64,
    /// Rounds that do not wait for stragglers, who go on for a later one. Default none: every round begins anew.
    pub asynchronous: Option<AsynchronousConfig>,
    /// Clients that must have checked in before a selection starts. Default 3.
    pub min_clients: u32,
    /// Updates below which a round is aborted and its sum thrown away; at least 3 in a masked round, and with `groups` each
    /// needs its part of them. Default 3.
    pub min_reports: u32,
    /// How much one client weighs: `examples` or `uniform`.
    pub weighting: Weighting,
    /// How updates become one; everything but the mean has to see them, or the sums of `groups`. Default `mean`.
    pub robust: RobustConfig,
    /// Random groups into which a round's clients are dealt, each summed on its own, for `robust` to combine: the server sees
    /// every group's sum, and a client is hidden among its group only. A masked round needs `min_reports` of three a group,
    /// and loses a group that loses a third of its clients. Default 1, one sum of everybody.
    pub groups: u32,
    /// Seconds that a selection waits for more clients once `min_clients` are there. Default 10.
    pub selection_seconds: f64,
    /// Seconds from selection to the round's deadline: download, training and upload. Default 3600.
    pub training_seconds: f64,
    /// Whether rounds wait that long, or as long as earlier ones took. Default `fixed`.
    pub deadline: Deadline,
    /// Seconds that an evaluation waits. Default 600.
    pub evaluation_seconds: f64,
    /// Seconds without progress after which an upload loses its place. Default 60.
    pub stall_seconds: f64,
    /// Seconds to wait after an aborted round. Default 10.
    pub pause_seconds: f64,
    /// Evaluate every how many releases; 0 means only the last. Default 1.
    pub evaluate_every: u64,
    /// What the server gets to know of evaluations: `none`, `aggregate` in masked rounds, `per-client`. Default `aggregate` for
    /// masked rounds, `none` for those with privacy, `per-client` for plain ones.
    pub evaluation: Option<EvaluationPolicy>,
    /// Updates held in memory at a time while they arrive; the sum itself is one more. Default 4.
    pub upload_slots: u32,
    /// Updates reach the server in the clear, it sees every single one. For tests and trusted servers.
    pub danger_plain_aggregation: bool,
    /// How updates are masked, unless they are plain.
    pub secure: SecureConfig,
    /// How little releases may tell of any one person: clipping, noise and a budget. Default none: no such promise.
    pub privacy: Option<PrivacyConfig>,
    /// The last release is the mean of this fraction of the releases, the latest ones; 0 is the last one alone.
    /// Default .25.
    pub average_late: f64,
    /// What the server does with the mean.
    pub strategy: StrategyConfig,
    /// What clients do.
    pub plan: TrainPlan,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self {
            rounds: 40,
            cohort: 8,
            over_select: 1.0,
            asynchronous: None,
            min_clients: 3,
            min_reports: 3,
            weighting: Weighting::Examples,
            robust: RobustConfig::default(),
            groups: 1,
            selection_seconds: 10.0,
            training_seconds: 3600.0,
            deadline: Deadline::Fixed,
            evaluation_seconds: 600.0,
            stall_seconds: 60.0,
            pause_seconds: 10.0,
            evaluate_every: 1,
            evaluation: None,
            upload_slots: 4,
            danger_plain_aggregation: false,
            secure: SecureConfig::default(),
            privacy: None,
            average_late: 0.25,
            strategy: StrategyConfig::default(),
            plan: TrainPlan::default(),
        }
    }
}

impl FederationConfig {
    /// What the server is to know of evaluations.
    fn evaluation_policy(&self) -> Result<EvaluationPolicy, ConfigError> {
        use EvaluationPolicy::{Aggregate, None, PerClient};
        let refuse = |why: &str| Err(ConfigError::value("evaluation", why));
        match (self.evaluation, self.danger_plain_aggregation, &self.privacy) {
            (Option::None, true, _) => Ok(PerClient),
            (Option::None, false, Option::None) => Ok(Aggregate),
            (Option::None, false, Some(_)) => Ok(None),
            (Some(Aggregate), true, _) => {
                refuse("a plain round has no masks to count under: write `per-client` or `none`")
            }
            (Some(Aggregate | PerClient), false, Some(_)) => refuse(
                "counts have no noise, and would tell of a person what `privacy` promises to hide: write `none`",
            ),
            (Some(policy), _, _) => Ok(policy),
        }
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(self) -> Result<RoundConfig, ConfigError> {
        let need =
            |ok: bool, key: &str, why: String| if ok { Ok(()) } else { Err(ConfigError::value(key, why)) };
        let (secure, patience) = self.secure.check(self.weighting)?;
        let secure = (!self.danger_plain_aggregation).then_some(secure);
        secure.iter().try_for_each(|secure| secure.check_cohort(self.cohort))?;
        need(
            secure.is_none() || self.min_reports >= LEAST_MASKED,
            "min_reports",
            format!(
                "a masked sum of {} is no secret from its own members: at least {LEAST_MASKED}, or \
                 `danger_plain_aggregation = true`",
                self.min_reports
            ),
        )?;
        need(self.rounds >= 1, "rounds", "at least one round is needed".into())?;
        need(
            (1..=MAX_UPDATES).contains(&self.cohort),
            "cohort",
            format!("{} is not within 1 to {MAX_UPDATES}", self.cohort),
        )?;
        need(
            (1.0..=10.0).contains(&self.over_select),
            "over_select",
            format!("{} is not within 1 to 10", self.over_select),
        )?;
        need(
            (1..=self.cohort).contains(&self.min_reports),
            "min_reports",
            format!("{} is not within 1 to `cohort` ({})", self.min_reports, self.cohort),
        )?;
        need(
            self.min_clients >= self.min_reports,
            "min_clients",
            format!("{} clients cannot give `min_reports` = {} updates", self.min_clients, self.min_reports),
        )?;
        need(
            (1..=64).contains(&self.upload_slots),
            "upload_slots",
            format!("{} is not within 1 to 64", self.upload_slots),
        )?;
        need(
            (0.0..=1.0).contains(&self.average_late),
            "average_late",
            format!("{} is not within 0 to 1", self.average_late),
        )?;
        self.plan.check()?;
        self.strategy.check()?;
        self.asynchronous.map_or(Ok(()), |asynchronous| asynchronous.check(&self))?;
        self.deadline.check(self.training_seconds)?;
        let selected = (f64::from(self.cohort) * self.over_select).ceil() as usize;
        let invited = self.asynchronous.map_or(selected, |all| all.concurrency as usize);
        self.robust.check(&Voters {
            reports: self.min_reports as usize..=selected,
            groups: self.groups as usize,
            masked: !self.danger_plain_aggregation,
        })?;
        need(
            secure.as_ref().is_none_or(|secure| secure.encoding.reduce == Reduce::None)
                || self.strategy.extra() != Extra::Steps,
            "secure.encoding.reduce",
            "what is left out returns among changes by another number of steps, which fed-nova divides by: use `none`"
                .into(),
        )?;
        need(
            self.robust.is_mean()
                || (self.strategy.extra() == Extra::Nothing && self.plan.invariance.is_none()),
            "robust",
            format!(
                "{} judges changes of weights: leave out `plan.invariance` and the strategies scaffold and fed-nova, which \
                 send more than those, or write `robust = {{ kind = \"mean\" }}` and `groups = 1`",
                self.robust.name()
            ),
        )?;
        if let Some(privacy) = &self.privacy {
            terms::check(&self, privacy)?;
        }
        let policy = self.evaluation_policy()?;
        if let StrategyConfig::Scaffold { population, .. } = self.strategy {
            need(
                population >= self.cohort,
                "strategy.population",
                format!("{population} clients cannot give a `cohort` of {}", self.cohort),
            )?;
            need(
                self.plan.optimiser == Optimiser::Sgd { momentum: 0.0 },
                "plan.optimiser",
                "SCAFFOLD corrects plain gradient descent: write `optimiser = { sgd = { momentum = 0.0 } }`"
                    .into(),
            )?;
            need(
                self.plan.personal == Personalisation::None,
                "plan.personal",
                "SCAFFOLD keeps its control variate where personal weights would be".into(),
            )?;
        }
        need(
            self.plan.invariance.is_none() || self.weighting == Weighting::Examples,
            "weighting",
            "`plan.invariance` pools the epochs of all clients, which needs `weighting = \"examples\"`"
                .into(),
        )?;
        // Lower bounds keep time moving: a round that ends when it opens would be opened again at once, for ever.
        let seconds = |key: &str, value: f64, least: f64| {
            let why = format!("{value} is not within {least} to 10,000,000 seconds");
            need((least..=1e7).contains(&value), key, why)?;
            Ok::<Duration, ConfigError>(Duration::from_secs_f64(value))
        };
        let mut plan = self.plan;
        plan.proximal = self.strategy.proximal().max(plan.proximal);
        Ok(RoundConfig {
            rounds: self.rounds,
            cohort: self.cohort as usize,
            invited,
            asynchronous: self.asynchronous,
            min_clients: self.min_clients as usize,
            min_reports: self.min_reports as usize,
            weighting: self.weighting,
            robust: self.robust,
            groups: self.groups as usize,
            selection: seconds("selection_seconds", self.selection_seconds, 0.0)?,
            training: seconds("training_seconds", self.training_seconds, 0.1)?,
            deadline: self.deadline,
            evaluation: seconds("evaluation_seconds", self.evaluation_seconds, 0.1)?,
            stall: seconds("stall_seconds", self.stall_seconds, 1.0)?,
            pause: seconds("pause_seconds", self.pause_seconds, 0.01)?,
            evaluate_every: self.evaluate_every,
            policy,
            upload_slots: self.upload_slots as usize,
            secure,
            privacy: self.privacy,
            patience,
            average_late: self.average_late,
            strategy: self.strategy,
            own_rule: None,
            plan,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Invariance;

    fn plain() -> FederationConfig {
        FederationConfig { danger_plain_aggregation: true, ..FederationConfig::default() }
    }

    #[test]
    fn privacy_is_off_until_it_is_asked_for() {
        assert_eq!(FederationConfig::default().privacy, None);
        let text = "weighting = \"uniform\"\n[privacy]\nepsilon = 8.0\npopulation = 1000\n\
                    mechanism = { skellam = { survivors = 3, units = 4096.0 } }\nclip = { fixed = { norm = 0.5 } }\n";
        let config = parse::<FederationConfig>(text).unwrap().check().unwrap();
        let terms = config.terms(1000).unwrap().unwrap();
        assert!(terms.plan.epsilon() <= 8.0 && terms.plan.share.unwrap().units >= 4096.0);
        assert_eq!(terms.secure.unwrap().encoding.clip_norm, 0.5);
        let error = parse::<FederationConfig>("[privacy]\nepsilom = 8.0\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: unknown key `epsilom`; did you mean `epsilon`?");
    }

    #[test]
    fn a_server_is_told_of_evaluations_what_goes_with_its_rounds() {
        use EvaluationPolicy::{Aggregate, None, PerClient};
        let policy = |mode: &str, evaluation: &str| {
            let evaluation = if evaluation.is_empty() {
                String::new()
            } else {
                format!("evaluation = \"{evaluation}\"\n")
            };
            let config =
                parse::<FederationConfig>(&format!("{evaluation}weighting = \"uniform\"\n{mode}")).unwrap();
            config.check().map(|config| config.policy)
        };
        let private = "[privacy]\nepsilon = 8.0\npopulation = 1000\n";
        let both = format!("danger_plain_aggregation = true\n{private}");
        let modes = [
            ("", [Aggregate, None, Aggregate, PerClient].map(Some)),
            (
                "danger_plain_aggregation = true\n",
                [Some(PerClient), Some(None), Option::None, Some(PerClient)],
            ),
            (private, [Some(None), Some(None), Option::None, Option::None]),
            (&both, [Some(PerClient), Some(None), Option::None, Some(PerClient)]),
        ];
        for (mode, expected) in modes {
            for (evaluation, expected) in ["", "none", "aggregate", "per-client"].into_iter().zip(expected) {
                let got = policy(mode, evaluation);
                assert_eq!(got.as_ref().ok(), expected.as_ref(), "{evaluation:?} in {mode:?}");
                if let Err(error) = got {
                    let text = error.to_string();
                    assert!(text.starts_with("`evaluation`") && text.contains("write `"), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_model_that_does_not_say_its_classes_cannot_be_counted() {
        let config = FederationConfig::default().check().unwrap();
        let error = config.classes(b"no model").unwrap_err().to_string();
        assert!(error.starts_with("`evaluation`"), "{error}");
        assert_eq!(plain().check().unwrap().classes(b"no model"), Ok(None));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        let error = parse::<FederationConfig>("rounds = 3\n\ncohrt = 4\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: unknown key `cohrt`; did you mean `cohort`?");
        let error = parse::<FederationConfig>("[plan.augmentation]\ninput_noize = 0.1\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: unknown key `input_noize`; did you mean `input_noise`?");
        let error = parse::<FederationConfig>("[strategy]\nkind = \"fed-prox\"\nmue = 1\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3: unknown key `mue`; did you mean `mu`?");
        let error = parse::<FederationConfig>("zzzzzzzz = 1\n").unwrap_err();
        assert_eq!(error.to_string(), "line 1: unknown key `zzzzzzzz`");
        assert!(parse::<FederationConfig>("rounds = \"x\"").unwrap_err().to_string().starts_with("line 1: "));
    }

    #[test]
    fn rounds_are_masked_unless_plain_ones_are_asked_for_by_name() {
        assert!(FederationConfig::default().check().unwrap().is_masked());
        assert!(!plain().check().unwrap().is_masked());
        let pair = |danger_plain_aggregation| FederationConfig {
            min_reports: 2,
            danger_plain_aggregation,
            ..FederationConfig::default()
        };
        let error = pair(false).check().unwrap_err().to_string();
        assert!(error.starts_with("`min_reports`") && error.contains("danger_plain_aggregation"), "{error}");
        assert!(pair(true).check().is_ok());
    }

    #[test]
    fn numbers_that_do_not_fit_together_name_the_key() {
        let scaffold = |population| StrategyConfig::Scaffold { rate: 1.0, population };
        let sgd = |momentum| TrainPlan { optimiser: Optimiser::Sgd { momentum }, ..TrainPlan::default() };
        let pulled = Some(Invariance { weight: 0.1, from_round: 2 });
        let invariant = TrainPlan { invariance: pulled, ..TrainPlan::default() };
        let krum = RobustConfig::Krum { fraction: 0.4 };
        let median = || RobustConfig::Median {};
        let grouped = || FederationConfig {
            robust: median(),
            groups: 3,
            cohort: 9,
            min_reports: 9,
            min_clients: 9,
            ..FederationConfig::default()
        };
        grouped().check().unwrap();
        let private = parse("epsilon = 8.0\npopulation = 1000\nclip = { fixed = { norm = 0.5 } }\n").unwrap();
        let cases: [(&str, FederationConfig); 24] = [
            ("robust.fraction", FederationConfig { robust: krum, ..plain() }),
            ("groups", FederationConfig { robust: median(), groups: 3, ..plain() }),
            ("groups", FederationConfig { groups: 0, ..plain() }),
            ("groups", FederationConfig { robust: median(), ..FederationConfig::default() }),
            ("groups", FederationConfig { groups: 5, ..FederationConfig::default() }),
            ("groups", FederationConfig { robust: median(), groups: 5, ..grouped() }),
            ("robust", FederationConfig { plan: invariant.clone(), ..grouped() }),
            ("robust", FederationConfig { strategy: scaffold(9), plan: sgd(0.0), ..grouped() }),
            ("robust", FederationConfig { strategy: StrategyConfig::FedNova { rate: 1.0 }, ..grouped() }),
            ("robust", FederationConfig { privacy: Some(private), ..grouped() }),
            ("robust", FederationConfig { robust: median(), plan: invariant.clone(), ..plain() }),
            (
                "robust",
                FederationConfig { robust: median(), strategy: scaffold(8), plan: sgd(0.0), ..plain() },
            ),
            ("plan.optimiser", FederationConfig { strategy: scaffold(8), ..plain() }),
            ("plan.optimiser", FederationConfig { strategy: scaffold(8), plan: sgd(0.9), ..plain() }),
            ("strategy.population", FederationConfig { strategy: scaffold(7), plan: sgd(0.0), ..plain() }),
            (
                "plan.personal",
                FederationConfig {
                    strategy: scaffold(8),
                    plan: TrainPlan { personal: Personalisation::Head, ..sgd(0.0) },
                    ..plain()
                },
            ),
            ("weighting", FederationConfig { weighting: Weighting::Uniform, plan: invariant, ..plain() }),
            ("training_seconds", FederationConfig { training_seconds: 0.0, ..plain() }),
            ("stall_seconds", FederationConfig { stall_seconds: 0.0, ..plain() }),
            ("min_reports", FederationConfig { min_reports: 9, ..plain() }),
            ("min_clients", FederationConfig { min_clients: 1, ..plain() }),
            ("cohort", FederationConfig { cohort: 0, ..plain() }),
            ("over_select", FederationConfig { over_select: f64::NAN, ..plain() }),
            ("pause_seconds", FederationConfig { pause_seconds: -1.0, ..plain() }),
        ];
        assert!(FederationConfig { strategy: scaffold(8), plan: sgd(0.0), ..plain() }.check().is_ok());
        for (key, config) in cases {
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn the_file_form_is_the_same_as_the_defaults() {
        let text = r#"
            cohort = 8
            danger_plain_aggregation = true
            strategy = { kind = "fed-prox", mu = 0.1 }
            plan = { steps = 3, optimiser = { adamw = { weight_decay = 0.01 } }, personal = "none" }
        "#;
        let config: FederationConfig = parse(text).unwrap();
        assert_eq!(config.plan, TrainPlan::default());
        assert_eq!(config.check().unwrap().plan.proximal, 0.1);
    }
}
