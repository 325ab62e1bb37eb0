//! Days of the Gregorian calendar.

/// A day that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    pub(crate) year: i32,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

impl Date {
    /// `None` for a day that no calendar has.
    pub(crate) fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u8::from(leap),
            1..=12 => 31,
            _ => return None,
        };
        let known = (1..=9999).contains(&year) && (1..=days).contains(&day);
        known.then_some(Self { year, month, day })
    }

    /// Days since the beginning of 1970 (Hinnant, "chrono-compatible low-level date algorithms").
    pub(crate) fn number(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        // A year that begins in March has its leap day at its end.
        let year = i64::from(self.year) - i64::from(month <= 2);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The inverse of [`Date::number`].
    pub(crate) fn of_number(number: i64) -> Option<Self> {
        let days = number + 719_468;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = (shifted + 2) % 12 + 1;
        let year = era * 400 + year + i64::from(month <= 2);
        Self::new(i32::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_each_other_and_none_is_made_up() {
        assert_eq!(Date::new(1970, 1, 1).unwrap().number(), 0);
        assert_eq!(Date::new(2000, 3, 1).unwrap().number(), 11_017);
        let from = Date::new(1582, 10, 15).unwrap().number();
        let mut before = Date::of_number(from - 1).unwrap();
        for number in from..Date::new(2400, 3, 1).unwrap().number() {
            let date = Date::of_number(number).unwrap();
            assert_eq!(date.number(), number);
            assert!(before < date && (date.day == 1 || date.day == before.day + 1), "{before} then {date}");
            before = date;
        }
        for (year, month, day) in [
            (2023, 2, 29),
            (1900, 2, 29),
            (2024, 4, 31),
            (2024, 13, 1),
            (2024, 0, 1),
            (2024, 1, 0),
            (0, 1, 1),
        ] {
            assert_eq!(Date::new(year, month, day), None);
        }
        assert_eq!(Date::of_number(i64::from(i32::MAX) * 366), None);
    }
}
