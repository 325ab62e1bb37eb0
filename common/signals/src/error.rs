//! What can be wrong with data on disk: always the file, and the line where there is one.

use std::io;
use std::path::{Path, PathBuf};

/// A problem with recordings on disk; every variant names the file or folder at fault.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The folder, or a file that must be there, does not exist.
    #[error("{}: no such file or folder", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The folder or file exists and holds nothing that can be used.
    #[error("{}: {what}", path.display())]
    Empty {
        /// The folder or file.
        path: PathBuf,
        /// What was expected in it.
        what: &'static str,
    },
    /// One line does not say what its place requires.
    #[error("{}:{line}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused to read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The operating system refused to write.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The bytes of a file without lines do not say what its format or its header requires.
    #[error("{}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file is of a kind that is not read, or the recording of a kind that the layout cannot hold.
    #[error("{}: {what}", path.display())]
    Unsupported {
        /// The file, or where it would have been written.
        path: PathBuf,
        /// What there is no support or place for.
        what: String,
    },
}

impl DataError {
    pub(crate) fn malformed(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self::Malformed { path: path.to_owned(), line, what: what.into() }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.into() }
    }

    /// Reading failed: "not found" is its own variant, because it is what users meet first.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Read { path, source },
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}
