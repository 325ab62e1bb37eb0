//! The one file that names sled: how the log under the records is opened, brought to the disk, and opened again after the disk refused.
//!
//! Two things that sled 0.34 leaves to us. Its `flush` ends with `sync_file_range`, which writes pages but neither the
//! length of the file nor where on the disk they are: after a power cut the end of a log that had grown would be gone. So
//! every write is followed by an `fdatasync` of the log. And after one failed write it refuses everything until it is
//! opened again, which is done here, by the next call.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sled::{Batch, Db};

use crate::error::{FileError, StoreError};

/// sled's page cache; the system has the file in its own. Less than this sled does not take.
const CACHE: u64 = 256 * 1024;
/// Deepest backlog of the write-ahead log that is replayed on open is a few segments of this size.
const SEGMENT: usize = 512 * 1024;
/// How long a log that was just closed may stay locked.
const BUSY: Duration = Duration::from_secs(1);
/// The log's file in sled's folder.
const FILE: &str = "db";
/// What the names of sled's snapshots end with until they are whole.
const HALF_SNAPSHOT: &str = "generating";

/// A log of batches.
pub(super) struct Log {
    /// sled's folder.
    folder: PathBuf,
    /// What errors name.
    store: PathBuf,
    /// None after a failure.
    open: Mutex<Option<Db>>,
}

impl Log {
    /// Opens the log in `folder`, or makes one; errors name `store`.
    pub(super) fn open(folder: &Path, store: &Path) -> Result<Self, StoreError> {
        let log = Self { folder: folder.to_owned(), store: store.to_owned(), open: Mutex::new(None) };
        log.db()?;
        // The names of what sled has just made.
        for made in [folder, store] {
            File::open(made).and_then(|made| made.sync_all()).map_err(|cause| FileError::new(made, cause))?;
        }
        Ok(log)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.run(|db| db.get(key))?.map(|value| value.to_vec()))
    }

    /// Has all of these values on the disk, none meaning that the key goes; after an error all or none of them.
    pub(super) fn write(&self, values: Vec<(&[u8], Option<Vec<u8>>)>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, value) in values {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.run(|db| {
            db.apply_batch(batch)?;
            db.flush()?;
            Ok(File::open(self.folder.join(FILE))?.sync_data()?)
        })
    }

    /// The entries whose keys begin with `prefix`, in order. The step from one to the next is guarded, too: that is where
    /// sled reads.
    pub(super) fn entries(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> {
        let mut rest = Some(self.run(|db| Ok(db.scan_prefix(prefix))));
        std::iter::from_fn(move || {
            let next = match rest.as_mut()? {
                Ok(rest) => self.guarded(|| rest.next().transpose()).transpose(),
                Err(_) => rest.take().and_then(Result::err).map(Err),
            };
            // Behind an error nothing can be trusted.
            if matches!(next, Some(Err(_))) {
                rest = None;
            }
            next.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }

    /// Runs one call of sled.
    pub(super) fn run<T>(&self, call: impl FnOnce(&Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let db = self.db()?;
        self.guarded(|| call(&db))
    }

    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        let done = guard(&self.store, call);
        if done.is_err() {
            self.close();
        }
        done
    }

    fn db(&self) -> Result<Db, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(db) => Ok(db.clone()),
            None => Ok(open.insert(self.open_sled()?).clone()),
        }
    }

    /// What sled has in memory may be ahead of the disk now.
    fn close(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn open_sled(&self) -> Result<Db, StoreError> {
        let config = sled::Config::new()
            .path(&self.folder)
            .cache_capacity(CACHE)
            .segment_size(SEGMENT)
            // Every write is flushed before it counts; a timer would only write the same twice.
            .flush_every_ms(None);
        let began = Instant::now();
        loop {
            remove_half_snapshots(&self.folder)?;
            match guard(&self.store, || config.open()) {
                // sled lets go of its lock a moment after the last handle to it is gone.
                Err(StoreError::Busy { .. }) if began.elapsed() < BUSY => std::thread::sleep(BUSY / 100),
                other => return other,
            }
        }
    }
}

/// Removes the snapshots that a crash or a full disk left half-written. sled 0.34 takes such a file for a snapshot and
/// calls the store corrupt; without it sled reads on from the snapshot before. Nothing is touched while another process
/// has the log open, which holds this very lock.
fn remove_half_snapshots(folder: &Path) -> Result<(), FileError> {
    let failed = |cause| FileError::new(folder, cause);
    let mut halves = Vec::new();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == HALF_SNAPSHOT) {
                halves.push(path);
            }
        }
    }
    if halves.is_empty() {
        return Ok(());
    }
    let log = folder.join(FILE);
    let held = File::open(&log).map_err(|cause| FileError::new(&log, cause))?;
    if held.try_lock().is_ok() {
        for half in halves {
            fs::remove_file(&half).map_err(|cause| FileError::new(&half, cause))?;
        }
    }
    Ok(())
}

/// Runs one call of sled. On some damaged files sled 0.34 panics where it should return an error; to the operator both
/// are a damaged store.
fn guard<T>(path: &Path, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let path = path.to_owned();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) => {
            let text = source.to_string();
            if text.contains("could not acquire lock") {
                return Err(StoreError::Busy { path });
            }
            if source.kind() == std::io::ErrorKind::InvalidData {
                return Err(StoreError::Corrupt { path, why: text });
            }
            Err(FileError::new(&path, source).into())
        }
        Ok(Err(other)) => Err(StoreError::Corrupt { path, why: other.to_string() }),
        Err(panic) => {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why =
                why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unreadable").to_owned();
            Err(StoreError::Corrupt { path, why })
        }
    }
}
