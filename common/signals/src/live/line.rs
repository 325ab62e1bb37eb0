//! One line of a device that streams.

use std::str::FromStr;

use crate::StreamKind;
use crate::table::{number, shorten};

/// Times of a recording are those of this and the next centuries, unix seconds.
const TIMES: std::ops::Range<f64> = 1e8..1e11;

/// What a device says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Line {
    /// Something was measured.
    Sample(Sample),
    /// The night is over.
    End,
    /// Nothing: the line is empty, or begins with `#`.
    Nothing,
}

/// Something that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// What.
    pub kind: StreamKind,
    /// When, unix seconds.
    pub time: f64,
    /// In [`StreamKind::unit`]; the first [`StreamKind::channels`] of them.
    pub values: [f32; 3],
}

impl Line {
    /// The longest, bytes, its end among them.
    pub const LONGEST: usize = 1024;

    /// A line as it was sent, with its end: without, nobody knows whether `61` was to be `61.5`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn sent(bytes: &[u8]) -> Result<Self, String> {
        let Some(line) = bytes.strip_suffix(b"\n") else {
            return Err(match bytes.len() {
                Self::LONGEST.. => format!("longer than {} bytes", Self::LONGEST),
                _ => "a line without an end".to_owned(),
            });
        };
        std::str::from_utf8(line).map_err(|_| "not text".to_owned())?.parse()
    }
}

impl FromStr for Line {
    type Err = String;

    /// `KIND TIME VALUE`, three values where a stream has three channels; or `end`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            None => return Ok(Self::Nothing),
            Some(word) if word.starts_with('#') => return Ok(Self::Nothing),
            Some("end") => {
                return words
                    .next()
                    .map_or(Ok(Self::End), |more| Err(format!("{:?} behind `end`", shorten(more))));
            }
            Some(word) => StreamKind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(|| {
                let known = StreamKind::ALL.map(StreamKind::name).join(", ");
                format!("{:?} is nothing that is measured: {known} or `end` expected", shorten(word))
            })?,
        };
        let time = number(words.next().unwrap_or_default())?;
        if !TIMES.contains(&time) {
            return Err(format!("{time} is no time in unix seconds"));
        }
        let mut values = [0.0; 3];
        let mut count = 0;
        for word in words {
            let value = number(word)?;
            if let Some(place) = values.get_mut(count) {
                *place = value as f32;
            }
            count += 1;
        }
        let wanted = kind.channels();
        if count != wanted {
            let values = if wanted == 1 { "value" } else { "values" };
            return Err(format!("{wanted} {values} of {kind} expected, found {count}"));
        }
        let strange = values[..wanted].iter().find(|value| !kind.plausible(**value));
        match strange {
            Some(value) => Err(format!("no body has {value} {} of {kind}", kind.unit())),
            None => Ok(Self::Sample(Sample { kind, time, values })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_samples_or_say_why_not() {
        let read = |text: &str| text.parse::<Line>();
        let hr = Sample { kind: StreamKind::Hr, time: 1_773_090_005.25, values: [61.5, 0.0, 0.0] };
        assert_eq!(read("hr 1773090005.25 61.5\n"), Ok(Line::Sample(hr)));
        let accel = Sample { kind: StreamKind::Accel, time: 1_773_090_005.0, values: [0.0, -0.5, 0.75] };
        assert_eq!(read(" accel\t1773090005 0 -0.5 0.75"), Ok(Line::Sample(accel)));
        assert_eq!(
            (read("end"), read(""), read("# wrist")),
            (Ok(Line::End), Ok(Line::Nothing), Ok(Line::Nothing))
        );
        let wrong = |text: &str| read(text).unwrap_err();
        assert_eq!(
            wrong("pulse 1 2"),
            "\"pulse\" is nothing that is measured: hr, activity, posture, accel, ibi, ecg, ppg or `end` expected"
        );
        assert_eq!(wrong("hr 12 61"), "12 is no time in unix seconds");
        assert_eq!(wrong("hr NaN 61"), "NaN is no time in unix seconds");
        assert_eq!(wrong("hr 1773090005"), "1 value of hr expected, found 0");
        assert_eq!(wrong("accel 1773090005 0 0 1 1"), "3 values of accel expected, found 4");
        assert_eq!(wrong("hr 1773090005 6I"), "\"6I\" is not a number");
        assert_eq!(wrong("ibi 1773090005 812"), "no body has 812 s of ibi");
        assert_eq!(wrong("hr"), "\"\" is not a number");
        assert_eq!(wrong("end now"), "\"now\" behind `end`");
    }

    #[test]
    fn a_line_that_was_cut_is_none() {
        let hr = Sample { kind: StreamKind::Hr, time: 1_773_090_005.0, values: [61.5, 0.0, 0.0] };
        let whole = b"hr 1773090005 61.5\r\n";
        assert_eq!(Line::sent(whole), Ok(Line::Sample(hr)));
        for length in 0..whole.len() {
            assert_eq!(Line::sent(&whole[..length]).unwrap_err(), "a line without an end");
        }
        assert_eq!(Line::sent(&[b'x'; Line::LONGEST]).unwrap_err(), "longer than 1024 bytes");
        assert_eq!(Line::sent(b"hr \xff\n").unwrap_err(), "not text");
    }
}
