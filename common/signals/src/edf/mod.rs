//! EDF and EDF+ files: polysomnographs, Holter recorders and many wristbands write them.
//!
//! Read as Kemp et al. 1992 ("A simple format for exchange of digitized polygraphic recordings") and Kemp and Olivan 2003
//! ("European data format 'plus'") define them, `EDF+D` with its breaks too; BDF is not. A folder holds
//!
//! | file | is |
//! |---|---|
//! | `PERSON.edf`, `PERSON+NIGHT.edf` | signals, and perhaps stages among the annotations of an EDF+ |
//! | `PERSON-Hypnogram.edf`, or anything else behind `-` or `_` | annotations alone: the stages of that recording |
//! | `SC4001E0-PSG.edf`, `SC4001EC-Hypnogram.edf` | the same as Sleep-EDF names it: person `SC400`, night `1` |
//!
//! An electrocardiogram, a pulse wave, heart rate in beats per minute and three axes of acceleration become streams, told by
//! label and unit ([`channels`]); nothing else is used. Epochs begin with the first stage; `Sleep stage 3` and `4` are N3. The start
//! of a file is a time of day without a zone, so that two files of a night must come from one clock.

mod annotations;
mod channels;
mod header;
mod records;
mod stages;
mod start;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::derive::{BRIDGED_SECONDS, beats};
use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS, WEEK_SECONDS};
use crate::{DataError, PersonId, Recording, Segment, Stream, StreamKind, derive, files, night_order};

pub use annotations::Annotation;
pub use channels::{Channel, Role, channels};
pub use header::{Header, Kind, Scale, SignalHeader};
pub use records::Edf;
pub use start::Start;

use header::Fault;

/// How the files' names end, in small letters or capitals.
pub(crate) const SUFFIX: &str = ".edf";

/// Whether a file is one by its name.
pub(crate) fn named(name: &str) -> bool {
    let at = name.len().saturating_sub(SUFFIX.len());
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX)) && at > 0
}

/// What a file says of itself.
///
/// # Errors
/// [`DataError`] naming the file and the field, by its byte.
pub fn header(path: &Path) -> Result<Header, DataError> {
    let mut source = files::open(path)?;
    Header::read(&mut source).map_err(|fault| error(&source.path, fault))
}

/// A file with the signals that `keep` says yes to, of those that can be made physical. Memory is taken for these alone.
///
/// # Errors
/// [`DataError`] naming the file and the field or the record: also when it does not end where its header says.
pub fn read(path: &Path, keep: impl Fn(usize, &SignalHeader) -> bool) -> Result<Edf, DataError> {
    let source = files::open(path)?;
    let place = source.path.clone();
    // Records are small and many.
    Edf::read(std::io::BufReader::with_capacity(1 << 16, source), keep).map_err(|fault| error(&place, fault))
}

fn error(path: &Path, fault: Fault) -> DataError {
    match fault {
        Fault::Wrong(what) => DataError::corrupt(path, what),
        Fault::Another(what) => DataError::unsupported(path, what),
        Fault::Read(source) => DataError::read(path, source),
    }
}

/// The files of one recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Whose.
    pub person: PersonId,
    /// Which of the person's nights.
    pub night: String,
    /// The signals.
    pub signals: PathBuf,
    /// The stages, if they are in a file of their own.
    pub stages: Option<PathBuf>,
}

/// The recordings of a folder, by person and [`night_order`]. Only headers are read.
///
/// # Errors
/// [`DataError`] when there is none, a file is none or is called what no person can be, stages belong to no recording.
pub fn list(dir: &Path) -> Result<Vec<Files>, DataError> {
    let names: Vec<String> = files::names(dir)?.into_iter().filter(|name| named(name)).collect();
    let (mut recordings, mut scorings) = (Vec::new(), Vec::new());
    for name in names {
        let text = header(&dir.join(&name))?.signals.iter().all(SignalHeader::is_annotations);
        if text { scorings.push(name) } else { recordings.push(name) }
    }
    if recordings.is_empty() {
        let what = "no recordings: EDF files with signals were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    let mut found = recordings.iter().map(|name| files_of(dir, name)).collect::<Result<Vec<_>, _>>()?;
    for name in &scorings {
        let path = dir.join(name);
        let owner = stages::owner(name, &recordings).map(|owner| dir.join(owner));
        let Some(of) = found.iter_mut().find(|files| Some(&files.signals) == owner.as_ref()) else {
            let what = "it has annotations alone, and no file here has the signals: for NAME-Hypnogram.edf, NAME.edf was expected";
            return Err(DataError::unsupported(&path, what));
        };
        if let Some(other) = of.stages.replace(path.clone()) {
            let what =
                format!("{} has annotations of the same recording: keep one of them here", other.display());
            return Err(DataError::unsupported(&path, what));
        }
    }
    found.sort_by(|a, b| a.person.cmp(&b.person).then_with(|| night_order(&a.night, &b.night)));
    Ok(found)
}

fn files_of(dir: &Path, name: &str) -> Result<Files, DataError> {
    let (signals, stem) = (dir.join(name), stages::stem(name));
    let (person, night) =
        stem.split_once('+').or_else(|| stages::sleep_edf(stem)).unwrap_or((stem, DEFAULT_NIGHT));
    let person = files::person(&signals, person)?;
    if !stem.contains('+') || PersonId::new(night).is_ok() {
        return Ok(Files { person, night: night.to_owned(), signals, stages: None });
    }
    Err(DataError::unsupported(&signals, format!("{night:?} is no name of a night: rename the file")))
}

/// Every recording of a folder, with the streams that can be derived. Waveforms of which beats were made are not kept: a folder of
/// them is larger than a hub's memory. [`load_files`] has them.
///
/// # Errors
/// As [`list`] and [`load_files`].
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    list(dir)?.iter().map(|files| Ok(Night::read(files)?.without_waveforms())).collect()
}

/// The recordings of one person; nobody else's files are read beyond their header.
///
/// # Errors
/// As [`load`]; [`DataError::Unsupported`] when the person has none.
pub fn load_person(dir: &Path, person: &PersonId) -> Result<Vec<Recording>, DataError> {
    let own: Vec<Files> = list(dir)?.into_iter().filter(|files| files.person == *person).collect();
    if own.is_empty() {
        return Err(DataError::unsupported(dir, format!("{person} has no recording here")));
    }
    own.iter().map(|files| Ok(Night::read(files)?.without_waveforms())).collect()
}

/// Everyone with a recording, sorted.
///
/// # Errors
/// As [`list`].
pub fn people(dir: &Path) -> Result<Vec<PersonId>, DataError> {
    let mut people: Vec<PersonId> = list(dir)?.into_iter().map(|files| files.person).collect();
    people.dedup();
    Ok(people)
}

/// One recording with its waveforms; nothing is derived. As long as its file.
///
/// # Errors
/// [`DataError`] naming the file and the field, the record or the annotation.
pub fn load_files(files: &Files) -> Result<Recording, DataError> {
    let night = Night::read(files)?;
    let streams = night.raw.into_iter().map(|raw| raw.stream(night.phase)).collect();
    Ok(Recording { streams, ..night.bare })
}

/// A recording whose signals are not streams yet.
struct Night {
    /// Without streams.
    bare: Recording,
    /// In the order of their kinds.
    raw: Vec<Raw>,
    /// Where its epochs begin, seconds since the file's start.
    phase: f64,
}

impl Night {
    fn read(files: &Files) -> Result<Self, DataError> {
        let header = header(&files.signals)?;
        let channels = channels(&header);
        let used =
            |i: usize| channels.get(i).is_some_and(|channel| matches!(channel.role, Role::Stream { .. }));
        let mut file = read(&files.signals, |i, _| used(i))?;
        let scoring = scoring(files, &file)?;
        let phase = stages::phase(&scoring.stages);
        let epochs = ((file.end().min(WEEK_SECONDS) - phase) / EPOCH_SECONDS).max(0.0) as usize;
        let labels = stages::labels(&scoring.stages, phase, epochs)
            .map_err(|what| DataError::corrupt(&scoring.path, what))?;
        let (person, name) = (files.person.clone(), files.night.clone());
        let bare = Recording { person, name, streams: BTreeMap::new(), labels };
        Ok(Self { bare, raw: raw(&mut file, &channels), phase })
    }

    /// Beats are found in a waveform as it lies there: with a time for each sample it would be three times as large.
    fn without_waveforms(mut self) -> Recording {
        let waveform = |kind: StreamKind| matches!(kind, StreamKind::Ecg | StreamKind::Ppg);
        let mut waves = self.raw.iter().filter(|raw| waveform(raw.kind));
        let beats = waves.find_map(|raw| raw.beats(self.phase).filter(|beats| !beats.is_empty()));
        if beats.is_some() {
            self.raw.retain(|raw| !waveform(raw.kind));
        }
        let mut streams: BTreeMap<_, _> = self.raw.into_iter().map(|raw| raw.stream(self.phase)).collect();
        streams.extend(beats.map(|beats| (StreamKind::Ibi, beats)));
        let mut recording = derive(Recording { streams, ..self.bare });
        if recording.streams.contains_key(&StreamKind::Ibi) {
            recording.streams.retain(|kind, _| !waveform(*kind));
        }
        recording
    }
}

/// The stages of a recording.
pub(crate) struct Scoring {
    /// Where they stand.
    pub(crate) path: PathBuf,
    /// On the clock of the signals.
    pub(crate) stages: Vec<stages::Scored>,
    /// Annotations that are no stages.
    pub(crate) others: usize,
}

/// The stages of `files`, whose signals' file is `file`.
pub(crate) fn scoring(files: &Files, file: &Edf) -> Result<Scoring, DataError> {
    let of = |path: &Path, annotations: &[Annotation]| {
        stages::of(annotations).map_err(|what| DataError::corrupt(path, what))
    };
    let (own, others) = of(&files.signals, &file.annotations)?;
    let Some(path) = &files.stages else {
        return Ok(Scoring { path: files.signals.clone(), stages: own, others });
    };
    if !own.is_empty() {
        let what = format!("{} has stages too: remove one of both", files.signals.display());
        return Err(DataError::unsupported(path, what));
    }
    let apart = read(path, |_, _| false)?;
    let later = apart.header.start.since(file.header.start);
    let (mut stages, more) = of(path, &apart.annotations)?;
    stages.iter_mut().for_each(|scored| scored.onset += later);
    let inside = |scored: &stages::Scored| scored.onset < file.end() && scored.onset + scored.duration > 0.0;
    if !stages.is_empty() && !stages.iter().any(inside) {
        let what = format!(
            "its stages begin {:.0} min after the signals of {}, and none is within them: look at the start dates and times of both",
            stages[0].onset / 60.0,
            files.signals.display()
        );
        return Err(DataError::corrupt(path, what));
    }
    Ok(Scoring { path: path.clone(), stages, others: others + more })
}

/// Samples before anybody asked whether a body can have made them.
pub(crate) struct Raw {
    pub(crate) kind: StreamKind,
    pub(crate) label: String,
    /// `[samples, channels]`.
    pub(crate) values: Vec<f32>,
    /// Samples in a data record.
    pub(crate) per_record: usize,
    /// Seconds from one to the next.
    step: f64,
    /// When each record begins.
    records: Vec<f64>,
}

impl Raw {
    pub(crate) fn len(&self) -> usize {
        self.values.len() / self.kind.channels()
    }

    /// When sample `i` was measured, seconds since the file's start.
    fn time(&self, i: usize) -> f64 {
        self.records[i / self.per_record] + (i % self.per_record) as f64 * self.step
    }

    /// The first sample that is not before `phase`.
    fn first(&self, phase: f64) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.time(middle) < phase { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// From `phase` on, on a clock that begins there.
    fn stream(mut self, phase: f64) -> (StreamKind, Stream) {
        let first = self.first(phase);
        let times = (first..self.len()).map(|i| self.time(i) - phase).collect();
        self.values.drain(..first * self.kind.channels());
        (self.kind, Stream::new(self.kind, times, self.values))
    }

    /// The beats of a waveform, as of its [`Raw::stream`]; `None` if that would leave out samples.
    fn beats(&self, phase: f64) -> Option<Stream> {
        let first = self.first(phase);
        let count = self.len() - first;
        let whole = self.values[first..].iter().all(|value| self.kind.plausible(*value));
        let runs = || {
            let time = |i: usize| self.time(first + i) - phase;
            Segment::runs(count, time, |i| self.values[first + i], BRIDGED_SECONDS)
        };
        whole.then(|| beats(self.kind, runs()))
    }
}

/// What its channels make, by kind. Takes their signals out of the file.
pub(crate) fn raw(file: &mut Edf, channels: &[Channel]) -> Vec<Raw> {
    let mut made: BTreeMap<StreamKind, Raw> = BTreeMap::new();
    for channel in channels {
        let Role::Stream { kind, axis, factor } = channel.role else { continue };
        let Some(mut signal) = file.signals.remove(&channel.place) else { continue };
        signal.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        let (width, per_record) = (kind.channels(), file.header.signals[channel.place].samples);
        let raw = made.entry(kind).or_insert_with(|| Raw {
            kind,
            label: channel.label.clone(),
            values: if width == 1 { Vec::new() } else { vec![0.0; signal.len() * width] },
            per_record,
            step: file.header.seconds / per_record as f64,
            records: file.records.clone(),
        });
        if width == 1 {
            raw.values = signal;
        } else {
            let places = raw.values.iter_mut().skip(axis).step_by(width);
            places.zip(signal).for_each(|(place, value)| *place = value);
        }
    }
    made.into_values().collect()
}
