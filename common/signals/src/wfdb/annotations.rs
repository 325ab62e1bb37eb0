//! Annotations in MIT format: times as steps of 10 bits, a code of 6 bits, and words that say more.

use std::path::Path;

use crate::{DataError, files};

/// One remark about one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Ticks since the record's start: samples, unless the file has a clock of its own.
    pub tick: i64,
    /// Seconds since the record's start.
    pub time: f64,
    /// What kind of remark.
    pub code: Code,
    /// A number whose meaning is the annotator's.
    pub subtype: i8,
    /// The signal it speaks of.
    pub channel: u8,
    /// A number whose meaning is the annotator's; stays until another is given.
    pub number: i8,
    /// Text, such as a rhythm or a sleep stage. Often empty.
    pub aux: String,
}

/// The kind of an annotation, 1 to 49, as numbered in WFDB's `ecgcodes.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

impl Code {
    /// A normal beat.
    pub const NORMAL: Self = Self(1);
    /// A remark in words.
    pub const NOTE: Self = Self(22);

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Whether it marks a heart beat: PhysioNet's beat annotations N L R a V F J A S E j / Q, B ? r e n f.
    /// Flutter waves (`!`) and blocked P waves (`x`) are none.
    #[must_use]
    pub fn is_beat(self) -> bool {
        matches!(self.0, 1..=13 | 25 | 30 | 34 | 35 | 38 | 41)
    }
}

/// The times of the beats among annotations, seconds.
pub fn beats(annotations: &[Annotation]) -> impl Iterator<Item = f64> {
    annotations.iter().filter(|a| a.code.is_beat()).map(|a| a.time)
}

/// What a code above 49 does instead of marking a moment.
const SKIP: u16 = 59;
const NUMBER: u16 = 60;
const SUBTYPE: u16 = 61;
const CHANNEL: u16 = 62;
const AUX: u16 = 63;
/// How a file says that its ticks are not the header's samples.
const RESOLUTION: &str = "## time resolution: ";

/// Reads a file of annotations whose clock ticks `rate` times a second.
pub(super) fn read(path: &Path, rate: f64) -> Result<Vec<Annotation>, DataError> {
    let (path, bytes) = files::bytes(path)?;
    let corrupt = |what: String| DataError::corrupt(&path, what);
    let mut annotations = parse(&bytes).map_err(corrupt)?;
    let mut rate = rate;
    // Remarks about the file itself stand in front, at tick 0.
    let about = |a: &Annotation| a.tick == 0 && a.code == Code::NOTE && a.aux.starts_with("##");
    let front = annotations.iter().take_while(|a| about(a)).count();
    for note in annotations.drain(..front) {
        if let Some(ticks) = note.aux.strip_prefix(RESOLUTION) {
            let ticks_per_second = ticks.trim().parse().ok().filter(|r| *r > 0.0 && f64::is_finite(*r));
            rate = ticks_per_second.ok_or_else(|| corrupt(format!("{ticks:?} is no time resolution")))?;
        }
    }
    for annotation in &mut annotations {
        annotation.time = annotation.tick as f64 / rate;
    }
    Ok(annotations)
}

/// Every annotation, its time still unknown.
fn parse(bytes: &[u8]) -> Result<Vec<Annotation>, String> {
    let mut words = Words { bytes, at: 0 };
    let mut annotations: Vec<Annotation> = Vec::new();
    let (mut tick, mut channel, mut number) = (0i64, 0, 0);
    loop {
        let at = words.at;
        let word = words.next()?;
        let (code, value) = (word >> 10, word & 0x3ff);
        match (code, annotations.last_mut()) {
            (0, _) if value == 0 => return Ok(annotations),
            (SKIP, _) => {
                let (high, low) = (words.next()?, words.next()?);
                let step = (u32::from(high) << 16 | u32::from(low)).cast_signed();
                tick += i64::from(step);
            }
            (1..=49, _) => {
                tick += i64::from(value);
                if tick < 0 {
                    return Err(format!("the annotation at byte {at} lies before the record's start"));
                }
                let (code, aux) = (Code(code as u8), String::new());
                annotations.push(Annotation { tick, time: 0.0, code, subtype: 0, channel, number, aux });
            }
            // The others speak of the annotation before them.
            (NUMBER, Some(last)) => {
                number = value as i8;
                last.number = number;
            }
            (SUBTYPE, Some(last)) => last.subtype = value as i8,
            (CHANNEL, Some(last)) => {
                channel = value as u8;
                last.channel = channel;
            }
            (AUX, Some(last)) => {
                let text = words.text(usize::from(value))?;
                last.aux = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
            }
            (NUMBER | SUBTYPE | CHANNEL | AUX, None) => {
                return Err(format!("byte {at} speaks of an annotation, and there is none before it"));
            }
            _ => return Err(format!("{code} at byte {at} is no annotation code")),
        }
    }
}

/// The file as words of 16 bits, low byte first.
struct Words<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<u16, String> {
        match *self.text(2)? {
            [low, high] => Ok(u16::from_le_bytes([low, high])),
            _ => Err(self.torn()),
        }
    }

    /// The next `length` bytes; an odd number is followed by one of filling.
    fn text(&mut self, length: usize) -> Result<&'a [u8], String> {
        let text = self.bytes.get(self.at..self.at + length).ok_or_else(|| self.torn())?;
        self.at += length.next_multiple_of(2);
        Ok(text)
    }

    fn torn(&self) -> String {
        format!("it ends at byte {} without an end mark: the file is torn", self.bytes.len())
    }
}
