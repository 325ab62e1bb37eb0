//! Which layout a folder has, and everything in it as recordings.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    DataError, PersonId, Recording, apple_health, crisdb, derive, e4, edf, files, mmash, plain, sleep_accel,
    slpdb, wfdb,
};

/// A layout on disk that is told by the names in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// [`plain`].
    Plain,
    /// [`sleep_accel`].
    SleepAccel,
    /// [`e4`].
    E4,
    /// [`edf`].
    Edf,
    /// [`apple_health`].
    AppleHealth,
    /// [`mmash`].
    Mmash,
    /// [`slpdb`].
    Slpdb,
    /// [`crisdb`].
    Crisdb,
    /// [`crate::wisdm`].
    Wisdm,
    /// Records of [`wfdb`] that nobody scored sleep in.
    Wfdb,
}

impl Layout {
    /// The layout of a folder.
    ///
    /// # Errors
    /// [`DataError`] when the folder is missing, or what is in it has none of these layouts.
    pub fn detect(dir: &Path) -> Result<Self, DataError> {
        let names = files::names(dir)?;
        let ends = |suffix: &str| names.iter().any(|name| name.ends_with(suffix));
        let below = |file: &str| names.iter().any(|name| files::exist(&dir.join(name).join(file)));
        if dir.join(plain::DESCRIPTION).is_file() || below(plain::DESCRIPTION) {
            Ok(Self::Plain)
        } else if sleep_accel::folders().any(|folder| dir.join(folder).is_dir()) {
            Ok(Self::SleepAccel)
        } else if below(mmash::ACTIGRAPH) {
            Ok(Self::Mmash)
        } else if e4::FILES.iter().any(|file| below(file)) {
            Ok(Self::E4)
        } else if apple_health::is(dir) {
            Ok(Self::AppleHealth)
        } else if names.iter().any(|name| edf::named(name)) {
            Ok(Self::Edf)
        } else if ends(".hea") {
            Ok(if ends(".st") { Self::Slpdb } else { Self::Wfdb })
        } else if ends(crisdb::SUFFIX) {
            Ok(Self::Crisdb)
        } else if ends(crate::wisdm::SUFFIX) {
            Ok(Self::Wisdm)
        } else {
            let what = "nothing here is known: a folder with recording.toml, EDF files, an \
                        export.xml of Apple Health, or the layout of sleep-accel, the Empatica E4, slpdb, mmash, crisdb, wisdm or WFDB was expected";
            Err(DataError::Empty { path: dir.to_owned(), what })
        }
    }

    /// What it is called in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::SleepAccel => "sleep-accel",
            Self::E4 => "Empatica E4",
            Self::Edf => "EDF",
            Self::AppleHealth => "Apple Health",
            Self::Mmash => "mmash",
            Self::Slpdb => "slpdb",
            Self::Crisdb => "crisdb",
            Self::Wisdm => "wisdm",
            Self::Wfdb => "WFDB",
        }
    }

    /// Every recording of a folder with this layout, in the order of people and their nights, with the streams that can be
    /// [derived](derive()); of a whole day that says when its person was in bed, the night. None where the layout has no nights ([`Layout::Wisdm`], [`Layout::Wfdb`]).
    ///
    /// # Errors
    /// [`DataError`] naming the file, and the line.
    pub fn load(self, dir: &Path) -> Result<Vec<Recording>, DataError> {
        let found = match self {
            Self::Plain => return plain::load(dir),
            Self::SleepAccel => return sleep_accel::load(dir),
            Self::Edf => return edf::load(dir),
            Self::AppleHealth => return apple_health::load(dir),
            Self::E4 => e4::load(dir)?,
            Self::Mmash => {
                mmash::load(dir)?.into_iter().map(|day| day.night().unwrap_or(day).recording).collect()
            }
            Self::Slpdb => slpdb::load(dir)?,
            Self::Crisdb => crisdb::load(dir)?,
            Self::Wisdm => return crate::wisdm::load(dir).map(|_| Vec::new()),
            Self::Wfdb => {
                for record in wfdb::records(dir)? {
                    wfdb::read(dir, &record)?;
                }
                return Ok(Vec::new());
            }
        };
        Ok(found.into_iter().map(derive).collect())
    }

    /// Everyone with a recording, sorted.
    ///
    /// # Errors
    /// As [`Layout::load`].
    pub fn people(self, dir: &Path) -> Result<Vec<PersonId>, DataError> {
        match self {
            Self::SleepAccel => return sleep_accel::people(dir),
            Self::Edf => return edf::people(dir),
            Self::AppleHealth => {
                return Ok(apple_health::exports(dir)?.into_iter().map(|(person, _)| person).collect());
            }
            _ => {}
        }
        let mut people: Vec<PersonId> =
            self.load(dir)?.into_iter().map(|recording| recording.person).collect();
        people.sort();
        people.dedup();
        Ok(people)
    }

    /// The recordings of one person, in the order of their nights.
    ///
    /// # Errors
    /// As [`Layout::load`]; [`DataError::Empty`] when the person has none.
    pub fn load_person(self, dir: &Path, person: &PersonId) -> Result<Vec<Recording>, DataError> {
        // Nobody else's files are read where these are large.
        match self {
            Self::SleepAccel => return sleep_accel::load_person(dir, person),
            Self::Edf => return edf::load_person(dir, person),
            Self::AppleHealth => return apple_health::load_person(dir, person),
            _ => {}
        }
        let mut recordings = self.load(dir)?;
        recordings.retain(|recording| recording.person == *person);
        if recordings.is_empty() {
            return Err(DataError::Unsupported {
                path: dir.to_owned(),
                what: format!("{person} has no recording here"),
            });
        }
        Ok(recordings)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
