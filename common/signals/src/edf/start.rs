//! When a recording began, as EDF and EDF+ say it.

use crate::calendar::Date;
use crate::table::shorten;

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// A day and a time of day, where the sleeper was.
///
/// The format has no place for a time zone. Two files of one night may only be compared if one clock set both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Start {
    /// Days since the beginning of 1970; `None` where the year was hidden.
    pub day: Option<i64>,
    /// Seconds since midnight.
    pub second: f64,
    /// Whether both dates of an EDF+ header are the same day; true if there are not two.
    pub agrees: bool,
}

impl Start {
    /// Seconds from `other` to this. Where a day is unknown, the nearest that the times of day allow: within half a day.
    #[must_use]
    pub fn since(self, other: Self) -> f64 {
        let clock = self.second - other.second;
        match (self.day, other.day) {
            (Some(day), Some(before)) => (day - before) as f64 * 86_400.0 + clock,
            _ => (clock + 43_200.0).rem_euclid(86_400.0) - 43_200.0,
        }
    }
}

/// `dd.mm.yy`, `hh.mm.ss`, and in EDF+ `Startdate dd-MMM-yyyy` at the beginning of the recording field.
///
/// Two digits of a year are those of 1985 to 2084. A year after that is `yy` in the first field and whole in the second.
pub(super) fn read(date: &str, time: &str, recording: &str) -> Result<Start, String> {
    let [hour, minute, second] = three(time).ok_or_else(|| format!("{time:?} is not hh.mm.ss"))?;
    if hour > 23 || minute > 59 || second > 59 {
        return Err(format!("{time:?} is no time of day"));
    }
    let whole = recording.strip_prefix("Startdate ").and_then(startdate);
    let short = match date.strip_suffix("yy") {
        Some(_) => None,
        None => {
            let [day, month, year] = three(date).ok_or_else(|| format!("{date:?} is not dd.mm.yy"))?;
            let year = if year >= 85 { 1900 + year } else { 2000 + year };
            Some(
                Date::new(year.into(), month as u8, day as u8)
                    .ok_or_else(|| format!("{date:?} is no day"))?,
            )
        }
    };
    let agrees = short.is_none() || whole.is_none() || short == whole;
    let day = short.or(whole).map(Date::number);
    Ok(Start { day, second: f64::from(hour) * 3600.0 + f64::from(minute) * 60.0 + f64::from(second), agrees })
}

/// `dd-MMM-yyyy`, the day of a recording field; `None` for an `X`, or for what is no date.
fn startdate(rest: &str) -> Option<Date> {
    let mut parts = rest.split(' ').next()?.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    Date::new(year.parse().ok()?, month as u8, day.parse().ok()?)
}

/// Three numbers of one or two digits. Dots are what the format asks for; colons, slashes and dashes are what some recorders write.
fn three(text: &str) -> Option<[u16; 3]> {
    let mut parts = shorten(text)
        .split(['.', ':', '/', '-'])
        .map(|part| {
            let digits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits)
        })
        .collect::<Option<Vec<u16>>>()?;
    let last = parts.pop()?;
    match parts[..] {
        [first, second] => Some([first, second, last]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, recording: &str) -> Option<String> {
        let start = read(date, "22.30.05", recording).unwrap();
        start.day.map(|day| Date::of_number(day).unwrap().to_string())
    }

    #[test]
    fn years_are_those_of_1985_to_2084_and_then_of_the_recording_field() {
        assert_eq!(day("24.04.85", "").unwrap(), "1985-04-24");
        assert_eq!(day("24.04.99", "").unwrap(), "1999-04-24");
        assert_eq!(day("29.02.84", "Startdate X X X X").unwrap(), "2084-02-29");
        assert_eq!(day("02.03.yy", "Startdate 02-MAR-2085 X X X").unwrap(), "2085-03-02");
        assert_eq!(day("02.03.yy", "Startdate X X X X"), None);
        let agrees = |recording| read("02.03.02", "00.00.00", recording).unwrap().agrees;
        assert!(agrees("Startdate 02-MAR-2002 EMG561 BK/JOP") && agrees("") && agrees("Startdate X X X X"));
        assert!(!agrees("Startdate 03-MAR-2002 X X X"));
    }

    #[test]
    fn what_is_no_date_is_named() {
        let wrong = |date: &str, time: &str| read(date, time, "").unwrap_err();
        assert_eq!(wrong("31.02.02", "00.00.00"), "\"31.02.02\" is no day");
        assert_eq!(wrong("2002.3.2", "00.00.00"), "\"2002.3.2\" is not dd.mm.yy");
        assert_eq!(wrong("02.03.02", "24.00.00"), "\"24.00.00\" is no time of day");
        assert_eq!(wrong("02.03.02", "8 pm"), "\"8 pm\" is not hh.mm.ss");
    }

    #[test]
    fn differences_go_over_midnight_and_do_without_a_day() {
        let at = |date: &str, time: &str| read(date, time, "").unwrap();
        let (evening, later) = (at("31.12.99", "23.59.50"), at("01.01.00", "00.00.10"));
        assert_eq!((later.since(evening), evening.since(later)), (20.0, -20.0));
        assert_eq!(at("01.01.yy", "00.00.10").since(evening), 20.0);
        assert_eq!(at("01.01.85", "00.00.00").since(evening), -473_299_190.0);
    }
}
