//! Days and times of day become seconds.

use crate::table::shorten;

pub(super) const DAY_SECONDS: u32 = 86_400;
/// No recording goes over more midnights.
const MOST_MIDNIGHTS: u32 = 7;

/// Follows the rows of a file through its days. Seconds count from the midnight before day 1.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// What the file calls the day that it is, and how many midnights were before it.
    today: Option<(i32, u32)>,
    first: Option<u32>,
    last: u32,
}

impl Calendar {
    /// The second of a row. The first row's day counts from 1; from then on another day is the next one,
    /// whatever its number.
    pub(super) fn second(&mut self, day: &str, time: &str) -> Result<u32, String> {
        let name: i32 = day.parse().map_err(|_| format!("{:?} is not the number of a day", shorten(day)))?;
        let midnights = match self.today {
            None => before_day(name)?,
            Some((today, midnights)) if today == name => midnights,
            Some((_, midnights)) => midnights + 1,
        };
        if midnights > MOST_MIDNIGHTS {
            return Err(format!("day {name} begins more than a week after the recording"));
        }
        self.today = Some((name, midnights));
        let second = midnights * DAY_SECONDS + second_of_day(time)?;
        if second < self.last {
            return Err(format!("the clock goes back to {time} of day {name}"));
        }
        self.last = second;
        self.first.get_or_insert(second);
        Ok(second)
    }

    /// The second of the first row.
    pub(super) fn first(&self) -> Option<u32> {
        self.first
    }
}

/// How many midnights lie between that of day 1 and that of `day`.
pub(super) fn before_day(day: i32) -> Result<u32, String> {
    let before = day.checked_sub(1).and_then(|d| u32::try_from(d).ok()).filter(|d| *d <= MOST_MIDNIGHTS);
    before.ok_or_else(|| format!("days are counted from 1, this is day {day}"))
}

/// Seconds since midnight of `HH:MM:SS`. All digits are asked for, lest a torn line pass for a whole one.
pub(super) fn second_of_day(text: &str) -> Result<u32, String> {
    let parts =
        text.rsplit_once(':').and_then(|(minute, second)| Some((minute_of_day(minute).ok()?, second)));
    let second = parts.and_then(|(minute, second)| Some(minute + two_digits(second, 60)?));
    second.ok_or_else(|| format!("{:?} is not a time of day HH:MM:SS", shorten(text)))
}

/// Seconds since midnight of `HH:MM`.
pub(super) fn minute_of_day(text: &str) -> Result<u32, String> {
    let parts = text.split_once(':');
    let minute = parts.and_then(|(h, m)| Some(two_digits(h, 24)? * 3600 + two_digits(m, 60)? * 60));
    minute.ok_or_else(|| format!("{:?} is not a time of day HH:MM", shorten(text)))
}

fn two_digits(text: &str, end: u32) -> Option<u32> {
    let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(minute_of_day("00:46"), Ok(2760));
        assert_eq!(second_of_day("23:59:59"), Ok(86_399));
        for wrong in ["", "12", "24:00", "12:60", "12:0", "+1:00", "ab:cd", "12:00:00"] {
            assert!(minute_of_day(wrong).is_err(), "{wrong:?} was accepted");
        }
        for wrong in ["", "12:00", "24:00:00", "12:00:60", "12:00:0", "00:12:00:00"] {
            assert!(second_of_day(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn another_day_is_the_next_one() {
        let mut calendar = Calendar::default();
        assert_eq!(calendar.second("1", "23:59:59"), Ok(86_399));
        assert_eq!(calendar.second("-29", "00:00:00"), Ok(86_400));
        assert_eq!(calendar.second("-29", "09:00:00"), Ok(86_400 + 32_400));
        assert_eq!(calendar.second("-28", "10:00:00"), Ok(2 * 86_400 + 36_000));
        let back = calendar.second("-28", "09:00:00").unwrap_err();
        assert_eq!(back, "the clock goes back to 09:00:00 of day -28");
        assert_eq!(calendar.first(), Some(86_399));
        assert!(Calendar::default().second("-29", "00:00:00").unwrap_err().contains("counted from 1"));
        assert!(Calendar::default().second("x", "00:00:00").unwrap_err().contains("number of a day"));
        assert!(before_day(i32::MIN).is_err());
        let mut long = Calendar::default();
        let weeks = (1..20).find_map(|day| long.second(&day.to_string(), "00:00:00").err());
        assert!(weeks.unwrap().contains("more than a week"));
    }
}
