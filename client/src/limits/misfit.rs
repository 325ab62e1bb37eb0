//! What did not fit last, on the disk: for `status`, which is another process, and forgotten when the hub starts again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::reason::Reason;
use crate::files::{FileError, write_atomically};

/// The file's name in the hub's folder.
const FILE: &str = "misfit.json";

/// Work that did not fit, and until when the hub stays away for it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Misfit {
    /// Seconds since 1970 UTC.
    until: u64,
    /// The key of `[limits]`.
    pub(crate) limit: String,
    /// The reason.
    pub(crate) why: String,
}

impl Misfit {
    /// Keeps it for a hub in `folder`.
    ///
    /// # Errors
    /// [`FileError`] naming the file.
    pub(crate) fn keep(folder: &Path, reason: &Reason, until: u64) -> Result<(), FileError> {
        let misfit = Self { until, limit: reason.limit().to_owned(), why: reason.to_string() };
        let text = serde_json::to_string(&misfit).expect("plain data");
        write_atomically(&folder.join(FILE), text.as_bytes())
    }

    /// What keeps the hub in `folder` away at `now`. A file that cannot be read keeps nobody away.
    pub(crate) fn load(folder: &Path, now: u64) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(FILE)).ok()?;
        serde_json::from_str(&text).ok().filter(|misfit: &Self| now < misfit.until)
    }

    /// Forgets it. One that stays tells of an hour that passes.
    pub(crate) fn forget(folder: &Path) {
        let _ = std::fs::remove_file(folder.join(FILE));
    }
}

#[cfg(test)]
mod tests {
    use super::super::MIB;
    use super::*;

    #[test]
    fn it_holds_for_its_time_and_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Misfit::load(dir.path(), 0), None);
        let reason = Reason::Memory { what: "this training", need: 31 * MIB, most: 24 * MIB };
        Misfit::keep(dir.path(), &reason, 3600).unwrap();
        let kept = Misfit::load(dir.path(), 3599).unwrap();
        assert_eq!((kept.limit.as_str(), kept.why), ("memory_mib", reason.to_string()));
        assert_eq!(Misfit::load(dir.path(), 3600), None);
        Misfit::forget(dir.path());
        assert_eq!(Misfit::load(dir.path(), 0), None);
        std::fs::write(dir.path().join(FILE), "half a fi").unwrap();
        assert_eq!(Misfit::load(dir.path(), 0), None);
    }
}
