//! What has come into a folder since it was read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::DataError;

/// A file that changed less than this ago may still be coming.
const SETTLED: Duration = Duration::from_secs(30);
/// Folders in folders are followed this far down: a study, a person, an export, what is in it.
const DEPTH: usize = 4;

/// The files of a folder, by size and by when they changed. Hidden ones are not counted: programs that copy write those until a
/// file is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Contents {
    /// What is there now.
    ///
    /// # Errors
    /// [`DataError`] when a folder cannot be read.
    pub fn of(dir: &Path) -> Result<Self, DataError> {
        let mut contents = Self::default();
        contents.add(dir, DEPTH)?;
        Ok(contents)
    }

    fn add(&mut self, dir: &Path, depth: usize) -> Result<(), DataError> {
        for entry in fs::read_dir(dir).map_err(|error| DataError::read(dir, error))? {
            let entry = entry.map_err(|error| DataError::read(dir, error))?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            // A file that is gone again was never there.
            let Ok(about) = fs::metadata(&path) else { continue };
            if !about.is_dir() {
                self.0.insert(path, (about.len(), about.modified().ok()));
            } else if depth > 0 {
                self.add(&path, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Whether nothing in it has changed for a while. A file from the future came from a clock that is wrong, and has settled.
    fn settled(&self, now: SystemTime) -> bool {
        let changed = self.0.values().filter_map(|(_, changed)| *changed);
        changed.filter_map(|changed| now.duration_since(changed).ok()).all(|age| age >= SETTLED)
    }
}

/// Says when a folder is worth reading again.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// What was there when it was read last, whether that gave anything or not.
    read: Contents,
}

impl Arrivals {
    /// Of a folder that was read when it had `contents`.
    #[must_use]
    pub fn since(contents: Contents) -> Self {
        Self { read: contents }
    }

    /// Whether the folder, which now has `contents`, is another than when it was read and will stay so: then it is to be read, and
    /// that is taken down.
    pub fn call_for_reading(&mut self, contents: &Contents, now: SystemTime) -> bool {
        let new = *contents != self.read && contents.settled(now);
        if new {
            self.read.clone_from(contents);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn contents(files: &[(&str, u64, u64)]) -> Contents {
        Contents(files.iter().map(|(name, size, time)| (name.into(), (*size, Some(at(*time))))).collect())
    }

    #[test]
    fn a_night_is_read_once_it_is_whole_and_then_not_again() {
        let mut arrivals = Arrivals::since(contents(&[("a.edf", 10, 0)]));
        let mut reads =
            |files: &[(&str, u64, u64)], now| arrivals.call_for_reading(&contents(files), at(now));
        assert!(!reads(&[("a.edf", 10, 0)], 1000));
        assert!(!reads(&[("a.edf", 10, 0), ("b.edf", 5, 1000)], 1010), "it is still coming");
        assert!(!reads(&[("a.edf", 10, 0), ("b.edf", 9, 1020)], 1049));
        assert!(reads(&[("a.edf", 10, 0), ("b.edf", 9, 1020)], 1050));
        assert!(!reads(&[("a.edf", 10, 0), ("b.edf", 9, 1020)], 2000), "whatever came of reading it");
        assert!(reads(&[("a.edf", 10, 0), ("b.edf", 9, 1500)], 2000), "a file that was mended");
        assert!(reads(&[("b.edf", 9, 1500)], 2000), "and one that was taken away");
        assert!(reads(&[("b.edf", 9, 99_999)], 2000), "a clock that is wrong does not keep nights away");
    }

    #[test]
    fn every_file_counts_that_is_not_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("anna/hr.csv", "time,bpm\n");
        let first = Contents::of(dir.path()).unwrap();
        put("anna/.hr.csv.part", "time");
        put(".sync/state", "");
        assert_eq!(Contents::of(dir.path()).unwrap(), first);
        put("anna/hr.csv", "time,bpm\n0,60\n");
        let second = Contents::of(dir.path()).unwrap();
        assert_ne!(second, first);
        put("bert/apple_health_export/export.xml", "<");
        assert_eq!(Contents::of(dir.path()).unwrap().0.len(), 2);
        assert!(Contents::of(&dir.path().join("none")).is_err());
    }
}
