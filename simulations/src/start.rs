//! What a federation starts from: random weights, the model that ships, or a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use somnus_model::{DeviceKind, Stager};
use somnus_protocol::seed::{Label, Seed};

use crate::model_file::{Model, ModelFileError};
use crate::recipe::RecipeError;
use crate::scenario::Scenario;

/// The foundation model that ships; `models/README.md` is its card.
pub const BASE: &[u8] = include_bytes!("../../models/somnus-base.safetensors");

/// The small one that it taught.
pub const NANO: &[u8] = include_bytes!("../../models/somnus-nano.safetensors");

/// Where the first weights come from, as a scenario says it: `"none"`, `"base"`, `"nano"` or the path of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    /// Random weights of the scenario's network, from the federation's seed.
    #[default]
    None,
    /// [`BASE`].
    Base,
    /// [`NANO`].
    Nano,
    /// A checkpoint.
    File(PathBuf),
}

/// For what hubs a federation is; each has a model that ships.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A computer beside the bed: [`BASE`].
    #[default]
    Base,
    /// The wearable itself: [`NANO`].
    Tiny,
}

impl Profile {
    /// The model that ships for it.
    #[must_use]
    pub fn foundation(self) -> Origin {
        match self {
            Self::Base => Origin::Base,
            Self::Tiny => Origin::Nano,
        }
    }
}

impl From<String> for Origin {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::None,
            "base" => Self::Base,
            "nano" => Self::Nano,
            _ => Self::File(text.into()),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::None => "none".into(),
            Origin::Base => "base".into(),
            Origin::Nano => "nano".into(),
            Origin::File(path) => path.display().to_string(),
        }
    }
}

/// The model that a command line names: `base`, `nano`, or a checkpoint's path.
///
/// # Errors
/// [`ModelFileError`] naming the file.
pub fn named(model: &Path, device: DeviceKind) -> Result<Model, ModelFileError> {
    match model.to_str() {
        Some("base") => base(device),
        Some("nano") => nano(device),
        _ => Model::load(model, device),
    }
}

fn base(device: DeviceKind) -> Result<Model, ModelFileError> {
    Model::parse("models/somnus-base.safetensors", BASE.into(), device)
}

fn nano(device: DeviceKind) -> Result<Model, ModelFileError> {
    Model::parse("models/somnus-nano.safetensors", NANO.into(), device)
}

/// A loaded [`Origin`].
#[derive(Clone)]
pub enum Start {
    /// Random weights.
    Random,
    /// A foundation model.
    Foundation(Arc<Model>),
}

impl Start {
    /// Reads the origin; files are read once, here.
    ///
    /// # Errors
    /// [`ModelFileError`].
    pub fn load(origin: &Origin, device: DeviceKind) -> Result<Self, ModelFileError> {
        let model = match origin {
            Origin::None => return Ok(Self::Random),
            Origin::Base => base(device)?,
            Origin::Nano => nano(device)?,
            Origin::File(path) => Model::load(path, device)?,
        };
        Ok(Self::Foundation(Arc::new(model)))
    }

    /// What a release says it was made from: the foundation's own name, not where its file was.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Random => "none: random weights",
            Self::Foundation(model) => &model.manifest.name,
        }
    }

    /// The checkpoint that a federation of this scenario and seed starts from.
    ///
    /// # Errors
    /// [`RecipeError`] if the scenario describes no network.
    pub fn checkpoint(&self, scenario: &Scenario, seed: u64) -> Result<Bytes, RecipeError> {
        let initial = Seed::from_number(seed).derive(Label::Initialisation, b"").number();
        let (name, training, stager) = match self {
            Self::Random => {
                let stager = Stager::new(&scenario.net, initial, scenario.device)?;
                ("somnus-initial", "none: random weights".to_owned(), stager)
            }
            Self::Foundation(model) => {
                let mut stager = model.stager.for_task(scenario.task);
                let mut done = Vec::new();
                if model.stager.task() != scenario.task {
                    done.push(format!("its head merged to {}", scenario.task));
                }
                if scenario.adapters > 0 && stager.config().adapters == 0 {
                    stager = stager.with_adapters(scenario.adapters, initial)?;
                    done.push(format!("with fresh adapters of {}", scenario.adapters));
                }
                if done.is_empty() {
                    return Ok(model.file.clone());
                }
                ("somnus-derived", format!("{}, {}", model.manifest.name, done.join(", ")), stager)
            }
        };
        let provenance = BTreeMap::from([
            ("training".to_owned(), training),
            ("scenario".to_owned(), scenario.name.clone()),
            ("seed".to_owned(), seed.to_string()),
        ]);
        Ok(stager.to_checkpoint(name, provenance).to_bytes()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_is_found_by_name_and_by_profile() {
        let [base, nano] = ["base", "nano"].map(|name| named(Path::new(name), DeviceKind::Flex).unwrap());
        assert_eq!((&*base.manifest.name, &*nano.manifest.name), ("somnus-base", "somnus-nano"));
        for (profile, name) in [(Profile::Base, "base"), (Profile::Tiny, "nano")] {
            assert_eq!(String::from(profile.foundation()), name);
            assert_eq!(Origin::from(name.to_owned()), profile.foundation());
        }
    }

    #[test]
    fn the_small_one_is_small_and_says_who_taught_it() {
        let [base, nano] = ["base", "nano"].map(|name| named(Path::new(name), DeviceKind::Flex).unwrap());
        assert!(NANO.len() <= 200_000, "{} bytes", NANO.len());
        assert!(3 * nano.stager.parameters() < base.stager.parameters());
        let teacher = somnus_protocol::ids::Digest::of(BASE).to_hex();
        assert_eq!(nano.manifest.provenance["teacher.1"], format!("somnus-base, SHA-256 {teacher}"));
    }
}
