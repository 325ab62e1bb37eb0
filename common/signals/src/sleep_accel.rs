//! The folder layout of the public Apple Watch set (Walch 2019, PhysioNet sleep-accel 1.0.0).
//!
//! | file | a line | |
//! |---|---|---|
//! | `heart_rate/ID_heartrate.txt` | `seconds,bpm` | irregular |
//! | `labels/ID_labeled_sleep.txt` | `seconds stage` | one per 30 s: 0 W, 1, 2, 3, 4, 5 REM, -1 unscored |
//! | `counts/ID_counts.txt` | `seconds,count` | per 15 s (not in the public set) |
//! | `posture/ID_acceleration.txt` | `seconds x y z` | g, one per 30 s (not in the public set) |
//! | `motion/ID_acceleration.txt` | `seconds x y z` | g, about 50 Hz; counts and posture are derived from it where they are missing |
//!
//! Numbers are separated by commas or blanks. Time 0 is the first label; the public set has hours of
//! samples before it, and everything more than [`MARGIN_SECONDS`] outside the labelled night is dropped. Any
//! file may be missing, and any may be gzipped (`ID_heartrate.txt.gz`). Without labels the night ends with the last sample of heart rate or movement and
//! every stage is `None`. `steps/` and other files are ignored.
//!
//! The public set has one night per person. Further nights of a person are `ID+NAME_heartrate.txt` and so on;
//! a plain `ID` is the night named [`DEFAULT_NIGHT`]. The nights of a person are in the order of [`crate::night_order`].
//!
//! Lines that break the format are errors naming file and line. Values that break the body
//! (a heart rate of 300) are data: [`Stream::new`] drops and counts them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::motion::Motion;
use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS, night_order};
use crate::{Cohort, DataError, NightRules, PersonId, Recording, Stage, Stream, StreamKind, files, table};

/// Samples this far outside the labelled night are kept, seconds: they let the first and the last epoch interpolate.
pub const MARGIN_SECONDS: f64 = 60.0;
/// No night is longer, seconds (36 h). A later time is a clock of another kind, not a night.
const LONGEST_SECONDS: f64 = 36.0 * 3600.0;

/// A folder of the layout and how its files end.
const HEART_RATE: (&str, &str) = ("heart_rate", "_heartrate.txt");
const LABELS: (&str, &str) = ("labels", "_labeled_sleep.txt");
const COUNTS: (&str, &str) = ("counts", "_counts.txt");
const POSTURE: (&str, &str) = ("posture", "_acceleration.txt");
const MOTION: (&str, &str) = ("motion", "_acceleration.txt");
const FOLDERS: [(&str, &str); 5] = [HEART_RATE, LABELS, COUNTS, POSTURE, MOTION];

/// Every night of every person, by person and [`crate::night_order`].
///
/// # Errors
/// [`DataError`] when the folder is missing, holds no recording, or any file is malformed.
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    let nights = nights(dir)?;
    nights.iter().map(|night| load_night(dir, night)).collect()
}

/// Every night of one person, in [`crate::night_order`].
///
/// # Errors
/// As [`load`]; [`DataError::Empty`] when the person has no file in the folder.
pub fn load_person(dir: &Path, person: &PersonId) -> Result<Vec<Recording>, DataError> {
    let all = nights(dir)?;
    let own: Vec<_> = all.iter().filter(|n| n.person == *person).collect();
    if own.is_empty() {
        return Err(DataError::Empty {
            path: dir.join(HEART_RATE.0).join(format!("{person}{}", HEART_RATE.1)),
            what: "this person has no file here",
        });
    }
    own.into_iter().map(|night| load_night(dir, night)).collect()
}

/// Everyone with any file in the folder, sorted.
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no recording.
pub fn people(dir: &Path) -> Result<Vec<PersonId>, DataError> {
    let mut people: Vec<_> = nights(dir)?.into_iter().map(|n| n.person).collect();
    people.dedup();
    Ok(people)
}

/// Loads and prepares everyone. A night that fails a rule is listed in [`Cohort::excluded`].
///
/// # Errors
/// As [`load`]: a malformed file is never passed over as bad quality.
pub fn cohort(dir: &Path, rules: &NightRules) -> Result<Cohort, DataError> {
    let mut cohort = Cohort::default();
    for night in nights(dir)? {
        cohort.push(&load_night(dir, &night)?, rules);
    }
    Ok(cohort)
}

/// The raw acceleration of one night, g; `None` where there is no file. At 50 Hz it is
/// 30 MB, which is why [`load`] derives counts and posture from it and does not keep it.
///
/// # Errors
/// [`DataError`] when a file of the night is malformed.
pub fn load_motion(dir: &Path, person: &PersonId, name: &str) -> Result<Option<Stream>, DataError> {
    let night = NightKey { person: person.clone(), name: name.to_owned() };
    let labels = read_labels(&night.path(dir, LABELS))?;
    let span = Span::of(labels.as_deref());
    read_stream::<4, 3>(&night.path(dir, MOTION), StreamKind::Accel, span)
}

/// The names of the layout's folders.
pub(crate) fn folders() -> impl Iterator<Item = &'static str> {
    FOLDERS.into_iter().map(|(folder, _)| folder)
}

/// The files of a night, each with the stream that it holds; labels hold none.
pub(crate) type NightFiles = Vec<(Option<StreamKind>, PathBuf)>;

/// The files of every night.
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no recording.
pub(crate) fn night_files(dir: &Path) -> Result<Vec<NightFiles>, DataError> {
    let places = [
        (Some(StreamKind::Hr), HEART_RATE),
        (None, LABELS),
        (Some(StreamKind::Activity), COUNTS),
        (Some(StreamKind::Posture), POSTURE),
        (Some(StreamKind::Accel), MOTION),
    ];
    let of = |night: &NightKey| {
        let all = places.into_iter().map(|(kind, place)| (kind, night.path(dir, place)));
        all.filter(|(_, path)| files::exist(path)).collect()
    };
    Ok(nights(dir)?.iter().map(of).collect())
}

/// Writes one night in this layout, creating folders as needed.
///
/// [`load`] gives the same recording back, except for raw acceleration, which [`load_motion`] gives back.
/// Files of the same night are replaced, each whole or not at all; files of streams it does not have are left.
///
/// # Errors
/// [`DataError::Write`], or [`DataError::Unsupported`] for a stream or a name the layout has no place for.
pub fn write(dir: &Path, recording: &Recording) -> Result<(), DataError> {
    let unsupported = |what: String| DataError::Unsupported { path: dir.to_owned(), what };
    // A night's name ends up in file names like a person's id, and is held to the same alphabet.
    PersonId::new(&*recording.name)
        .map_err(|_| unsupported(format!("{:?} cannot name a night", recording.name)))?;
    let night = NightKey { person: recording.person.clone(), name: recording.name.clone() };
    for (kind, stream) in &recording.streams {
        let (place, comma) = match kind {
            StreamKind::Hr => (HEART_RATE, true),
            StreamKind::Activity => (COUNTS, true),
            StreamKind::Posture => (POSTURE, false),
            StreamKind::Accel => (MOTION, false),
            StreamKind::Ibi | StreamKind::Ecg | StreamKind::Ppg => {
                return Err(unsupported(format!("the layout has no place for {kind}")));
            }
        };
        let separator = if comma { ',' } else { ' ' };
        write_file(&night.path(dir, place), |out| {
            for (i, time) in stream.times().iter().enumerate() {
                write!(out, "{time}")?;
                for value in stream.sample(i) {
                    write!(out, "{separator}{value}")?;
                }
                writeln!(out)?;
            }
            Ok(())
        })?;
    }
    if recording.labels.is_empty() {
        return Ok(());
    }
    write_file(&night.path(dir, LABELS), |out| {
        for (epoch, stage) in recording.labels.iter().enumerate() {
            writeln!(out, "{} {}", epoch * 30, stage.map_or(-1, Stage::code))?;
        }
        Ok(())
    })
}

/// One night of one person, as file names tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NightKey {
    person: PersonId,
    name: String,
}

impl Ord for NightKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.person.cmp(&other.person).then_with(|| night_order(&self.name, &other.name))
    }
}

impl PartialOrd for NightKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl NightKey {
    fn path(&self, dir: &Path, (folder, suffix): (&str, &str)) -> PathBuf {
        let Self { person, name } = self;
        dir.join(folder).join(if name == DEFAULT_NIGHT {
            format!("{person}{suffix}")
        } else {
            format!("{person}+{name}{suffix}")
        })
    }

    fn parse(stem: &str) -> Result<Self, crate::InvalidPersonId> {
        let (person, name) = stem.split_once('+').unwrap_or((stem, DEFAULT_NIGHT));
        Ok(Self { person: PersonId::new(person)?, name: PersonId::new(name)?.into() })
    }
}

/// The nights that have any file, sorted; never empty.
fn nights(dir: &Path) -> Result<BTreeSet<NightKey>, DataError> {
    fs::read_dir(dir).map_err(|e| DataError::read(dir, e))?;
    let mut nights = BTreeSet::new();
    for (folder_name, suffix) in FOLDERS {
        let folder = dir.join(folder_name);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(DataError::read(&folder, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| DataError::read(&folder, e))?;
            let name = entry.file_name();
            // Hidden files are what operating systems leave behind, not recordings.
            let name = name.to_str().filter(|n| !n.starts_with('.'));
            let name = name.map(|n| n.strip_suffix(".gz").unwrap_or(n));
            let Some(stem) = name.and_then(|n| n.strip_suffix(suffix)) else {
                continue;
            };
            let refused = |what: String| DataError::Unsupported { path: entry.path(), what };
            let night = NightKey::parse(stem).map_err(|e| refused(e.to_string()))?;
            if night.path(dir, (folder_name, suffix)) != folder.join(format!("{stem}{suffix}")) {
                // `ID+night` would be a second spelling of `ID`, and only one of the two would be read.
                return Err(refused(format!("the night named {DEFAULT_NIGHT} is written without its name")));
            }
            nights.insert(night);
        }
    }
    if nights.is_empty() {
        return Err(DataError::Empty {
            path: dir.to_owned(),
            what: "no recordings: files like heart_rate/ID_heartrate.txt were expected",
        });
    }
    Ok(nights)
}

fn load_night(dir: &Path, night: &NightKey) -> Result<Recording, DataError> {
    let labels = read_labels(&night.path(dir, LABELS))?;
    let span = Span::of(labels.as_deref());
    let hr = read_stream::<2, 1>(&night.path(dir, HEART_RATE), StreamKind::Hr, span)?;
    let mut activity = read_stream::<2, 1>(&night.path(dir, COUNTS), StreamKind::Activity, span)?;
    let mut posture = read_stream::<4, 3>(&night.path(dir, POSTURE), StreamKind::Posture, span)?;
    if (activity.is_none() || posture.is_none())
        && let Some(motion) = read_motion(&night.path(dir, MOTION), span)?
    {
        activity = activity.or_else(|| Some(motion.activity()));
        posture = posture.or_else(|| Some(motion.posture()));
    }
    let streams: BTreeMap<_, _> =
        [hr, activity, posture].into_iter().flatten().map(|s| (s.kind(), s)).collect();
    let labels = labels.unwrap_or_else(|| {
        let ends = streams.values().filter_map(|s| s.times().last());
        let end = ends.copied().fold(0.0, f64::max);
        vec![None; (end / EPOCH_SECONDS) as usize]
    });
    Ok(Recording { person: night.person.clone(), name: night.name.clone(), streams, labels })
}

/// Which times are kept, seconds.
#[derive(Debug, Clone, Copy)]
struct Span {
    end: f64,
    labelled: bool,
}

impl Span {
    fn of(labels: Option<&[Option<Stage>]>) -> Self {
        Self {
            end: labels.map_or(LONGEST_SECONDS, |l| l.len() as f64 * EPOCH_SECONDS),
            labelled: labels.is_some(),
        }
    }

    /// Whether a sample belongs to the night. Times that are not numbers do, for the stream to count as rejected.
    fn holds(self, time: f64) -> Result<bool, String> {
        if !self.labelled && time > self.end {
            return Err(format!("{time} s is more than 36 h after the recording's start"));
        }
        Ok(!(time < -MARGIN_SECONDS || time > self.end + MARGIN_SECONDS))
    }
}

/// `None` when the file does not exist.
fn optional<T>(result: Result<T, DataError>) -> Result<Option<T>, DataError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(DataError::Missing { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A stream of `CHANNELS` values behind a time, `COLUMNS` = `CHANNELS` + 1 numbers a line.
fn read_stream<const COLUMNS: usize, const CHANNELS: usize>(
    path: &Path,
    kind: StreamKind,
    span: Span,
) -> Result<Option<Stream>, DataError> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let read = table::read(path, |row: [f64; COLUMNS]| {
        if span.holds(row[0])? {
            times.push(row[0]);
            values.extend(row[1..=CHANNELS].iter().map(|v| *v as f32));
        }
        Ok(())
    });
    Ok(optional(read)?.map(|()| Stream::new(kind, times, values)))
}

fn read_motion(path: &Path, span: Span) -> Result<Option<Motion>, DataError> {
    let mut motion = Motion::default();
    let read = table::read(path, |[time, x, y, z]: [f64; 4]| {
        if span.holds(time)? {
            motion.push(time, [x, y, z]);
        }
        Ok(())
    });
    Ok(optional(read)?.map(|()| motion))
}

/// One stage per epoch; epochs that no line speaks of are unscored.
fn read_labels(path: &Path) -> Result<Option<Vec<Option<Stage>>>, DataError> {
    let mut labels: Vec<Option<Option<Stage>>> = Vec::new();
    let read = table::read(path, |[time, code]: [f64; 2]| {
        let stage = (code.fract() == 0.0)
            .then(|| Stage::from_code(code as i64))
            .flatten()
            .ok_or_else(|| format!("{code} is no stage: 0, 1, 2, 3, 4, 5 or -1 expected"))?;
        let epoch = (time / EPOCH_SECONDS).round();
        let off = (time - epoch * EPOCH_SECONDS).abs();
        if off > 1.0 || !time.is_finite() {
            return Err(format!("{time} s is not at the beginning of a 30-s epoch"));
        }
        if time > LONGEST_SECONDS {
            return Err(format!("{time} s is more than 36 h after the recording's start"));
        }
        if epoch < 0.0 {
            return Ok(());
        }
        let epoch = epoch as usize;
        if labels.len() <= epoch {
            labels.resize(epoch + 1, None);
        }
        match labels[epoch].replace(stage) {
            None => Ok(()),
            Some(_) => Err(format!("the epoch at {time} s is scored twice")),
        }
    });
    let Some(()) = optional(read)? else {
        return Ok(None);
    };
    if labels.is_empty() {
        return Err(DataError::Empty {
            path: path.to_owned(),
            what: "no label: lines `seconds stage` were expected",
        });
    }
    Ok(Some(labels.into_iter().map(Option::flatten).collect()))
}

/// Writes beside the place and moves there, so that a reader never meets half a file.
fn write_file(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), DataError> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.part"));
        let mut out = BufWriter::new(File::create(&beside)?);
        content(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|e| DataError::write(path, e))
}
