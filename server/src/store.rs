//! What a server keeps: checksummed values under typed keys, written in atomic batches.
//!
//! One sled tree holds everything, because sled's batches are atomic within a tree. A key is one byte for the table and
//! the record's own key; a value is an envelope:
//!
//! ```text
//! kind               1 byte: 1 payload inside, 2 payload in a file, 3 payload inside and packed
//! CRC-32 (IEEE)      4 bytes, little-endian, over key and what follows
//! 1: payload         JSON for what people may want to read, bincode for releases and rounds
//! 2: SHA-256, length 32 bytes and 8 bytes little-endian: `objects/HEX` has the payload
//! 3: payload         the same as a DEFLATE stream (RFC 1951)
//! ```
//!
//! A round names its cohort twice, which packs well; and sled holds some megabytes of the newest records in memory, whatever its
//! cache may take.
//!
//! sled 0.34 never gives the space of large values back (400 releases of 180 kB, of which 10 are kept, take 200 MB), so
//! they are files of their own: flushed before the batch that names them, removed after the batch that no longer does.
//! What a crash leaves over is removed on open. sled keeps its own checksums of its log; ours also notice what sled would
//! hand out in good faith.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use somnus_protocol::ids::BlobId;

use crate::error::{FileError, StoreError};
use crate::files;

mod log;
mod migration;
mod objects;

use self::log::Log;
use self::objects::Objects;

/// The layout that this program writes, and the newest it reads. Older ones are brought to it by [`Store::upgrade`].
pub const SCHEMA: u32 = 3;

const INSIDE: u8 = 1;
const OUTSIDE: u8 = 2;
const PACKED: u8 = 3;
const OVERHEAD: usize = 5;
/// Payloads beyond this are files of their own.
const LARGE: usize = 8 * 1024;
/// Payloads below this are not worth packing.
const SMALL: usize = 256;
/// Where sled is, in the store's folder.
const LOG: &str = "sled";
/// Where large payloads are.
const OBJECTS: &str = "objects";

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
    /// How far the open masked round has come, by step.
    Masked = b'k',
    /// Enrolled clients, by name.
    Roster = b'c',
    /// Invitations, by digest of their key.
    Invitations = b'i',
    /// The audit log, by sequence number.
    Audit = b'a',
    /// The privacy ledger, by round and stage.
    Privacy = b'p',
}

impl Table {
    const ALL: [Self; 8] = [
        Self::Meta,
        Self::Releases,
        Self::Rounds,
        Self::Masked,
        Self::Roster,
        Self::Invitations,
        Self::Audit,
        Self::Privacy,
    ];
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

impl Change {
    /// The record, and what it will hold.
    fn parts(&self) -> (&Key, Option<&[u8]>) {
        match self {
            Self::Put(key, payload) => (key, Some(payload)),
            Self::Delete(key) => (key, None),
        }
    }
}

/// The records of one federation. One process has it open at a time.
pub struct Store {
    path: PathBuf,
    log: Log,
    /// Held by whoever writes.
    objects: Mutex<Objects>,
}

/// A value without its envelope.
enum Sealed<'a> {
    Inside(&'a [u8]),
    Packed(&'a [u8]),
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
        let store = Self::open_unchecked(path)?;
        store.write(&[schema_is(SCHEMA)])?;
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
        let store = Self::open_unchecked(path)?;
        store.check()?;
        Ok(store)
    }

    /// The layout of its records: [`SCHEMA`], or an older one until [`Store::upgrade`] was called.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn schema(&self) -> Result<u32, StoreError> {
        let key = schema_key();
        let schema = self.read(&key)?.ok_or_else(|| StoreError::Corrupt {
            path: self.path.clone(),
            why: "it has no schema version".into(),
        })?;
        String::from_utf8_lossy(&schema).parse().map_err(|_| self.damaged(&key, &"not a number"))
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
        let (mut values, mut gained, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        // Of several changes to a record the last one counts, and only that one may count its object.
        let last: BTreeMap<&Key, Option<&[u8]>> = changes.iter().map(Change::parts).collect();
        for (key, payload) in last {
            if let Some(old) = self.log.get(&key.0)?
                && let Sealed::Outside(blob) = self.open_envelope(&key.0, &old)?
            {
                lost.push(blob.digest);
            }
            let value = match payload {
                None => None,
                Some(payload) if payload.len() <= LARGE => Some(match pack(payload) {
                    Some(packed) => seal(&key.0, PACKED, &packed),
                    None => seal(&key.0, INSIDE, payload),
                }),
                Some(payload) => {
                    let blob = objects.keep(payload)?;
                    gained.push(blob.digest);
                    let name = [&blob.digest.as_bytes()[..], &blob.len.to_le_bytes()].concat();
                    Some(seal(&key.0, OUTSIDE, &name))
                }
            };
            values.push((key.0.as_slice(), value));
        }
        self.log.write(values)?;
        gained.into_iter().for_each(|digest| objects.named(digest));
        lost.into_iter().for_each(|digest| objects.released(digest));
        Ok(())
    }

    /// The payload of a record.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails or the record is damaged.
    pub fn read(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.log.get(&key.0)?;
        value.map(|value| self.unseal(&key.0, &value)).transpose()
    }

    /// All records of a table in the order of their keys, without the table's byte.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails or a record is damaged.
    pub fn table(&self, table: Table) -> Result<Vec<Row>, StoreError> {
        let row = |entry: Result<Row, StoreError>| {
            let (key, value) = entry?;
            Ok((key[1..].to_vec(), self.unseal(&key, &value)?))
        };
        self.log.entries(&[table as u8]).map(row).collect()
    }

    /// The keys of a table in order, without the table's byte.
    ///
    /// # Errors
    /// [`StoreError`] if the disk fails.
    pub fn keys(&self, table: Table) -> Result<Vec<Vec<u8>>, StoreError> {
        self.log.entries(&[table as u8]).map(|entry| Ok(entry?.0[1..].to_vec())).collect()
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
        for entry in self.log.entries(&[]) {
            let (key, value) = entry?;
            each(&key, &self.unseal(&key, &value)?)?;
        }
        Ok(())
    }

    /// Refuses a dumped record that says that the dump in `path` has a layout that this program does not know.
    ///
    /// # Errors
    /// [`StoreError::TooNew`] naming `path`.
    pub fn refuse_newer(path: &Path, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        let found = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
        match found {
            Some(found) if key == schema_key().0 && found > SCHEMA => {
                Err(StoreError::TooNew { path: path.to_owned(), found, known: SCHEMA })
            }
            _ => Ok(()),
        }
    }

    /// A key as [`Store::dump`] gave it.
    pub fn restored_key(bytes: &[u8]) -> Key {
        Key(bytes.to_vec())
    }

    /// An error about one record that could be read but makes no sense.
    pub fn damaged(&self, key: &Key, why: &dyn std::fmt::Display) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), record: Key::describe(&key.0), why: why.to_string() }
    }

    fn open_unchecked(path: &Path) -> Result<Self, StoreError> {
        files::make_folder(&path.join(OBJECTS))?;
        let log = Log::open(&path.join(LOG), path)?;
        Ok(Self { path: path.to_owned(), log, objects: Mutex::new(Objects::new(path.join(OBJECTS))) })
    }

    /// Reads everything once: a store that opens is a store that can be read.
    fn check(&self) -> Result<(), StoreError> {
        let found = self.schema()?;
        if found > SCHEMA {
            return Err(StoreError::TooNew { path: self.path.clone(), found, known: SCHEMA });
        }
        self.dump(|_, _| Ok(()))?;
        let mut objects = self.lock();
        for entry in self.log.entries(&[]) {
            let (key, value) = entry?;
            if let Sealed::Outside(blob) = self.open_envelope(&key, &value)? {
                objects.named(blob.digest);
            }
        }
        // What a crash left between a file and the batch that was to name it, or the other way round.
        Ok(objects.sweep()?)
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // A panic in the middle leaves at worst an object too many, which the next open removes.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unseal(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        match self.open_envelope(key, value)? {
            Sealed::Inside(payload) => Ok(payload.to_vec()),
            Sealed::Packed(packed) => {
                unpack(packed).ok_or_else(|| self.broken(key, "it is packed in a way that nobody packs"))
            }
            Sealed::Outside(blob) => {
                let payload = objects::read(&self.path.join(OBJECTS), blob)?;
                payload.ok_or_else(|| self.broken(key, "its object does not match its digest"))
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
            (PACKED, _) => Ok(Sealed::Packed(content)),
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

/// The record that says which layout the others have.
fn schema_key() -> Key {
    Key::new(Table::Meta, "schema")
}

fn schema_is(schema: u32) -> Change {
    Change::Put(schema_key(), schema.to_string().into_bytes())
}

fn seal(key: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(OVERHEAD + content.len());
    value.push(kind);
    value.extend_from_slice(&checksum(key, content));
    value.extend_from_slice(content);
    value
}

/// The payload as a stream that is shorter than it; none if it would not be.
fn pack(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < SMALL {
        return None;
    }
    let mut stream = DeflateEncoder::new(Vec::new(), Compression::fast());
    // A vector takes everything.
    stream.write_all(payload).ok()?;
    stream.finish().ok().filter(|packed| packed.len() < payload.len())
}

/// What [`pack`] was given.
fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    DeflateDecoder::new(packed).take(LARGE as u64 + 1).read_to_end(&mut payload).ok()?;
    (payload.len() <= LARGE).then_some(payload)
}

fn checksum(key: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod tests;
