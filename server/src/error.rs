//! What can go wrong at the rim, one clear line each: the disk ([`FileError`], [`StoreError`]), the certificates
//! ([`IdentityError`]), and what was asked for ([`RequestError`]).

use std::io;
use std::path::{Path, PathBuf};

use somnus_protocol::ids::{ClientId, Version};

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
        io::ErrorKind::AddrInUse => "the port is in use by another program".into(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".into(),
        _ => error.to_string(),
    }
}

/// The store or its disk failed. Names the path.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {} is in use by another process", path.display())]
    Busy {
        /// The store's folder.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is no store.
    #[error("{}: no store here; `somnus-server init` makes one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The log under the records cannot be read.
    #[error("the store {} is damaged: {why}; restore a backup", path.display())]
    Corrupt {
        /// The store's folder.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// One record does not match its checksum or cannot be read.
    #[error("the store {} is damaged: record {record}: {why}; restore a backup", path.display())]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// Table and key.
        record: String,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer Somnus.
    #[error("the store {} has schema {found}, this program knows up to {known}", path.display())]
    TooNew {
        /// The store's folder.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema this program reads.
        known: u32,
    },
    /// Written by a Somnus that is older than any whose stores are still understood.
    #[error("the store {} has schema {found}, this program knows {known} and newer ones", path.display())]
    TooOld {
        /// The store's folder.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The oldest schema this program reads.
        known: u32,
    },
    /// A backup that is torn, changed, or none.
    #[error("{}: not a usable backup: {why}", path.display())]
    BadBackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// Whether it may pass by itself: the disk has no space, or what used it a moment ago has not let go yet.
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File(error) => matches!(error.cause.kind(), StorageFull | QuotaExceeded),
            error => matches!(error, Self::Busy { .. }),
        }
    }
}

/// Keys and certificates that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file that is no key or certificate of ours.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The generator failed.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library refused.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No entropy.
    #[error("the operating system gave no random bytes")]
    Entropy,
}

/// A request that cannot be fulfilled: the operator's or a hub's.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The disk's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The report cannot be written.
    #[error("{0}: {why}", why = std::error::Error::source(.0).map_or_else(String::new, ToString::to_string))]
    Report(#[from] somnus_report::OutputError),
    /// The certificate could not be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The name is taken.
    #[error("{0} is enrolled already; revoke it first to invite another hub under this name")]
    Enrolled(ClientId),
    /// No such client and no such invitation.
    #[error("{0} is neither enrolled nor invited")]
    Unknown(ClientId),
    /// The request to sign is not one.
    #[error("the certificate request cannot be used: {0}")]
    BadCsr(String),
    /// The hub may not have that certificate.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The address for hubs cannot be put into an invitation.
    #[error("the public address of this server: {0}")]
    Address(String),
    /// That release is not kept.
    #[error("release {wanted} is not in the store, which keeps {kept}")]
    NoRelease {
        /// Asked for.
        wanted: Version,
        /// The versions that are there.
        kept: String,
    },
    /// Nothing was released yet.
    #[error("there is no release yet")]
    NothingReleased,
    /// The foundation model cannot take the release.
    #[error("{}: {why}", path.display())]
    Model {
        /// The model's file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}
