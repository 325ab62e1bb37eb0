//! Where a pretraining was when it was last put away: one file, replaced as a whole.
//!
//! It is a checkpoint of the model so far, with the stage's own tensors beside it under `state.`, and what has been
//! recorded in the manifest.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use somnus_model::{DeviceKind, ModelError, Stager};
use somnus_protocol::checkpoint::{Checkpoint, CheckpointError};
use somnus_protocol::ids::Digest;

use super::record::StageRecord;
use super::stage::Tensors;

const NAME: &str = "state.safetensors";
const PREFIX: &str = "state.";
const KEY: &str = "progress";

/// How far it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    /// SHA-256 of the configuration.
    pub(super) config: String,
    /// Steps done of the last stage of `stages`; 0 with no stage begun.
    pub(super) done: u32,
    /// Stages that are done, and the one under way.
    pub(super) stages: Vec<StageRecord>,
}

/// Why a state cannot be read or written; names the file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no checkpoint.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// Its model.
    #[error("{}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ModelError,
    },
    /// It is a checkpoint, not one of an unfinished pretraining.
    #[error("{}: it does not say how far the pretraining is", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to something else.
    #[error("{}: it belongs to another configuration; remove it, or choose another folder with --out", path.display())]
    Other {
        /// The file.
        path: PathBuf,
    },
}

/// Reads what `folder` has of the pretraining with this configuration; `None` if it has nothing.
pub(super) fn read(
    folder: &Path,
    config: &Digest,
    device: DeviceKind,
) -> Result<Option<(Stager, Tensors, Progress)>, StateError> {
    let path = folder.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StateError::Io { path, source }),
    };
    let mut checkpoint = match Checkpoint::from_bytes(&bytes) {
        Ok(checkpoint) => checkpoint,
        Err(source) => return Err(StateError::Checkpoint { path, source }),
    };
    let said = checkpoint.manifest.provenance.get(KEY).and_then(|text| serde_json::from_str(text).ok());
    let Some(progress): Option<Progress> = said else { return Err(StateError::Foreign { path }) };
    if progress.config != config.to_hex() {
        return Err(StateError::Other { path });
    }
    let mut state = Tensors::new();
    checkpoint.tensors = checkpoint
        .tensors
        .into_iter()
        .filter_map(|(name, tensor)| match name.strip_prefix(PREFIX) {
            Some(own) => {
                state.insert(own.to_owned(), tensor);
                None
            }
            None => Some((name, tensor)),
        })
        .collect();
    match Stager::from_checkpoint(&checkpoint, device) {
        Ok(stager) => Ok(Some((stager, state, progress))),
        Err(source) => Err(StateError::Model { path, source }),
    }
}

/// Puts a pretraining away.
pub(super) fn write(
    folder: &Path,
    stager: &Stager,
    state: Tensors,
    progress: &Progress,
) -> Result<(), StateError> {
    let path = folder.join(NAME);
    let text = serde_json::to_string(progress).unwrap_or_else(|error| unreachable!("plain numbers: {error}"));
    let mut checkpoint = stager.to_checkpoint("unfinished", [(KEY.to_owned(), text)].into());
    checkpoint.tensors.extend(state.into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor)));
    let bytes = match checkpoint.to_bytes() {
        Ok(bytes) => bytes,
        Err(source) => return Err(StateError::Checkpoint { path, source }),
    };
    replace(&path, &bytes)
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| StateError::Io { path: path.to_owned(), source })
}
