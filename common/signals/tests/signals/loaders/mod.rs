//! Loaders of other layouts than sleep-accel: small folders written here, and the real ones where they are.

mod apple_health;
mod crisdb;
mod e4;
mod edf;
mod mmash;
mod parquet;
mod slpdb;
mod wfdb;
mod wisdm;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use somnus_signals::DataError;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn put(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn put_gz(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes.as_ref()).unwrap();
    put(dir, &format!("{name}.gz"), encoder.finish().unwrap());
}

/// What is said to be wrong, paths from the folder on.
fn fault<T>(dir: &TempDir, result: Result<T, DataError>) -> String {
    let Err(error) = result else { panic!("it was read") };
    error.to_string().replace(&format!("{}/", dir.path().display()), "")
}

/// A folder of real recordings; says `SKIPPED` by the test's name where it is absent.
fn real(folder: &str, test: &str) -> Option<PathBuf> {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")).join(folder);
    if dir.is_dir() {
        return Some(dir);
    }
    println!("SKIPPED {test}: {} is absent", dir.display());
    None
}
