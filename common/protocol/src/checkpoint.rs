//! The file that a model travels in: safetensors with a manifest in its metadata.
//!
//! The server adds vectors of numbers and reads this manifest; it never learns what a network is. Layout of a release:
//! the tensors of the trainable set, in the order of [`Manifest::trainable`], each row-major, little-endian f32.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use crate::moments::Embedding;
use crate::plan::TrainableSet;

/// The one metadata key; a single key keeps the header's bytes the same on every run.
const KEY: &str = "somnus";

/// The version of the manifest that this code writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// A model: named tensors and what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What the tensors are, where they come from, and which of them train.
    pub manifest: Manifest,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A named tensor's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes of the axes, slowest first.
    pub shape: Vec<usize>,
    /// Row-major values, as many as the product of `shape`.
    pub values: Vec<f32>,
}

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this manifest.
    pub format: u32,
    /// Name of the model, for people.
    pub name: String,
    /// What the network is built from; only `somnus-model` reads it.
    pub architecture: serde_json::Value,
    /// SPDX licence of the weights.
    pub licence: String,
    /// Where the weights come from: data, command, configuration, seed.
    pub provenance: BTreeMap<String, String>,
    /// Per trainable set, its tensors in the order in which a release lists them.
    pub trainable: BTreeMap<TrainableSet, Vec<String>>,
    /// What the head sees of an epoch; subject-invariance needs to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Embedding>,
}

impl Manifest {
    /// The manifest of a file, without its tensors.
    ///
    /// # Errors
    /// [`CheckpointError`] if the header is torn or has no manifest that this code can read.
    pub fn read(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or(CheckpointError::NoManifest)?;
        let manifest: Self = serde_json::from_str(text)?;
        if manifest.format > FORMAT { Err(CheckpointError::TooNew(manifest.format)) } else { Ok(manifest) }
    }
}

/// Why bytes are no usable checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a safetensors file, or torn.
    #[error("not a safetensors file: {0}")]
    File(#[from] safetensors::SafeTensorError),
    /// No manifest of ours in the metadata.
    #[error("the file has no Somnus manifest")]
    NoManifest,
    /// A manifest that cannot be read.
    #[error("unreadable manifest: {0}")]
    BadManifest(#[from] serde_json::Error),
    /// Written by a newer Somnus.
    #[error("manifest format {0} is newer than {FORMAT}")]
    TooNew(u32),
    /// A tensor that is not f32.
    #[error("tensor `{0}` is not f32")]
    NotF32(String),
    /// The manifest lists a tensor that is not there.
    #[error("the manifest lists tensor `{0}`, which is not in the file")]
    Missing(String),
    /// The checkpoint cannot be trained that way.
    #[error("the checkpoint names no {0:?} trainable set")]
    NoSuchSet(TrainableSet),
    /// A release of another length than the trainable set.
    #[error("the release has {got} weights, the trainable set has {expected}")]
    WrongLength {
        /// Weights of the set.
        expected: usize,
        /// Weights given.
        got: usize,
    },
}

impl Checkpoint {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`CheckpointError`] if the bytes are torn, have no manifest, or lack a tensor that the manifest lists.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let manifest = Manifest::read(bytes)?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(bytes)?.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(CheckpointError::NotF32(name.to_owned()));
            }
            let tensor = Tensor { shape: view.shape().to_vec(), values: floats(view.data()) };
            tensors.insert(name.to_owned(), tensor);
        }
        if let Some(name) = manifest.trainable.values().flatten().find(|name| !tensors.contains_key(*name)) {
            return Err(CheckpointError::Missing(name.clone()));
        }
        Ok(Self { manifest, tensors })
    }

    /// The file's bytes; the same checkpoint always gives the same bytes.
    ///
    /// # Errors
    /// [`CheckpointError::File`] if a tensor's shape does not match its values.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let manifest = serde_json::to_string(&self.manifest)?;
        pack(&self.tensors, Some(manifest))
    }

    /// The weights of a trainable set as one vector, in release order.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchSet`] if the manifest does not have it.
    pub fn flatten(&self, set: TrainableSet) -> Result<Vec<f32>, CheckpointError> {
        let mut out = Vec::new();
        for name in self.names(set)? {
            out.extend_from_slice(&self.tensor(name)?.values);
        }
        Ok(out)
    }

    /// Replaces the weights of a trainable set by a release.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchSet`] or [`CheckpointError::WrongLength`]; the checkpoint is unchanged then.
    pub fn overlay(&mut self, set: TrainableSet, weights: &[f32]) -> Result<(), CheckpointError> {
        let names = self.names(set)?.to_vec();
        let mut expected = 0;
        for name in &names {
            expected += self.tensor(name)?.values.len();
        }
        if expected != weights.len() {
            return Err(CheckpointError::WrongLength { expected, got: weights.len() });
        }
        let mut rest = weights;
        for name in &names {
            if let Some(tensor) = self.tensors.get_mut(name) {
                let (mine, others) = rest.split_at(tensor.values.len());
                tensor.values.copy_from_slice(mine);
                rest = others;
            }
        }
        Ok(())
    }

    fn names(&self, set: TrainableSet) -> Result<&[String], CheckpointError> {
        self.manifest.trainable.get(&set).map(Vec::as_slice).ok_or(CheckpointError::NoSuchSet(set))
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, CheckpointError> {
        self.tensors.get(name).ok_or_else(|| CheckpointError::Missing(name.to_owned()))
    }
}

/// Tensors as a safetensors file without a manifest, for other programs; it is no checkpoint.
///
/// # Errors
/// [`CheckpointError::File`] if a tensor's shape does not match its values.
pub fn tensors_to_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, CheckpointError> {
    pack(tensors, None)
}

fn pack(tensors: &BTreeMap<String, Tensor>, manifest: Option<String>) -> Result<Vec<u8>, CheckpointError> {
    let raw: Vec<(&String, &Tensor, Vec<u8>)> =
        tensors.iter().map(|(name, tensor)| (name, tensor, bytes_of(&tensor.values))).collect();
    let mut views = Vec::with_capacity(raw.len());
    for (name, tensor, data) in &raw {
        views.push((name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), data)?));
    }
    Ok(serialize(views, manifest.map(|manifest| [(KEY.to_owned(), manifest)].into_iter().collect()))?)
}

/// Weights as they travel: little-endian f32.
pub fn bytes_of(weights: &[f32]) -> Vec<u8> {
    let mut out = vec![0; weights.len() * 4];
    for (bytes, weight) in out.as_chunks_mut::<4>().0.iter_mut().zip(weights) {
        *bytes = weight.to_le_bytes();
    }
    out
}

/// The inverse of [`bytes_of`]; a trailing fraction of a weight is ignored.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let tensor = |shape: &[usize], from: usize| Tensor {
            shape: shape.to_vec(),
            values: (from..from + shape.iter().product::<usize>()).map(|v| v as f32).collect(),
        };
        Checkpoint {
            manifest: Manifest {
                format: FORMAT,
                name: "sample".into(),
                architecture: serde_json::json!({"width": 2}),
                licence: "MIT OR Apache-2.0".into(),
                provenance: BTreeMap::from([("seed".into(), "1".into())]),
                trainable: BTreeMap::from([
                    (TrainableSet::Head, vec!["head.weight".into()]),
                    (TrainableSet::Full, vec!["head.weight".into(), "body".into()]),
                ]),
                embedding: Some(Embedding { classes: 2, width: 1 }),
            },
            tensors: BTreeMap::from([
                ("body".into(), tensor(&[2, 3], 10)),
                ("head.weight".into(), tensor(&[2], 0)),
            ]),
        }
    }

    #[test]
    fn a_checkpoint_survives_the_file_and_the_file_is_reproducible() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(Checkpoint::from_bytes(&bytes).unwrap(), sample());
        assert_eq!(bytes, sample().to_bytes().unwrap());
    }

    #[test]
    fn a_release_lists_the_set_in_manifest_order_and_goes_back_in() {
        let mut model = sample();
        let flat = model.flatten(TrainableSet::Full).unwrap();
        assert_eq!(flat, [0., 1., 10., 11., 12., 13., 14., 15.]);
        let doubled: Vec<f32> = flat.iter().map(|v| v * 2.0).collect();
        model.overlay(TrainableSet::Full, &doubled).unwrap();
        assert_eq!(model.flatten(TrainableSet::Full).unwrap(), doubled);
        assert!(matches!(
            model.overlay(TrainableSet::Head, &doubled),
            Err(CheckpointError::WrongLength { expected: 2, got: 8 })
        ));
        assert!(matches!(model.flatten(TrainableSet::Adapters), Err(CheckpointError::NoSuchSet(_))));
    }

    #[test]
    fn torn_and_foreign_files_are_refused() {
        let bytes = sample().to_bytes().unwrap();
        for cut in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..cut]).is_err(), "accepted {cut} bytes");
        }
        let foreign = serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert!(matches!(Checkpoint::from_bytes(&foreign), Err(CheckpointError::NoManifest)));
    }

    #[test]
    fn weights_travel_bit_for_bit() {
        let weights = [0.0, -0.0, f32::MIN_POSITIVE, 1.5e-40, f32::MAX, -3.25];
        let back = floats(&bytes_of(&weights));
        assert!(weights.iter().zip(&back).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
