//! A checkpoint file as a network: what a federation starts from, and what is evaluated or probed.

use std::path::Path;

use bytes::Bytes;
use somnus_model::{DeviceKind, Stager};
use somnus_protocol::checkpoint::{Checkpoint, Manifest};

/// A network, its file, and what the file says of itself.
pub struct Model {
    /// The file as it was.
    pub file: Bytes,
    /// The file's manifest.
    pub manifest: Manifest,
    /// The network.
    pub stager: Stager,
}

/// A file that cannot be read or is no model of ours.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct ModelFileError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Model {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`ModelFileError`] naming the file.
    pub fn load(path: &Path, device: DeviceKind) -> Result<Self, ModelFileError> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&name, bytes.into(), device),
            Err(error) => Err(ModelFileError { path: name, source: error.into() }),
        }
    }

    /// The model of a file's bytes; `name` is for errors.
    ///
    /// # Errors
    /// [`ModelFileError`] naming the file.
    pub fn parse(name: &str, file: Bytes, device: DeviceKind) -> Result<Self, ModelFileError> {
        let wrong = |source| ModelFileError { path: name.to_owned(), source };
        let checkpoint = Checkpoint::from_bytes(&file).map_err(|error| wrong(error.into()))?;
        let stager = Stager::from_checkpoint(&checkpoint, device).map_err(|error| wrong(error.into()))?;
        Ok(Self { file, manifest: checkpoint.manifest, stager })
    }
}
