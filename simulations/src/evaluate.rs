//! Any checkpoint on any folder of labelled nights.

use std::path::Path;
use std::time::Instant as Clock;

use somnus_model::{ModelError, Posterior, Quantised, Stager};
use somnus_report::{ClientResult, Confusion, Row, Summary};
use somnus_signals::{Cohort, DataError, Night, NightRules, PersonId, Task};

use crate::cohort::in_folder;
use crate::eight_bits;
use crate::federate::{StudyError, client_result_by, staging};
use crate::merge::merged;
use crate::model_file::Model;
use crate::study::BOOTSTRAP;
use crate::summary;

/// With how many bits a network stages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// As it is.
    F32,
    /// In eight bits, beside the network as it is.
    Int8,
}

/// Why nothing was scored.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The recordings.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Nobody's night can be scored.
    #[error("{folder}: no night can be scored{}", .first.as_ref().map_or(String::new(), |f| format!("; {}: {}", f.id, f.reason)))]
    Nobody {
        /// The folder.
        folder: String,
        /// The first night that was left out.
        first: Option<somnus_signals::Excluded>,
    },
    /// Scores.
    #[error(transparent)]
    Study(#[from] StudyError),
}

/// Stages every labelled night of `folder` and compares with its labels; in [`Precision::Int8`] once in f32 and once in
/// int8, people and nights being those of int8. `start` is when the work began.
///
/// # Errors
/// [`EvaluateError`] naming the folder, or the file and line.
pub fn evaluate(
    model: &Model,
    folder: &Path,
    precision: Precision,
    start: Clock,
) -> Result<Summary, EvaluateError> {
    let rules = NightRules { require_labels: true, ..NightRules::default() };
    let cohort = in_folder(folder, &rules)?;
    if cohort.nights.is_empty() {
        let (folder, first) = (folder.display().to_string(), cohort.excluded.into_iter().next());
        return Err(EvaluateError::Nobody { folder, first });
    }
    let clients = staged(&model.stager, &cohort, "evaluated")?;
    let task = model.stager.task();
    let name = &model.manifest.name;
    let exact = row(name, &clients)?;
    let mut summary = Summary::new(name, task.name(), staging(task));
    summary.config = serde_json::json!({ "model": model.manifest });
    (summary.rows, summary.clients) = match precision {
        Precision::F32 => (vec![exact], clients),
        Precision::Int8 => {
            let coded = Quantised::of(&model.stager);
            let stage = |night: &Night| Ok(coded.predict(&model.stager.prepare(night)?));
            let rounded_clients = staged_by(&cohort, "evaluated", task, &stage)?;
            let rounded = row(&format!("{name} in int8"), &rounded_clients)?;
            let night = model.stager.prepare(&cohort.nights[0]).map_err(StudyError::from)?;
            let costs = eight_bits::costs(&model.stager, &night);
            let both = [&clients[..], &rounded_clients[..]];
            summary.grids = vec![eight_bits::grid([&exact, &rounded], both, &costs)];
            (vec![exact, rounded], rounded_clients)
        }
    };
    if let Some(last) = summary.rows.last() {
        summary.merged = merged(last, task).map_err(StudyError::from)?;
    }
    summary.excluded = summary::left_out(&cohort.excluded);
    summary.notes = vec![
        "Whether the model has seen these people is for its maker to say; the manifest tells what it was trained on."
            .into(),
    ];
    summary.analyse();
    Ok(summary::ended(summary, start))
}

/// Every person of a cohort, staged.
pub(crate) fn staged(stager: &Stager, cohort: &Cohort, role: &str) -> Result<Vec<ClientResult>, StudyError> {
    staged_by(cohort, role, stager.task(), &|night| stager.predict(night))
}

fn staged_by(
    cohort: &Cohort,
    role: &str,
    task: Task,
    stage: &dyn Fn(&Night) -> Result<Posterior, ModelError>,
) -> Result<Vec<ClientResult>, StudyError> {
    let person = |person: &PersonId| {
        let nights: Vec<&Night> = cohort.nights_of(person).collect();
        client_result_by(person.as_str(), role, &nights, task, stage)
    };
    cohort.people().iter().map(person).collect()
}

/// What people came to together.
pub(crate) fn row(name: &str, clients: &[ClientResult]) -> Result<Row, StudyError> {
    let subjects = clients.iter().map(|client| (client.id.clone(), Confusion::clone(&client.confusion)));
    Ok(Row::from_subjects(name, &subjects.collect(), BOOTSTRAP)?)
}
