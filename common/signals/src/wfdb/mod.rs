//! PhysioNet's WFDB records: a header `RECORD.hea`, signals it names (`.dat`) and annotations beside it (`.atr`,
//! `.ecg`, `.st`), any of them perhaps gzipped.
//!
//! Read are signals of format 16 and 212, one sample per frame and without skew, and annotations in MIT format.
//! Everything else the formats know is refused by name, never guessed. After the manual pages `header(5)`,
//! `signal(5)` and `annot(5)` of the WFDB Applications Guide.

mod annotations;
mod header;
mod signals;

use std::path::Path;

pub use annotations::{Annotation, Code, beats};
pub use header::{Header, SignalHeader};
pub use signals::Record;

use crate::{DataError, files};

/// The names of the records in a folder, one per `.hea`, in [`crate::natural_order`].
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no record.
pub fn records(dir: &Path) -> Result<Vec<String>, DataError> {
    let names = files::names(dir)?;
    let stems = names.iter().filter_map(|n| n.strip_suffix(".hea"));
    let records: Vec<_> = stems.map(str::to_owned).collect();
    if records.is_empty() {
        return Err(DataError::Empty {
            path: dir.to_owned(),
            what: "no records: files like 100.hea were expected",
        });
    }
    Ok(records)
}

/// The header of a record.
///
/// # Errors
/// [`DataError`] naming file and line when it is missing, malformed, or that of several segments.
pub fn header(dir: &Path, record: &str) -> Result<Header, DataError> {
    Header::read(&dir.join(format!("{record}.hea")))
}

/// A record with all its signals, in physical units.
///
/// # Errors
/// As [`header`]; [`DataError::Unsupported`] for another format than 16 and 212, several samples per frame or a skew;
/// [`DataError::Corrupt`] for signals that are not as long as the header says or fail its checksum.
pub fn read(dir: &Path, record: &str) -> Result<Record, DataError> {
    Record::read(dir, header(dir, record)?, &dir.join(format!("{record}.hea")))
}

/// What `annotator` (`atr`, `ecg`, `st`, ...) says of a record, in the order of the file, on the clock of the header
/// unless the annotations name their own.
///
/// # Errors
/// As [`header`]; [`DataError::Corrupt`] for bytes that are no annotations.
pub fn annotations(dir: &Path, record: &str, annotator: &str) -> Result<Vec<Annotation>, DataError> {
    let rate = header(dir, record)?.rate;
    annotations::read(&dir.join(format!("{record}.{annotator}")), rate)
}
