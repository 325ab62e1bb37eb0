//! What the server asks a client to do with a model: plain numbers that travel with every round.

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;
use crate::update::MAX_STEPS;

/// Which weights a client may change, and therefore which travel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainableSet {
    /// The classifier alone; embeddings of the frozen part are computed once per night.
    Head,
    /// The classifier and the small residual adapters behind each block.
    Adapters,
    /// Everything.
    #[default]
    Full,
}

/// How local steps turn gradients into weights.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimiser {
    /// AdamW (Loshchilov and Hutter 2019), fresh moments every round, betas .9 and .999.
    AdamW {
        /// Decoupled weight decay.
        weight_decay: f32,
    },
    /// Stochastic gradient descent.
    Sgd {
        /// Momentum, 0 for none.
        momentum: f32,
    },
}

/// How the rate of local steps moves over a federation's rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same rate every round.
    Constant,
    /// A linear rise over the first tenth of the rounds, then half a cosine down to a hundredth.
    #[default]
    Cosine,
}

/// How the loss weighs the classes of an imbalanced night.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeighting {
    /// Every epoch counts the same.
    None,
    /// Each class by the inverse square root of its frequency in typical sleep (W .10, N1 .05, N2 .50, N3 .15, REM .20,
    /// merged to the task: round figures of healthy adult laboratory nights, e.g. Ohayon et al. 2004, not estimated
    /// from any evaluated cohort), so that all clients minimise the same loss.
    #[default]
    InverseSqrt,
}

/// Random changes of a night during training; evaluation never sees them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Standard deviation of the noise added to every input. Default .1.
    pub input_noise: f32,
    /// The shortest random crop as a fraction of the night; 1 keeps it whole. Default 1.
    pub crop: f32,
    /// Standard deviation of a factor on heart rate and activity, one draw a night. Default 0.
    pub scale: f32,
    /// Probability that one whole stream is hidden for a step. Default 0.
    pub stream_dropout: f32,
    /// Largest relative change of time, applied in half of the steps; 0 for none. Default 0.
    pub time_warp: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { input_noise: 0.1, crop: 1.0, scale: 0.0, stream_dropout: 0.0, time_warp: 0.0 }
    }
}

/// Subject-invariance: each client is to pull its embeddings, class by class, towards what those of all clients are like.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invariance {
    /// Weight of the pull beside the loss; try .3 to 1.
    pub weight: f32,
    /// The first round that pulls; moments are gathered from the start. Default 2, the first that has any.
    #[serde(default = "second")]
    pub from_round: u64,
}

fn second() -> u64 {
    2
}

/// What of a model is each client's own: it stays in the client's memory from round to round, and its change is sent as
/// zero. A new person, who has no memory, gets the shared weights in its place.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Personalisation {
    /// Nothing: one model for everybody.
    #[default]
    None,
    /// The classifier; everything before it is shared (FedPer, Arivazhagan et al. 2019).
    Head,
    /// The classifier, which each round is trained on the frozen rest before the rest is trained under the frozen classifier
    /// (FedRep, Collins et al. 2021).
    Rep {
        /// Steps of the classifier in a round, before the plan's own for the rest; try 5 to 10.
        head_steps: u32,
    },
    /// Gains and shifts of the norms (FedBN, Li et al. 2021, with the layer norms that this network has).
    Norms,
    /// A second copy of all trained weights, pulled towards the release; what is sent is as without it (Ditto, Li et al.
    /// 2021).
    Ditto {
        /// Strength of the pull: a step at rate `eta` ends at `1 / (1 + eta lambda)` of the way out. Beside the rates of AdamW
        /// try 1 to 100.
        lambda: f32,
    },
}

impl Personalisation {
    fn check(self, trainable: TrainableSet) -> Result<(), ConfigError> {
        let refuse = |key, why: String| Err(ConfigError::value(key, why));
        match self {
            Self::Head | Self::Rep { .. } if trainable == TrainableSet::Head => refuse(
                "plan.personal",
                "with `trainable = \"head\"` nothing but the head is trained, and nothing is left to share"
                    .into(),
            ),
            Self::Norms if trainable != TrainableSet::Full => {
                refuse("plan.personal", "norms are trained with `trainable = \"full\"` only".into())
            }
            Self::Rep { head_steps } if !(1..=MAX_STEPS).contains(&head_steps) => {
                refuse("plan.personal.rep.head_steps", format!("{head_steps} is not within 1 to {MAX_STEPS}"))
            }
            Self::Ditto { lambda } if !(0.0..=1e6).contains(&lambda) => {
                refuse("plan.personal.ditto.lambda", format!("{lambda} is not within 0 to 1000000"))
            }
            _ => Ok(()),
        }
    }
}

/// One client's work in one round.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainPlan {
    /// Which weights move.
    pub trainable: TrainableSet,
    /// Optimiser steps on the client's nights; each step sees one whole (perhaps cropped) night. Default 3.
    pub steps: u32,
    /// Passes over the client's own nights in place of `steps`, so that who has more nights takes more steps; 0 for
    /// `steps`. Default 0.
    pub passes: u32,
    /// Peak rate of the schedule. Default .004.
    pub learning_rate: f32,
    /// How the rate moves over the rounds.
    pub schedule: Schedule,
    /// How gradients become steps.
    pub optimiser: Optimiser,
    /// Largest norm of one step's gradient; 0 for no limit. Default 1.
    pub gradient_clip: f32,
    /// FedProx: weight of half the squared distance from the release; 0 for FedAvg. Set by the strategy.
    pub proximal: f32,
    /// How the loss weighs classes.
    pub class_weighting: ClassWeighting,
    /// Probability mass that the target gives to the other classes. Default 0.
    pub label_smoothing: f32,
    /// Dropout inside the network while training. Default .2.
    pub dropout: f32,
    /// Random changes of the night.
    pub augmentation: Augmentation,
    /// Subject-invariance; off by default.
    pub invariance: Option<Invariance>,
    /// What each client keeps for itself; nothing by default.
    pub personal: Personalisation,
}

impl Default for TrainPlan {
    fn default() -> Self {
        Self {
            trainable: TrainableSet::Full,
            steps: 3,
            passes: 0,
            learning_rate: 4e-3,
            schedule: Schedule::Cosine,
            optimiser: Optimiser::AdamW { weight_decay: 0.01 },
            gradient_clip: 1.0,
            proximal: 0.0,
            class_weighting: ClassWeighting::InverseSqrt,
            label_smoothing: 0.0,
            dropout: 0.2,
            augmentation: Augmentation::default(),
            invariance: None,
            personal: Personalisation::None,
        }
    }
}

impl TrainPlan {
    /// Refuses numbers that no training could use.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let aug = &self.augmentation;
        let decay = match self.optimiser {
            Optimiser::AdamW { weight_decay } => weight_decay,
            Optimiser::Sgd { momentum } => momentum,
        };
        let pull = self.invariance.map_or(0.0, |invariance| invariance.weight);
        let rules: [(&str, f32, f32, f32); 14] = [
            ("plan.steps", self.steps as f32, 1.0, MAX_STEPS as f32),
            ("plan.passes", self.passes as f32, 0.0, 1e3),
            ("plan.invariance.weight", pull, 0.0, 1e3),
            ("plan.learning_rate", self.learning_rate, f32::MIN_POSITIVE, 10.0),
            ("plan.optimiser", decay, 0.0, 1.0),
            ("plan.gradient_clip", self.gradient_clip, 0.0, 1e6),
            ("plan.proximal", self.proximal, 0.0, 1e3),
            ("plan.label_smoothing", self.label_smoothing, 0.0, 0.9),
            ("plan.dropout", self.dropout, 0.0, 0.95),
            ("plan.augmentation.input_noise", aug.input_noise, 0.0, 10.0),
            ("plan.augmentation.crop", aug.crop, 0.1, 1.0),
            ("plan.augmentation.stream_dropout", aug.stream_dropout, 0.0, 0.95),
            ("plan.augmentation.scale", aug.scale, 0.0, 0.9),
            ("plan.augmentation.time_warp", aug.time_warp, 0.0, 0.9),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::value(key, format!("{value} is not within {low} to {high}")));
            }
        }
        self.personal.check(self.trainable)
    }

    /// Local steps of a client with so many nights to train on.
    pub fn steps_over(&self, nights: usize) -> u32 {
        match self.passes {
            0 => self.steps,
            passes => {
                let nights = u32::try_from(nights).unwrap_or(u32::MAX);
                passes.saturating_mul(nights).clamp(1, MAX_STEPS)
            }
        }
    }

    /// The rate of round `index` (from 0) of `rounds`.
    pub fn rate(&self, index: u64, rounds: u64) -> f32 {
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine => {
                let warm = (rounds as f64 / 10.0).max(1.0);
                let position = index as f64 + 0.5;
                let factor = if position < warm {
                    position / warm
                } else {
                    let along = ((position - warm) / (rounds as f64 - warm).max(1.0)).min(1.0);
                    0.01 + 0.99 * 0.5 * (1.0 + (std::f64::consts::PI * along).cos())
                };
                (f64::from(self.learning_rate) * factor) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_schedule_warms_up_and_cools_down() {
        let plan = TrainPlan { learning_rate: 1.0, ..TrainPlan::default() };
        let rates: Vec<f32> = (0..40).map(|i| plan.rate(i, 40)).collect();
        let peak = rates.iter().position(|r| *r == rates.iter().copied().fold(0.0, f32::max)).unwrap();
        assert!((3..=5).contains(&peak), "peak at {peak}");
        assert!(rates[peak..].windows(2).all(|w| w[1] < w[0]));
        assert!(rates[39] < 0.02 && rates[0] < 0.2);
    }

    #[test]
    fn absurd_plans_name_their_key() {
        let plan = TrainPlan { learning_rate: f32::NAN, ..TrainPlan::default() };
        assert!(plan.check().unwrap_err().to_string().contains("plan.learning_rate"));
        let pull = Some(Invariance { weight: -1.0, from_round: 2 });
        let plan = TrainPlan { invariance: pull, ..TrainPlan::default() };
        assert!(plan.check().unwrap_err().to_string().contains("plan.invariance.weight"));
        assert!(TrainPlan::default().check().is_ok());
    }

    #[test]
    fn what_is_personal_has_to_leave_something_to_share() {
        use Personalisation::{Ditto, Head, None, Norms, Rep};
        use TrainableSet::{Adapters, Full, Head as HeadOnly};
        let check = |personal, trainable| TrainPlan { personal, trainable, ..TrainPlan::default() }.check();
        let rep = |head_steps| Rep { head_steps };
        let ditto = |lambda| Ditto { lambda };
        for (personal, trainable) in
            [(None, HeadOnly), (Head, Adapters), (rep(5), Full), (Norms, Full), (ditto(0.5), HeadOnly)]
        {
            assert!(check(personal, trainable).is_ok(), "{personal:?} with {trainable:?}");
        }
        let cases = [
            (Head, HeadOnly, "`plan.personal`"),
            (rep(5), HeadOnly, "`plan.personal`"),
            (Norms, Adapters, "`plan.personal`"),
            (rep(0), Full, "`plan.personal.rep.head_steps`"),
            (ditto(-1.0), Full, "`plan.personal.ditto.lambda`"),
            (ditto(f32::NAN), Full, "`plan.personal.ditto.lambda`"),
        ];
        for (personal, trainable, key) in cases {
            let error = check(personal, trainable).unwrap_err().to_string();
            assert!(error.contains(key), "{personal:?} with {trainable:?}: {error}");
        }
    }

    #[test]
    fn passes_go_over_the_nights_that_there_are() {
        let plan = |passes| TrainPlan { steps: 7, passes, ..TrainPlan::default() };
        assert_eq!([1, 5].map(|nights| plan(0).steps_over(nights)), [7, 7]);
        assert_eq!([0, 1, 5].map(|nights| plan(3).steps_over(nights)), [1, 3, 15]);
        assert_eq!(plan(1000).steps_over(usize::MAX), MAX_STEPS);
    }
}
