//! The one file that names sled: checksummed values under typed keys, written in atomic batches.
//!
//! One sled tree holds everything, because sled's batches are atomic within a tree. A key is one byte for the table and
//! the record's own key; a value is an envelope:
//!
//! ```text
//! kind               1 byte: 1 payload inside, 2 payload in a file
//! CRC-32 (IEEE)      4 bytes, little-endian, over key and what follows
//! 1: payload         JSON for what people may want to read, bincode for releases and rounds
//! 2: SHA-256, length 32 bytes and 8 bytes little-endian: `objects/HEX` has the payload
//! ```
//!
//! sled 0.34 never gives the space of large values back (400 releases of 180 kB, of which 10 are kept, take 200 MB), so
//! they are files of their own: flushed before the batch that names them, removed after the batch that no longer does.
//! What a crash leaves over is removed on open. sled keeps its own checksums of its log; ours also notice what sled would
//! hand out in good faith.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sled::{Batch, Db};
use somnus_protocol::ids::{BlobId, Digest};

use crate::error::{FileError, StoreError};
use crate::files::{self, Access};

/// The layout that this program writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

const INSIDE: u8 = 1;
const OUTSIDE: u8 = 2;
const OVERHEAD: usize = 5;
/// Payloads beyond this are files of their own.
const LARGE: usize = 8 * 1024;
/// Where sled is, in the store's folder.
const LOG: &str = "sled";
/// Where large payloads are.
const OBJECTS: &str = "objects";
/// sled's page cache; nothing in it is large.
const CACHE: u64 = 16 * 1024 * 1024;
/// Deepest backlog of the write-ahead log that is replayed on open is a few segments of this size.
const SEGMENT: usize = 512 * 1024;
/// How long a store that was just closed may stay locked.
const BUSY: Duration = Duration::from_secs(1);

/// What a record is about; its first key byte. Never renumber.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Table {
    /// Schema, name, digest of the foundation model.
    Meta = b'm',
    /// Published models, by version.
    Releases = b'r',
    /// How rounds ended, by number.
    Rounds = b'o',
    /// Enrolled clients, by name.
    Roster = b'c',
    /// Invitations, by digest of their key.
    Invitations = b'i',
    /// The audit log, by sequence number.
    Audit = b'a',
}

impl Table {
    const ALL: [Self; 6] =
        [Self::Meta, Self::Releases, Self::Rounds, Self::Roster, Self::Invitations, Self::Audit];
}

/// Where a record is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key of text or bytes.
    pub fn new(table: Table, name: impl AsRef<[u8]>) -> Self {
        Self([&[table as u8], name.as_ref()].concat())
    }

    /// A key that sorts as its number does.
    pub fn number(table: Table, number: u64) -> Self {
        Self::new(table, number.to_be_bytes())
    }

    fn describe(bytes: &[u8]) -> String {
        let Some((table, name)) = bytes.split_first() else { return "with an empty key".into() };
        let table = Table::ALL.into_iter().find(|t| *t as u8 == *table);
        let table = table.map_or_else(|| "unknown table".into(), |t| format!("{t:?}").to_lowercase());
        let name = match <[u8; 8]>::try_from(name) {
            Ok(number) if !name.iter().all(u8::is_ascii_graphic) => u64::from_be_bytes(number).to_string(),
            _ => String::from_utf8_lossy(name).into_owned(),
        };
        format!("{table}/{name}")
    }
}

/// A record of a table: its key without the table's byte, and its payload.
pub type Row = (Vec<u8>, Vec<u8>);

/// One step of an atomic write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Writes a record, whether or not there was one.
    Put(Key, Vec<u8>),
    /// Removes a record, whether or not there is one.
    Delete(Key),
}

/// The records of one federation. One process has it open at a time.
pub struct Store {
    path: PathBuf,
    db: Db,
    /// Held by whoever writes: how many records name each object.
    objects: Mutex<Objects>,
}

type Objects = BTreeMap<Digest, u32>;

/// A value without its envelope.
enum Sealed<'a> {
    Inside(&'a [u8]),
    Outside(BlobId),
}

impl Store {
    /// Makes an empty store.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be written or holds a store already.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        if path.exists() {
            let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "a store exists already");
            return Err(FileError::new(path, exists).into());
        }
        let store = Self::open_sled(path)?;
        store.write(&[Change::Put(Key::new(Table::Meta, "schema"), SCHEMA.to_string().into_bytes())])?;
        Ok(store)
    }

    /// Opens a store and checks every record in it.
    ///
    /// # Errors
    /// [`StoreError`] naming the folder: missing, in use, damaged (and which record), or too new.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.is_dir() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let store = Self::open_sled(path)?;
        store.check()?;
        Ok(store)
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all changes or none, and returns when they are on the disk.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses; nothing of the batch counts then.
    pub fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut objects = self.lock();
        let mut batch = Batch::default();
        let (mut gained, mut lost) = (Vec::new(), Vec::new());
        for change in changes {
            let (Change::Put(key, _) | Change::Delete(key)) = change;
            if let Some(old) = self.guarded(|| self.db.get(&key.0))?
                && let Sealed::Outside(blob) = self.open_envelope(&key.0, &old)?
            {
                lost.push(blob.digest);
            }
            match change {
                Change::Delete(key) => batch.remove(key.0.as_slice()),
                Change::Put(key, payload) if payload.len() <= LARGE => {
                    batch.insert(key.0.as_slice(), seal(&key.0, INSIDE, payload));
                }
                Change::Put(key, payload) => {
                    let blob = BlobId::of(payload);
                    files::write_atomically(&self.object(blob.digest), payload, Access::Owner)?;
                    gained.push(blob.digest);
                    let name = [&blob.digest.as_bytes()[..], &blob.len.to_le_bytes()].concat();
                    batch.insert(key.0.as_slice(), seal(&key.0, OUTSIDE, &name));
                }
            }
        }
        self.guarded(|| self.db.apply_batch(batch).and_then(|()| self.db.flush().map(|_| ())))?;
        for digest in gained {
            *objects.entry(digest).or_default() += 1;
        }
        for digest in lost {
            let count = objects.entry(digest).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                objects.remove(&digest);
                // One that cannot be removed now is removed on the next open.
                let _ = fs::remove_file(self.object(digest));
            }
        }
        Ok(())
    }

    /// The payload of a record.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails or the record is damaged.
    pub fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.guarded(|| self.db.get(&key.0))?;
        value.map(|value| self.unseal(&key.0, &value)).transpose()
    }

    /// All records of a table in the order of their keys, without the table's byte.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails or a record is damaged.
    pub fn table(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        let entries = self.db.scan_prefix([table as u8]);
        let row = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = self.guarded(|| entry)?;
            Ok((key[1..].to_vec(), self.unseal(&key, &value)?))
        };
        entries.map(row).collect()
    }

    /// The keys of a table in order, without the table's byte.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails.
    pub fn keys(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        let keys = self.db.scan_prefix([table as u8]).keys();
        keys.map(|key| Ok(self.guarded(|| key)?[1..].to_vec())).collect()
    }

    /// Every record as (key, payload), while nobody writes: what a backup contains.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails or a record is damaged, or what `each` returns.
    pub fn dump(
        &self,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _nobody_writes = self.lock();
        for entry in self.db.iter() {
            let (key, value) = self.guarded(|| entry)?;
            each(&key, &self.unseal(&key, &value)?)?;
        }
        Ok(())
    }

    /// A key as [`Store::dump`] gave it.
    pub fn restored_key(bytes: &[u8]) -> Key {
        Key(bytes.to_vec())
    }

    /// An error about one record that could be read but makes no sense.
    pub fn damaged(&self, key: &Key, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), record: Key::describe(&key.0), why: why.to_string() }
    }

    fn open_sled(path: &Path) -> Result<Self, StoreError> {
        files::make_folder(&path.join(OBJECTS))?;
        let config = sled::Config::new()
            .path(path.join(LOG))
            .cache_capacity(CACHE)
            .segment_size(SEGMENT)
            // Every write is flushed before it counts; a timer would only write the same twice.
            .flush_every_ms(None);
        let began = Instant::now();
        let db = loop {
            match guard(path, || config.open()) {
                // sled lets go of its lock a moment after the last handle to it is gone.
                Err(StoreError::Busy { .. }) if began.elapsed() < BUSY => std::thread::sleep(BUSY / 100),
                other => break other?,
            }
        };
        Ok(Self { path: path.to_owned(), db, objects: Mutex::default() })
    }

    /// Reads everything once: a store that opens is a store that can be read.
    fn check(&self) -> Result<(), StoreError> {
        let key = Key::new(Table::Meta, "schema");
        let schema = self.read(&key)?.ok_or_else(|| StoreError::Corrupt {
            path: self.path.clone(),
            why: "it has no schema version".into(),
        })?;
        let schema = String::from_utf8_lossy(&schema);
        let found: u32 = schema.parse().map_err(|_| self.damaged(&key, &"not a number"))?;
        if found > SCHEMA {
            return Err(StoreError::TooNew { path: self.path.clone(), found, known: SCHEMA });
        }
        self.dump(|_, _| Ok(()))?;
        let mut objects = self.lock();
        for entry in self.db.iter() {
            let (key, value) = self.guarded(|| entry)?;
            if let Sealed::Outside(blob) = self.open_envelope(&key, &value)? {
                *objects.entry(blob.digest).or_default() += 1;
            }
        }
        // What a crash left between a file and the batch that was to name it, or the other way round.
        let folder = self.path.join(OBJECTS);
        let named: BTreeSet<PathBuf> = objects.keys().map(|digest| self.object(*digest)).collect();
        for entry in fs::read_dir(&folder).map_err(|cause| FileError::new(&folder, cause))?.flatten() {
            if !named.contains(&entry.path()) {
                fs::remove_file(entry.path()).map_err(|cause| FileError::new(&entry.path(), cause))?;
            }
        }
        Ok(())
    }

    fn object(&self, digest: Digest) -> PathBuf {
        self.path.join(OBJECTS).join(digest.to_hex())
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // A panic in the middle leaves at worst an object too many, which the next open removes.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guarded<T>(&self, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        guard(&self.path, call)
    }

    fn unseal(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.open_envelope(key, value)? {
            Sealed::Inside(payload) => Ok(payload.to_vec()),
            Sealed::Outside(blob) => {
                let payload = files::read(&self.object(blob.digest))?;
                if BlobId::of(&payload) == blob {
                    Ok(payload)
                } else {
                    Err(self.broken(key, "its object does not match its digest"))
                }
            }
        }
    }

    fn open_envelope<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<Sealed<'a>, StoreError> {
        let (head, content) =
            value.split_first_chunk::<OVERHEAD>().ok_or_else(|| self.broken(key, "it is too short"))?;
        if head[1..] != checksum(key, content) {
            return Err(self.broken(key, "its checksum does not match"));
        }
        match (head[0], content.split_first_chunk::<32>()) {
            (INSIDE, _) => Ok(Sealed::Inside(content)),
            (OUTSIDE, Some((digest, len))) => match len.try_into() {
                Ok(len) => {
                    Ok(Sealed::Outside(BlobId { digest: (*digest).into(), len: u64::from_le_bytes(len) }))
                }
                Err(_) => Err(self.broken(key, "unknown envelope")),
            },
            _ => Err(self.broken(key, "unknown envelope")),
        }
    }

    fn broken(&self, key: &[u8], why: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), record: Key::describe(key), why: why.into() }
    }
}

fn seal(key: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(OVERHEAD + content.len());
    value.push(kind);
    value.extend_from_slice(&checksum(key, content));
    value.extend_from_slice(content);
    value
}

fn checksum(key: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize().to_le_bytes()
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(n: u64, payload: &[u8]) -> Change {
        Change::Put(Key::number(Table::Rounds, n), payload.to_vec())
    }

    fn numbers(store: &Store) -> Vec<u64> {
        let keys = store.keys(Table::Rounds).unwrap();
        keys.iter().map(|key| u64::from_be_bytes(key.as_slice().try_into().unwrap())).collect()
    }

    /// A store with batches of two records, batch `n` holding 2n and 2n + 1.
    fn filled(path: &Path, batches: u64) {
        let store = Store::create(path).unwrap();
        for n in 0..batches {
            let payload = vec![n as u8; 700];
            store.write(&[put(2 * n, &payload), put(2 * n + 1, &payload)]).unwrap();
        }
    }

    #[test]
    fn records_survive_closing_and_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        filled(&path, 3);
        let store = Store::open(&path).unwrap();
        assert_eq!(numbers(&store), [0, 1, 2, 3, 4, 5]);
        assert_eq!(store.read(&Key::number(Table::Rounds, 4)).unwrap().unwrap(), vec![2; 700]);
        store.write(&[Change::Delete(Key::number(Table::Rounds, 0)), put(300, b"x")]).unwrap();
        assert_eq!(numbers(&store), [1, 2, 3, 4, 5, 300]);
        assert_eq!(store.read(&Key::number(Table::Rounds, 0)).unwrap(), None);
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        assert!(matches!(Store::open(&path), Err(StoreError::Missing { .. })));
        let held = Store::create(&path).unwrap();
        let error = Store::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        assert!(Store::create(&path).err().unwrap().to_string().contains("exists already"));
        held.write(&[Change::Put(Key::new(Table::Meta, "schema"), b"2".to_vec())]).unwrap();
        drop(held);
        assert!(matches!(Store::open(&path), Err(StoreError::TooNew { found: 2, known: 1, .. })));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::create(&file.join("store")).err().unwrap().to_string();
        assert!(error.contains("file/store"), "{error}");
    }

    #[test]
    fn a_record_that_lies_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::create(&path).unwrap();
        let key = Key::new(Table::Roster, "hub-1");
        store.write(&[Change::Put(key.clone(), b"true".to_vec())]).unwrap();
        // sled itself is content with these bytes; only our checksum is not.
        let mut sealed = seal(&key.0, INSIDE, b"true");
        sealed[OVERHEAD] ^= 1;
        store.db.insert(&key.0, sealed).unwrap();
        store.db.flush().unwrap();
        drop(store);
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.contains("record roster/hub-1: its checksum does not match"), "{error}");
        assert!(error.contains(&path.display().to_string()));
    }

    /// After a crash that loses the end of the log, what is left is a prefix of whole batches.
    #[test]
    fn a_torn_log_recovers_to_whole_batches_or_says_that_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        filled(&whole, 40);
        let log = fs::read(whole.join("sled/db")).unwrap();
        let end = log.iter().rposition(|byte| *byte != 0).unwrap();
        let (mut recovered, mut refused) = (0, 0);
        for step in 0..24 {
            let path = dir.path().join(format!("torn-{step}"));
            fs::create_dir_all(path.join("sled/blobs")).unwrap();
            fs::copy(whole.join("sled/conf"), path.join("sled/conf")).unwrap();
            // The torn write of a power cut: the tail of the log is zero.
            let cut = end - end * step / 24 - step;
            let mut torn = log.clone();
            torn[cut..].fill(0);
            fs::write(path.join("sled/db"), torn).unwrap();
            match Store::open(&path) {
                Ok(store) => {
                    recovered += 1;
                    let numbers = numbers(&store);
                    assert!(numbers.len().is_multiple_of(2), "half a batch: {numbers:?}");
                    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "a gap");
                    store.write(&[put(1000, b"it can be written again")]).unwrap();
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(&format!("torn-{step}")), "{error}");
                }
            }
        }
        assert!(recovered > 0, "no torn log was recovered, {refused} were refused");
    }

    #[test]
    fn flipped_bytes_never_pass_for_records() {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        filled(&whole, 20);
        let log = fs::read(whole.join("sled/db")).unwrap();
        let end = log.iter().rposition(|byte| *byte != 0).unwrap();
        for step in 1..24 {
            let path = dir.path().join(format!("flipped-{step}"));
            fs::create_dir_all(path.join("sled/blobs")).unwrap();
            fs::copy(whole.join("sled/conf"), path.join("sled/conf")).unwrap();
            let mut flipped = log.clone();
            flipped[end * step / 24] ^= 0x40;
            fs::write(path.join("sled/db"), flipped).unwrap();
            if let Ok(store) = Store::open(&path) {
                for (key, payload) in store.table(Table::Rounds).unwrap() {
                    let n = u64::from_be_bytes(key.as_slice().try_into().unwrap());
                    assert_eq!(payload, vec![(n / 2) as u8; 700], "record {n} changed silently");
                }
            }
        }
    }

    fn objects(path: &Path) -> usize {
        fs::read_dir(path.join(OBJECTS)).unwrap().count()
    }

    #[test]
    fn large_payloads_come_and_go_with_their_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::create(&path).unwrap();
        let (large, other) = (vec![7; 100_000], vec![8; 100_000]);
        // Two records with the same content share it.
        store.write(&[put(1, &large), put(2, &large), put(3, &other)]).unwrap();
        assert_eq!(objects(&path), 2);
        store.write(&[Change::Delete(Key::number(Table::Rounds, 1)), put(3, b"small now")]).unwrap();
        assert_eq!(objects(&path), 1);
        drop(store);
        // A crash left an object that nothing names.
        fs::write(path.join(OBJECTS).join(Digest::of(b"orphan").to_hex()), "orphan").unwrap();
        let store = Store::open(&path).unwrap();
        assert_eq!(objects(&path), 1);
        assert_eq!(store.read(&Key::number(Table::Rounds, 2)).unwrap().unwrap(), large);
        store.write(&[put(2, &large)]).unwrap();
        assert_eq!(store.read(&Key::number(Table::Rounds, 2)).unwrap().unwrap(), large);
        store.write(&[Change::Delete(Key::number(Table::Rounds, 2))]).unwrap();
        assert_eq!(objects(&path), 0);
    }

    #[test]
    fn a_lost_or_damaged_object_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        Store::create(&path).unwrap().write(&[put(5, &[7; 100_000])]).unwrap();
        let object = fs::read_dir(path.join(OBJECTS)).unwrap().next().unwrap().unwrap().path();
        fs::write(&object, [7; 99_999]).unwrap();
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.contains("record rounds/5: its object does not match its digest"), "{error}");
        fs::remove_file(&object).unwrap();
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.contains(&object.display().to_string()), "{error}");
    }

    /// sled alone would take twenty times of what is kept here.
    #[test]
    fn the_disk_holds_what_is_kept_and_little_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::create(&path).unwrap();
        for n in 0..150u64 {
            let release: Vec<u8> = (0..50_000u64).map(|i| (i * 31 + n) as u8).collect();
            let mut changes = vec![
                Change::Put(Key::number(Table::Releases, n), release),
                Change::Put(Key::number(Table::Rounds, n), vec![n as u8; 500]),
            ];
            changes.extend(n.checked_sub(10).map(|old| Change::Delete(Key::number(Table::Releases, old))));
            store.write(&changes).unwrap();
        }
        let size = |folder: &str| -> u64 {
            let entries = fs::read_dir(path.join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
        };
        assert_eq!(size(OBJECTS), 10 * 50_000);
        assert!(size(LOG) + size("sled/blobs") < 4 << 20, "{} + {}", size(LOG), size("sled/blobs"));
    }
}
