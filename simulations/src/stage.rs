//! A checkpoint stages recordings: a report for each person, and each night as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use somnus_model::{Prepared, Stager};
use somnus_protocol::checkpoint::{CheckpointError, Tensor, tensors_to_bytes};
use somnus_report::{ClientReport, ModelInfo, NightOptions, output};
use somnus_signals::{Cohort, DataError, EPOCH_SECONDS, Night, NightRules};

use crate::cohort::in_folder;
use crate::federate::{StudyError, client_result, staging};
use crate::model_file::Model;

/// Why nothing was staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The recordings.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nobody's night can be used.
    #[error("{folder}: no night can be staged{}", .first.as_ref().map_or(String::new(), |f| format!("; {}: {}", f.id, f.reason)))]
    Nobody {
        /// The folder.
        folder: String,
        /// The first night that was left out.
        first: Option<somnus_signals::Excluded>,
    },
    /// The model and the nights do not fit.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// A report.
    #[error(transparent)]
    Report(#[from] output::OutputError),
    /// A file of tensors.
    #[error(transparent)]
    Tensors(#[from] CheckpointError),
    /// A file.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What was staged.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// The nights' tables, in the order of people and nights.
    pub tables: Vec<PathBuf>,
    /// Nights that were left out, and why.
    pub excluded: Vec<somnus_signals::Excluded>,
}

/// Stages every night of `folder`, whatever its layout, scored or not, into `out`: `PERSON.html` and `PERSON.json` for
/// each person, `NIGHT.csv` for each night, and with `tensors` also `NIGHT.safetensors`, for those who check or continue the
/// computation elsewhere.
///
/// # Errors
/// [`StageError`] naming the folder, or the file and line.
pub fn stage(model: &Model, folder: &Path, out: &Path, tensors: bool) -> Result<Staged, StageError> {
    let Cohort { nights, excluded } = in_folder(folder, &NightRules::default())?;
    let Some(_) = nights.first() else {
        let (folder, first) = (folder.display().to_string(), excluded.into_iter().next());
        return Err(StageError::Nobody { folder, first });
    };
    let mut tables = Vec::new();
    let mut by_person: BTreeMap<&str, Vec<&Night>> = BTreeMap::new();
    for night in &nights {
        by_person.entry(night.person.as_str()).or_default().push(night);
    }
    let task = model.stager.task();
    for (person, own) in by_person {
        let client = client_result(person, "staged", &own, &model.stager)?;
        let info = ModelInfo { name: model.manifest.name.clone(), version: 0, digest: None };
        let report =
            ClientReport::new("staged", task.name(), info, staging(task), NightOptions::default(), client);
        output::write_client(out, &report)?;
        for night in own {
            let stem = night.id().replace('/', "+");
            let prepared = model.stager.prepare(night).map_err(StudyError::from)?;
            let path = out.join(format!("{stem}.csv"));
            write(&path, table(&model.stager, night, &prepared).as_bytes())?;
            tables.push(path);
            if tensors {
                let path = out.join(format!("{stem}.safetensors"));
                write(&path, &tensors_to_bytes(&of_night(&model.stager, &prepared))?)?;
            }
        }
    }
    Ok(Staged { tables, excluded })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StageError> {
    let wrong = |source| StageError::Write { path: path.display().to_string(), source };
    std::fs::write(path, bytes).map_err(wrong)
}

/// `seconds,stage,P(class)...,scored`: the beginning of an epoch, the likeliest class, what each class got, and what somebody scored.
fn table(stager: &Stager, night: &Night, prepared: &Prepared) -> String {
    let names = stager.task().class_names();
    let posterior = stager.predict_prepared(prepared);
    let truth = night.classes(stager.task());
    let mut text = format!("seconds,stage,{},scored\n", names.join(","));
    let rows = posterior.values.chunks_exact(posterior.classes);
    for ((epoch, best), (row, scored)) in posterior.argmax().into_iter().enumerate().zip(rows.zip(truth)) {
        let _ = write!(text, "{},{}", epoch as f64 * EPOCH_SECONDS, names[best]);
        for p in row {
            let _ = write!(text, ",{p:.4}");
        }
        let _ = writeln!(text, ",{}", scored.map_or("", |class| names[class]));
    }
    text
}

/// What the network is given of each stream, and the logits that it makes of it.
fn of_night(stager: &Stager, prepared: &Prepared) -> BTreeMap<String, Tensor> {
    let mut tensors = stager.inputs(prepared);
    let logits = stager.logits(prepared);
    let shape = vec![prepared.epochs(), stager.task().classes()];
    tensors.insert("logits".into(), Tensor { shape, values: logits });
    tensors
}
