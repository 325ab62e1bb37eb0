//! The header: fixed places of ASCII, padded with blanks.

use std::io::Read;

use super::start::{self, Start};
use crate::recording::WEEK_SECONDS;
use crate::table::shorten;

/// Bytes of the part about the file, and of that about each signal.
const BLOCK: usize = 256;
/// No data record is larger, bytes. The format asks for 61,440 and recorders overstep it a little.
const LARGEST_RECORD: u64 = 1 << 26;
/// What EDF+ calls a signal that is made of text.
const ANNOTATIONS: &str = "EDF Annotations";

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The patient field, blanks removed; in EDF+ code, sex, birthday and name.
    pub patient: String,
    /// The recording field, blanks removed.
    pub recording: String,
    /// When the first record began, on a clock of a zone that the format has no place for.
    pub start: Start,
    /// How records follow each other.
    pub kind: Kind,
    /// Data records; `None` where the header says -1, as while a recording goes on.
    pub records: Option<usize>,
    /// Seconds that a data record lasts; 0 only in a file of annotations alone.
    pub seconds: f64,
    /// Every signal, annotations among them.
    pub signals: Vec<SignalHeader>,
}

/// How data records follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// EDF of 1992: without a break, and without annotations.
    Edf,
    /// EDF+C: without a break.
    Continuous,
    /// EDF+D: each record says when it began.
    Discontinuous,
}

/// What a file says of one of its signals.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalHeader {
    /// Such as `ECG II`.
    pub label: String,
    /// The physical dimension: `uV`, `mV`, ...
    pub unit: String,
    /// Samples in a data record.
    pub samples: usize,
    /// What makes a sample physical; or what is wrong with the fields that should say so, which only matters to who wants to know.
    pub scale: Result<Scale, String>,
}

/// From the number stored to the one measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    digital: f64,
    physical: f64,
    gain: f64,
}

impl Scale {
    /// The value in the signal's unit.
    #[must_use]
    pub fn physical(self, stored: i16) -> f64 {
        (f64::from(stored) - self.digital) * self.gain + self.physical
    }
}

impl SignalHeader {
    /// Whether it is text.
    #[must_use]
    pub fn is_annotations(&self) -> bool {
        self.label == ANNOTATIONS
    }
}

impl Header {
    /// Bytes of a data record.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.signals.iter().map(|signal| 2 * signal.samples).sum()
    }

    /// Samples of signal `i` a second; `None` where records last no time, or there is no such signal.
    #[must_use]
    pub fn rate(&self, i: usize) -> Option<f64> {
        let signal = self.signals.get(i)?;
        (self.seconds > 0.0).then(|| signal.samples as f64 / self.seconds)
    }

    /// Reads as far as the first data record.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, Fault> {
        let bytes = take(reader, BLOCK, "the header")?;
        let mut fields = Fields { bytes: &bytes, at: 0 };
        let version = fields.raw(8);
        if version.first() == Some(&0xff) {
            return Err(Fault::Another("BDF, whose samples have 24 bits, is not read: convert it to EDF"));
        }
        if version.trim_ascii_end() != b"0" {
            return Err(Fault::Wrong("this is no EDF file: its first field, the version, is not 0".into()));
        }
        let patient = fields.text(80);
        let recording = fields.text(80);
        let (date, time) = (fields.text(8), fields.text(8));
        let start = start::read(&date, &time, &recording)
            .map_err(|what| Fault::Wrong(format!("header bytes 168 to 183 (start date and time): {what}")))?;
        let said = fields.number::<usize>(8, "bytes in header")?;
        let kind = match &fields.text(44)[..] {
            text if text.starts_with("EDF+C") => Kind::Continuous,
            text if text.starts_with("EDF+D") => Kind::Discontinuous,
            _ => Kind::Edf,
        };
        let records = match fields.number::<i64>(8, "number of data records")? {
            -1 => None,
            records => Some(usize::try_from(records).map_err(|_| {
                Fault::Wrong(format!("header byte 236 (number of data records): {records} is no count"))
            })?),
        };
        let seconds = fields.number::<f64>(8, "seconds of a data record")?;
        let count = fields.number::<usize>(4, "number of signals")?;
        if !(0.0..=WEEK_SECONDS).contains(&seconds) {
            return Err(Fault::Wrong(format!(
                "header byte 244 (seconds of a data record): {seconds} s is not within 0 and a week"
            )));
        }
        if count == 0 || said != BLOCK * (count + 1) {
            return Err(Fault::Wrong(format!(
                "header bytes 184 and 252: {said} bytes of header for {count} signals, where {} would be right",
                BLOCK * (count + 1)
            )));
        }
        let bytes = take(reader, BLOCK * count, "the header of its signals")?;
        let signals = signals(&mut Fields { bytes: &bytes, at: BLOCK }, count)?;
        let record: u64 = signals.iter().map(|signal| 2 * signal.samples as u64).sum();
        if record > LARGEST_RECORD {
            return Err(Fault::Wrong(format!(
                "by its header a data record has {record} bytes, more than {LARGEST_RECORD}"
            )));
        }
        let header = Self { patient, recording, start, kind, records, seconds, signals };
        if header.seconds == 0.0 && header.signals.iter().any(|signal| !signal.is_annotations()) {
            return Err(Fault::Wrong(
                "header byte 244 (seconds of a data record): 0 s, and there are signals".into(),
            ));
        }
        Ok(header)
    }
}

/// Why a header is none.
pub(super) enum Fault {
    /// What the format says is not there.
    Wrong(String),
    /// It is another format.
    Another(&'static str),
    /// The system cannot read it.
    Read(std::io::Error),
}

/// Field by field: all labels, then all transducers, and so on.
fn signals(fields: &mut Fields<'_>, count: usize) -> Result<Vec<SignalHeader>, Fault> {
    let mut column = |width: usize| -> Vec<String> { (0..count).map(|_| fields.text(width)).collect() };
    let labels = column(16);
    column(80);
    let units = column(8);
    let ranges = [column(8), column(8), column(8), column(8)];
    column(80);
    let samples = column(8);
    let one = |(i, (label, unit)): (usize, (String, String))| {
        let of = &samples[i];
        let samples = of.parse().ok().filter(|samples| *samples > 0).ok_or_else(|| {
            let at = BLOCK + 216 * count + 8 * i;
            Fault::Wrong(format!(
                "header byte {at} (samples in each data record of {label:?}): {:?} is no count",
                shorten(of)
            ))
        })?;
        let scale = scale(ranges.each_ref().map(|range| &range[i][..]));
        Ok(SignalHeader { label, unit, samples, scale })
    };
    labels.into_iter().zip(units).enumerate().map(one).collect()
}

fn scale(fields: [&str; 4]) -> Result<Scale, String> {
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| format!("{text:?} is no number"))
    };
    let [low, high] = [number(fields[0])?, number(fields[1])?];
    let [least, most] = [number(fields[2])?, number(fields[3])?];
    if low == high {
        return Err(format!("its physical minimum and maximum are both {low}"));
    }
    if least >= most {
        return Err(format!("its digital minimum {least} is not below its maximum {most}"));
    }
    Ok(Scale { digital: least, physical: low, gain: (high - low) / (most - least) })
}

/// So many bytes; what the header promises is not reserved before it is there.
pub(super) fn take(reader: &mut impl Read, wanted: usize, what: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    reader.by_ref().take(wanted as u64).read_to_end(&mut bytes).map_err(Fault::Read)?;
    if bytes.len() < wanted {
        return Err(Fault::Wrong(format!("cut off: {} of {wanted} bytes of {what} are here", bytes.len())));
    }
    Ok(bytes)
}

/// Fields of fixed width, one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    /// Where in the file the first of `bytes` is.
    at: usize,
}

impl<'a> Fields<'a> {
    fn raw(&mut self, width: usize) -> &'a [u8] {
        let (field, rest) = self.bytes.split_at(width.min(self.bytes.len()));
        self.bytes = rest;
        self.at += width;
        field
    }

    /// What is not printable ASCII, which the format forbids and devices write (`°C`, names, line breaks), becomes a question mark.
    fn text(&mut self, width: usize) -> String {
        let printable = |byte: &u8| if matches!(byte, 0 | b' '..=b'~') { char::from(*byte) } else { '?' };
        let text: String = self.raw(width).iter().map(printable).collect();
        text.trim_matches(['\0', ' ']).to_owned()
    }

    fn number<T: std::str::FromStr>(&mut self, width: usize, name: &str) -> Result<T, Fault> {
        let at = self.at;
        let text = self.text(width);
        text.parse().map_err(|_| Fault::Wrong(format!("header byte {at} ({name}): {text:?} is not a number")))
    }
}
