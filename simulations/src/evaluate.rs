//! Any checkpoint on any folder of labelled nights.

use std::path::Path;
use std::time::Instant as Clock;

use somnus_model::Stager;
use somnus_report::{ClientResult, Confusion, Row, Summary};
use somnus_signals::{Cohort, DataError, Night, NightRules};

use crate::cohort::in_folder;
use crate::federate::{StudyError, client_result, staging};
use crate::merge::merged;
use crate::model_file::Model;
use crate::study::BOOTSTRAP;
use crate::summary;

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

/// Stages every labelled night of `folder` and compares with its labels. `start` is when the work began.
///
/// # Errors
/// [`EvaluateError`] naming the folder, or the file and line.
pub fn evaluate(model: &Model, folder: &Path, start: Clock) -> Result<Summary, EvaluateError> {
    let rules = NightRules { require_labels: true, ..NightRules::default() };
    let cohort = in_folder(folder, &rules)?;
    if cohort.nights.is_empty() {
        let (folder, first) = (folder.display().to_string(), cohort.excluded.into_iter().next());
        return Err(EvaluateError::Nobody { folder, first });
    }
    let clients = staged(&model.stager, &cohort, "evaluated")?;
    let task = model.stager.task();
    let row = row(&model.manifest.name, &clients)?;
    let mut summary = Summary::new(&model.manifest.name, task.name(), staging(task));
    summary.config = serde_json::json!({ "model": model.manifest });
    summary.merged = merged(&row, task).map_err(StudyError::from)?;
    summary.rows = vec![row];
    summary.clients = clients;
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
    let person = |person: &somnus_signals::PersonId| {
        let nights: Vec<&Night> = cohort.nights_of(person).collect();
        client_result(person.as_str(), role, &nights, stager)
    };
    cohort.people().iter().map(person).collect()
}

/// What people came to together.
pub(crate) fn row(name: &str, clients: &[ClientResult]) -> Result<Row, StudyError> {
    let subjects = clients.iter().map(|client| (client.id.clone(), Confusion::clone(&client.confusion)));
    Ok(Row::from_subjects(name, &subjects.collect(), BOOTSTRAP)?)
}
