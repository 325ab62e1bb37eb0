//! Moments as an export writes them: `2024-01-02 23:04:05 +0100`.

use crate::calendar::Date;
use crate::table::shorten;

pub(super) const DAY: i64 = 86_400;
const NOON: i64 = DAY / 2;

/// A moment, and what clocks showed there and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct When {
    /// Seconds since 1970, UTC.
    pub(super) second: i64,
    /// What clocks showed beyond UTC, minutes.
    pub(super) offset: i16,
}

impl When {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let moment = || {
            let mut parts = text.split(' ');
            let (date, time, zone) = (parts.next()?, parts.next()?, parts.next()?);
            let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
            let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
            let (sign, digits) = zone.split_at_checked(1)?;
            let [hours, minutes] = [digits.get(..2)?, digits.get(2..)?].map(|part| digit(part, 2));
            let (hours, minutes) = (i16::try_from(hours?).ok()?, i16::try_from(minutes?).ok()?);
            let sign = match sign {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let known = hour < 24
                && minute < 60
                && second < 60
                && hours < 24
                && minutes < 60
                && parts.next().is_none();
            let date =
                Date::new(i32::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)?;
            let offset = sign * (hours * 60 + minutes);
            let local = date.number() * DAY + i64::from(hour * 3600 + minute * 60 + second);
            known.then_some(Self { second: local - i64::from(offset) * 60, offset })
        };
        moment().ok_or_else(|| format!("{:?} is no date such as 2024-01-02 23:04:05 +0100", shorten(text)))
    }

    /// Days from 1970 to the last noon before it, on the clocks there.
    pub(super) fn evening(self) -> i64 {
        (self.local() - NOON).div_euclid(DAY)
    }

    /// The moment of the next noon, if nobody travels until then.
    pub(super) fn next_noon(self) -> i64 {
        self.second + (self.evening() + 1) * DAY + NOON - self.local()
    }

    fn local(self) -> i64 {
        self.second + i64::from(self.offset) * 60
    }
}

fn numbers<const N: usize>(text: &str, between: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(between);
    let numbers = widths.map(|width| parts.next().and_then(|part| digit(part, width)));
    if parts.next().is_some() || numbers.contains(&None) {
        None
    } else {
        Some(numbers.map(Option::unwrap_or_default))
    }
}

fn digit(text: &str, width: usize) -> Option<u32> {
    let digits = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> When {
        When::read(text).unwrap()
    }

    #[test]
    fn a_moment_is_the_same_on_every_clock() {
        let berlin = at("2024-01-02 23:04:05 +0100");
        assert_eq!((berlin.second, berlin.offset), (1_704_233_045, 60));
        for same in ["2024-01-02 22:04:05 +0000", "2024-01-02 12:04:05 -1000", "2024-01-03 03:34:05 +0530"] {
            assert_eq!(at(same).second, berlin.second, "{same}");
        }
    }

    #[test]
    fn an_evening_lasts_from_noon_to_noon() {
        let (noon, evening, morning) = (
            at("2024-01-02 12:00:00 +0100"),
            at("2024-01-02 23:04:05 +0100"),
            at("2024-01-03 11:59:59 +0100"),
        );
        assert!(noon.evening() == evening.evening() && evening.evening() == morning.evening());
        assert_eq!(at("2024-01-03 12:00:00 +0100").evening(), noon.evening() + 1);
        for moment in [noon, evening, morning] {
            assert_eq!(moment.next_noon(), noon.second + DAY);
        }
    }

    #[test]
    fn what_is_no_moment_is_named() {
        for wrong in [
            "",
            "2024-01-02",
            "2024-01-02 23:04:05",
            "2024-01-02T23:04:05 +0100",
            "2024-02-30 23:04:05 +0100",
            "2024-01-02 24:04:05 +0100",
            "2024-01-02 23:04:05 0100",
            "2024-01-02 23:04:05 +01:00",
            "2024-01-02 23:04:05 +2400",
            "2024-01-02 23:04:05 +01é",
            "2024-1-2 23:04:05 +0100",
            "2024-01-02 23:04:05 +0100 x",
        ] {
            assert!(When::read(wrong).unwrap_err().contains("is no date such as"), "{wrong}");
        }
    }
}
