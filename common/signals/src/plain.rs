//! The plain format: one folder for each night, a CSV file for each stream, and `recording.toml` that says what they are.
//!
//! ```toml
//! person = "anna"              # 1 to 64 of A-Z a-z 0-9 . _ -
//! night = "2026-03-09"         # tells her nights apart; may be left out where there is one
//! start = 1773090000           # unix seconds (UTC) of time 0; needed where a file's times are unix seconds
//!
//! [streams.hr]                 # hr, ibi, activity, posture, accel, ecg, ppg
//! file = "hr.csv"              # default: the stream's name with .csv, or with .parquet
//! unit = "bpm"                 # default: the first of the table below
//! time = "seconds"             # since time 0; or "unix"
//!
//! [streams.accel]
//! rate = 50.0                  # Hz: the file has no times, its samples follow each other evenly
//! offset = 12.5                # seconds after time 0 of the first of them; default 0
//! unit = "m/s2"
//!
//! [labels]                     # where somebody scored the night
//! file = "stages.csv"
//! ```
//!
//! | stream | channels | units |
//! |---|---|---|
//! | `hr` | heart rate | `bpm`, `hz` |
//! | `ibi` | interval between beats, at the beat that ends it | `s`, `ms` |
//! | `activity` | counts in the 15 s from its time on | `counts` |
//! | `posture` | mean gravity over 30 s, x y z | `g`, `mg`, `m/s2` |
//! | `accel` | raw acceleration x y z | `g`, `mg`, `m/s2` |
//! | `ecg` | potential | `mV`, `uV`, `V` |
//! | `ppg` | light | `a.u.` |
//!
//! The first line of a CSV file names its columns: `time` and then one for each channel, or the channels alone where there is a
//! `rate`. A label is `time,stage`, the stage `W`, `N1`, `N2`, `N3`, `REM` or empty, at the beginning of its 30 seconds. Any CSV file may
//! be gzipped, or be a Parquet file with the same columns. What a night needs and was not recorded is derived from what was: [`crate::derive()`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS, WEEK_SECONDS};
use crate::{
    DataError, PersonId, Recording, Stage, Stream, StreamKind, derive, files, night_order, parquet, table,
};

/// The file that makes a folder a recording.
pub const DESCRIPTION: &str = "recording.toml";
/// No description is longer, bytes.
const LONGEST_DESCRIPTION: usize = 64 * 1024;
/// The fastest sensor, Hz.
const FASTEST: f64 = 10_000.0;

/// `recording.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    person: PersonId,
    night: Option<PersonId>,
    start: Option<f64>,
    pub(crate) streams: BTreeMap<StreamKind, Source>,
    pub(crate) labels: Option<Labels>,
}

/// One stream's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    file: Option<String>,
    unit: Option<String>,
    #[serde(default)]
    time: Clock,
    pub(crate) rate: Option<f64>,
    offset: Option<f64>,
}

/// The labels' file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Labels {
    file: String,
    #[serde(default)]
    time: Clock,
}

/// What a file's times count from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Clock {
    /// Time 0 of the recording.
    #[default]
    Seconds,
    /// The beginning of 1970, UTC.
    Unix,
}

/// Every recording in `dir`: its own, or one in each of its folders, by person and [`night_order`].
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no recording, or any file is malformed.
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    let mut found = folders(dir)?.iter().map(|folder| load_folder(folder)).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|a, b| a.person.cmp(&b.person).then_with(|| night_order(&a.name, &b.name)));
    for pair in found.windows(2) {
        if (&pair[0].person, &pair[0].name) == (&pair[1].person, &pair[1].name) {
            let what = format!("two folders say that they are {}: give each its own `night`", pair[0].id());
            return Err(DataError::unsupported(dir, what));
        }
    }
    Ok(found)
}

/// The folders of `dir` that hold a recording.
///
/// # Errors
/// [`DataError`] when there is none.
pub(crate) fn folders(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    if dir.join(DESCRIPTION).is_file() {
        return Ok(vec![dir.to_owned()]);
    }
    let below = files::names(dir)?.into_iter().map(|name| dir.join(name));
    let folders: Vec<PathBuf> = below.filter(|folder| folder.join(DESCRIPTION).is_file()).collect();
    if folders.is_empty() {
        let what = "no recordings: folders with a recording.toml were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    Ok(folders)
}

/// The recording in one folder.
///
/// # Errors
/// [`DataError`] naming the file, and the line.
pub fn load_folder(folder: &Path) -> Result<Recording, DataError> {
    let description = Description::read(folder)?;
    let mut streams = BTreeMap::new();
    for (kind, source) in &description.streams {
        streams.insert(*kind, description.stream(folder, *kind, source)?);
    }
    let labels = description.labels.as_ref().map(|labels| description.stages(folder, labels)).transpose()?;
    let name = description.night.map_or_else(|| DEFAULT_NIGHT.to_owned(), String::from);
    let mut recording = Recording::unscored(description.person, &name, streams.into_values());
    if let Some(labels) = labels {
        recording.labels = labels;
    }
    Ok(derive(recording))
}

impl Source {
    /// What makes a value one in the stream's unit; 1 for a unit that is none, which [`Description::read`] refuses.
    pub(crate) fn factor(&self, kind: StreamKind) -> f64 {
        factor(kind, self.unit.as_deref()).unwrap_or(1.0)
    }
}

impl Description {
    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(DESCRIPTION);
        let text = std::fs::read_to_string(&path).map_err(|e| DataError::read(&path, e))?;
        if text.len() > LONGEST_DESCRIPTION {
            return Err(DataError::unsupported(&path, format!("longer than {LONGEST_DESCRIPTION} bytes")));
        }
        let description: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1;
            DataError::malformed(&path, line, error.message().to_owned())
        })?;
        description.check().map_err(|what| DataError::unsupported(&path, what))?;
        Ok(description)
    }

    fn check(&self) -> Result<(), String> {
        if self.streams.is_empty() {
            return Err("no stream: at least one [streams.KIND] was expected".into());
        }
        for (kind, source) in &self.streams {
            let at = format!("streams.{kind}");
            factor(*kind, source.unit.as_deref()).map_err(|why| format!("`{at}.unit`: {why}"))?;
            if source.rate.is_some_and(|rate| !(rate > 0.0 && rate <= FASTEST)) {
                return Err(format!("`{at}.rate`: not within 0 to {FASTEST} Hz"));
            }
            if source.offset.is_some_and(|offset| {
                offset.abs().partial_cmp(&WEEK_SECONDS).is_none_or(std::cmp::Ordering::is_gt)
            }) {
                return Err(format!("`{at}.offset`: more than a week"));
            }
            if source.offset.is_some() && source.rate.is_none() {
                return Err(format!(
                    "`{at}.offset`: only a stream with a `rate` has one; this one's file has times"
                ));
            }
            if let Some(file) = &source.file {
                inside(file).map_err(|why| format!("`{at}.file`: {why}"))?;
            }
        }
        if let Some(labels) = &self.labels {
            inside(&labels.file).map_err(|why| format!("`labels.file`: {why}"))?;
        }
        let clocks = self.streams.values().map(|source| source.time);
        let unix =
            clocks.chain(self.labels.iter().map(|labels| labels.time)).any(|clock| clock == Clock::Unix);
        match self.start {
            None if unix => {
                Err("`start` is missing: a file has unix times, so say which of them is time 0".into())
            }
            Some(start) if !start.is_finite() => Err("`start`: not a number of seconds".into()),
            _ => Ok(()),
        }
    }

    /// Where a stream's file is.
    pub(crate) fn path(folder: &Path, kind: StreamKind, source: &Source) -> PathBuf {
        let columns = folder.join(format!("{kind}{}", parquet::SUFFIX));
        match &source.file {
            Some(file) => folder.join(file),
            None if files::exist(&columns) => columns,
            None => folder.join(format!("{kind}.csv")),
        }
    }

    pub(crate) fn labels_path(folder: &Path, labels: &Labels) -> PathBuf {
        folder.join(&labels.file)
    }

    /// Seconds since time 0.
    fn time(&self, clock: Clock, word: &str) -> Result<f64, String> {
        let time = table::number(word)?;
        let time = match clock {
            Clock::Seconds => time,
            Clock::Unix => time - self.start.unwrap_or_default(),
        };
        if time.abs() <= WEEK_SECONDS {
            return Ok(time);
        }
        let hint = match clock {
            Clock::Seconds => "; for unix times say `time = \"unix\"`",
            Clock::Unix => "; is `start` the night's, in seconds?",
        };
        Err(format!("{word} is more than a week away from the recording's start{hint}"))
    }

    fn stream(&self, folder: &Path, kind: StreamKind, source: &Source) -> Result<Stream, DataError> {
        let path = Self::path(folder, kind, source);
        let factor = source.factor(kind);
        let timed = usize::from(source.rate.is_none());
        let (mut times, mut values) = (Vec::new(), Vec::new());
        let wanted = timed + kind.channels();
        rows(&path, wanted, source.rate.is_none(), |words| {
            times.push(match source.rate {
                None => self.time(source.time, words[0])?,
                Some(rate) => source.offset.unwrap_or_default() + times.len() as f64 / rate,
            });
            for word in &words[timed..] {
                // An empty cell is a sample that was lost; the rule for what is implausible drops it.
                let value = if word.is_empty() { f64::NAN } else { table::number(word)? };
                values.push((value * factor) as f32);
            }
            Ok(())
        })?;
        Ok(Stream::new(kind, times, values))
    }

    fn stages(&self, folder: &Path, labels: &Labels) -> Result<Vec<Option<Stage>>, DataError> {
        let mut stages: Vec<Option<Stage>> = Vec::new();
        let mut scored = std::collections::BTreeSet::new();
        rows(&Self::labels_path(folder, labels), 2, true, |words| {
            let time = self.time(labels.time, words[0])?;
            let epoch = (time / EPOCH_SECONDS).round();
            if (time - epoch * EPOCH_SECONDS).abs() > 1.0 || epoch < 0.0 {
                return Err(format!("{} s is not at the beginning of a 30-s epoch", words[0]));
            }
            let epoch = epoch as usize;
            if !scored.insert(epoch) {
                return Err(format!("the epoch at {} s is scored twice", words[0]));
            }
            if stages.len() <= epoch {
                stages.resize(epoch + 1, None);
            }
            stages[epoch] = stage(words[1])?;
            Ok(())
        })?;
        Ok(stages)
    }
}

/// A stage as people write it.
fn stage(word: &str) -> Result<Option<Stage>, String> {
    let named = |stage: &Stage| stage.name().eq_ignore_ascii_case(word);
    match word.to_ascii_uppercase().as_str() {
        "" | "?" | "-1" => Ok(None),
        "N4" => Ok(Some(Stage::N3)),
        "R" => Ok(Some(Stage::Rem)),
        _ => Stage::ALL.into_iter().find(named).map(Some).ok_or_else(|| {
            format!("{:?} is no stage: W, N1, N2, N3, REM or nothing was expected", table::shorten(word))
        }),
    }
}

/// What a value is multiplied with to be in [`StreamKind::unit`].
fn factor(kind: StreamKind, unit: Option<&str>) -> Result<f64, String> {
    let units = units(kind);
    let Some(unit) = unit else { return Ok(1.0) };
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(|| {
        let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("{unit:?} is no unit of {kind}: {} expected", known.join(", "))
    })
}

/// The units of a stream, the first of them its own, and what makes that of a value.
pub(crate) fn units(kind: StreamKind) -> &'static [(&'static str, f64)] {
    match kind {
        StreamKind::Hr => &[("bpm", 1.0), ("hz", 60.0)],
        StreamKind::Ibi => &[("s", 1.0), ("ms", 1e-3)],
        StreamKind::Activity => &[("counts", 1.0)],
        StreamKind::Posture | StreamKind::Accel => &[("g", 1.0), ("mg", 1e-3), ("m/s2", 1.0 / 9.806_65)],
        StreamKind::Ecg => &[("mV", 1.0), ("uV", 1e-3), ("V", 1e3)],
        StreamKind::Ppg => &[("a.u.", 1.0)],
    }
}

/// A recording's files lie in its folder.
fn inside(file: &str) -> Result<(), String> {
    let named = Path::new(file).file_name().is_some_and(|name| name == file);
    if named { Ok(()) } else { Err(format!("{file:?} is not the name of a file in this folder")) }
}

/// Every row behind the line that names the columns, `wanted` of them, the first `time` if there is one.
fn rows(
    path: &Path,
    wanted: usize,
    timed: bool,
    mut each: impl FnMut(&[&str]) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut named = false;
    table::lines(path, |_, text| {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if !named {
            named = true;
            return if words.iter().all(|word| word.parse::<f64>().is_ok()) {
                Err("the first line has to name the columns, and these are numbers".into())
            } else if words.len() != wanted {
                Err(format!("{wanted} columns expected, found {}: {:?}", words.len(), table::shorten(text)))
            } else if timed && words[0] != "time" {
                Err(format!("the first column is {:?}, `time` was expected", table::shorten(words[0])))
            } else {
                Ok(())
            };
        }
        if text.is_empty() && wanted > 1 {
            return Ok(());
        }
        if words.len() != wanted {
            return Err(format!(
                "{wanted} columns expected, found {}: {:?}",
                words.len(),
                table::shorten(text)
            ));
        }
        each(&words)
    })?;
    if named {
        Ok(())
    } else {
        Err(DataError::Empty { path: path.to_owned(), what: "no line with the columns' names" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NightRules, prepare};

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn of(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(dir.path().join(name), text).unwrap();
            }
            Self(dir)
        }

        fn fault(&self) -> String {
            let text = load(self.0.path()).unwrap_err().to_string();
            text.replace(&self.0.path().display().to_string(), "DIR")
        }
    }

    const ANNA: &str = "person = \"anna\"\n[streams.hr]\n";

    #[test]
    fn units_rates_and_clocks_become_one() {
        let toml = "person = \"anna\"\nnight = \"2026-03-09\"\nstart = 1773090000\n[streams.hr]\nunit = \"hz\"\ntime = \"unix\"\n\
                    [streams.accel]\nrate = 2.0\noffset = 10.0\nunit = \"mg\"\nfile = \"a.csv\"\n[labels]\nfile = \"s.csv\"\n";
        let hr = "time,rate\n1773090005,1.0\n1773090010,1.5\n1773090020,\n";
        let folder = Folder::of(&[
            ("recording.toml", toml),
            ("hr.csv", hr),
            ("a.csv", "x,y,z\n0,0,1000\n0,500,0\n"),
            ("s.csv", "time,stage\n0,W\n30,n2\n60,\n90,REM\n120,R\n"),
        ]);
        let mut all = load(folder.0.path()).unwrap();
        let anna = all.remove(0);
        assert_eq!((anna.id().as_str(), all.len()), ("anna/2026-03-09", 0));
        let hr = &anna.streams[&StreamKind::Hr];
        assert_eq!((hr.times(), hr.values(), hr.rejected()), (&[5.0, 10.0][..], &[60.0, 90.0][..], 1));
        let accel = &anna.streams[&StreamKind::Accel];
        assert_eq!((accel.times(), accel.values()), (&[10.0, 10.5][..], &[0.0, 0.0, 1.0, 0.0, 0.5, 0.0][..]));
        let stages = [Some(Stage::Wake), Some(Stage::N2), None, Some(Stage::Rem), Some(Stage::Rem)];
        assert_eq!(anna.labels, stages);
    }

    #[test]
    fn a_night_is_ready_for_a_model() {
        let mut hr = String::from("time,bpm\n");
        (0..2000).for_each(|i| hr.push_str(&format!("{},{}\n", i * 5, 60 + i % 7)));
        let folder = Folder::of(&[("recording.toml", ANNA), ("hr.csv", &hr)]);
        let night = prepare(&load(folder.0.path()).unwrap()[0], &NightRules::default()).unwrap();
        assert_eq!((night.epochs, night.quality.coverage[&StreamKind::Hr]), (333, 1.0));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let fault = |toml: &str, hr: &str| Folder::of(&[("recording.toml", toml), ("hr.csv", hr)]).fault();
        let columns = |hr: &str| fault(ANNA, hr);
        assert_eq!(
            columns("0,60\n"),
            "DIR/hr.csv:1: the first line has to name the columns, and these are numbers"
        );
        assert_eq!(columns("at,bpm\n"), "DIR/hr.csv:1: the first column is \"at\", `time` was expected");
        assert_eq!(
            columns("time,bpm\n0,60\n5,60,1\n"),
            "DIR/hr.csv:3: 2 columns expected, found 3: \"5,60,1\""
        );
        assert_eq!(columns("time,bpm\n0,6O\n"), "DIR/hr.csv:2: \"6O\" is not a number");
        let far = columns("time,bpm\n1773090000,60\n");
        assert!(
            far.starts_with("DIR/hr.csv:2: 1773090000 is more than a week away") && far.contains("unix"),
            "{far}"
        );
        assert_eq!(columns(""), "DIR/hr.csv: no line with the columns' names");
        let toml = |toml: &str| fault(toml, "time,bpm\n0,60\n");
        assert_eq!(
            toml("person = \"anna\"\n[streams.hr]\nunit = \"1/min\"\n"),
            "DIR/recording.toml: `streams.hr.unit`: \"1/min\" is no unit of hr: bpm, hz expected"
        );
        assert!(toml("person = \"anna\"\n[streams.pulse]\n").starts_with("DIR/recording.toml:2: "));
        let up = toml("person = \"anna\"\n[streams.hr]\nfile = \"../hr.csv\"\n");
        assert!(up.contains("is not the name of a file in this folder"), "{up}");
        let unix = toml("person = \"anna\"\n[streams.hr]\ntime = \"unix\"\n");
        assert!(unix.contains("`start` is missing"), "{unix}");
        assert_eq!(Folder::of(&[("recording.toml", ANNA)]).fault(), "DIR/hr.csv: no such file or folder");
        assert!(Folder::of(&[]).fault().contains("recording.toml"));
    }
}
