//! A whole federation in one file, and back.
//!
//! It contains the private keys: it is written for its owner alone and belongs in a safe. Layout:
//!
//! ```text
//! "somnus backup 1\n"
//! entries              kind (1 byte), length of the name (u32 LE), length of the content (u64 LE), name, content
//!   kind 'f'           a file of the folder: configuration, keys, certificates, foundation model
//!   kind 'r'           a record of the store: its key and its payload
//!   kind 'e'           the end, without name and content
//! SHA-256              32 bytes, over all before
//! ```

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::audit::{Audit, AuditEvent};
use crate::ca;
use crate::clock::WallClock;
use crate::config::ServerConfig;
use crate::error::{FileError, StoreError};
use crate::federation::{CONFIG, Federation, OpenError, STORE, refuse_existing};
use crate::files::{self, Access};
use crate::store::{Change, Store};

const MAGIC: &[u8] = b"somnus backup 1\n";
const FILE: u8 = b'f';
const RECORD: u8 = b'r';
const END: u8 = b'e';
/// No entry is longer; a file that says so is damaged.
const LONGEST: u64 = 4 << 30;
/// Records restored in one write.
const BATCH: usize = 256;

/// Writes everything that `federation` consists of to `path`, while it goes on.
///
/// # Errors
/// [`StoreError`] naming the path or the store; no file is left then.
pub fn write(federation: &Federation, path: &Path) -> Result<(), StoreError> {
    write_parts(&federation.folder, &federation.config, &federation.store, path)
}

/// The same of a federation whose store is not understood yet.
pub(crate) fn write_parts(
    folder: &Path,
    config: &ServerConfig,
    store: &Store,
    path: &Path,
) -> Result<(), StoreError> {
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    let written = write_to(folder, config, store, &partial).and_then(|()| {
        let named = fs::rename(&partial, path).and_then(|()| files::sync_folder(path));
        named.map_err(|source| FileError::new(path, source).into())
    });
    if written.is_err() {
        // Nothing of use is in it; that it may not exist does not matter.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Makes a federation in `folder` from a backup, which an older program may have written. A file that is torn or changed, or a
/// newer program's, is noticed before anything is made.
///
/// # Errors
/// [`OpenError`] if the folder has a federation, the backup is damaged, or the disk refuses.
pub fn restore(path: &Path, folder: &Path, clock: &WallClock) -> Result<(), OpenError> {
    refuse_existing(folder)?;
    verify(path)?;
    files::make_folder(folder)?;
    let store = std::sync::Arc::new(Store::create(&folder.join(STORE))?);
    let mut reader = Entries::open(path)?;
    let mut changes = Vec::new();
    let mut config = None;
    while let Some((kind, name, content)) = reader.next()? {
        if kind == RECORD {
            changes.push(Change::Put(Store::restored_key(&name), content));
            if changes.len() == BATCH {
                store.write(&std::mem::take(&mut changes))?;
            }
            continue;
        }
        let name = file_name(&name).ok_or_else(|| reader.bad("it names a file outside of the folder"))?;
        if name == Path::new(CONFIG) {
            config = Some(content);
            continue;
        }
        let secret = name.extension().is_some_and(|extension| extension == "key");
        let access = if secret { Access::Owner } else { Access::Everyone };
        let to = folder.join(name);
        to.parent().map_or(Ok(()), files::make_folder)?;
        files::write_atomically(&to, &content, access)?;
    }
    store.write(&changes)?;
    // The backup may be an older program's.
    store.upgrade()?;
    Audit::open(store)?.append(clock.now(), AuditEvent::Restored)?;
    let config = config.ok_or_else(|| reader.bad("it has no configuration"))?;
    files::write_atomically(&folder.join(CONFIG), &config, Access::Everyone)?;
    Ok(())
}

fn write_to(folder: &Path, config: &ServerConfig, store: &Store, path: &Path) -> Result<(), StoreError> {
    let failed = |source| FileError::new(path, source);
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut out = Hashed { inner: BufWriter::new(file.map_err(failed)?), hash: Context::new(&SHA256) };
    out.write_all(MAGIC).map_err(failed)?;
    let model = (!config.model.is_absolute()).then(|| config.model.clone());
    let names = ca::FILES.iter().map(|(name, _)| PathBuf::from(name)).chain([CONFIG.into()]).chain(model);
    for name in names {
        let from = folder.join(&name);
        if from.exists() {
            let content = files::read(&from)?;
            entry(&mut out, FILE, name.as_os_str().as_encoded_bytes(), &content).map_err(failed)?;
        }
    }
    store.dump(|key, payload| Ok(entry(&mut out, RECORD, key, payload).map_err(failed)?))?;
    entry(&mut out, END, b"", b"").map_err(failed)?;
    let Hashed { mut inner, hash } = out;
    inner.write_all(hash.finish().as_ref()).map_err(failed)?;
    let file = inner.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(file.sync_all().map_err(failed)?)
}

fn entry(out: &mut impl Write, kind: u8, name: &[u8], content: &[u8]) -> io::Result<()> {
    out.write_all(&[kind])?;
    out.write_all(&(name.len() as u32).to_le_bytes())?;
    out.write_all(&(content.len() as u64).to_le_bytes())?;
    out.write_all(name)?;
    out.write_all(content)
}

/// Reads the whole file once: all entries, and the digest at the end.
fn verify(path: &Path) -> Result<(), StoreError> {
    let mut reader = Entries::open(path)?;
    while let Some((kind, name, content)) = reader.next()? {
        if kind == RECORD {
            Store::refuse_newer(path, &name, &content)?;
        }
    }
    let Entries { file, .. } = reader;
    let Hashed { mut inner, hash } = file;
    let mut stored = Vec::new();
    inner.read_to_end(&mut stored).map_err(|source| FileError::new(path, source))?;
    if stored == hash.finish().as_ref() {
        Ok(())
    } else {
        let why = "its digest does not match: it is torn or was changed".into();
        Err(StoreError::BadBackup { path: path.to_owned(), why })
    }
}

/// Kind, name and content.
type Entry = (u8, Vec<u8>, Vec<u8>);

/// The entries of a backup, one at a time.
struct Entries {
    path: PathBuf,
    file: Hashed<BufReader<File>>,
}

impl Entries {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|source| FileError::new(path, source))?;
        let file = Hashed { inner: BufReader::new(file), hash: Context::new(&SHA256) };
        let mut entries = Self { path: path.to_owned(), file };
        let magic = entries.bytes(MAGIC.len() as u64)?;
        if magic == MAGIC { Ok(entries) } else { Err(entries.bad("it does not begin like one")) }
    }

    fn next(&mut self) -> Result<Option<Entry>, StoreError> {
        let kind = self.bytes(1)?[0];
        let name_len = self.bytes(4)?.try_into().map_or(0, u32::from_le_bytes);
        let content_len = self.bytes(8)?.try_into().map_or(0, u64::from_le_bytes);
        if ![FILE, RECORD, END].contains(&kind) || name_len > 4096 || content_len > LONGEST {
            return Err(self.bad("an entry makes no sense"));
        }
        let (name, content) = (self.bytes(u64::from(name_len))?, self.bytes(content_len)?);
        Ok((kind != END).then_some((kind, name, content)))
    }

    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::new();
        let read = (&mut self.file).take(len).read_to_end(&mut out);
        read.map_err(|source| FileError::new(&self.path, source))?;
        if out.len() as u64 == len { Ok(out) } else { Err(self.bad("it ends too early")) }
    }

    fn bad(&self, why: &str) -> StoreError {
        StoreError::BadBackup { path: self.path.clone(), why: why.to_owned() }
    }
}

/// A relative path that stays inside of the folder.
fn file_name(bytes: &[u8]) -> Option<PathBuf> {
    let path = PathBuf::from(std::str::from_utf8(bytes).ok()?);
    let inside = !bytes.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then_some(path)
}

/// Digests what passes through.
struct Hashed<T> {
    inner: T,
    hash: Context,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.hash.update(&bytes[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::federation::Founding;
    use crate::store::{Key, SCHEMA, Table};

    fn founded(folder: &Path) -> Federation {
        let clock = WallClock::from_fn(|| 1_800_000_000);
        let founding = Founding {
            name: "night".into(),
            listen: "127.0.0.1:4433".parse().unwrap(),
            public: Vec::new(),
            model: None,
            plain: true,
        };
        Federation::create(folder, &founding, &clock).unwrap();
        fs::write(folder.join("foundation.safetensors"), "weights").unwrap();
        Federation::open(folder, clock).unwrap()
    }

    fn everything(federation: &Federation) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        federation
            .store
            .dump(|key, payload| {
                all.push((key.to_vec(), payload.to_vec()));
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn a_restored_federation_is_the_same_federation() {
        let dir = tempfile::tempdir().unwrap();
        let (first, file, second) = (dir.path().join("a"), dir.path().join("backup"), dir.path().join("b"));
        let federation = founded(&first);
        let name = "ann".parse().unwrap();
        let token = federation.registry.invite(&name, "127.0.0.1:4433", federation.clock.now(), 60).unwrap();
        write(&federation, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        restore(&file, &second, &federation.clock).unwrap();
        let restored = Federation::open(&second, federation.clock.clone()).unwrap();
        let (mut old, new) = (everything(&federation), everything(&restored));
        // The restored store has one line more: that it was restored.
        assert_eq!(new.len(), old.len() + 1);
        old.retain(|record| !new.contains(record));
        assert!(old.is_empty(), "lost: {old:?}");
        assert_eq!(restored.registry.authority().digest(), token.authority());
        assert_eq!(restored.registry.invitations(), federation.registry.invitations());
        assert_eq!(fs::read(second.join("foundation.safetensors")).unwrap(), b"weights");
        assert_eq!(fs::metadata(second.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// What a program of the layout before the last one left.
    fn age(store: &Store) {
        let masked = Change::Put(Key::new(Table::Masked, [0]), b"a step".to_vec());
        let schema = Change::Put(Key::new(Table::Meta, "schema"), b"1".to_vec());
        store.write(&[masked, schema]).unwrap();
    }

    #[test]
    fn an_older_federation_is_upgraded_after_a_backup_from_which_it_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let federation = founded(&first);
        age(&federation.store);
        let (old, clock) = (everything(&federation), federation.clock.clone());
        drop(federation);
        let federation = Federation::open(&first, clock.clone()).unwrap();
        assert_eq!(federation.store.schema().unwrap(), SCHEMA);
        assert_eq!(federation.store.keys(Table::Masked).unwrap(), [[0, 0, 0, 0, 0]]);
        // The backup is of before, and an old backup makes a federation of today.
        let file = first.join("schema-1.backup");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut entries = Entries::open(&file).unwrap();
        let mut records = Vec::new();
        while let Some((kind, key, payload)) = entries.next().unwrap() {
            if kind == RECORD {
                records.push((key, payload));
            }
        }
        assert_eq!(records, old);
        restore(&file, &second, &clock).unwrap();
        let restored = Federation::open(&second, clock).unwrap();
        let ours = |federation: &Federation| -> Vec<_> {
            everything(federation).into_iter().filter(|(key, _)| key[0] != Table::Audit as u8).collect()
        };
        assert_eq!(ours(&restored), ours(&federation));
        assert!(!second.join("schema-1.backup").exists(), "there was nothing to upgrade");
    }

    #[test]
    fn a_newer_program_s_backup_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, target) = (dir.path().join("backup"), dir.path().join("b"));
        let federation = founded(&dir.path().join("a"));
        let newer = (SCHEMA + 1).to_string().into_bytes();
        federation.store.write(&[Change::Put(Key::new(Table::Meta, "schema"), newer)]).unwrap();
        write(&federation, &file).unwrap();
        let error = restore(&file, &target, &federation.clock).unwrap_err().to_string();
        assert!(error.contains("backup") && error.contains(&format!("schema {}", SCHEMA + 1)), "{error}");
        assert!(!target.exists());
    }

    #[test]
    fn torn_and_changed_backups_are_refused_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup");
        let federation = founded(&dir.path().join("a"));
        write(&federation, &file).unwrap();
        let whole = fs::read(&file).unwrap();
        let (bad, target) = (dir.path().join("bad"), dir.path().join("b"));
        for step in 0..40 {
            let cut = whole.len() * step / 40;
            fs::write(&bad, &whole[..cut]).unwrap();
            let error = restore(&bad, &target, &federation.clock).unwrap_err().to_string();
            assert!(error.contains("bad: not a usable backup"), "cut at {cut}: {error}");
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            fs::write(&bad, flipped).unwrap();
            assert!(restore(&bad, &target, &federation.clock).is_err(), "flip at {cut}");
            assert!(!target.exists());
        }
        let error = restore(&file, &dir.path().join("a"), &federation.clock).unwrap_err();
        assert!(matches!(error, OpenError::Exists(_)));
    }

    #[test]
    fn a_backup_cannot_write_outside_of_its_folder() {
        for bad in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert_eq!(file_name(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(file_name(b"models/x.safetensors"), Some("models/x.safetensors".into()));
    }
}
