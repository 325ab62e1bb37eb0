//! A study of any stager against a reference, from a table of hypnograms: the report of Menghini et al. 2021
//! ("A standardized framework for testing the performance of sleep-tracking technology", SLEEP 44:zsaa170).
//!
//! ```text
//! subject,epoch,reference,device
//! sbj01,1,0,0
//! ```
//!
//! A line for each 30-s epoch, counted from 1 for each person; `reference` and `device` are a class's name or its code, or
//! empty where an epoch was not scored.

use std::collections::BTreeMap;

use crate::{
    ClientResult, Confusion, ConfusionError, Hypnogram, NightOptions, NightResult, Row, RowError, Staging,
    Summary,
};

/// What the first line has to be.
pub const HEADER: &str = "subject,epoch,reference,device";
/// Seeds the intervals over people.
const BOOTSTRAP: u64 = 1;

/// Why a table is no study.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// One line does not say what it should.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Nobody is in it.
    #[error("no epoch: lines `{HEADER}` were expected")]
    Nobody,
    /// Counting.
    #[error(transparent)]
    Confusion(#[from] ConfusionError),
    /// Scores.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// The study of a table: scores of the device against the reference, per person and together, and the discrepancy of every
/// night measure.
///
/// # Errors
/// [`DeviceError`] naming the line.
pub fn study(name: &str, table: &str, staging: &Staging) -> Result<Summary, DeviceError> {
    let mut clients = Vec::new();
    for (id, (reference, device)) in people(table, staging)? {
        let night = NightResult::new(&id, reference, device, staging, NightOptions::default());
        clients.push(ClientResult::from_nights(&id, "compared", vec![night], staging)?);
    }
    let subjects: BTreeMap<String, Confusion> =
        clients.iter().map(|client| (client.id.clone(), client.confusion.clone())).collect();
    let mut summary = Summary::new(name, "device", staging.clone());
    summary.rows = vec![Row::from_subjects("device", &subjects, BOOTSTRAP)?];
    summary.clients = clients;
    summary.analyse();
    Ok(summary)
}

type People = BTreeMap<String, (Hypnogram, Hypnogram)>;

fn people(table: &str, staging: &Staging) -> Result<People, DeviceError> {
    let mut people = People::new();
    for (index, text) in table.lines().enumerate() {
        let fault = |what: String| DeviceError::Line { line: index + 1, what };
        let text = text.trim();
        if index == 0 {
            if text != HEADER {
                return Err(fault(format!("`{HEADER}` was expected, not {:?}", beginning(text))));
            }
            continue;
        }
        if text.is_empty() {
            continue;
        }
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let &[subject, epoch, reference, device] = &cells[..] else {
            return Err(fault(format!("4 columns expected, found {}", cells.len())));
        };
        if subject.is_empty() {
            return Err(fault("no subject is named".into()));
        }
        let (truth, predicted) = people.entry(subject.to_owned()).or_default();
        if epoch.parse() != Ok(truth.len() + 1) {
            return Err(fault(format!(
                "epoch {} of {subject} was expected, not {:?}",
                truth.len() + 1,
                beginning(epoch)
            )));
        }
        truth.push(class(reference, staging).map_err(fault)?);
        predicted.push(class(device, staging).map_err(fault)?);
    }
    if people.is_empty() { Err(DeviceError::Nobody) } else { Ok(people) }
}

fn class(word: &str, staging: &Staging) -> Result<Option<u8>, String> {
    if word.is_empty() {
        return Ok(None);
    }
    let named = staging.classes.iter().position(|name| name.eq_ignore_ascii_case(word));
    let code = named.or_else(|| word.parse().ok().filter(|code| *code < staging.len()));
    let code = code.and_then(|code| u8::try_from(code).ok());
    code.map(Some).ok_or_else(|| format!("{:?} is none of {}", beginning(word), staging.classes.join(", ")))
}

/// Of a text that may be long.
fn beginning(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_mean_the_same_and_gaps_stay_gaps() {
        let text = format!("{HEADER}\nann,1,Wake,0\nann,2,core,1\nann,3,,REM\nbob,1,3,rem\nbob,2,Deep,2\n");
        let summary = study("s", &text, &Staging::four()).unwrap();
        assert_eq!(summary.clients.len(), 2);
        assert_eq!(summary.clients[0].nights[0].truth, [Some(0), Some(1), None]);
        assert_eq!(summary.rows[0].pooled.kappa, Some(1.0));
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |lines: &str| study("s", lines, &Staging::four()).unwrap_err().to_string();
        assert!(
            fault("subject,reference,device\n")
                .starts_with("line 1: `subject,epoch,reference,device` was expected")
        );
        let lines = |lines: &str| fault(&format!("{HEADER}\n{lines}"));
        assert_eq!(lines("ann,1,0\n"), "line 2: 4 columns expected, found 3");
        assert_eq!(lines("ann,1,0,0\nann,3,0,0\n"), "line 3: epoch 2 of ann was expected, not \"3\"");
        assert_eq!(lines("ann,1,0,7\n"), "line 2: \"7\" is none of Wake, Core, Deep, REM");
        assert!(lines("").starts_with("no epoch"));
    }
}
