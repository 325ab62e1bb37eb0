//! The MIT-BIH Polysomnographic Database: heart beats and sleep stages, as WFDB annotations.
//!
//! `RECORD.ecg` marks the beats, which give the `ibi` stream by [`intervals`], ectopic or not. `RECORD.st` scores 30 s each, from its time on, in words such as `2 LA` or `W`: a
//! stage, then events of breathing and of the legs, which are passed over. Stages are `W`, `1`, `2`, `3`, `4`
//! (counted as N3), `R`; `MT`, movement time, is unscored, and so is what no annotation speaks of. The waveforms are
//! not read, and need not be there.
//!
//! A letter tells recordings of a person apart: `slp01a` and `slp01b` are recordings `a` and `b` of person `slp01`,
//! in truth two parts of one night.

use std::path::Path;

use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS, WEEK_SECONDS};
use crate::{DataError, Recording, Stage, StreamKind, files, intervals, wfdb};

/// Every recording of everyone, by name in [`crate::natural_order`].
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no record, or any file is missing or malformed.
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    wfdb::records(dir)?.iter().map(|record| load_record(dir, record)).collect()
}

fn load_record(dir: &Path, record: &str) -> Result<Recording, DataError> {
    let path = |ending: &str| dir.join(format!("{record}.{ending}"));
    let (person, name) = files::lettered(record);
    let person = files::person(&path("hea"), person)?;
    let beats: Vec<f64> = wfdb::beats(&wfdb::annotations(dir, record, "ecg")?).collect();

    let header = wfdb::header(dir, record)?;
    let seconds = header.samples.map(|samples| samples as f64 / header.rate);
    let Some(seconds) = seconds.filter(|s| *s <= WEEK_SECONDS) else {
        let what = "a length of at most a week must be in the header";
        return Err(DataError::corrupt(&path("hea"), what));
    };
    let mut labels = vec![None; (seconds / EPOCH_SECONDS) as usize];
    score(&mut labels, &wfdb::annotations(dir, record, "st")?)
        .map_err(|what| DataError::corrupt(&path("st"), what))?;
    Ok(Recording {
        person,
        name: name.unwrap_or(DEFAULT_NIGHT).to_owned(),
        streams: [(StreamKind::Ibi, intervals(&beats))].into(),
        labels,
    })
}

/// Puts each annotation's stage at its epoch.
fn score(labels: &mut [Option<Stage>], annotations: &[wfdb::Annotation]) -> Result<(), String> {
    let mut last = None;
    for wfdb::Annotation { time, aux, .. } in annotations {
        let epoch = (time / EPOCH_SECONDS).round();
        if (time - epoch * EPOCH_SECONDS).abs() > 1.0 {
            return Err(format!("the stage at {time} s is not at the beginning of a 30-s epoch"));
        }
        if last.is_some_and(|last| epoch <= last) {
            return Err(format!("the epoch at {time} s is scored twice or out of order"));
        }
        last = Some(epoch);
        let Some(label) = labels.get_mut(epoch as usize) else {
            return Err(format!("the stage at {time} s is after the record's end"));
        };
        let word = aux.split_whitespace().next().unwrap_or_default();
        *label = match word {
            "W" => Some(Stage::Wake),
            "1" => Some(Stage::N1),
            "2" => Some(Stage::N2),
            "3" | "4" => Some(Stage::N3),
            "R" => Some(Stage::Rem),
            "MT" => None,
            _ => return Err(format!("{word:?} at {time} s is no stage: W, 1, 2, 3, 4, R or MT expected")),
        };
    }
    Ok(())
}
