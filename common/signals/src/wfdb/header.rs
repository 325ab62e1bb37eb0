//! The header: one line of the record, one per signal, and comments.

use std::path::Path;

use crate::table::shorten;
use crate::{DataError, table};

/// Frames per second where the header says nothing.
const DEFAULT_RATE: f64 = 250.0;
/// Units of the converter per physical unit where the header says nothing or 0.
const DEFAULT_GAIN: f64 = 200.0;
/// More than any recorder has; bounds what a hostile header can ask for.
const MAX_SIGNALS: usize = 256;

/// What a header says of its record.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The record's name.
    pub record: String,
    /// Samples per second of every signal, and the ticks per second of annotations.
    pub rate: f64,
    /// Samples per signal, where the header knows.
    pub samples: Option<usize>,
    /// In the order of the header. A record of annotations alone may have none.
    pub signals: Vec<SignalHeader>,
    /// Lines that begin with `#`, without it.
    pub comments: Vec<String>,
}

/// How one signal is stored, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalHeader {
    /// The file beside the header that holds it. Neighbours with the same file take turns in it, sample by sample.
    pub file: String,
    /// The number of the storage format: 16, 212, or one that is not read.
    pub format: u32,
    /// Samples in each frame; 1 is read.
    pub samples_per_frame: u32,
    /// Frames by which the signal is late; 0 is read.
    pub skew: u32,
    /// Bytes in the file before the first sample.
    pub offset: usize,
    /// Stored units per physical unit; negative for a signal that was recorded upside down.
    pub gain: f64,
    /// The stored value that means 0.
    pub baseline: i32,
    /// The physical unit; mV unless said.
    pub unit: String,
    /// The sum of all stored values modulo 2^16, where the header knows it.
    pub checksum: Option<u16>,
    /// What was measured: a lead such as `MLII`. May be empty.
    pub description: String,
}

impl Header {
    pub(super) fn read(path: &Path) -> Result<Self, DataError> {
        let mut header: Option<(Self, usize)> = None;
        let mut comments = Vec::new();
        table::lines(path, |_, text| {
            if let Some(comment) = text.strip_prefix('#') {
                comments.push(comment.trim().to_owned());
            } else if !text.is_empty() {
                match &mut header {
                    None => header = Some(record_line(text)?),
                    Some((header, signals)) if header.signals.len() < *signals => {
                        header.signals.push(signal_line(text)?);
                    }
                    Some((_, signals)) => return Err(format!("a line after the last of {signals} signals")),
                }
            }
            Ok(())
        })?;
        let Some((mut header, signals)) = header else {
            return Err(DataError::Empty {
                path: path.to_owned(),
                what: "a line with the record's name was expected",
            });
        };
        if header.signals.len() < signals {
            let what = format!("{signals} signals are announced, {} described", header.signals.len());
            return Err(DataError::corrupt(path, what));
        }
        header.comments = comments;
        Ok(header)
    }
}

/// `NAME[/SEGMENTS] SIGNALS [RATE[/COUNTER[(BASE)]] [SAMPLES [TIME [DATE]]]]`; gives the number of signals too.
fn record_line(text: &str) -> Result<(Header, usize), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    if let Some((_, segments)) = name.split_once('/') {
        return Err(format!("records of several segments ({}) are not read", shorten(segments)));
    }
    let signals: usize = whole(words.next().ok_or("the number of signals is missing")?)?;
    if signals > MAX_SIGNALS {
        return Err(format!("{signals} signals are more than the {MAX_SIGNALS} that are read"));
    }
    let rate = match words.next() {
        None => DEFAULT_RATE,
        // What follows the slash is another clock, of counters and tapes.
        Some(word) => table::number(word.split('/').next().unwrap_or_default())?,
    };
    if !(rate > 0.0 && rate <= 1e6) {
        return Err(format!("{rate} Hz is no sampling rate"));
    }
    let samples = words.next().map(whole).transpose()?.filter(|n| *n > 0);
    let (record, comments) = (name.to_owned(), Vec::new());
    Ok((Header { record, rate, samples, signals: Vec::new(), comments }, signals))
}

/// `FILE FORMAT[xFRAME][:SKEW][+OFFSET] [GAIN[(BASELINE)][/UNIT] [BITS [ZERO [FIRST [CHECKSUM [BLOCK [NAME]]]]]]]`.
fn signal_line(text: &str) -> Result<SignalHeader, String> {
    let (file, rest) = word(text);
    let plain = !file.starts_with(['.', '~']) && file != "-" && !file.contains(['/', '\\']);
    if !plain {
        return Err(format!("{:?} is not the name of a file beside the header", shorten(file)));
    }
    let (format, rest) = word(rest);
    let (head, offset) = split_number(format, '+')?;
    let (head, skew) = split_number(head, ':')?;
    let (format, samples_per_frame) = split_number(head, 'x')?;
    let (gain, rest) = word(rest);
    let (_bits, rest) = word(rest);
    let (zero, rest) = word(rest);
    let (_first, rest) = word(rest);
    let (checksum, rest) = word(rest);
    let (_block, description) = word(rest);

    let (gain, unit) = gain.split_once('/').unwrap_or((gain, "mV"));
    let (gain, baseline) = match gain.split_once('(') {
        None => (gain, zero),
        Some((gain, rest)) => {
            let what = || format!("{:?} is no gain with a baseline", shorten(rest));
            (gain, rest.strip_suffix(')').ok_or_else(what)?)
        }
    };
    let gain = if gain.is_empty() { 0.0 } else { table::number(gain)? };
    if !gain.is_finite() {
        return Err(format!("{gain} is no gain"));
    }
    // Written as signed by some and as unsigned by others.
    let checksum = if checksum.is_empty() { None } else { Some(whole::<i32>(checksum)? as u16) };
    Ok(SignalHeader {
        file: file.to_owned(),
        format: whole(format)?,
        samples_per_frame: samples_per_frame.unwrap_or(1),
        skew: skew.unwrap_or(0),
        offset: offset.unwrap_or(0) as usize,
        gain: if gain == 0.0 { DEFAULT_GAIN } else { gain },
        baseline: if baseline.is_empty() { 0 } else { whole(baseline)? },
        unit: unit.to_owned(),
        checksum,
        description: description.to_owned(),
    })
}

/// The first word and what follows it; both may be empty.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

/// `212+24` at `+` is `212` and 24.
fn split_number(text: &str, mark: char) -> Result<(&str, Option<u32>), String> {
    match text.split_once(mark) {
        None => Ok((text, None)),
        Some((head, number)) => Ok((head, Some(whole(number)?))),
    }
}

fn whole<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{:?} is not a whole number that fits here", shorten(word)))
}
