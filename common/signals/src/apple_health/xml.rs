//! Reads `export.xml`, which may be larger than the memory, element by element.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use quick_xml::errors::Error as XmlError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::when::{DAY, When};
use crate::table::shorten;
use crate::{DataError, files};

/// The root.
const ROOT: &str = "HealthData";
/// No element, nor what stands before the first, is longer, bytes.
const LONGEST: usize = 1 << 20;
/// Heart rates that are kept with their line, to judge their unit by.
const KEPT: usize = 50_000;
/// A record may be created this long before it ends, seconds.
const EARLY: i64 = 900;

const HEART_RATE: &str = "HKQuantityTypeIdentifierHeartRate";
const SLEEP: &str = "HKCategoryTypeIdentifierSleepAnalysis";
const SLEEP_VALUE: &str = "HKCategoryValueSleepAnalysis";

/// What of an export is about nights.
#[derive(Debug, Default)]
pub(crate) struct Export {
    /// Where the file really lies.
    pub(crate) path: PathBuf,
    pub(crate) sources: Vec<Source>,
    /// By moment and source, each once.
    pub(super) hearts: Vec<Heart>,
    /// By beginning, each once.
    pub(super) sleeps: Vec<Sleep>,
    /// The first heart rates, bpm, with their lines.
    pub(crate) values: Vec<(usize, f64)>,
    /// Records that were in it twice.
    pub(crate) repeated: usize,
    /// The line of the first record that was created before it happened, by how many seconds, and how many such there are.
    pub(crate) early: Option<(usize, i64, usize)>,
    /// The line of the first record of sleep that cannot be used, why, and how many such there are.
    pub(crate) strange: Option<(usize, String, usize)>,
}

/// What wrote a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// Whether it is worn on the wrist.
    pub(crate) watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Heart {
    pub(super) at: When,
    pub(super) bpm: f32,
    pub(super) source: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sleep {
    pub(super) from: When,
    pub(super) to: When,
    pub(super) state: State,
    pub(super) source: u16,
}

/// What a device says that somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    InBed,
    Known(super::Estimate),
}

impl Export {
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let source = files::open_long(path)?;
        let mut export = Self { path: source.path.clone(), ..Self::default() };
        let lines =
            Lines::new(BufReader::with_capacity(1 << 16, source)).map_err(|fault| export.fault(fault))?;
        let mut reader = Reader::from_reader(lines);
        let mut buffer = Vec::new();
        let mut depth = 0_usize;
        loop {
            buffer.clear();
            reader.get_mut().left = LONGEST;
            let event = reader.read_event_into(&mut buffer);
            let line = reader.get_ref().line;
            let told = match event {
                Ok(Event::Start(element)) => {
                    depth += 1;
                    export.element(line, &element)
                }
                Ok(Event::Empty(element)) => export.element(line, &element),
                Ok(Event::End(_)) => {
                    depth = depth.saturating_sub(1);
                    Ok(())
                }
                Ok(Event::Eof) if depth == 0 => break,
                Ok(Event::Eof) => Err(format!("cut off: the file ends, and {ROOT} does not")),
                Ok(_) => Ok(()),
                Err(XmlError::Io(error)) => {
                    return Err(DataError::read(
                        &export.path,
                        io::Error::new(error.kind(), error.to_string()),
                    ));
                }
                Err(error) => Err(format!("cut off or damaged, {error}")),
            };
            told.map_err(|what| export.fault((line, what)))?;
        }
        export.order();
        Ok(export)
    }

    fn fault(&self, (line, what): (usize, String)) -> DataError {
        DataError::malformed(&self.path, line, what)
    }

    fn element(&mut self, line: usize, element: &BytesStart<'_>) -> Result<(), String> {
        if element.name().as_ref() != "Record" {
            return Ok(());
        }
        let record = Record::read(element)?;
        match record.is.as_deref() {
            Some(HEART_RATE) => self.heart(line, &record),
            Some(SLEEP) => self.sleep(line, &record),
            _ => Ok(()),
        }
    }

    fn heart(&mut self, line: usize, record: &Record) -> Result<(), String> {
        let at = record.moment(&record.start, "startDate")?;
        let value = record.value.as_deref().unwrap_or_default();
        let value: f64 = value.parse().map_err(|_| format!("{:?} is no heart rate", shorten(value)))?;
        let bpm = match record.unit.as_deref() {
            Some("count/min") => value,
            Some("count/s") => value * 60.0,
            unit => {
                return Err(format!(
                    "heart rate in {:?}: count/min was expected",
                    shorten(unit.unwrap_or_default())
                ));
            }
        };
        if self.values.len() < KEPT {
            self.values.push((line, bpm));
        }
        let source = self.source(record)?;
        self.hearts.push(Heart { at, bpm: bpm as f32, source });
        self.created(line, at, record)
    }

    fn sleep(&mut self, line: usize, record: &Record) -> Result<(), String> {
        use super::Estimate::{Asleep, Awake, Core, Deep, Rem};
        let from = record.moment(&record.start, "startDate")?;
        let to = record.moment(&record.end, "endDate")?;
        let value = record.value.as_deref().unwrap_or_default();
        let state = match value.strip_prefix(SLEEP_VALUE) {
            Some("InBed") => Some(State::InBed),
            Some("Awake") => Some(State::Known(Awake)),
            Some("AsleepCore") => Some(State::Known(Core)),
            Some("AsleepDeep") => Some(State::Known(Deep)),
            Some("AsleepREM") => Some(State::Known(Rem)),
            Some("Asleep" | "AsleepUnspecified") => Some(State::Known(Asleep)),
            _ => None,
        };
        let seconds = to.second - from.second;
        let Some(state) = state.filter(|_| (1..=DAY).contains(&seconds)) else {
            let why = match state {
                None => format!("{:?} is no sleep that is known", shorten(value)),
                Some(_) => format!("it lasts {seconds} s"),
            };
            let (first, why, count) = self.strange.take().unwrap_or((line, why, 0));
            self.strange = Some((first, why, count + 1));
            return Ok(());
        };
        let source = self.source(record)?;
        self.sleeps.push(Sleep { from, to, state, source });
        self.created(line, to, record)
    }

    /// Nothing is written down before it happened, unless one of both is of another zone.
    fn created(&mut self, line: usize, end: When, record: &Record) -> Result<(), String> {
        if record.created.is_none() {
            return Ok(());
        }
        let early = end.second - record.moment(&record.created, "creationDate")?.second;
        if early > EARLY {
            let (first, by, count) = self.early.unwrap_or((line, early, 0));
            self.early = Some((first, by, count + 1));
        }
        Ok(())
    }

    fn source(&mut self, record: &Record) -> Result<u16, String> {
        let name = record.source.as_deref().unwrap_or("unknown");
        let watch =
            name.contains("Watch") || record.device.as_deref().is_some_and(|device| device.contains("Watch"));
        let known = self.sources.iter().position(|source| source.name == name);
        let place = known.unwrap_or_else(|| {
            self.sources.push(Source { name: name.to_owned(), watch: false });
            self.sources.len() - 1
        });
        self.sources[place].watch |= watch;
        u16::try_from(place).map_err(|_| "more sources than anybody has".to_owned())
    }

    fn order(&mut self) {
        let before = self.hearts.len() + self.sleeps.len();
        self.hearts.sort_by_key(|heart| (heart.at.second, heart.source));
        self.hearts.dedup_by_key(|heart| (heart.at.second, heart.source));
        self.sleeps.sort_unstable();
        self.sleeps.dedup();
        self.repeated = before - self.hearts.len() - self.sleeps.len();
    }
}

/// The attributes of a record that matter.
#[derive(Debug, Default)]
struct Record {
    is: Option<String>,
    source: Option<String>,
    device: Option<String>,
    unit: Option<String>,
    created: Option<String>,
    start: Option<String>,
    end: Option<String>,
    value: Option<String>,
}

impl Record {
    fn read(element: &BytesStart<'_>) -> Result<Self, String> {
        let mut record = Self::default();
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|error| format!("damaged, {error}"))?;
            let place = match attribute.key.as_ref() {
                "type" => &mut record.is,
                "sourceName" => &mut record.source,
                "device" => &mut record.device,
                "unit" => &mut record.unit,
                "creationDate" => &mut record.created,
                "startDate" => &mut record.start,
                "endDate" => &mut record.end,
                "value" => &mut record.value,
                _ => continue,
            };
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| format!("damaged, {error}"))?;
            *place = Some(value.into_owned());
            // Most records are about something else, and most of their text is not for us.
            if record.is.as_deref().is_some_and(|is| is != HEART_RATE && is != SLEEP) {
                break;
            }
        }
        Ok(record)
    }

    fn moment(&self, text: &Option<String>, name: &str) -> Result<When, String> {
        let text = text.as_deref().ok_or_else(|| format!("a record without {name}"))?;
        When::read(text).map_err(|what| format!("{name}: {what}"))
    }
}

/// Counts lines, and refuses what never ends.
struct Lines<R> {
    inner: io::Chain<Cursor<Vec<u8>>, R>,
    /// From 1.
    line: usize,
    /// Bytes that may still be read.
    left: usize,
}

impl<R: BufRead> Lines<R> {
    /// Passes over everything before the root: the document type of some versions is not well-formed, and nothing in it is needed.
    fn new(mut reader: R) -> Result<Self, (usize, String)> {
        let root = format!("<{ROOT}");
        let mut left = LONGEST;
        let mut line = 1;
        let mut text = Vec::new();
        while left > 0 {
            text.clear();
            let read = reader.by_ref().take(left as u64).read_until(b'\n', &mut text);
            if read.map_err(|error| (line, error.to_string()))? == 0 {
                break;
            }
            left -= text.len();
            if let Some(at) = text.windows(root.len()).position(|window| window == root.as_bytes()) {
                let rest = Cursor::new(text.split_off(at));
                return Ok(Self { inner: rest.chain(reader), line, left: LONGEST });
            }
            line += usize::from(text.ends_with(b"\n"));
        }
        Err((line, format!("this is no export of Apple Health, or cut off: it has no {ROOT}")))
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Lines<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "line {}: an element of more than {LONGEST} bytes",
                self.line
            )));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(held) = self.inner.fill_buf() {
            self.line += held[..amount].iter().filter(|byte| **byte == b'\n').count();
        }
        self.left = self.left.saturating_sub(amount);
        self.inner.consume(amount);
    }
}
