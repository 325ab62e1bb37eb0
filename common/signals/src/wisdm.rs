//! The WISDM set's accelerometer on the wrist: people doing what they were told, two minutes at a time.
//!
//! `data_PERSON_accel_watch.txt`, perhaps gzipped, has lines `person,activity,x,y,z;` in m/s², 20 a second, one
//! activity after the other. There are no time stamps: what follows without a change of activity is taken to
//! be continuous, and a change begins a new [`Bout`]. A bout that repeats an earlier one of the same person to the
//! last digit (person 1629 of the public set is in it twice) is read once.
//! (WISDM smartphone and smartwatch activity set, UCI; the re-publication without time stamps.)

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::recording::WEEK_SECONDS;
use crate::{DataError, PersonId, Stream, StreamKind, files, table};

/// Samples per second.
pub const RATE_HZ: f64 = 20.0;
/// m/s² in a g.
pub(crate) const STANDARD_GRAVITY: f64 = 9.806_65;

/// How the files' names end.
pub(crate) const SUFFIX: &str = "_accel_watch.txt";

/// What the person was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// A: walking.
    Walking,
    /// B: jogging.
    Jogging,
    /// C: climbing stairs.
    Stairs,
    /// D: sitting.
    Sitting,
    /// E: standing.
    Standing,
    /// M: kicking a ball.
    Kicking,
}

impl Activity {
    /// Every activity, in the order of their letters.
    pub const ALL: [Self; 6] =
        [Self::Walking, Self::Jogging, Self::Stairs, Self::Sitting, Self::Standing, Self::Kicking];

    /// The letter that stands for it in the files.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Walking => 'A',
            Self::Jogging => 'B',
            Self::Stairs => 'C',
            Self::Sitting => 'D',
            Self::Standing => 'E',
            Self::Kicking => 'M',
        }
    }

    /// The name used in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Walking => "walking",
            Self::Jogging => "jogging",
            Self::Stairs => "stairs",
            Self::Sitting => "sitting",
            Self::Standing => "standing",
            Self::Kicking => "kicking",
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One activity of one person without interruption.
#[derive(Debug, Clone, PartialEq)]
pub struct Bout {
    /// Who moved.
    pub person: PersonId,
    /// How.
    pub activity: Activity,
    /// Acceleration, g, at [`RATE_HZ`] from time 0 of the bout.
    pub accel: Stream,
}

/// Every bout of every person, people in [`crate::natural_order`], bouts in the order of the file.
///
/// # Errors
/// [`DataError`] when the folder is missing or holds no recording, or any file is malformed.
pub fn load(dir: &Path) -> Result<Vec<Bout>, DataError> {
    let mut bouts = Vec::new();
    let mut found = false;
    for name in files::names(dir)? {
        if let Some(id) = name.strip_prefix("data_").and_then(|n| n.strip_suffix(SUFFIX)) {
            found = true;
            let path = dir.join(&name);
            bouts.extend(load_file(&path, &files::person(&path, id)?)?);
        }
    }
    if !found {
        let what = "no recordings: files like data_1600_accel_watch.txt.gz were expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    Ok(bouts)
}

fn load_file(path: &Path, person: &PersonId) -> Result<Vec<Bout>, DataError> {
    let mut runs: Vec<(Activity, Vec<f32>)> = Vec::new();
    table::lines(path, |_, text| {
        if text.is_empty() {
            return Ok(());
        }
        let (activity, xyz) = parse(text, person)?;
        if runs.last().is_none_or(|(current, _)| *current != activity) {
            runs.push((activity, Vec::new()));
        }
        if let Some((_, values)) = runs.last_mut() {
            if values.len() as f64 / 3.0 / RATE_HZ > WEEK_SECONDS {
                return Err("the activity lasts more than a week".to_owned());
            }
            values.extend(xyz);
        }
        Ok(())
    })?;
    if runs.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), what: "no line `person,activity,x,y,z;`" });
    }
    let mut bouts: Vec<Bout> = Vec::new();
    for (activity, values) in runs {
        let times = (0..values.len() / 3).map(|i| i as f64 / RATE_HZ).collect();
        let accel = Stream::new(StreamKind::Accel, times, values);
        if !bouts.iter().any(|b| b.activity == activity && b.accel == accel) {
            bouts.push(Bout { person: person.clone(), activity, accel });
        }
    }
    Ok(bouts)
}

/// The activity of a line and its acceleration, g.
fn parse(text: &str, person: &PersonId) -> Result<(Activity, [f32; 3]), String> {
    let line = text.strip_suffix(';').ok_or("a line ends with a semicolon")?;
    let mut words = line.split(',').map(str::trim);
    let (Some(id), Some(letter), Some(x), Some(y), Some(z), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err(format!("`person,activity,x,y,z;` was expected: {:?}", table::shorten(text)));
    };
    if id != person.as_str() {
        return Err(format!("it is of person {:?}, the file of {person}", table::shorten(id)));
    }
    let activity = Activity::ALL.into_iter().find(|a| letter.chars().eq([a.letter()]));
    let activity = activity.ok_or_else(|| {
        format!("{:?} is no activity: one of A, B, C, D, E, M was expected", table::shorten(letter))
    })?;
    let g = |word| Ok::<_, String>((table::number(word)? / STANDARD_GRAVITY) as f32);
    Ok((activity, [g(x)?, g(y)?, g(z)?]))
}
