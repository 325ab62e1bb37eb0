//! A person's day, and the night within it.

use std::path::Path;

use super::clock::{DAY_SECONDS, before_day, minute_of_day};
use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS};
use crate::{DataError, Recording, table};

/// The name of a recording that is more than a night.
pub(super) const WHOLE: &str = "day";

/// About 24 hours of one person, or the night cut out of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// The streams; nothing is scored by stage.
    pub recording: Recording,
    /// What time it was at time 0: seconds since the midnight before the first day.
    pub clock: f64,
    /// The times in bed, in their order. Empty where nobody slept or wrote it down.
    pub sleeps: Vec<Sleep>,
}

/// One time in bed, in seconds on the recording's axis, from the ActiGraph's own software.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sleep {
    /// Going to bed.
    pub in_bed: f64,
    /// Falling asleep.
    pub onset: f64,
    /// Getting up.
    pub out_of_bed: f64,
    /// Minutes asleep in between; the rest after `onset` was spent awake, nobody knows when.
    pub asleep_minutes: f64,
}

impl Day {
    /// From first going to bed to last getting up, as a recording of its own; `None` without a time in bed.
    #[must_use]
    pub fn night(&self) -> Option<Self> {
        let (from, to) = (self.sleeps.first()?.in_bed, self.sleeps.last()?.out_of_bed);
        let streams = self.recording.streams.values().map(|s| s.cut(from, to));
        let mut recording = Recording::unscored(self.recording.person.clone(), DEFAULT_NIGHT, streams);
        recording.labels = vec![None; ((to - from) / EPOCH_SECONDS) as usize];
        let moved = |sleep: &Sleep| Sleep {
            in_bed: sleep.in_bed - from,
            onset: sleep.onset - from,
            out_of_bed: sleep.out_of_bed - from,
            ..*sleep
        };
        Some(Self { recording, clock: self.clock + from, sleeps: self.sleeps.iter().map(moved).collect() })
    }

    /// Per epoch of the recording, whether the person slept in the middle of it: between an onset and getting
    /// up. `None` for everything without a time in bed.
    ///
    /// Coarse truth: from a movement sensor, not from polysomnography, and being awake during the night counts as sleep.
    #[must_use]
    pub fn asleep(&self) -> Vec<Option<bool>> {
        let slept = |epoch: usize| {
            let middle = (epoch as f64 + 0.5) * EPOCH_SECONDS;
            self.sleeps.iter().any(|s| (s.onset..s.out_of_bed).contains(&middle))
        };
        let known = !self.sleeps.is_empty();
        (0..self.recording.epochs()).map(|epoch| known.then(|| slept(epoch))).collect()
    }
}

/// The times in bed, on an axis that begins `zero` seconds after the midnight before day 1.
pub(super) fn read_sleeps(path: &Path, zero: u32) -> Result<Vec<Sleep>, DataError> {
    let mut sleeps: Vec<Sleep> = Vec::new();
    let names = [
        "In Bed Date",
        "In Bed Time",
        "Onset Time",
        "Out Bed Time",
        "Total Minutes in Bed",
        "Total Sleep Time (TST)",
    ];
    table::columns(path, names, |[date, in_bed, onset, out_of_bed, minutes, asleep_minutes]| {
        let day =
            date.parse().map_err(|_| format!("{:?} is not the number of a day", table::shorten(date)))?;
        let mut bed = before_day(day)? * DAY_SECONDS + minute_of_day(in_bed)?;
        if bed < zero {
            // Nobody went to bed before the recording: a time after midnight under the date of the evening.
            bed += DAY_SECONDS;
        }
        let onset = next(bed, minute_of_day(onset)?);
        let out = next(bed, minute_of_day(out_of_bed)?);
        let minutes = table::number(minutes)?;
        if (f64::from(out - bed) / 60.0 - minutes).abs() > 1.0 {
            return Err(format!("from {in_bed} to {out_of_bed} are not {minutes} minutes in bed"));
        }
        if onset > out {
            return Err("the onset of sleep is not within the time in bed".to_owned());
        }
        let asleep_minutes = table::number(asleep_minutes)?;
        if !(0.0..=minutes).contains(&asleep_minutes) {
            return Err(format!("{asleep_minutes} minutes asleep in {minutes} minutes in bed"));
        }
        let at = |second: u32| f64::from(second) - f64::from(zero);
        let sleep = Sleep { in_bed: at(bed), onset: at(onset), out_of_bed: at(out), asleep_minutes };
        if sleeps.last().is_some_and(|before| before.out_of_bed > sleep.in_bed) {
            return Err("it begins before the time in bed above it has ended".to_owned());
        }
        sleeps.push(sleep);
        Ok(())
    })?;
    Ok(sleeps)
}

/// The first second at or after `since` that has this time of day.
fn next(since: u32, time_of_day: u32) -> u32 {
    since + (time_of_day + DAY_SECONDS - since % DAY_SECONDS) % DAY_SECONDS
}
