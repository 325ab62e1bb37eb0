//! What is in a folder of recordings, what of it will be used, and what is wrong with it: [`inspect`].
//!
//! A loader refuses what breaks its format. A file may also be whole in form and wrong in content: cut off between two lines, sorted
//! by accident, in another unit, on another clock. [`scan`] reads each text file once more and notes what tells, [`judge`] says
//! what it means and what to do about it.

mod apple_health;
mod edf;
mod judge;
mod scan;
mod sheet;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{DataError, Layout, NightRules, Recording, StreamKind, prepare};
use scan::Scan;

/// How many lines of one kind are told of one file, and how many files of one kind of a folder.
const TOLD: usize = 20;

/// What is in a folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The folder.
    pub folder: PathBuf,
    /// Its layout, if it has a known one.
    pub layout: Option<Layout>,
    /// Its recordings, where the layout has any and every file could be read.
    pub recordings: Vec<Inspected>,
    /// What is wrong or worth knowing, the worst first.
    pub findings: Vec<Finding>,
}

/// One recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspected {
    /// As [`Recording::id`].
    pub id: String,
    /// 30-s epochs.
    pub epochs: usize,
    /// Epochs that somebody scored.
    pub scored: usize,
    /// The streams that it has, or that were derived; of those with features the part of epochs, 0 to 1, that is covered.
    pub streams: BTreeMap<StreamKind, Option<f32>>,
    /// Whether it will be used.
    pub standing: Standing,
}

/// What becomes of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "use", content = "reason", rename_all = "kebab-case")]
pub enum Standing {
    /// It trains, judges and is staged.
    Scored,
    /// It is staged; nobody scored it.
    Staged,
    /// It is left out.
    LeftOut(String),
}

/// Something about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or folder.
    pub path: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing in the folder can be used until it is mended.
    Stops,
    /// Results would be wrong, or less than there could be.
    Harms,
    /// Worth knowing.
    Note,
}

impl Inspection {
    /// Whether nothing stands in the way of using it, and nothing makes the results doubtful.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }
}

/// `1 line`, `2 lines`.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Looks at everything in `dir`.
#[must_use]
pub fn inspect(dir: &Path, rules: &NightRules) -> Inspection {
    let mut findings = Vec::new();
    let mut recordings = Vec::new();
    let layout = Layout::detect(dir).map_err(|error| findings.push(judge::refused(&error))).ok();
    if let Some(layout) = layout {
        match sheet::sheets(layout, dir) {
            Ok(sheets) => {
                for of_one in &sheets {
                    let scans: Vec<_> = of_one.iter().map(|sheet| (sheet, Scan::of(sheet))).collect();
                    findings.extend(scans.iter().flat_map(|(sheet, scan)| judge::file(sheet, scan)));
                    findings.extend(judge::together(&scans));
                }
            }
            Err(error) => findings.push(judge::refused(&error)),
        }
        match layout {
            Layout::Edf => findings.extend(edf::look(dir)),
            Layout::AppleHealth => findings.extend(apple_health::look(dir)),
            _ => {}
        }
        match layout.load(dir) {
            Ok(loaded) => {
                if layout == Layout::Slpdb {
                    findings.extend(loaded.iter().filter_map(|recording| judge::beats(dir, recording)));
                }
                recordings = loaded.iter().map(|recording| inspected(recording, rules)).collect();
            }
            Err(error) => add_refusal(&mut findings, &error),
        }
        findings.extend(judge::purpose(layout, dir, &recordings));
    }
    findings.sort_by(|a, b| (a.severity, &a.path, a.line).cmp(&(b.severity, &b.path, b.line)));
    findings.dedup();
    Inspection { folder: dir.to_owned(), layout, recordings, findings }
}

/// A loader stops at the first fault; what was found out about that file already says more.
fn add_refusal(findings: &mut Vec<Finding>, error: &DataError) {
    let refusal = judge::refused(error);
    let known = |finding: &Finding| finding.severity == Severity::Stops && finding.path == refusal.path;
    if !findings.iter().any(known) {
        findings.push(refusal);
    }
}

fn inspected(recording: &Recording, rules: &NightRules) -> Inspected {
    let mut streams: BTreeMap<StreamKind, Option<f32>> =
        recording.streams.keys().map(|kind| (*kind, None)).collect();
    let scored = recording.labels.iter().flatten().count();
    let standing = match prepare(recording, rules) {
        Ok(night) => {
            streams.extend(night.quality.coverage.iter().map(|(kind, part)| (*kind, Some(*part))));
            if scored > 0 { Standing::Scored } else { Standing::Staged }
        }
        Err(excluded) => Standing::LeftOut(excluded.reason),
    };
    Inspected { id: recording.id(), epochs: recording.epochs(), scored, streams, standing }
}
