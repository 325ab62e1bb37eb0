//! The person's own report: written after every federated evaluation, shown again without a network.

use std::fs;
use std::path::{Path, PathBuf};

use somnus_report::{ClientReport, OutputError, SchemaError, write_client};

use crate::files::{FileError, write_atomically};

const LAST: &str = "evaluation.json";
const FOLDER: &str = "report";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Nothing was evaluated yet.
    #[error("{}: nothing was evaluated yet; `somnus-client run` does that when the server asks", .0.display())]
    Nothing(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kept evaluation cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SchemaError,
    },
    /// The report cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The report cannot be put into words.
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
}

/// Keeps an evaluation as the last one, and refreshes the pages in the hub's folder.
///
/// # Errors
/// [`ReportError`] naming the file.
pub fn keep(folder: &Path, report: &ClientReport) -> Result<PathBuf, ReportError> {
    write_atomically(&folder.join(LAST), report.to_json()?.as_bytes())?;
    Ok(write_client(&folder.join(FOLDER), report)?)
}

/// The last evaluation.
///
/// # Errors
/// [`ReportError::Nothing`] if there is none, or what is wrong with it.
pub fn last(folder: &Path) -> Result<ClientReport, ReportError> {
    let path = folder.join(LAST);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ReportError::Nothing(folder.to_owned()));
        }
        other => other.map_err(|cause| FileError::new(&path, cause))?,
    };
    ClientReport::from_json(&text).map_err(|source| ReportError::Unreadable { path, source })
}

/// Writes the last evaluation's HTML, JSON and CSV into `out`; returns the page.
///
/// # Errors
/// [`ReportError`] naming the file.
pub fn write(folder: &Path, out: Option<&Path>) -> Result<PathBuf, ReportError> {
    let own = folder.join(FOLDER);
    Ok(write_client(out.unwrap_or(&own), &last(folder)?)?)
}
