//! Samples into folders.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::line::Sample;
use super::order;
use crate::calendar::Date;
use crate::{DataError, PersonId, StreamKind, plain};

/// A night is over when nothing came for so long.
pub const GAP: Duration = Duration::from_secs(3600);
/// A night that lasts longer is another one, seconds: somebody wears the device all day.
const LONGEST: f64 = 86_400.0;
/// A folder that is being written.
const OPEN: &str = ".recording-";
/// Whoever writes into a folder holds this file of it.
const LOCK: &str = ".recording.lock";

/// Writes one person's nights.
#[derive(Debug)]
pub struct Recorder {
    dir: PathBuf,
    person: PersonId,
    night: Option<Night>,
    /// Held as long as it is open.
    _lock: File,
}

/// The one that goes on.
#[derive(Debug)]
struct Night {
    folder: PathBuf,
    /// Unix seconds of the first sample, and of the last.
    start: f64,
    last: f64,
    tracks: BTreeMap<StreamKind, Track>,
}

/// A stream of it.
#[derive(Debug)]
struct Track {
    file: BufWriter<File>,
    last: f64,
    /// Whether some sample came after a later one.
    shuffled: bool,
}

impl Recorder {
    /// Writes into `dir`, which is made if it is not there. Takes up what was not finished.
    ///
    /// # Errors
    /// [`DataError`] if `dir` cannot be written, another program records into it, or what is
    /// unfinished in it was not written by this, or is of somebody else.
    pub fn open(dir: &Path, person: PersonId) -> Result<Self, DataError> {
        fs::create_dir_all(dir).map_err(|error| DataError::write(dir, error))?;
        let mut recorder = Self { dir: dir.to_owned(), person, night: None, _lock: lock(dir)? };
        let mut unfinished = Vec::new();
        for entry in fs::read_dir(dir).map_err(|error| DataError::read(dir, error))? {
            let entry = entry.map_err(|error| DataError::read(dir, error))?;
            if entry.file_name().to_string_lossy().starts_with(OPEN) {
                unfinished.push(entry.path());
            }
        }
        unfinished.sort();
        for folder in unfinished {
            recorder.finish()?;
            recorder.night = Night::resume(folder, &recorder.person)?;
        }
        Ok(recorder)
    }

    /// Writes a sample down; the folder of the night before it, if that is over now.
    ///
    /// # Errors
    /// [`DataError::Write`].
    pub fn push(&mut self, sample: &Sample) -> Result<Option<PathBuf>, DataError> {
        let same = |night: &Night| {
            sample.time - night.last <= GAP.as_secs_f64() && (sample.time - night.start).abs() <= LONGEST
        };
        let finished = if self.night.as_ref().is_some_and(same) { None } else { self.finish()? };
        let night = match &mut self.night {
            Some(night) => night,
            none => none.insert(Night::begin(&self.dir, &self.person, sample.time)?),
        };
        night.push(&self.person, sample)?;
        Ok(finished)
    }

    /// Whether a night goes on.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.night.is_some()
    }

    /// Lets the disk have what was written.
    ///
    /// # Errors
    /// [`DataError::Write`].
    pub fn flush(&mut self) -> Result<(), DataError> {
        self.night.as_mut().map_or(Ok(()), Night::flush)
    }

    /// Ends the night, if there is one, and shows it; its folder.
    ///
    /// # Errors
    /// [`DataError::Write`].
    pub fn finish(&mut self) -> Result<Option<PathBuf>, DataError> {
        let Some(mut night) = self.night.take() else { return Ok(None) };
        night.flush()?;
        night.sort()?;
        let name = name(night.start.floor());
        // Two that began in one second: a device whose clock was set back.
        let places =
            (1..100).map(|i| self.dir.join(if i == 1 { name.clone() } else { format!("{name}-{i}") }));
        let free = places.into_iter().find(|place| !place.exists()).unwrap_or_else(|| self.dir.join(&name));
        let label = free.file_name().map_or(name, |name| name.to_string_lossy().into_owned());
        night.describe(&self.person, &label)?;
        fs::rename(&night.folder, &free).map_err(|error| DataError::write(&free, error))?;
        Ok(Some(free))
    }
}

impl Night {
    fn begin(dir: &Path, person: &PersonId, start: f64) -> Result<Self, DataError> {
        let folder = dir.join(format!("{OPEN}{person}-{}", start.floor()));
        fs::create_dir_all(&folder).map_err(|error| DataError::write(&folder, error))?;
        Ok(Self { folder, start, last: start, tracks: BTreeMap::new() })
    }

    /// What a crash left: lines that are not whole are taken off. None if there was nothing.
    fn resume(folder: PathBuf, person: &PersonId) -> Result<Option<Self>, DataError> {
        let name = folder.file_name().and_then(|name| name.to_str()?.strip_prefix(OPEN));
        let parts = name.and_then(|name| {
            let (whose, start) = name.rsplit_once('-')?;
            Some((whose, start.parse::<f64>().ok()?))
        });
        let Some((whose, start)) = parts else {
            return Err(DataError::unsupported(&folder, "not written by a recorder: move it elsewhere"));
        };
        if whose != person.as_str() {
            let what =
                format!("an unfinished night of {whose}: listen once for {whose}, or move it elsewhere");
            return Err(DataError::unsupported(&folder, what));
        }
        let mut night = Self { folder, start, last: start, tracks: BTreeMap::new() };
        for kind in StreamKind::ALL {
            let path = night.path(kind);
            if !path.is_file() {
                continue;
            }
            let track = Track::resume(&path, kind, |time| {
                night.start = night.start.min(time);
                night.last = night.last.max(time);
            });
            night.tracks.insert(kind, track.map_err(|error| DataError::write(&path, error))?);
        }
        if night.tracks.is_empty() {
            fs::remove_dir_all(&night.folder).map_err(|error| DataError::write(&night.folder, error))?;
            return Ok(None);
        }
        Ok(Some(night))
    }

    fn path(&self, kind: StreamKind) -> PathBuf {
        self.folder.join(format!("{kind}.csv"))
    }

    fn push(&mut self, person: &PersonId, sample: &Sample) -> Result<(), DataError> {
        let path = self.path(sample.kind);
        let write = |error| DataError::write(&path, error);
        self.start = self.start.min(sample.time);
        self.last = self.last.max(sample.time);
        if let Entry::Vacant(place) = self.tracks.entry(sample.kind) {
            place.insert(Track::begin(&path, sample.kind).map_err(write)?);
            self.describe(person, &name(self.start.floor()))?;
        }
        let Some(track) = self.tracks.get_mut(&sample.kind) else { return Ok(()) };
        track.push(sample).map_err(write)
    }

    fn flush(&mut self) -> Result<(), DataError> {
        for (kind, track) in &mut self.tracks {
            let path = self.folder.join(format!("{kind}.csv"));
            let written = track.file.flush().and_then(|()| track.file.get_ref().sync_data());
            written.map_err(|error| DataError::write(&path, error))?;
        }
        Ok(())
    }

    /// Of what was flushed.
    fn sort(&self) -> Result<(), DataError> {
        for (kind, _) in self.tracks.iter().filter(|(_, track)| track.shuffled) {
            let path = self.path(*kind);
            order::sort(&path).map_err(|error| DataError::write(&path, error))?;
        }
        Ok(())
    }

    fn describe(&self, person: &PersonId, name: &str) -> Result<(), DataError> {
        let mut text = format!("person = \"{person}\"\nnight = \"{name}\"\nstart = {}\n", self.start.floor());
        for kind in self.tracks.keys() {
            text.push_str(&format!("\n[streams.{kind}]\ntime = \"unix\"\n"));
        }
        let path = self.folder.join(plain::DESCRIPTION);
        fs::write(&path, text).map_err(|error| DataError::write(&path, error))
    }
}

impl Track {
    fn begin(path: &Path, kind: StreamKind) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(header(kind).as_bytes())?;
        Ok(Self { file, last: f64::NEG_INFINITY, shuffled: false })
    }

    /// Takes off what has no end; calls `seen` with each time.
    fn resume(path: &Path, kind: StreamKind, mut seen: impl FnMut(f64)) -> io::Result<Self> {
        let (mut last, mut shuffled, mut whole) = (f64::NEG_INFINITY, false, 0);
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            whole += line.len() as u64;
            if let Some(time) = std::str::from_utf8(&line).ok().and_then(order::time) {
                shuffled |= time < last;
                last = last.max(time);
                seen(time);
            }
            line.clear();
        }
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(whole)?;
        let mut file = BufWriter::new(file);
        if whole == 0 {
            file.write_all(header(kind).as_bytes())?;
        }
        Ok(Self { file, last, shuffled })
    }

    fn push(&mut self, sample: &Sample) -> io::Result<()> {
        self.shuffled |= sample.time < self.last;
        self.last = self.last.max(sample.time);
        write!(self.file, "{}", sample.time)?;
        for value in &sample.values[..sample.kind.channels()] {
            write!(self.file, ",{value}")?;
        }
        self.file.write_all(b"\n")
    }
}

/// Two that write into one folder would take each other's unfinished night. The system lets go of it when a program ends.
fn lock(dir: &Path) -> Result<File, DataError> {
    let path = dir.join(LOCK);
    let file = File::create(&path).map_err(|error| DataError::write(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = "another program records into this folder already: stop it, or give each its own";
            Err(DataError::unsupported(dir, what))
        }
        Err(TryLockError::Error(error)) => Err(DataError::write(&path, error)),
    }
}

fn header(kind: StreamKind) -> &'static str {
    if kind.channels() == 3 { "time,x,y,z\n" } else { "time,value\n" }
}

/// `2026-03-09T22-00-05Z`.
fn name(start: f64) -> String {
    let second = start as i64;
    let (day, clock) = (second.div_euclid(86_400), second.rem_euclid(86_400));
    let date = Date::of_number(day).map_or_else(|| day.to_string(), |date| date.to_string());
    format!("{date}T{:02}-{:02}-{:02}Z", clock / 3600, clock / 60 % 60, clock % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contents, Layout, NightRules, inspect, prepare};

    const START: f64 = 1_773_090_005.0;

    fn hr(second: f64) -> Sample {
        Sample {
            kind: StreamKind::Hr,
            time: START + second,
            values: [60.0 + (second / 300.0) as f32 % 7.0, 0.0, 0.0],
        }
    }

    fn accel(second: f64) -> Sample {
        Sample { kind: StreamKind::Accel, time: START + second, values: [0.0, 0.6, -0.8] }
    }

    fn recorder(dir: &Path) -> Recorder {
        Recorder::open(dir, PersonId::new("anna").unwrap()).unwrap()
    }

    #[test]
    fn a_night_is_shown_once_it_is_over_and_is_what_came() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = recorder(dir.path());
        for i in 0..1500 {
            assert_eq!(recorder.push(&hr(f64::from(i) * 5.0)).unwrap(), None);
            recorder.push(&accel(f64::from(i) * 5.0 + 0.25)).unwrap();
        }
        assert!(recorder.is_recording() && Layout::detect(dir.path()).is_err());
        assert_eq!(Contents::of(dir.path()).unwrap(), Contents::default());
        // The next evening.
        let shown = recorder.push(&hr(86_000.0)).unwrap().unwrap();
        assert!(shown.ends_with("2026-03-09T21-00-05Z"), "{}", shown.display());
        let night = Layout::detect(dir.path()).unwrap().load(dir.path()).unwrap().remove(0);
        assert_eq!(night.id(), "anna/2026-03-09T21-00-05Z");
        let stream = &night.streams[&StreamKind::Hr];
        assert_eq!((stream.len(), stream.times()[1], stream.values()[1]), (1500, 5.0, hr(5.0).values[0]));
        assert_eq!(night.streams[&StreamKind::Accel].sample(3), [0.0, 0.6, -0.8]);
        assert_eq!(night.streams[&StreamKind::Accel].times()[0], 0.25);
        assert!(prepare(&night, &NightRules::default()).is_ok());
        assert!(recorder.finish().unwrap().is_some() && recorder.finish().unwrap().is_none());
        assert_eq!(Layout::Plain.load(dir.path()).unwrap().len(), 2);
    }

    #[test]
    fn what_a_crash_left_is_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = recorder(dir.path());
        (0..100).for_each(|i| drop(first.push(&hr(f64::from(i))).unwrap()));
        first.flush().unwrap();
        let open = dir.path().join(format!("{OPEN}anna-{START}"));
        let mut text = fs::read(open.join("hr.csv")).unwrap();
        text.extend(b"17730901");
        fs::write(open.join("hr.csv"), text).unwrap();
        fs::write(open.join("ibi.csv"), "ti").unwrap();
        drop(first);
        let error = Recorder::open(dir.path(), PersonId::new("bert").unwrap()).unwrap_err().to_string();
        assert!(error.contains("an unfinished night of anna"), "{error}");
        let mut second = recorder(dir.path());
        assert_eq!(second.push(&hr(1000.0)).unwrap(), None, "the same night");
        assert_eq!(second.push(&hr(99_000.0)).unwrap().unwrap().file_name().unwrap(), "2026-03-09T21-00-05Z");
        let night = Layout::Plain.load(dir.path()).unwrap().remove(0);
        assert_eq!(night.streams[&StreamKind::Hr].len(), 101);
        drop(second);
        // Of a night that is long over, nothing can come any more.
        let mut third = recorder(dir.path());
        assert!(third.push(&hr(200_000.0)).unwrap().is_some());
        // Who set the clock back has two nights and loses none.
        third.finish().unwrap();
        third.push(&hr(0.0)).unwrap();
        assert!(third.finish().unwrap().unwrap().ends_with("2026-03-09T21-00-05Z-2"));
        assert_eq!(Layout::Plain.load(dir.path()).unwrap().len(), 4);
        drop(third);
        fs::create_dir(dir.path().join(".recording-mine")).unwrap();
        let error = Recorder::open(dir.path(), PersonId::new("anna").unwrap()).unwrap_err().to_string();
        assert!(error.contains("not written by a recorder"), "{error}");
    }

    #[test]
    fn samples_need_no_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = recorder(dir.path());
        let seconds = |i: u32| f64::from(i) * 5.0;
        // Of 1500 every third comes ten late, and the first of all in the middle.
        for i in 1_u32..1500 {
            let late = if i % 3 == 0 { i.checked_sub(30) } else { Some(i) };
            late.filter(|late| *late > 0).iter().for_each(|i| drop(first.push(&hr(seconds(*i))).unwrap()));
            if i == 700 {
                first.push(&accel(-40.5)).unwrap();
                first.push(&hr(0.0)).unwrap();
                first.flush().unwrap();
                drop(first);
                first = recorder(dir.path());
            }
        }
        (1470..1500).filter(|i| i % 3 == 0).for_each(|i| drop(first.push(&hr(seconds(i))).unwrap()));
        assert!(first.finish().unwrap().unwrap().ends_with("2026-03-09T20-59-24Z"));
        let night = Layout::Plain.load(dir.path()).unwrap().remove(0);
        let hr = &night.streams[&StreamKind::Hr];
        assert_eq!((hr.len(), hr.times()[0], hr.times()[1], hr.rejected()), (1500, 41.0, 46.0, 0));
        assert_eq!(night.streams[&StreamKind::Accel].times(), [0.5]);
        let looked = inspect(dir.path(), &NightRules::default()).findings;
        assert!(!looked.iter().any(|finding| finding.what.contains("goes back")), "{looked:?}");
    }

    #[test]
    fn two_do_not_write_into_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = recorder(dir.path());
        for person in ["anna", "bert"] {
            let error = Recorder::open(dir.path(), PersonId::new(person).unwrap()).unwrap_err().to_string();
            assert!(error.contains("another program records into this folder already"), "{error}");
        }
        drop(first);
        recorder(dir.path());
    }
}
