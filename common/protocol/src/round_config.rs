//! What a federation's rounds go by, once the numbers are known to make sense together.

use std::time::Duration;

use crate::asynchronous::AsynchronousConfig;
use crate::checkpoint::Manifest;
use crate::deadline::Deadline;
use crate::encoding::Reduce;
use crate::evaluation::EvaluationPolicy;
use crate::fault::ConfigError;
use crate::ids::{Round, Version};
use crate::plan::{TrainPlan, TrainableSet};
use crate::privacy::mechanism::PrivacyConfig;
use crate::privacy::terms::Terms;
use crate::robust::{Gather, RobustConfig};
use crate::secure::SecurePlan;
use crate::seed::{Label, Seed};
use crate::strategy::{LateAverage, OwnRule, Strategy, StrategyConfig};
use crate::sum::Weighting;
use crate::update::Sections;

/// A configuration that can be run. Fields are private to the protocol: only [`FederationConfig::check`](crate::config::FederationConfig::check) makes one.
#[derive(Clone, PartialEq, Debug)]
pub struct RoundConfig {
    pub(crate) rounds: u64,
    pub(crate) cohort: usize,
    /// Clients that are to train at a time.
    pub(crate) invited: usize,
    pub(crate) asynchronous: Option<AsynchronousConfig>,
    pub(crate) min_clients: usize,
    pub(crate) min_reports: usize,
    pub(crate) weighting: Weighting,
    pub(crate) robust: RobustConfig,
    pub(crate) groups: usize,
    pub(crate) selection: Duration,
    pub(crate) training: Duration,
    pub(crate) deadline: Deadline,
    pub(crate) evaluation: Duration,
    pub(crate) stall: Duration,
    pub(crate) pause: Duration,
    pub(crate) evaluate_every: u64,
    pub(crate) policy: EvaluationPolicy,
    pub(crate) upload_slots: usize,
    /// How rounds are masked; none for plain ones.
    pub(crate) secure: Option<SecurePlan>,
    pub(crate) privacy: Option<PrivacyConfig>,
    /// Of the steps of masking.
    pub(crate) patience: Duration,
    pub(crate) average_late: f64,
    pub(crate) strategy: StrategyConfig,
    /// In place of what `strategy` builds.
    pub(crate) own_rule: Option<OwnRule>,
    pub(crate) plan: TrainPlan,
}

impl RoundConfig {
    /// Whether the server sees nothing but sums.
    pub fn is_masked(&self) -> bool {
        self.secure.is_some()
    }

    /// What privacy comes to with a model of `weights`; `None` if nothing was promised. Takes a second, at worst: it looks for
    /// the least noise.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if no noise can keep the promise.
    pub fn terms(&self, weights: usize) -> Result<Option<Terms>, ConfigError> {
        let roster = if self.asynchronous.is_some() { self.cohort } else { self.invited };
        let size = (self.rounds, self.cohort as u32, roster as u32);
        let terms = |privacy| Terms::new(privacy, self.secure.as_ref(), size, weights);
        self.privacy.as_ref().map(terms).transpose()
    }

    /// The most that all rounds together may tell of one person's presence, if there is a promise about it.
    pub fn epsilon(&self) -> Option<f64> {
        self.privacy.as_ref().map(|privacy| privacy.epsilon)
    }

    /// How updates are reduced on their way; plain ones are not.
    pub(crate) fn reduce(&self) -> Reduce {
        self.secure.as_ref().map_or(Reduce::None, |secure| secure.encoding.reduce)
    }

    /// Releases to make.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// What a plain round keeps of updates of `len` numbers; `seed` is the server's.
    pub fn gather(&self, len: usize, round: Round, seed: &Seed) -> Gather {
        Gather::new(len, &self.robust, self.groups, seed.derive(Label::Groups, &round.0.to_le_bytes()))
    }

    /// The same rounds under a rule of your own, which `build` makes for so many weights. It gets the mean of such updates as
    /// `strategy` asks for: of the plain change of the weights, by default.
    #[must_use]
    pub fn with_rule(self, build: impl Fn(usize) -> Box<dyn Strategy> + Send + Sync + 'static) -> Self {
        Self { own_rule: Some(OwnRule::new(build)), ..self }
    }

    /// The server's rule for `len` weights, after `done` releases.
    pub(crate) fn rule(&self, len: usize, done: Version) -> Box<dyn Strategy> {
        let rule = match &self.own_rule {
            Some(own) => own.build(len),
            None => self.strategy.build(len),
        };
        if self.average_late == 0.0 {
            return rule;
        }
        Box::new(LateAverage::new(rule, len, self.average_late, self.rounds, done.0))
    }

    /// What updates have to bring in a federation that starts from `foundation`, a checkpoint's file.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if subject-invariance is on and the checkpoint does not say what its embeddings are.
    pub fn sections(&self, foundation: &[u8]) -> Result<Sections, ConfigError> {
        let extra = self.strategy.extra();
        if self.plan.invariance.is_none() {
            return Ok(Sections { extra, moments: None });
        }
        let why = match Manifest::read(foundation) {
            Ok(Manifest { embedding: Some(shape), .. }) => {
                return Ok(Sections { extra, moments: Some(shape) });
            }
            Ok(_) => "the foundation model's manifest does not name the shape of its embeddings".into(),
            Err(error) => format!("the foundation model cannot be read: {error}"),
        };
        Err(ConfigError::value("plan.invariance", why))
    }

    /// The classes of the evaluations that clients count under their masks, in a federation that starts from `foundation`;
    /// `None` if they do not.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if the checkpoint does not say how many there are.
    pub fn classes(&self, foundation: &[u8]) -> Result<Option<u8>, ConfigError> {
        if self.policy != EvaluationPolicy::Aggregate {
            return Ok(None);
        }
        match Manifest::read(foundation) {
            Ok(Manifest { embedding: Some(shape), .. }) => Ok(Some(shape.classes)),
            Ok(_) => Err(ConfigError::value(
                "evaluation",
                "the foundation model's manifest does not say how many classes there are to count: write `none`, or use a \
                 checkpoint of this version",
            )),
            Err(error) => {
                Err(ConfigError::value("evaluation", format!("the foundation model cannot be read: {error}")))
            }
        }
    }

    /// The trainable set that travels.
    pub fn trainable(&self) -> TrainableSet {
        self.plan.trainable
    }
}
