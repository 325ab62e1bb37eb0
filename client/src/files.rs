//! Files that are whole or absent: written beside their place, flushed, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use somnus_protocol::participant::Secret;
use zeroize::Zeroizing;

/// A file or folder that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", path.display(), plain(cause))]
pub struct FileError {
    /// Which.
    pub path: PathBuf,
    /// Why; part of the message, so not its source.
    pub cause: io::Error,
}

impl FileError {
    /// An error about `path`.
    pub fn new(path: &Path, cause: io::Error) -> Self {
        Self { path: path.to_owned(), cause }
    }
}

/// An I/O error in words, without its number where the words say it all.
pub fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        io::ErrorKind::NotFound => "no such file or folder".into(),
        _ => error.to_string(),
    }
}

/// Writes `bytes` to `path`, readable by its owner alone, so that a crash leaves either the old file or the new one.
///
/// # Errors
/// [`FileError`] naming the path: no such folder, no permission, a full disk.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let beside = beside(path);
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if let Err(cause) = written.and_then(|()| sync_folder(path)) {
        // The half-written file is worthless; that it may not exist either does not matter.
        let _ = fs::remove_file(&beside);
        return Err(FileError::new(path, cause));
    }
    Ok(())
}

/// A file's content, if there is one, for its owner alone.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn read(path: &Path) -> Result<Option<Secret>, FileError> {
    let open = || -> io::Result<Secret> {
        let mut file = File::open(path)?;
        // One buffer from the beginning: one that grew would leave copies behind.
        let mut bytes = Zeroizing::new(vec![0; file.metadata()?.len() as usize]);
        file.read_exact(&mut bytes)?;
        Ok(bytes.into())
    };
    match open() {
        Ok(secret) => Ok(Some(secret)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new(path, cause)),
    }
}

/// Makes a folder and its parents, readable by their owner alone if they are new.
///
/// # Errors
/// [`FileError`] naming the path.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|cause| FileError::new(path, cause))
}

/// Flushes the names in the folder of `path`.
///
/// # Errors
/// What the disk says.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leftover of a crash would keep its old mode: it goes first.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
