//! Writing reports to a folder: the only file of this crate that touches the disk.
//!
//! ```text
//! DIR/summary.json  report.html  rows.csv  subjects.csv  clients.csv  rounds.csv
//!     fairness.csv  calibration.csv
//! DIR/clients/<client>.html  .json  .csv
//! ```
//!
//! Each file is written beside its place and renamed over it: a reader sees the old file or the new one, never half
//! of one. JSON is forced to the disk before its rename; pages and tables are not, for they can be made from it again.

use crate::{ClientReport, Summary, csv, html};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The folder could not be made.
    #[error("cannot create the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file could not be written: no space, no permission, ...
    #[error("cannot write {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A report that JSON cannot hold.
    #[error("cannot put {} into JSON", path.display())]
    Json {
        /// The file it was for.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Writes every file of a run into `dir`, creating it.
///
/// # Errors
/// [`OutputError`], naming the path; files written before it stand.
pub fn write_run(dir: &Path, summary: &Summary) -> Result<(), OutputError> {
    let clients = dir.join("clients");
    create_folder(&clients)?;
    let stems = file_stems(summary.clients.iter().map(|client| client.id.as_str()));
    for (client, stem) in summary.clients.iter().zip(&stems) {
        // The summary holds all of it, and a disk flush for each of a thousand clients takes longer than the run.
        write_files(&clients, stem, &ClientReport::of_run(summary, client), Flush::System)?;
    }
    write_text(&dir.join("rows.csv"), &csv::rows(&summary.rows))?;
    write_text(&dir.join("subjects.csv"), &csv::subjects(&summary.rows))?;
    write_text(&dir.join("clients.csv"), &csv::clients(summary))?;
    write_text(&dir.join("rounds.csv"), &csv::rounds(&summary.rounds))?;
    write_text(&dir.join("fairness.csv"), &csv::fairness(&summary.fairness))?;
    write_text(&dir.join("calibration.csv"), &csv::calibration(summary.calibration.as_ref()))?;
    write_text(&dir.join("report.html"), &html::run_page(summary))?;
    // Last: who finds a summary finds everything it speaks of.
    let path = dir.join("summary.json");
    write(&path, &in_json(&path, summary.to_json())?, Flush::Disk)
}

/// Writes `<client>.html`, `.json` and `.csv` of one person into `dir`, creating it; returns the page's path.
///
/// # Errors
/// [`OutputError`], naming the path.
pub fn write_client(dir: &Path, report: &ClientReport) -> Result<PathBuf, OutputError> {
    create_folder(dir)?;
    let stem = file_stems([report.client.id.as_str()]).remove(0);
    write_files(dir, &stem, report, Flush::Disk)
}

/// A file name for each id, in order, without its extension.
///
/// An id of letters, digits, `-` and `_` is its own name. Any other character becomes `_` and a hash of the id is
/// appended, so that no id can leave the folder, hide, or take another's file. Names are distinct even
/// where the file system ignores case; two equal ids get a number each.
#[must_use]
pub fn file_stems<'a, I>(ids: I) -> Vec<String>
where
    I: IntoIterator<Item = &'a str>,
{
    let mut taken = BTreeSet::new();
    ids.into_iter()
        .map(|id| {
            let base = file_stem(id);
            let mut stem = base.clone();
            let mut number = 2;
            while !taken.insert(stem.to_ascii_lowercase()) {
                stem = format!("{base}~{number}");
                number += 1;
            }
            stem
        })
        .collect()
}

fn file_stem(id: &str) -> String {
    const LONGEST: usize = 64;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !id.is_empty() && id.len() <= LONGEST && id.chars().all(plain) {
        return id.to_owned();
    }
    let safe: String = id.chars().take(LONGEST).map(|c| if plain(c) { c } else { '_' }).collect();
    // FNV-1a, 64 bits: tells ids apart, guards nothing.
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{safe}~{hash:016x}")
}

fn write_files(dir: &Path, stem: &str, report: &ClientReport, flush: Flush) -> Result<PathBuf, OutputError> {
    // Not `with_extension`: it would cut a name at its last dot.
    let path = |extension: &str| dir.join(format!("{stem}.{extension}"));
    let json = path("json");
    write(&json, &in_json(&json, report.to_json())?, flush)?;
    write_text(&path("csv"), &csv::epochs(&report.client))?;
    let page = path("html");
    write_text(&page, &html::client_page(report))?;
    Ok(page)
}

fn create_folder(path: &Path) -> Result<(), OutputError> {
    fs::create_dir_all(path).map_err(|source| OutputError::Folder { path: path.to_owned(), source })
}

fn in_json(path: &Path, text: serde_json::Result<String>) -> Result<String, OutputError> {
    text.map_err(|source| OutputError::Json { path: path.to_owned(), source })
}

fn write_text(path: &Path, text: &str) -> Result<(), OutputError> {
    write(path, text, Flush::System)
}

/// How far a file is pushed before it is renamed into place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// To the operating system: survives this process.
    System,
    /// To the disk: survives the power too, at some milliseconds a file.
    Disk,
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, flush: Flush) -> Result<(), OutputError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = path.with_file_name(name);
    let attempt = || -> io::Result<()> {
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        if flush == Flush::Disk {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // Best effort: what failed is already being told.
        let _ = fs::remove_file(&beside);
        OutputError::File { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_run_writes_every_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let summary = testing::summary(3, 1);
        write_run(dir.path(), &summary).unwrap();
        write_run(dir.path(), &summary).unwrap();
        let list = |path: &Path| -> BTreeSet<String> {
            let names = fs::read_dir(path).unwrap();
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let names = [
            "summary.json",
            "report.html",
            "rows.csv",
            "subjects.csv",
            "clients.csv",
            "rounds.csv",
            "fairness.csv",
            "calibration.csv",
            "clients",
        ];
        assert_eq!(list(dir.path()), names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(list(&dir.path().join("clients")).len(), 9);
        let text = fs::read_to_string(dir.path().join("summary.json")).unwrap();
        assert!(Summary::from_json(&text).unwrap() == summary);
        let text = fs::read_to_string(dir.path().join("clients/person-01.json")).unwrap();
        assert!(ClientReport::from_json(&text).unwrap().client == summary.clients[0]);
    }

    #[test]
    fn no_id_leaves_the_folder_or_takes_another_s_file() {
        let ids =
            ["../../etc/passwd", "", ".", "a/b", "a_b", "A_B", "a_b", "<script>", "C:\\x", ".hidden", "é"];
        let stems = file_stems(ids);
        let mut seen = BTreeSet::new();
        for stem in &stems {
            assert!(seen.insert(stem.to_lowercase()), "{stem} twice in {stems:?}");
            let safe = |c: char| c.is_ascii_alphanumeric() || "-_~".contains(c);
            assert!(!stem.is_empty() && stem.chars().all(safe), "{stem}");
        }
        assert_eq!(stems[4], "a_b");
        let long = "x".repeat(5000);
        assert!(file_stems([long.as_str()])[0].len() < 100);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("occupied");
        fs::write(&file, "a file").unwrap();
        let error = write_run(&file, &testing::summary(1, 1)).unwrap_err();
        assert!(
            matches!(&error, OutputError::Folder { .. }) && error.to_string().contains("occupied"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_and_leaves_no_scrap() {
        let dir = tempfile::tempdir().unwrap();
        // A folder stands where the file belongs: the rename fails, for root too.
        fs::create_dir_all(dir.path().join("rows.csv/inside")).unwrap();
        let error = write_run(dir.path(), &testing::summary(1, 1)).unwrap_err();
        assert!(
            matches!(&error, OutputError::File { .. }) && error.to_string().contains("rows.csv"),
            "{error}"
        );
        assert!(!dir.path().join("rows.csv.tmp").exists() && !dir.path().join("summary.json").exists());
    }
}
