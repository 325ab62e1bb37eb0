//! Files that are whole or absent: written beside their place, flushed, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::FileError;

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Its owner alone: mode 0600, for private keys and what contains them.
    Owner,
    /// Everybody: mode 0644.
    Everyone,
}

/// Writes `bytes` to `path` so that a crash leaves either the old file or the new one.
///
/// # Errors
/// [`FileError`] naming the path: no such folder, no permission, a full disk.
pub fn write_atomically(path: &Path, bytes: &[u8], access: Access) -> Result<(), FileError> {
    let beside = beside(path);
    let written = write_new(&beside, bytes, access).and_then(|()| fs::rename(&beside, path));
    if let Err(source) = written.and_then(|()| sync_folder(path)) {
        // The half-written file is worthless; that it may not exist either does not matter.
        let _ = fs::remove_file(&beside);
        return Err(FileError::new(path, source));
    }
    Ok(())
}

/// Reads a whole file.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(|source| FileError::new(path, source))
}

/// Reads a whole file as UTF-8.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|source| FileError::new(path, source))
}

/// Makes a folder and its parents, readable by their owner alone if they are new.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| FileError::new(path, source))
}

fn write_new(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Owner => 0o600,
        Access::Everyone => 0o644,
    };
    // A leftover of a crash would keep its old mode: it goes first.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the names in the folder of `path`.
///
/// # Errors
/// What the disk says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_for_their_owner_and_replacing_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(dir.path().join("key.new"), "left by a crash").unwrap();
        for text in ["first", "second"] {
            write_atomically(&path, text.as_bytes(), Access::Owner).unwrap();
            assert_eq!(read_text(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn errors_name_the_path() {
        let error = write_atomically(Path::new("/nonexistent/folder/x"), b"", Access::Everyone).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/folder/x"), "{error}");
    }
}
