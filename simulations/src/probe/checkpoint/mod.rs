//! What a checkpoint's embeddings know of a folder of recordings; asked is what the folder can answer.
//!
//! | folder | embeddings | questions |
//! |---|---|---|
//! | Empatica E4 | of acceleration and pulse wave | which moments belong together, heart rate and its variability |
//! | wisdm | of acceleration | activities |
//! | nights | of the staging network | stages, where somebody scored them |
//!
//! Of all: whose they are, and how many directions they use. Beside each stands the same network with random weights: what
//! the shape of a network and the probe themselves are good for. Encoders of raw waveforms are asked where a folder has the
//! waveforms for everybody, which nights of the public sets do not.

mod activities;
mod embedded;
mod nights;
mod questions;
mod wristband;

use std::path::Path;
use std::time::Instant as Clock;

use somnus_model::ModelError;
use somnus_report::{Staging, Summary};
use somnus_signals::{DataError, Layout, StreamKind};

use crate::model_file::Model;
use crate::summary;

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The recordings.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The checkpoint has nothing that reads what is in the folder.
    #[error("{folder}: the checkpoint has no encoder of {stream}, which is what is here")]
    NoEncoder {
        /// The folder.
        folder: String,
        /// What is in it.
        stream: StreamKind,
    },
    /// There is nobody to fit on and somebody else to judge on.
    #[error("{folder}: {people} people with {what}, at least {LEAST_PEOPLE} are needed")]
    TooFew {
        /// The folder.
        folder: String,
        /// Who there are.
        people: usize,
        /// What they need to have.
        what: &'static str,
    },
}

/// People below whom there is nothing to say of others.
const LEAST_PEOPLE: usize = 2;

/// Asks everything that the recordings of `folder` can answer, `seeds` times: each time people are dealt otherwise, and the
/// network beside has other random weights. `start` is when the work began.
///
/// # Errors
/// [`ProbeError`] naming the folder, the tensor, or the file and line.
pub fn probe(model: &Model, folder: &Path, seeds: u64, start: Clock) -> Result<Summary, ProbeError> {
    let staging = Staging { classes: Vec::new(), wake: 0, rem: None };
    let mut summary = Summary::new(&model.manifest.name, "what its embeddings know", staging);
    summary.seeds = (0..seeds).collect();
    summary.config = serde_json::json!({ "model": model.manifest });
    summary.grids = match Layout::detect(folder)? {
        Layout::E4 => wristband::ask(&model.stager, folder, seeds)?,
        Layout::Wisdm => activities::ask(&model.stager, folder, seeds)?,
        _ => {
            let (grids, excluded) = nights::ask(&model.stager, folder, seeds)?;
            summary.excluded = summary::left_out(&excluded);
            grids
        }
    };
    summary.notes = vec![
        "Whether the model has seen these people is for its maker to say; the probes have not: they judge people whom they were not fitted on."
            .into(),
    ];
    Ok(summary::ended(summary, start))
}

/// Refuses a folder with too few people.
fn enough(folder: &Path, people: usize, what: &'static str) -> Result<(), ProbeError> {
    let folder = folder.display().to_string();
    if people < LEAST_PEOPLE { Err(ProbeError::TooFew { folder, people, what }) } else { Ok(()) }
}
