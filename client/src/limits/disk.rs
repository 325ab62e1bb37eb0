//! The hub's folder, bounded: models that are not needed make room, the oldest first; one that does not fit is refused.

use std::fs;
use std::path::Path;

use super::reason::Reason;

/// Bytes of the files in `folder` and below, less those in `without`.
pub fn used(folder: &Path, without: Option<&Path>) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            _ if Some(path.as_path()) == without => 0,
            Ok(metadata) if metadata.is_dir() => used(&path, without),
            Ok(metadata) => metadata.len(),
            // Gone since it was listed.
            Err(_) => 0,
        }
    });
    bytes.sum()
}

/// Bytes that models may take, beside `others` that are none.
///
/// # Errors
/// [`Reason::Disk`] if `need` bytes of them do not fit.
pub fn room(most: u64, others: u64, need: u64) -> Result<u64, Reason> {
    let room = most.saturating_sub(others);
    if need > room { Err(Reason::Disk { need, others, most }) } else { Ok(room) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_a_folder_are_counted_but_not_those_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        fs::create_dir_all(dir.path().join("report/old")).unwrap();
        fs::create_dir(&cache).unwrap();
        for (name, len) in [("memory", 5), ("report/a.html", 70), ("report/old/b", 11), ("cache/model", 900)]
        {
            fs::write(dir.path().join(name), vec![0; len]).unwrap();
        }
        assert_eq!((used(dir.path(), None), used(dir.path(), Some(&cache))), (986, 86));
        assert_eq!(used(&dir.path().join("nothing"), None), 0);
    }

    #[test]
    fn models_get_what_other_files_leave() {
        assert_eq!(room(1000, 86, 914), Ok(914));
        assert_eq!(room(1000, 86, 915), Err(Reason::Disk { need: 915, others: 86, most: 1000 }));
        assert!(room(1000, 2000, 1).is_err());
    }
}
