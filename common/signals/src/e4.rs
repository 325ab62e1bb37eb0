//! Folders of the Empatica E4 wristband: one folder per person, one file per sensor, perhaps gzipped.
//!
//! | file | line 1 | line 2 | further lines | stream |
//! |---|---|---|---|---|
//! | `ACC.csv` | start | rate | `x,y,z` in 1/64 g; both header lines three columns wide | `accel` |
//! | `BVP.csv` | start | rate | blood volume pulse, arbitrary unit | `ppg` |
//! | `HR.csv` | start | rate | bpm, a mean over the last ten seconds | `hr` |
//! | `IBI.csv` | `start, IBI` | | `seconds since start,interval`, stamped at the beat that ends the interval | `ibi` |
//!
//! Starts are seconds of UTC since 1970, rates Hz. Each file has its own start (that of `HR.csv` is ten seconds
//! later); time 0 of the recording is the earliest of them. Any file may be missing. Nothing is scored, and
//! the recording is as long as its longest stream.

use std::path::Path;

use crate::recording::{DEFAULT_NIGHT, WEEK_SECONDS};
use crate::{DataError, PersonId, Recording, Stream, StreamKind, files, table};

const ACC: &str = "ACC.csv";
const BVP: &str = "BVP.csv";
const HR: &str = "HR.csv";
const IBI: &str = "IBI.csv";
/// The files that are read: acceleration, pulse wave, heart rate, beat intervals.
pub(crate) const FILES: [&str; 4] = [ACC, BVP, HR, IBI];
/// Units of acceleration in a g.
pub(crate) const PER_G: f64 = 64.0;
/// No sensor of a wristband is faster, Hz.
const FASTEST: f64 = 1024.0;

/// The recording of everyone who has a folder in `dir`, by the folder's name in [`crate::natural_order`]. Folders
/// without any of the four files are passed over.
///
/// # Errors
/// [`DataError`] when `dir` is missing or holds no such folder, or any file is malformed.
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    let mut recordings = Vec::new();
    for name in files::names(dir)? {
        let folder = dir.join(&name);
        if FILES.iter().any(|file| files::exist(&folder.join(file))) {
            recordings.push(load_folder(&folder, &files::person(&folder, &name)?)?);
        }
    }
    if recordings.is_empty() {
        let what = "no recordings: folders with files like ACC.csv and BVP.csv were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    Ok(recordings)
}

/// The recording in one folder.
///
/// # Errors
/// [`DataError`] when none of the four files is there, or any is malformed.
pub fn load_folder(folder: &Path, person: &PersonId) -> Result<Recording, DataError> {
    let accel = optional(sampled::<3>(&folder.join(ACC), StreamKind::Accel, PER_G))?;
    let ppg = optional(sampled::<1>(&folder.join(BVP), StreamKind::Ppg, 1.0))?;
    let hr = optional(sampled::<1>(&folder.join(HR), StreamKind::Hr, 1.0))?;
    let ibi = optional(intervals(&folder.join(IBI)))?;
    let tracks: Vec<_> = [(ACC, accel), (BVP, ppg), (HR, hr), (IBI, ibi)]
        .into_iter()
        .filter_map(|(file, track)| Some((file, track?)))
        .collect();
    let Some(zero) = tracks.iter().map(|(_, t)| t.start).min_by(f64::total_cmp) else {
        let what = "none of ACC.csv, BVP.csv, HR.csv and IBI.csv is here";
        return Err(DataError::Empty { path: folder.to_owned(), what });
    };
    let mut streams = Vec::new();
    for (file, track) in tracks {
        let later = track.start - zero;
        if later > WEEK_SECONDS {
            let what = format!("it starts {later} s after another file of the folder");
            return Err(DataError::malformed(&folder.join(file), 1, what));
        }
        let times = track.times.into_iter().map(|t| t + later).collect();
        streams.push(Stream::new(track.kind, times, track.values));
    }
    Ok(Recording::unscored(person.clone(), DEFAULT_NIGHT, streams))
}

/// One file: its own start, UTC, and samples at times counted from there.
struct Track {
    kind: StreamKind,
    start: f64,
    times: Vec<f64>,
    values: Vec<f32>,
}

/// A file sampled at a fixed rate, `N` channels a line, divided by `unit`.
fn sampled<const N: usize>(path: &Path, kind: StreamKind, unit: f64) -> Result<Track, DataError> {
    let (mut start, mut rate) = (None, None);
    let (mut times, mut values) = (Vec::new(), Vec::new());
    table::lines(path, |_, text| {
        let row = table::numbers::<N>(text)?;
        match (start, rate) {
            (None, _) => start = Some(utc(same(row)?)?),
            (_, None) => {
                let hertz = Some(same(row)?).filter(|r| *r > 0.0 && *r <= FASTEST);
                rate = Some(hertz.ok_or_else(|| format!("{} Hz is no rate of this device", row[0]))?);
            }
            (_, Some(rate)) => {
                times.push(within_a_week(times.len() as f64 / rate)?);
                values.extend(row.map(|v| (v / unit) as f32));
            }
        }
        Ok(())
    })?;
    match (start, rate) {
        (Some(start), Some(_)) => Ok(Track { kind, start, times, values }),
        _ => Err(DataError::Empty {
            path: path.to_owned(),
            what: "a line with the start and one with the rate were expected",
        }),
    }
}

fn intervals(path: &Path) -> Result<Track, DataError> {
    let mut start = None;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    table::lines(path, |_, text| {
        if start.is_none() {
            let (number, word) = text.split_once(',').unwrap_or((text, ""));
            if word.trim() != "IBI" {
                return Err(format!("`start, IBI` was expected: {:?}", table::shorten(text)));
            }
            start = Some(utc(table::number(number.trim())?)?);
            return Ok(());
        }
        let [time, interval] = table::numbers(text)?;
        times.push(within_a_week(time)?);
        values.push(interval as f32);
        Ok(())
    })?;
    match start {
        Some(start) => Ok(Track { kind: StreamKind::Ibi, start, times, values }),
        None => Err(DataError::Empty { path: path.to_owned(), what: "a line `start, IBI` was expected" }),
    }
}

/// The number that a header line repeats for every channel.
fn same<const N: usize>(row: [f64; N]) -> Result<f64, String> {
    if row.iter().all(|v| v.total_cmp(&row[0]).is_eq()) {
        Ok(row[0])
    } else {
        Err(format!("one number for all channels was expected: {row:?}"))
    }
}

/// A time on the clock of this or the next centuries.
fn utc(seconds: f64) -> Result<f64, String> {
    if (0.0..1e11).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("{seconds} is no start in UTC seconds"))
    }
}

/// Times that are not numbers pass, for the stream to count as rejected.
fn within_a_week(time: f64) -> Result<f64, String> {
    if time.abs() > WEEK_SECONDS {
        Err(format!("{time} s is more than a week from the start"))
    } else {
        Ok(time)
    }
}

/// `None` when the file does not exist.
fn optional(track: Result<Track, DataError>) -> Result<Option<Track>, DataError> {
    match track {
        Ok(track) => Ok(Some(track)),
        Err(DataError::Missing { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}
