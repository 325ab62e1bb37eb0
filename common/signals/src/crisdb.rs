//! Heart rates of the CAST study as files of one number a line, every five seconds, perhaps gzipped.
//!
//! `NAME_hr_0.2hz.csv` has a first line `hr_bpm`, then beats per minute, an empty line where there is none. People
//! recovering from an infarction, about a day each; nothing is scored. A letter after the number tells a person's
//! recordings apart: `e019b` is recording `b` of person `e019`. (PhysioNet, CAST RR-interval sub-study.)

use std::path::Path;

use crate::recording::{DEFAULT_NIGHT, WEEK_SECONDS};
use crate::{DataError, Recording, Stream, StreamKind, files, table};

pub(crate) const SUFFIX: &str = "_hr_0.2hz.csv";
const HEADER: &str = "hr_bpm";
/// Seconds from one line to the next.
const STEP_SECONDS: f64 = 5.0;

/// Every recording of every person, by name in [`crate::natural_order`].
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no recording, or any file is malformed.
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    let names = files::names(dir)?;
    let stems: Vec<_> = names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).collect();
    if stems.is_empty() {
        let what = "no recordings: files like e006a_hr_0.2hz.csv.gz were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    stems.into_iter().map(|stem| load_recording(dir, stem)).collect()
}

fn load_recording(dir: &Path, stem: &str) -> Result<Recording, DataError> {
    let path = dir.join(format!("{stem}{SUFFIX}"));
    let (person, name) = files::lettered(stem);
    let person = files::person(&path, person)?;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let mut headed = false;
    table::lines(&path, |number, text| {
        if number == 1 {
            headed = true;
            let what = || format!("`{HEADER}` was expected: {:?}", table::shorten(text));
            return if text == HEADER { Ok(()) } else { Err(what()) };
        }
        let time = (number - 2) as f64 * STEP_SECONDS;
        if time > WEEK_SECONDS {
            return Err("the recording is longer than a week".to_owned());
        }
        if !text.is_empty() {
            times.push(time);
            values.push(table::number(text)? as f32);
        }
        Ok(())
    })?;
    if !headed {
        return Err(DataError::Empty { path, what: "a first line `hr_bpm` was expected" });
    }
    let hr = Stream::new(StreamKind::Hr, times, values);
    Ok(Recording::unscored(person, name.unwrap_or(DEFAULT_NIGHT), [hr]))
}
