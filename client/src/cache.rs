//! Models on the hub's disk, by their digest. A download that was interrupted goes on where it was.
//!
//! `cache/HEX` is a whole blob, `cache/HEX.part` the beginning of one. A part is not flushed as it grows; its digest is
//! verified when it is complete, so that whatever a power cut did to it is noticed then.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use somnus_protocol::ids::{BlobId, Digest};

use crate::files::{FileError, make_folder, sync_folder};

/// Blobs in a folder.
pub struct Cache {
    folder: PathBuf,
    /// Blobs whose digest this process has verified.
    verified: BTreeSet<BlobId>,
}

impl Cache {
    /// The cache in `folder`, made if need be.
    ///
    /// # Errors
    /// [`FileError`] naming the path.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        make_folder(folder)?;
        Ok(Self { folder: folder.to_owned(), verified: BTreeSet::new() })
    }

    /// Where its blobs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many bytes of a blob are here; all of them only if their digest is right.
    ///
    /// # Errors
    /// [`FileError`] if the disk fails. A blob with a wrong digest is thrown away and counts as nothing.
    pub fn have(&mut self, blob: BlobId) -> Result<u64, FileError> {
        let (whole, part) = (self.whole(blob), self.part(blob));
        if self.verified.contains(&blob) && length(&whole)? == Some(blob.len) {
            used(&whole);
            return Ok(blob.len);
        }
        for path in [&whole, &part] {
            match length(path)? {
                Some(len) if len == blob.len => {
                    if digest(path)? == blob.digest {
                        self.promote(path, &whole)?;
                        self.verified.insert(blob);
                        used(&whole);
                        return Ok(blob.len);
                    }
                    remove(path)?;
                }
                Some(len) if path == &part && len < blob.len => return Ok(len),
                Some(_) => remove(path)?,
                None => {}
            }
        }
        Ok(0)
    }

    /// Adds bytes to the beginning of a blob that has `offset` bytes so far.
    ///
    /// # Errors
    /// [`FileError`] if the disk fails.
    pub fn append(&mut self, blob: BlobId, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let path = self.part(blob);
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            // What is beyond the offset is from another attempt; a gap before it would be noticed by the digest.
            file.set_len(offset)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        };
        write().map_err(|cause| FileError::new(&path, cause))
    }

    /// A blob's content.
    ///
    /// # Errors
    /// [`FileError`] if it is not here or not what it should be.
    pub fn load(&self, blob: BlobId) -> Result<Bytes, FileError> {
        let path = self.whole(blob);
        let bytes = fs::read(&path).map_err(|cause| FileError::new(&path, cause))?;
        if BlobId::of(&bytes) == blob {
            return Ok(bytes.into());
        }
        let damaged = io::Error::new(io::ErrorKind::InvalidData, "the cached model is damaged");
        Err(FileError::new(&path, damaged))
    }

    /// Throws away everything but these blobs, so that the cache holds one model and one release.
    ///
    /// # Errors
    /// [`FileError`] if the folder cannot be read.
    pub fn retain(&mut self, blobs: &[BlobId]) -> Result<(), FileError> {
        let keep: BTreeSet<PathBuf> =
            blobs.iter().flat_map(|blob| [self.whole(*blob), self.part(*blob)]).collect();
        let entries = fs::read_dir(&self.folder).map_err(|cause| FileError::new(&self.folder, cause))?;
        for entry in entries.flatten() {
            if !keep.contains(&entry.path()) {
                remove(&entry.path())?;
            }
        }
        self.verified.retain(|blob| blobs.contains(blob));
        Ok(())
    }

    /// Makes room for `coming`, of which some or nothing is here yet: throws away other blobs, those first that were not used for
    /// longest, until `coming` whole and the rest are at most `most` bytes.
    ///
    /// # Errors
    /// [`FileError`] if the folder cannot be read.
    pub fn make_room(&mut self, coming: &[BlobId], most: u64) -> Result<(), FileError> {
        let keep: BTreeSet<PathBuf> =
            coming.iter().flat_map(|blob| [self.whole(*blob), self.part(*blob)]).collect();
        let entries = fs::read_dir(&self.folder).map_err(|cause| FileError::new(&self.folder, cause))?;
        let mut others: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| !keep.contains(path)) {
            if let Ok(metadata) = fs::metadata(&path) {
                others.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), path, metadata.len()));
            }
        }
        others.sort();
        let coming = coming.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.len));
        let mut all = others.iter().fold(coming, |sum, (_, _, len)| sum.saturating_add(*len));
        for (_, path, len) in others {
            if all <= most {
                break;
            }
            remove(&path)?;
            all -= len;
        }
        // What is gone from the disk is found out by its length.
        Ok(())
    }

    fn promote(&self, from: &Path, whole: &Path) -> Result<(), FileError> {
        if from == whole {
            return Ok(());
        }
        let moved = File::open(from)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(from, whole))
            .and_then(|()| sync_folder(whole));
        moved.map_err(|cause| FileError::new(whole, cause))
    }

    fn whole(&self, blob: BlobId) -> PathBuf {
        self.folder.join(blob.digest.to_hex())
    }

    fn part(&self, blob: BlobId) -> PathBuf {
        self.folder.join(format!("{}.part", blob.digest.to_hex()))
    }
}

fn length(path: &Path) -> Result<Option<u64>, FileError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new(path, cause)),
    }
}

/// Notes that a blob was of use; where that cannot be noted, it counts as older than it is.
fn used(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// The digest of a file, in pieces: a model may be larger than the memory that a hub can spare.
fn digest(path: &Path) -> Result<Digest, FileError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => context.update(&buffer[..n]),
            }
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        Ok(Digest::from(out))
    };
    read().map_err(|cause: io::Error| FileError::new(path, cause))
}

fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(FileError::new(path, cause)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob() -> (Vec<u8>, BlobId) {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n * 31 % 251) as u8).collect();
        let id = BlobId::of(&bytes);
        (bytes, id)
    }

    #[test]
    fn a_download_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, id) = blob();
        let mut cache = Cache::open(dir.path()).unwrap();
        assert_eq!(cache.have(id).unwrap(), 0);
        cache.append(id, 0, &bytes[..60_000]).unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        assert_eq!(cache.have(id).unwrap(), 60_000);
        assert!(cache.load(id).is_err());
        cache.append(id, 60_000, &bytes[60_000..]).unwrap();
        assert_eq!(cache.have(id).unwrap(), id.len);
        assert_eq!(cache.load(id).unwrap(), bytes);
        assert_eq!(Cache::open(dir.path()).unwrap().have(id).unwrap(), id.len);
    }

    #[test]
    fn damaged_blobs_count_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, id) = blob();
        let mut cache = Cache::open(dir.path()).unwrap();
        let mut wrong = bytes.clone();
        wrong[5] ^= 1;
        cache.append(id, 0, &wrong).unwrap();
        assert_eq!(cache.have(id).unwrap(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        cache.append(id, 0, &bytes).unwrap();
        assert_eq!(cache.have(id).unwrap(), id.len);
        // Bit rot between two starts of the hub.
        fs::write(dir.path().join(id.digest.to_hex()), &wrong).unwrap();
        assert!(cache.load(id).unwrap_err().to_string().contains("damaged"));
        assert_eq!(Cache::open(dir.path()).unwrap().have(id).unwrap(), 0);
        // A part that is longer than the blob is from nowhere.
        fs::write(dir.path().join(format!("{}.part", id.digest.to_hex())), vec![0; 200_000]).unwrap();
        assert_eq!(cache.have(id).unwrap(), 0);
    }

    #[test]
    fn room_is_made_by_what_was_not_used_for_longest() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let blobs: Vec<(BlobId, Vec<u8>)> =
            (0..4u8).map(|n| vec![n; 1000]).map(|bytes| (BlobId::of(&bytes), bytes)).collect();
        for (n, (id, bytes)) in blobs.iter().enumerate() {
            cache.append(*id, 0, bytes).unwrap();
            assert_eq!(cache.have(*id).unwrap(), 1000);
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            File::open(dir.path().join(id.digest.to_hex())).unwrap().set_modified(used).unwrap();
        }
        // The foundation is the oldest, and in use.
        let [foundation, old, older, newest] = [0, 2, 1, 3].map(|n| blobs[n].0);
        assert_eq!(cache.have(foundation).unwrap(), 1000);
        let have = |cache: &mut Cache| [foundation, older, old, newest].map(|id| cache.have(id).unwrap());
        let coming = BlobId { len: 500, ..BlobId::of(b"new") };
        cache.make_room(&[foundation, coming], 4500).unwrap();
        assert_eq!(have(&mut cache), [1000; 4]);
        // Using them has made them of one age again.
        for (n, id) in [foundation, older, old, newest].iter().enumerate() {
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            File::open(dir.path().join(id.digest.to_hex())).unwrap().set_modified(used).unwrap();
        }
        cache.make_room(&[foundation, coming], 3499).unwrap();
        assert_eq!(have(&mut cache), [1000, 0, 0, 1000]);
        // What is coming stays whatever happens.
        cache.make_room(&[foundation], 10).unwrap();
        assert_eq!(have(&mut cache), [1000, 0, 0, 0]);
    }

    #[test]
    fn the_cache_keeps_only_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, id) = blob();
        let other = BlobId::of(b"old release");
        let mut cache = Cache::open(dir.path()).unwrap();
        cache.append(id, 0, &bytes).unwrap();
        cache.append(other, 0, b"old release").unwrap();
        assert_eq!((cache.have(id).unwrap(), cache.have(other).unwrap()), (id.len, other.len));
        cache.retain(&[id]).unwrap();
        assert_eq!((cache.have(id).unwrap(), cache.have(other).unwrap()), (id.len, 0));
    }
}
