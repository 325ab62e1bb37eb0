//! The hub's file of what has trained: on the disk before a training begins, and so before anything of it can leave.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use somnus_protocol::participant::Secret;

use crate::files::FileError;
use crate::kept;
use crate::trained::{MOST, NightKey, Trained};
use crate::work::lock;

/// The file's name in the hub's folder.
const TRAINED: &str = "trained";

/// What has trained, in memory as on the disk.
pub struct Ledger {
    path: PathBuf,
    /// `None` where the file was damaged.
    trained: Mutex<Option<Trained>>,
}

impl Ledger {
    /// The one of a hub's folder; empty if nothing has trained yet.
    ///
    /// # Errors
    /// [`FileError`] naming the path: the disk fails, or a newer program wrote it. A damaged file is set aside.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(TRAINED);
        let trained = match kept::read(&path)? {
            Some(bytes) => Trained::from_bytes(bytes.as_bytes()),
            // Also when the program ended between setting it aside and writing another.
            None if kept::aside(&path).exists() => None,
            None => Some(Trained::default()),
        };
        Ok(Self { path, trained: Mutex::new(trained) })
    }

    /// What has trained, as far as it is about `nights` and the epochs that they have. Where that was lost, all of them have.
    ///
    /// # Errors
    /// [`FileError`] naming the path, which is written where it was lost.
    pub fn trained(&self, nights: &[(NightKey, usize)]) -> Result<Trained, FileError> {
        let mut known = lock(&self.trained);
        match &*known {
            Some(trained) => Ok(trained.clone()),
            None => {
                let trained = self.write(&Trained::default(), nights)?;
                Ok(known.insert(trained).clone())
            }
        }
    }

    /// Takes down that the first epochs of these nights train now.
    ///
    /// # Errors
    /// [`FileError`] naming the path: then they must not.
    pub fn add(&self, parts: &[(NightKey, usize)]) -> Result<(), FileError> {
        let mut known = lock(&self.trained);
        let before = known.clone().unwrap_or_default();
        *known = Some(self.write(&before, parts)?);
        Ok(())
    }

    fn write(&self, before: &Trained, parts: &[(NightKey, usize)]) -> Result<Trained, FileError> {
        let full = || io::Error::other(format!("{MOST} nights have trained, and no more can be remembered"));
        let after = before.with(parts).ok_or_else(|| FileError::new(&self.path, full()))?;
        if after != *before {
            kept::write(&self.path, &Secret::new(after.to_bytes()))?;
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use somnus_signals::synthetic::{SyntheticConfig, recordings};

    use super::*;

    fn nights() -> Vec<(NightKey, usize)> {
        let recordings = recordings(&SyntheticConfig { people: 3, ..SyntheticConfig::default() });
        recordings.iter().map(|recording| (NightKey::of(recording), 960)).collect()
    }

    #[test]
    fn what_trained_is_known_to_the_next_life() {
        let (dir, nights) = (tempfile::tempdir().unwrap(), nights());
        let trained = |ledger: &Ledger| {
            let trained = ledger.trained(&nights).unwrap();
            nights.iter().map(|(night, epochs)| trained.of(night, *epochs)).collect::<Vec<_>>()
        };
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(trained(&ledger), [0, 0, 0]);
        ledger.add(&[(nights[0].0, 700)]).unwrap();
        ledger.add(&[(nights[0].0, 960), (nights[1].0, 600)]).unwrap();
        // It is never closed: kill -9 leaves as much.
        assert_eq!(trained(&Ledger::open(dir.path()).unwrap()), [960, 600, 0]);
    }

    #[test]
    fn a_disk_that_refuses_is_an_error_and_leaves_what_was_known() {
        let (dir, nights) = (tempfile::tempdir().unwrap(), nights());
        let ledger = Ledger::open(dir.path()).unwrap();
        ledger.add(&nights[..1]).unwrap();
        let known = ledger.trained(&nights).unwrap();
        fs::create_dir(dir.path().join("trained.new")).unwrap();
        let error = ledger.add(&nights).unwrap_err().to_string();
        assert!(error.contains("trained"), "{error}");
        assert_eq!(ledger.trained(&nights).unwrap(), known);
        ledger.add(&nights[..1]).unwrap();
    }

    #[test]
    fn where_it_was_damaged_everything_that_is_there_has_trained() {
        let (dir, nights) = (tempfile::tempdir().unwrap(), nights());
        Ledger::open(dir.path()).unwrap().add(&nights[..1]).unwrap();
        let path = dir.path().join(TRAINED);
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 1;
        fs::write(&path, bytes).unwrap();
        // Killed before it knew which nights are there.
        drop(Ledger::open(dir.path()).unwrap());
        assert!(!path.exists() && kept::aside(&path).exists());
        let trained = Ledger::open(dir.path()).unwrap().trained(&nights[..2]).unwrap();
        let of =
            |trained: &Trained| nights.iter().map(|(night, _)| trained.of(night, 960)).collect::<Vec<_>>();
        assert_eq!(of(&trained), [960, 960, 0]);
        let again = Ledger::open(dir.path()).unwrap().trained(&nights).unwrap();
        assert_eq!(of(&again), [960, 960, 0], "a night that came later is new");
    }
}
