//! Large payloads as files of their own: written before a record names them, removed after none does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use somnus_protocol::ids::{BlobId, Digest};

use crate::error::FileError;
use crate::files::{self, Access};

/// The folder of objects, and how many records name each.
pub(super) struct Objects {
    folder: PathBuf,
    named: BTreeMap<Digest, u32>,
}

impl Objects {
    /// The objects in `folder`, none of which is named so far.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, named: BTreeMap::new() }
    }

    /// Brings a payload to the disk, under the digest by which a record is going to name it.
    pub(super) fn keep(&self, payload: &[u8]) -> Result<BlobId, FileError> {
        let blob = BlobId::of(payload);
        files::write_atomically(&place(&self.folder, blob.digest), payload, Access::Owner)?;
        Ok(blob)
    }

    /// A record names it.
    pub(super) fn named(&mut self, digest: Digest) {
        *self.named.entry(digest).or_default() += 1;
    }

    /// A record does not name it any more; after the last one it goes.
    pub(super) fn released(&mut self, digest: Digest) {
        let count = self.named.entry(digest).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.named.remove(&digest);
            // One that cannot be removed now is removed on the next open.
            let _ = fs::remove_file(place(&self.folder, digest));
        }
    }

    /// Removes what no record names.
    pub(super) fn sweep(&self) -> Result<(), FileError> {
        let failed = |cause| FileError::new(&self.folder, cause);
        let named: BTreeSet<PathBuf> = self.named.keys().map(|digest| place(&self.folder, *digest)).collect();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !named.contains(&path) {
                fs::remove_file(&path).map_err(|cause| FileError::new(&path, cause))?;
            }
        }
        Ok(())
    }
}

/// The payload of an object; none if the file holds something else.
pub(super) fn read(folder: &Path, blob: BlobId) -> Result<Option<Vec<u8>>, FileError> {
    let payload = files::read(&place(folder, blob.digest))?;
    Ok((BlobId::of(&payload) == blob).then_some(payload))
}

fn place(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(digest.to_hex())
}
