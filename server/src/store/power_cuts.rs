//! What a power cut may leave of a store, and that it is always the store before or after a write, never another.
//!
//! A disk promises what was flushed and nothing else: of what changed between two flushes, any sector may be the old one or
//! the new one, and a file that grew may have any length in between. `SOMNUS_CUTS` is the number of cuts (default 150).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Change, Key, LARGE, LOG, OBJECTS, Store, Table};

/// What a disk writes as a whole, bytes.
const SECTOR: usize = 512;
/// Writes between two openings.
const LIFE: u64 = 40;

type Files = BTreeMap<PathBuf, Vec<u8>>;
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn cuts() -> u64 {
    std::env::var("SOMNUS_CUTS").ok().map_or(150, |text| text.parse().expect("SOMNUS_CUTS is a number"))
}

#[test]
fn a_power_cut_leaves_the_store_before_or_after_a_write() {
    let mut chance = SmallRng::seed_from_u64(11);
    let dir = tempfile::tempdir().unwrap();
    let (whole, torn) = (dir.path().join("whole"), dir.path().join("torn"));
    let mut store = Some(Store::create(&whole).unwrap());
    let (mut rows, mut files) = (Rows::new(), read_all(&whole));
    let mut undone = 0;
    for number in 0..cuts() {
        let (rows_before, files_before) = (rows.clone(), files);
        if number % LIFE == LIFE - 1 {
            // The step is the opening itself, which writes, too.
            drop(store.take());
            store = Some(Store::open(&whole).unwrap());
        } else {
            let changes = batch(&mut chance, number, &mut rows);
            store.as_ref().unwrap().write(&changes).unwrap();
        }
        files = read_all(&whole);
        write_all(&torn, &cut(&mut chance, &files_before, &files));
        let after = Store::open(&torn).unwrap_or_else(|error| panic!("cut {number}: {error}"));
        let found = rows_of(&after);
        assert!(found == rows || found == rows_before, "cut {number}: neither what was, nor what was to be");
        undone += u64::from(found != rows);
        // It is a store like any other: it takes a write and opens again.
        after.write(&[Change::Put(Key::number(Table::Audit, number), vec![1; 100])]).unwrap();
        drop(after);
        let again = rows_of(&Store::open(&torn).unwrap());
        assert!(again == found, "cut {number}: the second opening gave something else");
    }
    println!("{} cuts, {undone} of them before the write counted", cuts());
    assert!(undone * 10 > cuts() && undone < cuts(), "{undone} of {} cuts hit a write", cuts());
}

/// A batch of puts and deletions, in the store's order of things and in `rows`.
fn batch(chance: &mut SmallRng, number: u64, rows: &mut Rows) -> Vec<Change> {
    let changes = (0..chance.random_range(1..5)).map(|_| {
        let record = chance.random_range(0..60u64);
        let (key, name) = (Key::number(Table::Rounds, record), record.to_be_bytes().to_vec());
        if chance.random_bool(0.25) {
            rows.remove(&name);
            return Change::Delete(key);
        }
        let len = if chance.random_bool(0.1) { LARGE + 500 } else { chance.random_range(1..6000) };
        let payload: Vec<u8> = (0..len as u64).map(|i| (i * 7 + number * 13 + record) as u8).collect();
        rows.insert(name, payload.clone());
        Change::Put(key, payload)
    });
    changes.collect()
}

fn rows_of(store: &Store) -> Rows {
    store.table(Table::Rounds).unwrap().into_iter().collect()
}

fn read_all(folder: &Path) -> Files {
    let mut files = Files::new();
    for sub in [LOG, &format!("{LOG}/blobs"), OBJECTS] {
        for entry in fs::read_dir(folder.join(sub)).into_iter().flatten().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                files.insert(Path::new(sub).join(entry.file_name()), fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

fn write_all(folder: &Path, files: &Files) {
    let _ = fs::remove_dir_all(folder);
    for sub in [&format!("{LOG}/blobs"), OBJECTS] {
        fs::create_dir_all(folder.join(sub)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// What is on the disk if the power goes between two flushes.
fn cut(chance: &mut SmallRng, before: &Files, after: &Files) -> Files {
    // What a file had that is replaced as a whole goes after its successor is there; more than is needed does no harm.
    let mut files: Files =
        before.iter().chain(after).map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
    let log = Path::new(LOG).join("db");
    let is_snapshot = |name: &&PathBuf| name.to_string_lossy().contains("snap.");
    let fresh: Vec<&PathBuf> =
        after.keys().filter(is_snapshot).filter(|name| !before.contains_key(*name)).collect();
    let (old, new) = (&before[&log], &after[&log]);
    if let [name] = fresh[..] {
        // It is written when the log before it is on the disk, beside its place, and then renamed.
        match chance.random_range(0..3) {
            0 => {}
            1 => before.keys().filter(is_snapshot).for_each(|old| drop(files.remove(old))),
            _ => {
                let mut half = files.remove(name).unwrap();
                half.truncate(chance.random_range(0..=half.len()));
                let place = name
                    .with_file_name(format!("{}.generating", name.file_name().unwrap().to_string_lossy()));
                files.insert(place, half);
            }
        }
        return files;
    }
    let share = [0.0, 0.1, 0.5, 0.9, 1.0][chance.random_range(0..5)];
    let mut mixed = new.clone();
    for (number, sector) in mixed.chunks_mut(SECTOR).enumerate() {
        let from = number * SECTOR;
        let was = old.get(from..old.len().min(from + sector.len())).unwrap_or_default();
        if !chance.random_bool(share) {
            sector.fill(0);
            sector[..was.len()].copy_from_slice(was);
        }
    }
    if new.len() > old.len() && share < 1.0 && chance.random_bool(0.3) {
        mixed.truncate(chance.random_range(old.len()..=new.len()));
    }
    files.insert(log, mixed);
    files
}
