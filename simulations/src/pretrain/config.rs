//! A pretraining: one TOML file that says everything but where the recordings are.

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_model::{DeviceKind, MaskedPlan, NetConfig};
use somnus_protocol::config::parse;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::ids::Digest;
use somnus_protocol::plan::TrainPlan;
use somnus_signals::synthetic::SyntheticConfig;

use super::beats::Ecg;
use super::distil::Distil;
use super::focal::Paired;
use super::relcon::Relcon;
use super::sets::PublicSet;
use crate::scenario::ScenarioError;
use crate::start::Origin;

/// What is built, from which seed, in which stages.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Name of the model in its manifest.
    pub name: String,
    /// All chance comes from it. Default 1.
    #[serde(default = "one")]
    pub seed: u64,
    /// Which engine multiplies matrices: `flex` or `ndarray`.
    #[serde(default)]
    pub device: DeviceKind,
    /// The staging network; the encoders of waveforms have their own sizes.
    #[serde(default)]
    pub net: NetConfig,
    /// One after the other, each from what the one before has left.
    #[serde(rename = "stage")]
    pub stages: Vec<StageConfig>,
}

/// One stage.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StageConfig {
    /// The staging network guesses hidden parts of nights that nobody scored.
    MaskedNights(MaskedNights),
    /// The staging network is taught the stages of people that a simulator made.
    Rehearsal(Rehearsal),
    /// The staging network is taught by a bigger one.
    Distil(Distil),
    /// The encoder of raw acceleration learns which windows are alike.
    Relcon(Relcon),
    /// The encoders of acceleration and pulse wave learn what both see, from `stress-predict`.
    Focal(Paired),
    /// The encoder of electrocardiograms learns what stays from beat to beat, from `mitdb`.
    Ecg(Ecg),
}

/// Whose nights are masked; at least one source.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedNights {
    /// The quietest 8.5 hours of each day of heart rate.
    pub crisdb: bool,
    /// The nights of movement, heart rate and beats.
    pub mmash: bool,
    /// Nights of people who do not exist.
    pub synthetic: Option<SyntheticConfig>,
    /// How.
    pub plan: MaskedPlan,
}

/// A rehearsal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// The people; a wide `diversity` makes real ones one more variation.
    pub cohort: SyntheticConfig,
    /// The last part of the steps, 0 to 1, over which weights are averaged. Default .25.
    #[serde(default = "quarter")]
    pub averaged: f32,
    /// How; `steps` and `learning_rate` (the peak of one cycle) are the whole stage's.
    #[serde(default)]
    pub plan: TrainPlan,
}

impl PretrainConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |key: String, why: String| Err(ConfigError::Value { key, why });
        if self.name.is_empty() || self.name.len() > 100 {
            return refuse("name".into(), "1 to 100 characters are needed".into());
        }
        if self.stages.is_empty() || self.stages.len() > 50 {
            return refuse("stage".into(), format!("{} stages, not 1 to 50", self.stages.len()));
        }
        self.net.check().or_else(|error| refuse("net".into(), error.to_string()))?;
        for (i, stage) in self.stages.iter().enumerate() {
            let name = |key| format!("stage {} ({}): {key}", i + 1, stage.kind());
            stage.check().or_else(|(key, why)| refuse(name(key), why))?;
        }
        Ok(())
    }
}

fn one() -> u64 {
    1
}

pub(super) fn quarter() -> f32 {
    0.25
}

impl StageConfig {
    /// As the file calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MaskedNights(_) => "masked-nights",
            Self::Rehearsal(_) => "rehearsal",
            Self::Distil(_) => "distil",
            Self::Relcon(_) => "relcon",
            Self::Focal(_) => "focal",
            Self::Ecg(_) => "ecg",
        }
    }

    /// Steps of the optimiser.
    #[must_use]
    pub fn steps(&self) -> u32 {
        match self {
            Self::MaskedNights(stage) => stage.plan.steps,
            Self::Rehearsal(stage) => stage.plan.steps,
            Self::Distil(stage) => stage.plan.steps,
            Self::Relcon(stage) => stage.motif_steps + stage.steps,
            Self::Focal(stage) => stage.steps,
            Self::Ecg(stage) => stage.steps,
        }
    }

    /// The public sets that it reads.
    #[must_use]
    pub fn sets(&self) -> Vec<PublicSet> {
        let used = match self {
            Self::MaskedNights(stage) => {
                vec![(stage.crisdb, PublicSet::Crisdb), (stage.mmash, PublicSet::Mmash)]
            }
            Self::Rehearsal(_) => Vec::new(),
            Self::Distil(stage) => vec![(stage.crisdb, PublicSet::Crisdb), (stage.mmash, PublicSet::Mmash)],
            Self::Relcon(stage) => vec![
                (stage.wisdm_watch, PublicSet::WisdmWatch),
                (stage.stress_predict, PublicSet::StressPredict),
            ],
            Self::Focal(_) => vec![(true, PublicSet::StressPredict)],
            Self::Ecg(_) => vec![(true, PublicSet::Mitdb)],
        };
        used.into_iter().filter_map(|(used, set)| used.then_some(set)).collect()
    }

    /// The people that it makes up.
    #[must_use]
    pub fn synthetic(&self) -> Option<&SyntheticConfig> {
        match self {
            Self::MaskedNights(stage) => stage.synthetic.as_ref(),
            Self::Rehearsal(stage) => Some(&stage.cohort),
            Self::Distil(stage) => stage.synthetic.as_ref(),
            Self::Relcon(_) | Self::Focal(_) | Self::Ecg(_) => None,
        }
    }

    /// Who teaches, if somebody does.
    #[must_use]
    pub fn teacher(&self) -> Option<&Origin> {
        match self {
            Self::Distil(stage) => Some(&stage.teacher),
            _ => None,
        }
    }

    /// What is wrong, by the key within the stage.
    fn check(&self) -> Result<(), (String, String)> {
        if let Some(cohort) = self.synthetic()
            && !(1..=100_000).contains(&cohort.people)
        {
            return Err(("people".into(), format!("{} is not within 1 to 100,000", cohort.people)));
        }
        let planned = |(key, why): (&'static str, String)| (format!("plan.{key}"), why);
        let nights = || match self.synthetic().is_none() && self.sets().is_empty() {
            true => Err(("kind".to_owned(), "no nights: choose crisdb, mmash or synthetic".to_owned())),
            false => Ok(()),
        };
        match self {
            Self::MaskedNights(stage) => {
                nights()?;
                stage.plan.check().map_err(planned)
            }
            Self::Rehearsal(stage) => {
                within(&[("averaged", stage.averaged, 0.0, 1.0)])?;
                alone(&stage.plan, "rehearsal")
            }
            Self::Distil(stage) => {
                nights()?;
                within(&[("averaged", stage.averaged, 0.0, 1.0)])?;
                if stage.teacher == Origin::None {
                    return Err(("teacher".into(), "random weights have nothing to teach".into()));
                }
                stage.strategy.check("strategy").map_err(keyed)?;
                alone(&stage.plan, "distillation")
            }
            Self::Relcon(stage) => {
                if self.sets().is_empty() {
                    let why = "no movement: choose wisdm_watch or stress_predict".to_owned();
                    return Err(("kind".into(), why));
                }
                within(&[
                    ("motif_steps", stage.motif_steps as f32, 1.0, 1e6),
                    ("steps", stage.steps as f32, 1.0, 1e6),
                    ("batch", stage.batch as f32, 2.0, 256.0),
                    ("candidates", stage.candidates as f32, 1.0, 64.0),
                    ("learning_rate", stage.learning_rate, f32::MIN_POSITIVE, 1.0),
                    ("temperature", stage.temperature, 1e-3, 100.0),
                ])
            }
            Self::Focal(stage) => within(&[
                ("steps", stage.steps as f32, 1.0, 1e6),
                ("batch", stage.batch as f32, 2.0, 1024.0),
                ("learning_rate", stage.learning_rate, f32::MIN_POSITIVE, 1.0),
                ("terms.temperature", stage.terms.temperature, 1e-3, 100.0),
                ("terms.shared", stage.terms.shared, 0.0, 100.0),
                ("terms.private", stage.terms.private, 0.0, 100.0),
                ("terms.orthogonality", stage.terms.orthogonality, 0.0, 100.0),
            ]),
            Self::Ecg(stage) => within(&[
                ("steps", stage.steps as f32, 1.0, 1e6),
                ("batch", stage.batch as f32, 2.0, 1024.0),
                ("learning_rate", stage.learning_rate, f32::MIN_POSITIVE, 1.0),
                ("temperature", stage.temperature, 1e-3, 100.0),
            ]),
        }
    }
}

/// Refuses a plan that needs a federation.
fn alone(plan: &TrainPlan, what: &str) -> Result<(), (String, String)> {
    if plan.proximal != 0.0 {
        return Err(("plan.proximal".into(), format!("a {what} has no release to stay near to")));
    }
    if plan.invariance.is_some() {
        return Err(("plan.invariance".into(), format!("a {what} has no other clients")));
    }
    plan.check().map_err(keyed)
}

fn keyed(error: ConfigError) -> (String, String) {
    match error {
        ConfigError::Value { key, why } => (key, why),
        other => ("plan".into(), other.to_string()),
    }
}

/// Refuses the first number that is not within its bounds.
fn within(rules: &[(&str, f32, f32, f32)]) -> Result<(), (String, String)> {
    match rules.iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
        Some((key, value, low, high)) => {
            Err(((*key).to_owned(), format!("{value} is not within {low} to {high}")))
        }
        None => Ok(()),
    }
}

/// A configuration and the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: PretrainConfig,
    /// SHA-256 of the file.
    pub digest: Digest,
}

impl Loaded {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ScenarioError`] naming the file, and the line or the key.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let name = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| ScenarioError::Read { path: name(), source })?;
        let mut loaded =
            Self::from_text(&text).map_err(|source| ScenarioError::Config { path: name(), source })?;
        for stage in &mut loaded.config.stages {
            if let (StageConfig::Distil(stage), Some(folder)) = (stage, path.parent())
                && let Origin::File(file) = &mut stage.teacher
            {
                *file = folder.join(&*file);
            }
        }
        Ok(loaded)
    }

    /// Reads and checks a text.
    ///
    /// # Errors
    /// [`ConfigError`] naming the line or the key.
    pub fn from_text(text: &str) -> Result<Self, ConfigError> {
        let config: PretrainConfig = parse(text)?;
        config.check()?;
        Ok(Self { config, digest: Digest::of(text.as_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = 'x'\n[[stage]]\nkind = 'masked-nights'\nmmash = true\n\
        [[stage]]\nkind = 'rehearsal'\ncohort = { people = 4 }\n[stage.plan]\nsteps = 5\n";

    const DISTIL: &str = "name = 'x'\n[[stage]]\nkind = 'distil'\nteacher = 'base'\n\
        synthetic = { people = 4 }\nstrategy = { kind = 'soft' }\n";

    #[test]
    fn every_shipped_recipe_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim");
        for name in ["pretrain", "pretrain-smoke", "nano", "nano-smoke"] {
            let loaded = Loaded::load(&folder.join(format!("{name}.toml")));
            loaded.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn mistakes_name_line_or_key() {
        Loaded::from_text(SMALL).unwrap();
        Loaded::from_text(DISTIL).unwrap();
        let cases = [
            ("sed = 3\n".to_owned() + SMALL, "line 1: unknown key `sed`; did you mean `seed`?"),
            (SMALL.replace("mmash", "mash"), "line 4: unknown key `mash`; did you mean `mmash`?"),
            (SMALL.replace("steps", "step"), "line 9: unknown key `step`; did you mean `steps`?"),
            (SMALL.replace("'rehearsal'", "'rehearse'"), "line 6: unknown variant `rehearse`"),
            (SMALL.replace("mmash = true\n", ""), "`stage 1 (masked-nights): kind`: no nights"),
            (SMALL.replace("= 5", "= 0"), "`stage 2 (rehearsal): plan.steps`: 0 is not within 1"),
            (SMALL.replace("people = 4", "people = 0"), "`stage 2 (rehearsal): people`"),
            (SMALL.replace("[stage.plan]", "averaged = 2\n[stage.plan]"), "(rehearsal): averaged`"),
            (SMALL.replace("steps = 5", "proximal = 0.1"), "(rehearsal): plan.proximal`"),
            (SMALL.replace("mmash = true", "mmash = true\nplan = { span = 0 }"), "plan.span`: 0 is not"),
            (SMALL.to_owned() + "[net]\nwidth = 33\n", "`net`: net.width"),
            (
                SMALL.to_owned() + "[[stage]]\nkind = 'focal'\nbatch = 1\n",
                "`stage 3 (focal): batch`: 1 is not",
            ),
            (SMALL.to_owned() + "[[stage]]\nkind = 'ecg'\nbach = 1\n", "line 12: unknown key `bach`"),
            (DISTIL.replace("base", "none"), "`stage 1 (distil): teacher`: random weights"),
            (DISTIL.replace("'soft'", "'soft', alpha = 2"), "(distil): strategy.alpha`: 2 is not"),
            (DISTIL.replace("synthetic = { people = 4 }", ""), "`stage 1 (distil): kind`: no nights"),
            (DISTIL.to_owned() + "plan = { proximal = 1 }\n", "(distil): plan.proximal`: a distillation"),
            ("name = 'x'\nstage = []\n".to_owned(), "`stage`: 0 stages"),
        ];
        for (text, expected) in cases {
            let error = Loaded::from_text(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn the_digest_is_of_the_files_bytes() {
        let digest = |text: &str| Loaded::from_text(text).unwrap().digest;
        assert_eq!(digest(SMALL), digest(SMALL));
        assert_ne!(digest(SMALL), digest(&format!("# More.\n{SMALL}")));
    }
}
