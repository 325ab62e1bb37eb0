//! Samples in format 16 and 212, made physical.

use std::path::Path;

use super::header::{Header, SignalHeader};
use crate::{DataError, Stream, StreamKind, files};

/// A header and its signals.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What the header says.
    pub header: Header,
    /// One per signal of the header, all of one length, in the signal's unit. NaN where nothing was recorded.
    pub signals: Vec<Vec<f32>>,
}

impl Record {
    /// Signal `i` as an electrocardiogram in mV; `None` when there is none or its unit is no voltage. Samples where
    /// nothing was recorded are rejected by the stream.
    #[must_use]
    pub fn ecg(&self, i: usize) -> Option<Stream> {
        let millivolt = match self.header.signals.get(i)?.unit.as_str() {
            "mV" => 1.0,
            "uV" => 1e-3,
            "V" => 1e3,
            _ => return None,
        };
        let signal = self.signals.get(i)?;
        let times = (0..signal.len()).map(|n| n as f64 / self.header.rate).collect();
        Some(Stream::new(StreamKind::Ecg, times, signal.iter().map(|v| v * millivolt).collect()))
    }

    pub(super) fn read(dir: &Path, header: Header, path: &Path) -> Result<Self, DataError> {
        for signal in &header.signals {
            supported(signal).map_err(|what| DataError::unsupported(path, what))?;
        }
        let mut signals = Vec::new();
        for group in header.signals.chunk_by(|a, b| a.file == b.file) {
            signals.extend(read_group(dir, group, header.samples)?);
        }
        if signals.windows(2).any(|w| w[0].len() != w[1].len()) {
            return Err(DataError::corrupt(path, "its signal files have different lengths"));
        }
        Ok(Self { header, signals })
    }
}

fn supported(signal: &SignalHeader) -> Result<(), String> {
    let SignalHeader { format, samples_per_frame, skew, .. } = signal;
    let what = if Format::of(*format).is_none() {
        format!("signal format {format} is not read, only 16 and 212")
    } else if *samples_per_frame != 1 {
        format!("{samples_per_frame} samples per frame are not read, only 1")
    } else if *skew != 0 {
        format!("a skew of {skew} frames is not read, only 0")
    } else {
        return Ok(());
    };
    Err(format!("signal {:?}: {what}", signal.description))
}

#[derive(Debug, Clone, Copy)]
enum Format {
    /// 16 bits, low byte first.
    Whole,
    /// Two samples of 12 bits in three bytes.
    Packed,
}

impl Format {
    fn of(number: u32) -> Option<Self> {
        match number {
            16 => Some(Self::Whole),
            212 => Some(Self::Packed),
            _ => None,
        }
    }

    /// The bytes that `samples` take. An odd number of packed ones ends within a group of three.
    fn bytes(self, samples: usize) -> usize {
        match self {
            Self::Whole => samples.saturating_mul(2),
            Self::Packed => samples.saturating_mul(3).div_ceil(2),
        }
    }

    /// How many samples `bytes` hold; `None` when they end within one.
    fn samples(self, bytes: usize) -> Option<usize> {
        match (self, bytes % 2, bytes % 3) {
            (Self::Whole, 0, _) => Some(bytes / 2),
            (Self::Packed, _, 0) => Some(bytes / 3 * 2),
            (Self::Packed, _, 2) => Some(bytes / 3 * 2 + 1),
            _ => None,
        }
    }

    /// Sample `i`, sign extended.
    fn sample(self, bytes: &[u8], i: usize) -> i16 {
        match self {
            Self::Whole => i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]),
            Self::Packed => {
                let three = &bytes[i / 2 * 3..];
                let twelve = if i.is_multiple_of(2) {
                    u16::from(three[0]) | u16::from(three[1] & 0x0f) << 8
                } else {
                    u16::from(three[2]) | u16::from(three[1] & 0xf0) << 4
                };
                (twelve << 4).cast_signed() >> 4
            }
        }
    }

    /// The value that says "nothing was recorded".
    fn nothing(self) -> i16 {
        match self {
            Self::Whole => i16::MIN,
            Self::Packed => -2048,
        }
    }
}

/// The signals of one file. `samples` of each are expected; without that, as many as there are.
fn read_group(
    dir: &Path,
    group: &[SignalHeader],
    samples: Option<usize>,
) -> Result<Vec<Vec<f32>>, DataError> {
    let Some(first) = group.first() else {
        return Ok(Vec::new());
    };
    let (path, bytes) = files::bytes(&dir.join(&first.file))?;
    let corrupt = |what: String| DataError::corrupt(&path, what);
    let uniform = group.iter().all(|s| s.format == first.format && s.offset == first.offset);
    let format = Format::of(first.format).filter(|_| uniform);
    let Some(format) = format else {
        return Err(corrupt("its signals are said to have different formats or offsets".to_owned()));
    };
    let Some(bytes) = bytes.get(first.offset..) else {
        return Err(corrupt(format!("{} bytes, shorter than the offset of {}", bytes.len(), first.offset)));
    };
    let frames = match samples {
        Some(samples) => {
            let needed = format.bytes(samples.saturating_mul(group.len()));
            // An odd number of packed samples may be filled up to three whole bytes.
            if bytes.len() != needed && bytes.len() != needed.next_multiple_of(3) {
                let held = bytes.len();
                return Err(corrupt(format!("{held} bytes of samples, {needed} by the header")));
            }
            samples
        }
        None => frames_held(format, bytes.len(), group.len())
            .ok_or_else(|| corrupt(format!("{} bytes end within a sample or frame", bytes.len())))?,
    };
    let signal = |(i, header): (usize, &SignalHeader)| {
        let mut sum = 0u16;
        let values = (0..frames).map(|frame| {
            let stored = format.sample(bytes, frame * group.len() + i);
            sum = sum.wrapping_add(stored.cast_unsigned());
            if stored == format.nothing() {
                f32::NAN
            } else {
                ((f64::from(stored) - f64::from(header.baseline)) / header.gain) as f32
            }
        });
        let values: Vec<_> = values.collect();
        match header.checksum {
            Some(said) if said != sum => {
                let name = &header.description;
                Err(corrupt(format!("signal {name:?}: the checksum is {sum}, by the header {said}")))
            }
            _ => Ok(values),
        }
    };
    group.iter().enumerate().map(signal).collect()
}

/// The frames of `signals` samples in so many bytes, where the last packed sample may be filling.
fn frames_held(format: Format, bytes: usize, signals: usize) -> Option<usize> {
    let samples = format.samples(bytes)?;
    let filling = matches!(format, Format::Packed) && bytes.is_multiple_of(3) && samples % signals == 1;
    let samples = samples - usize::from(filling && samples > 0);
    samples.is_multiple_of(signals).then_some(samples / signals)
}
