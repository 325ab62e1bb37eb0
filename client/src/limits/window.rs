//! Between two local times: the hours of the day, and of which day, are those of the clock on the wall.
//!
//! Only the time of day counts. So a window that clocks are put forward over does not happen that day, one that they are put back
//! over happens twice, and a clock that jumps is believed at the next look.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::guard::{Guard, Look};
use super::reason::Reason;

/// Minutes since midnight, 0 to 1440.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TimeOfDay(u16);

/// A part of every day, from one time up to but without another; across midnight if the first is the later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    from: TimeOfDay,
    to: TimeOfDay,
}

/// Where this machine is.
#[derive(Clone, Debug, Default)]
pub enum Zone {
    /// As the system says: `TZ`, or else `/etc/localtime`; universal time without either.
    #[default]
    System,
    /// This one.
    Fixed(TimeZone),
}

/// Works within a window only.
pub(super) struct Hours {
    pub(super) window: Window,
    pub(super) zone: Zone,
}

impl TimeOfDay {
    const END: Self = Self(24 * 60);

    fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |digits: &str, most: u16| {
            let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|number| two && *number <= most)
        };
        let time = Self(number(hours, 24)? * 60 + number(minutes, 59)?);
        (time <= Self::END).then_some(time)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Window {
    /// All day.
    pub const ALWAYS: Self = Self { from: TimeOfDay(0), to: TimeOfDay::END };

    /// Where it ends.
    pub fn to(&self) -> TimeOfDay {
        self.to
    }

    /// Whether a time is in it.
    pub fn contains(&self, time: TimeOfDay) -> bool {
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            self.from <= time || time < self.to
        }
    }
}

impl FromStr for Window {
    type Err = &'static str;

    /// `"22:00-07:00"`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let times = text
            .split_once('-')
            .and_then(|(from, to)| Some((TimeOfDay::parse(from.trim())?, TimeOfDay::parse(to.trim())?)));
        match times {
            None => Err("not two times of the day, such as \"22:00-07:00\""),
            Some((from, to)) if from == to => Err("it begins when it ends; all day is \"00:00-24:00\""),
            Some((from, to)) => Ok(Self { from, to }),
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from, self.to)
    }
}

impl Zone {
    /// What the clock on the wall says, at `now` in seconds since 1970 UTC.
    pub fn time_of_day(&self, now: u64) -> TimeOfDay {
        let system;
        let zone = match self {
            Self::System => {
                // Cached by the library, which looks again every few minutes.
                system = TimeZone::system();
                &system
            }
            Self::Fixed(zone) => zone,
        };
        let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok());
        let local = zone.to_datetime(now.unwrap_or(Timestamp::MAX));
        TimeOfDay(local.hour() as u16 * 60 + local.minute() as u16)
    }
}

impl Guard for Hours {
    fn limit(&self) -> (&'static str, String) {
        ("train_between", self.window.to_string())
    }

    fn look(&mut self, now: u64) -> Look {
        let Self { window, zone } = self;
        let (now, window) = (zone.time_of_day(now), *window);
        let verdict = if window.contains(now) { Ok(()) } else { Err(Reason::Hour { now, window }) };
        Look { reading: now.to_string(), verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> TimeOfDay {
        TimeOfDay::parse(text).unwrap()
    }

    #[test]
    fn a_window_may_cross_midnight() {
        let night: Window = "22:00-07:00".parse().unwrap();
        for inside in ["22:00", "23:59", "00:00", "06:59"] {
            assert!(night.contains(at(inside)), "{inside}");
        }
        for outside in ["07:00", "12:00", "21:59"] {
            assert!(!night.contains(at(outside)), "{outside}");
        }
        let day: Window = "09:30 - 17:00".parse().unwrap();
        assert!(day.contains(at("09:30")) && !day.contains(at("17:00")) && !day.contains(at("03:00")));
        assert_eq!(day.to_string(), "09:30-17:00");
        let evening: Window = "18:00-24:00".parse().unwrap();
        assert!(evening.contains(at("23:59")) && !evening.contains(at("00:00")));
        // Every minute of the day is in a window or in the one that is left of the day.
        let rest: Window = "07:00-22:00".parse().unwrap();
        for minute in (0..24 * 60).map(TimeOfDay) {
            assert!(night.contains(minute) != rest.contains(minute) && Window::ALWAYS.contains(minute));
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in
            ["", "22:00", "22-07", "22:00-7:00", "22:00-07:60", "24:01-07:00", "25:00-07:00", "+2:00-07:00"]
        {
            let error = text.parse::<Window>().unwrap_err();
            assert!(error.contains("\"22:00-07:00\""), "{text}: {error}");
        }
        assert!("07:00-07:00".parse::<Window>().unwrap_err().contains("all day"));
    }

    /// Central Europe: on 2026-03-29 02:00 becomes 03:00, on 2026-10-25 03:00 becomes 02:00.
    #[test]
    fn windows_follow_the_clock_on_the_wall_when_it_is_put_forward_and_back() {
        let zone = Zone::Fixed(TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap());
        let utc = |text: &str| text.parse::<Timestamp>().unwrap().as_second() as u64;
        let local = |text: &str| zone.time_of_day(utc(text)).to_string();
        assert_eq!(local("2026-03-29T00:59:00Z"), "01:59");
        assert_eq!(local("2026-03-29T01:00:00Z"), "03:00");
        assert_eq!(local("2026-10-25T00:30:00Z"), "02:30");
        assert_eq!(local("2026-10-25T01:30:00Z"), "02:30");

        // Hours of work: the night of the change is an hour shorter, or longer, by the same clock on the wall.
        let mut hours = Hours { window: "22:00-07:00".parse().unwrap(), zone: zone.clone() };
        let mut worked = |day: &str| {
            let noon = utc(day);
            (0..24 * 60).filter(|minute| hours.look(noon + minute * 60).verdict.is_ok()).count()
        };
        assert_eq!(worked("2026-03-28T11:00:00Z"), 8 * 60);
        assert_eq!(worked("2026-10-24T10:00:00Z"), 10 * 60);
        assert_eq!(worked("2026-06-01T10:00:00Z"), 9 * 60);

        // The hour that is left out does not happen, the one that comes twice happens twice.
        let mut hours = Hours { window: "02:00-03:00".parse().unwrap(), zone };
        let mut worked = |day: &str| {
            let noon = utc(day);
            (0..24 * 60).filter(|minute| hours.look(noon + minute * 60).verdict.is_ok()).count()
        };
        assert_eq!((worked("2026-03-28T11:00:00Z"), worked("2026-10-24T10:00:00Z")), (0, 120));
    }

    #[test]
    fn a_clock_that_jumps_is_believed_at_the_next_look() {
        let mut hours = Hours { window: "22:00-07:00".parse().unwrap(), zone: Zone::Fixed(TimeZone::UTC) };
        let noon = 1_780_315_200; // 2026-06-01T12:00:00Z
        assert!(hours.look(noon).verdict.is_err());
        for (jump, works) in [(noon + 12 * 3600, true), (noon, false), (0, true), (u64::MAX, true)] {
            assert_eq!(hours.look(jump).verdict.is_ok(), works, "{jump}");
        }
    }
}
