//! The MMASH set: about 24 hours of movement, heart rate and heart beats of healthy people, with the times they
//! spent in bed. One folder per person, its files perhaps gzipped.
//!
//! | file | columns used | becomes |
//! |---|---|---|
//! | `Actigraph.csv` | `Vector Magnitude`, `HR`, `day`, `time`; one row a second | `activity`, `hr` |
//! | `RR.csv` | `ibi_s`, `day`, `time`; one row a beat | `ibi`, times to a fraction of the second (`beats.rs`) |
//! | `sleep.csv` | `In Bed Date`, `In Bed Time`, `Onset Time`, `Out Bed Time`, `Total Minutes in Bed`, `Total Sleep Time (TST)` | [`Sleep`] |
//!
//! Time 0 of the recording is the first row of the first two files; [`Day::clock`] is the time of day then. What the
//! real files are like: of every half a minute about 7 s are missing in both; the `day` of one person goes from 1
//! to -29 at midnight, because the month ended; the date of getting up is that of going to bed for those who went
//! before midnight; one person has no sleep. So the rows' order counts, a change of `day` is a midnight, and of the
//! three times of a sleep only the first has a date that is read.
//!
//! **Activity** is not what the sleep-accel counts are, and is only put on their scale: per 15 s,
//! max(0, (Σ vector magnitude − 600) / 11). ActiGraph counts weigh slow movements (0.25-2.5 Hz) that those of sleep-accel
//! (3-11 Hz) do not see. The two numbers were chosen so that the windows in bed are distributed like those of the 24 nights
//! of sleep-accel: 3.8 % of them move (3.8), by 45 at the median (34) and 135 at the 90th percentile (129). It says how
//! much somebody moved compared with others of this set, and nothing in g.

mod beats;
mod clock;
mod day;
mod movement;

use std::path::Path;

pub use day::{Day, Sleep};

use crate::{DataError, PersonId, Recording, Stream, StreamKind, files, table};
use beats::Beats;
use clock::Calendar;
use movement::Movement;

pub(crate) const ACTIGRAPH: &str = "Actigraph.csv";
pub(crate) const RR: &str = "RR.csv";
const SLEEP: &str = "sleep.csv";

/// Everyone who has a folder in `dir`, by the folder's name in [`crate::natural_order`]. Folders without an `Actigraph.csv`
/// are passed over.
///
/// # Errors
/// [`DataError`] when `dir` is missing or holds no such folder, or any file is missing or malformed.
pub fn load(dir: &Path) -> Result<Vec<Day>, DataError> {
    let mut days = Vec::new();
    for name in files::names(dir)? {
        let folder = dir.join(&name);
        if files::exist(&folder.join(ACTIGRAPH)) {
            days.push(load_folder(&folder, &files::person(&folder, &name)?)?);
        }
    }
    if days.is_empty() {
        let what = "no recordings: folders with files like Actigraph.csv were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    Ok(days)
}

/// The day in one folder.
///
/// # Errors
/// [`DataError`] when a file is missing, empty or malformed.
pub fn load_folder(folder: &Path, person: &PersonId) -> Result<Day, DataError> {
    let (mut movement, mut rates) = (Movement::default(), Rates::default());
    let mut calendar = Calendar::default();
    let path = folder.join(ACTIGRAPH);
    table::columns(&path, ["Vector Magnitude", "HR", "day", "time"], |[counts, bpm, day, time]| {
        let second = calendar.second(day, time)?;
        movement.push(second, table::number(counts)?);
        rates.push(second, table::number(bpm)?);
        Ok(())
    })?;
    let first_second = calendar.first().ok_or(DataError::Empty { path, what: "no row" })?;

    let mut beats = Beats::default();
    let mut calendar = Calendar::default();
    table::columns(&folder.join(RR), ["ibi_s", "day", "time"], |[interval, day, time]| {
        beats.push(calendar.second(day, time)?, table::number(interval)?);
        Ok(())
    })?;
    let zero = calendar.first().map_or(first_second, |beat| beat.min(first_second));
    let sleeps = day::read_sleeps(&folder.join(SLEEP), zero)?;
    let zero = f64::from(zero);
    let streams = [movement.activity(zero), rates.stream(zero), beats.stream(zero)];
    Ok(Day { recording: Recording::unscored(person.clone(), day::WHOLE, streams), clock: zero, sleeps })
}

/// Heart rates, one a second.
#[derive(Default)]
struct Rates {
    times: Vec<f64>,
    values: Vec<f32>,
}

impl Rates {
    fn push(&mut self, second: u32, bpm: f64) {
        self.times.push(f64::from(second));
        self.values.push(bpm as f32);
    }

    fn stream(self, zero: f64) -> Stream {
        Stream::new(StreamKind::Hr, self.times.iter().map(|t| t - zero).collect(), self.values)
    }
}
