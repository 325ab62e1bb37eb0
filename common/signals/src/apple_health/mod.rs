//! Exports of Apple Health: what a watch, and whatever else somebody wears, told a telephone.
//!
//! `export.xml` in the folder, or one in each of its folders, whose names are then the people's. Of its records two types are read:
//! `HKQuantityTypeIdentifierHeartRate` and `HKCategoryTypeIdentifierSleepAnalysis`. A night is the longest stretch of sleep
//! analysis between two noons of the clocks where it began, and its name is the date of its evening. The file is read as a stream;
//! heart rates and times of sleep are kept, nothing else.
//!
//! **A device's stages are no labels.** [`Estimate`] is a type of its own, and a [`Recording`] from here is never scored: a model that
//! learned from another model's guesses, or was judged by them, would only show how alike both are. Whoever compares devices
//! finds them in [`Night::estimates`].

mod nights;
mod when;
mod xml;

use std::path::{Path, PathBuf};

use crate::{DataError, PersonId, Recording, Task, files};

pub(crate) use xml::Export;

/// The file, and the folder that the telephone puts it into.
pub(crate) const FILE: &str = "export.xml";
const UNPACKED: &str = "apple_health_export";
/// Who an export is of that has no folder with a name.
const ME: &str = "me";

/// What a device makes of a moment of somebody's night: an estimate, and not what anybody scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Estimate {
    /// Awake.
    Awake,
    /// "Core" sleep, which is meant to be N1 and N2.
    Core,
    /// "Deep" sleep, which is meant to be N3.
    Deep,
    /// REM sleep.
    Rem,
    /// Asleep, and in which stage is not said.
    Asleep,
}

impl Estimate {
    /// The class of a task that it stands for; `None` where it does not say enough.
    #[must_use]
    pub fn class(self, task: Task) -> Option<usize> {
        match (task, self) {
            (_, Self::Awake) => Some(0),
            (Task::SleepWake, _) => Some(1),
            (_, Self::Asleep) => None,
            (Task::Three, Self::Core | Self::Deep) | (Task::Four, Self::Core) => Some(1),
            (Task::Three, Self::Rem) | (Task::Four, Self::Deep) => Some(2),
            (Task::Four, Self::Rem) => Some(3),
        }
    }
}

/// One night of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Night {
    /// Heart rate, and no labels.
    pub recording: Recording,
    /// Unix seconds of time 0.
    pub start: i64,
    /// What clocks showed beyond UTC at that moment, seconds.
    pub utc_offset: i32,
    /// What the device made of each epoch, `[epochs]`.
    pub estimates: Vec<Option<Estimate>>,
    /// Who told of its sleep.
    pub sleep_source: String,
    /// Who measured heart rate.
    pub heart_source: Option<String>,
}

/// The exports of a folder, and whose they are.
///
/// # Errors
/// [`DataError`] when there is none, or a folder is called what no person can be.
pub fn exports(dir: &Path) -> Result<Vec<(PersonId, PathBuf)>, DataError> {
    for folder in [dir.to_owned(), dir.join(UNPACKED)] {
        if files::exist(&folder.join(FILE)) {
            return Ok(vec![(files::person(&folder, ME)?, folder.join(FILE))]);
        }
    }
    let mut found = Vec::new();
    for name in files::names(dir)? {
        let folder = dir.join(&name);
        let paths = [folder.join(FILE), folder.join(UNPACKED).join(FILE)];
        if let Some(path) = paths.into_iter().find(|path| files::exist(path)) {
            found.push((files::person(&folder, &name)?, path));
        }
    }
    if found.is_empty() {
        let what = "no recordings: export.xml of Apple Health was expected";
        return Err(DataError::Empty { path: dir.to_owned(), what });
    }
    found.sort();
    Ok(found)
}

/// Whether a folder has an export, or folders below it have.
pub(crate) fn is(dir: &Path) -> bool {
    // A folder with a name that nobody can have is one too, and is refused by that name.
    matches!(exports(dir), Ok(_) | Err(DataError::Unsupported { .. }))
}

/// The nights of one export, in their order.
///
/// # Errors
/// [`DataError`] naming the line.
pub fn nights(path: &Path, person: &PersonId) -> Result<Vec<Night>, DataError> {
    Ok(Export::read(path)?.nights(person))
}

/// Every recording of everyone.
///
/// # Errors
/// As [`exports`] and [`nights`].
pub fn load(dir: &Path) -> Result<Vec<Recording>, DataError> {
    let of_one = |(person, path): (PersonId, PathBuf)| nights(&path, &person);
    let all = exports(dir)?.into_iter().map(of_one).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().flatten().map(|night| night.recording).collect())
}

/// The recordings of one person; nobody else's export is read.
///
/// # Errors
/// As [`load`]; [`DataError::Unsupported`] when the person has no export or no night.
pub fn load_person(dir: &Path, person: &PersonId) -> Result<Vec<Recording>, DataError> {
    let own = exports(dir)?.into_iter().find(|(of, _)| of == person);
    let found = own.map_or_else(|| Ok(Vec::new()), |(_, path)| nights(&path, person))?;
    if found.is_empty() {
        return Err(DataError::unsupported(dir, format!("{person} has no night here")));
    }
    Ok(found.into_iter().map(|night| night.recording).collect())
}
