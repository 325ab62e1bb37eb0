//! Time-stamped annotation lists: the text in EDF+ (Kemp and Olivan 2003, section 2.2).

use crate::recording::WEEK_SECONDS;
use crate::table::shorten;

/// Stands before a duration, behind an onset or text, and behind a list.
const DURATION: u8 = 0x15;
const PART: u8 = 0x14;
const END: u8 = 0x00;

/// Something that somebody, or a recorder, wrote down.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Seconds since the file's start.
    pub onset: f64,
    /// Seconds that it lasts, where that was said.
    pub duration: Option<f64>,
    /// Such as `Sleep stage W`.
    pub text: String,
}

/// What the bytes of one record's annotation signal say.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// The onset of the first list if it opens without a text: when the record begins.
    pub(super) begins: Option<f64>,
    pub(super) annotations: Vec<Annotation>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Lists, String> {
    let mut lists = Lists::default();
    for (i, list) in bytes.split(|byte| *byte == END).filter(|list| !list.is_empty()).enumerate() {
        let mut parts = list.split(|byte| *byte == PART);
        let stamp = parts.next().unwrap_or_default();
        let torn = || format!("the annotation {:?} has no end", shorten(&String::from_utf8_lossy(list)));
        if parts.clone().next_back() != Some(&[]) {
            return Err(torn());
        }
        let (onset, duration) = match stamp.iter().position(|byte| *byte == DURATION) {
            Some(at) => (&stamp[..at], Some(&stamp[at + 1..])),
            None => (stamp, None),
        };
        let onset = seconds(onset).filter(|_| matches!(onset.first(), Some(b'+' | b'-')));
        let duration = duration.map(|text| seconds(text).filter(|duration| *duration >= 0.0));
        let (Some(onset), Some(duration)) =
            (onset, duration.map_or(Some(None), |duration| duration.map(Some)))
        else {
            return Err(format!(
                "{:?} is no time of an annotation",
                shorten(&String::from_utf8_lossy(stamp))
            ));
        };
        if i == 0 && parts.clone().next() == Some(&[]) {
            lists.begins = Some(onset);
        }
        lists.annotations.extend(parts.filter(|text| !text.is_empty()).map(|text| {
            let text = String::from_utf8_lossy(text).trim().to_owned();
            Annotation { onset, duration, text }
        }));
    }
    Ok(lists)
}

/// Digits, and a dot at most: no exponent, no infinity. Nothing lasts or begins more than a week later.
fn seconds(text: &[u8]) -> Option<f64> {
    let plain = text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'));
    let number: f64 = std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()?;
    (number.abs() <= WEEK_SECONDS).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let bytes =
            b"+567\x14\x14\0+180\x14Lights off\x14Close door\x14\0+1800.2\x1525.5\x14Apnea\x14\0\0\0\0";
        let lists = parse(bytes).unwrap();
        assert_eq!(lists.begins, Some(567.0));
        let said: Vec<_> = lists.annotations.iter().map(|a| (a.onset, a.duration, &a.text[..])).collect();
        assert_eq!(
            said,
            [(180.0, None, "Lights off"), (180.0, None, "Close door"), (1800.2, Some(25.5), "Apnea")]
        );
        assert_eq!(parse(&[0; 8]).unwrap().begins, None);
        assert_eq!(parse(b"-0.5\x14before\x14\0").unwrap().annotations[0].onset, -0.5);
    }

    #[test]
    fn what_is_none_is_named() {
        assert_eq!(
            parse(b"+30\x14Sleep st").unwrap_err(),
            "the annotation \"+30\\u{14}Sleep st\" has no end"
        );
        for wrong in ["30", "+", "+1e3", "+inf", "++1", "+1\x15", "+1\x15-2", "+99999999"] {
            let fault = parse(format!("{wrong}\x14x\x14\0").as_bytes()).unwrap_err();
            assert!(fault.contains("is no time of an annotation"), "{wrong}: {fault}");
        }
    }
}
