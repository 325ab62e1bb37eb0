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

/// Where the first weights come from, as a scenario says it: `"none"`, `"base"` or the path of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Origin {
    /// Random weights of the scenario's network, from the federation's seed.
    #[default]
    None,
    /// [`BASE`].
    Base,
    /// A checkpoint.
    File(PathBuf),
}

impl From<String> for Origin {
    fn from(text: String) -> Self {
        match text.as_str() {
            "none" => Self::None,
            "base" => Self::Base,
            _ => Self::File(text.into()),
        }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::None => "none".into(),
            Origin::Base => "base".into(),
            Origin::File(path) => path.display().to_string(),
        }
    }
}

/// The model that a command line names: `base`, or a checkpoint's path.
///
/// # Errors
/// [`ModelFileError`] naming the file.
pub fn named(model: &Path, device: DeviceKind) -> Result<Model, ModelFileError> {
    if model == Path::new("base") { base(device) } else { Model::load(model, device) }
}

fn base(device: DeviceKind) -> Result<Model, ModelFileError> {
    Model::parse("models/somnus-base.safetensors", BASE.into(), device)
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
