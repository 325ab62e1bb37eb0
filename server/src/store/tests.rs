//! The store on a disk that is torn, flipped, full of old things, and in order.

use std::fs;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use somnus_protocol::ids::Digest;

use super::*;

fn put(n: u64, payload: &[u8]) -> Change {
    Change::Put(Key::number(Table::Rounds, n), payload.to_vec())
}

fn numbers(store: &Store) -> Vec<u64> {
    let keys = store.keys(Table::Rounds).unwrap();
    keys.iter().map(|key| u64::from_be_bytes(key.as_slice().try_into().unwrap())).collect()
}

/// What batch `n` puts into both of its records, which cannot be packed: every fifth is a file of its own.
fn payload(n: u64) -> Vec<u8> {
    let mut payload = vec![0; if n % 5 == 4 { LARGE + 1000 } else { 700 }];
    SmallRng::seed_from_u64(n).fill_bytes(&mut payload);
    payload
}

/// A store with batches of two records, batch `n` holding 2n and 2n + 1; the length of the log after each batch.
fn filled(path: &Path, batches: u64) -> Vec<usize> {
    let store = Store::create(path).unwrap();
    let write = |n| {
        store.write(&[put(2 * n, &payload(n)), put(2 * n + 1, &payload(n))]).unwrap();
        used(&fs::read(path.join("sled/db")).unwrap())
    };
    (0..batches).map(write).collect()
}

/// The length of a log without the zeros behind it.
fn used(log: &[u8]) -> usize {
    log.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A copy of the store in `whole` with another log.
fn copied(whole: &Path, path: &Path, log: &[u8]) {
    for folder in ["sled/blobs", OBJECTS] {
        fs::create_dir_all(path.join(folder)).unwrap();
    }
    for entry in fs::read_dir(whole.join(OBJECTS)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), path.join(OBJECTS).join(entry.file_name())).unwrap();
    }
    fs::copy(whole.join("sled/conf"), path.join("sled/conf")).unwrap();
    fs::write(path.join("sled/db"), log).unwrap();
}

#[test]
fn records_survive_closing_and_come_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    filled(&path, 3);
    let store = Store::open(&path).unwrap();
    assert_eq!(numbers(&store), [0, 1, 2, 3, 4, 5]);
    assert_eq!(store.read(&Key::number(Table::Rounds, 4)).unwrap().unwrap(), payload(2));
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
    held.write(&[schema_is(SCHEMA + 1)]).unwrap();
    drop(held);
    let error = Store::open(&path).err().unwrap();
    assert!(
        matches!(error, StoreError::TooNew { found, known: SCHEMA, .. } if found == SCHEMA + 1),
        "{error}"
    );
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
    store.log.write(vec![(&key.0, Some(sealed))]).unwrap();
    drop(store);
    let error = Store::open(&path).err().unwrap().to_string();
    assert!(error.contains("record roster/hub-1: its checksum does not match"), "{error}");
    assert!(error.contains(&path.display().to_string()));
}

/// After a crash that loses the end of the log, every batch that was wholly on the disk is there, and no part of any
/// other.
#[test]
fn a_torn_log_recovers_to_the_batches_that_were_whole() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let ends = filled(&whole, 40);
    let log = fs::read(whole.join("sled/db")).unwrap();
    let end = used(&log);
    assert!(ends.is_sorted() && ends.last() == Some(&end), "the log is not append-only: {ends:?}, {end}");
    let first = ends[0];
    let even = (0..24).map(|step| end - (end - first) * step / 24 - step);
    // And right behind, at, and right before the ends of batches.
    let edges = ends.iter().skip(1).step_by(7).flat_map(|end| [end + 1, *end, end - 1]);
    for (number, cut) in even.chain(edges).enumerate() {
        let path = dir.path().join(format!("torn-{number}"));
        // The torn write of a power cut: the tail of the log is zero.
        let mut torn = log.clone();
        torn[cut.min(end)..].fill(0);
        copied(&whole, &path, &torn);
        let store = Store::open(&path).unwrap_or_else(|error| panic!("cut at {cut} of {end}: {error}"));
        let batches = ends.iter().filter(|end| **end <= cut).count() as u64;
        assert_eq!(numbers(&store), (0..2 * batches).collect::<Vec<_>>(), "cut at {cut} of {end}");
        for n in 0..batches {
            let read = store.read(&Key::number(Table::Rounds, 2 * n)).unwrap().unwrap();
            assert!(read == payload(n), "batch {n} after a cut at {cut}");
        }
        store.write(&[put(1000, b"it can be written again")]).unwrap();
    }
}

#[test]
fn flipped_bytes_never_pass_for_records() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    filled(&whole, 20);
    let log = fs::read(whole.join("sled/db")).unwrap();
    let end = used(&log);
    for step in 1..24 {
        let path = dir.path().join(format!("flipped-{step}"));
        let mut flipped = log.clone();
        flipped[end * step / 24] ^= 0x40;
        copied(&whole, &path, &flipped);
        if let Ok(store) = Store::open(&path) {
            for (key, read) in store.table(Table::Rounds).unwrap() {
                let n = u64::from_be_bytes(key.as_slice().try_into().unwrap());
                assert!(read == payload(n / 2), "record {n} changed silently");
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

#[test]
fn the_last_change_to_a_record_in_a_batch_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::create(&path).unwrap();
    let (large, other) = (vec![7; 100_000], vec![8; 100_000]);
    let key = Key::number(Table::Rounds, 1);
    store.write(&[put(1, &large)]).unwrap();
    // Written twice: the object that is named stays, the other is neither written nor counted.
    store.write(&[put(1, &other), put(1, &large)]).unwrap();
    assert_eq!((objects(&path), store.read(&key).unwrap()), (1, Some(large.clone())));
    store.write(&[Change::Delete(key.clone()), put(1, &large)]).unwrap();
    assert_eq!((objects(&path), store.read(&key).unwrap()), (1, Some(large.clone())));
    store.write(&[put(2, &large), put(1, &other), Change::Delete(key.clone())]).unwrap();
    assert_eq!((objects(&path), store.read(&key).unwrap()), (1, None));
    assert_eq!(store.read(&Key::number(Table::Rounds, 2)).unwrap(), Some(large));
    store.write(&[put(2, &other), put(2, b"small")]).unwrap();
    assert_eq!(objects(&path), 0);
    drop(store);
    assert_eq!(numbers(&Store::open(&path).unwrap()), [2]);
}

/// What a kill or a full disk leaves when it hits sled on opening.
#[test]
fn a_snapshot_that_is_half_written_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    filled(&path, 3);
    let half = path.join("sled/snap.FFFFFFFFFFFFFFF0.generating");
    for rest in [&b""[..], b"half of a snapshot, and no checksum behind it"] {
        fs::write(&half, rest).unwrap();
        assert_eq!(numbers(&Store::open(&path).unwrap()), [0, 1, 2, 3, 4, 5]);
        assert!(!half.exists());
    }
    // Another process may be writing it.
    let held = Store::open(&path).unwrap();
    fs::write(&half, "").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Busy { .. })));
    assert!(half.exists());
    drop(held);
    assert!(Store::open(&path).is_ok());
}

/// A store of the layout before the last one, with an open masked round of two groups.
fn of_schema_1(path: &Path) {
    let store = Store::create(path).unwrap();
    let masked = |key: &[u8], payload: &[u8]| Change::Put(Key::new(Table::Masked, key), payload.to_vec());
    let steps =
        [masked(&[0], b"roster"), masked(&[0, 0, 0, 0, 1], b"another roster"), masked(&[1], &[7; LARGE + 1])];
    store.write(&steps).unwrap();
    store.write(&[put(1, b"a round"), schema_is(1)]).unwrap();
}

#[test]
fn an_older_store_is_brought_to_the_layout_of_today() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    of_schema_1(&path);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.schema().unwrap(), 1);
    for _ in 0..2 {
        store.upgrade().unwrap();
        assert_eq!(store.schema().unwrap(), SCHEMA);
        let masked = store.table(Table::Masked).unwrap();
        let expected: [(Vec<u8>, Vec<u8>); 3] = [
            (vec![0, 0, 0, 0, 0], b"roster".to_vec()),
            (vec![0, 0, 0, 0, 1], b"another roster".to_vec()),
            (vec![1, 0, 0, 0, 0], vec![7; LARGE + 1]),
        ];
        assert_eq!(masked, expected);
        assert_eq!(numbers(&store), [1]);
    }
    store.write(&[schema_is(0)]).unwrap();
    let error = store.upgrade().unwrap_err().to_string();
    assert!(error.ends_with("has schema 0, this program knows 1 and newer ones"), "{error}");
}

/// Whoever restarts in the middle of it finds one of the layouts, and goes on from there.
#[test]
fn each_step_of_an_upgrade_is_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    of_schema_1(&whole);
    let before = used(&fs::read(whole.join("sled/db")).unwrap());
    Store::open(&whole).unwrap().upgrade().unwrap();
    let log = fs::read(whole.join("sled/db")).unwrap();
    let after = used(&log);
    let mut seen = std::collections::BTreeSet::new();
    for cut in (before..=after).rev().step_by(29).chain([before]) {
        let path = dir.path().join(format!("cut-{cut}"));
        let mut torn = log.clone();
        torn[cut..].fill(0);
        copied(&whole, &path, &torn);
        let store = Store::open(&path).unwrap();
        let (schema, keys) = (store.schema().unwrap(), store.keys(Table::Masked).unwrap());
        let short = keys.iter().filter(|key| key.len() == 1).count();
        assert_eq!((short, keys.len()), (if schema == 1 { 2 } else { 0 }, 3), "cut at {cut}");
        seen.insert(schema);
        store.upgrade().unwrap();
        assert_eq!(store.keys(Table::Masked).unwrap().iter().filter(|key| key.len() == 5).count(), 3);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [1, 2, SCHEMA]);
}

/// sled refuses everything after a write that failed; the store does not.
#[test]
fn after_a_failure_the_next_call_finds_what_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    filled(&path, 3);
    let store = Store::open(&path).unwrap();
    for n in 0..5 {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = store.log.run(|_| Err::<(), _>(full().into()));
        let error = error.unwrap_err();
        assert!(error.may_pass() && error.to_string().ends_with("store: the disk is full"), "{error}");
        assert_eq!(numbers(&store)[..6], [0, 1, 2, 3, 4, 5]);
        store.write(&[put(100 + n, b"written")]).unwrap();
    }
    drop(store);
    assert_eq!(numbers(&Store::open(&path).unwrap()), [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104]);
}

#[test]
fn what_repeats_itself_is_packed_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let names: Vec<u8> = (0..200).flat_map(|n| format!("client-{n:05} ").into_bytes()).collect();
    let key = Key::number(Table::Rounds, 1);
    for payload in [&names[..], &names[..SMALL], &names[..SMALL - 1], &names.repeat(3), b""] {
        store.write(&[Change::Put(key.clone(), payload.to_vec())]).unwrap();
        assert_eq!(store.read(&key).unwrap().as_deref(), Some(payload));
    }
    store.write(&[put(1, &names)]).unwrap();
    assert!(store.log.get(&key.0).unwrap().unwrap().len() < names.len() / 3);
}

#[test]
fn a_packed_record_that_would_fill_the_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store")).unwrap();
    let key = Key::number(Table::Rounds, 1);
    for packed in [pack(&vec![0; 100 * LARGE]).unwrap(), b"no such stream".to_vec()] {
        store.log.write(vec![(&key.0, Some(seal(&key.0, PACKED, &packed)))]).unwrap();
        let error = store.read(&key).unwrap_err().to_string();
        assert!(error.contains("rounds/1") && error.contains("packed"), "{error}");
    }
}
