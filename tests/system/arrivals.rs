//! A night that comes while its hub is running.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::harness::{Log, Place};

const ROUNDS: &str = "rounds = 3\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 30.0\npause_seconds = 0.2\n\
                      secure = { patience_seconds = 30.0 }\n";

/// The files of a person's nights.
fn files(nights: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(nights).expect("nights").map(|entry| entry.expect("a folder").path());
    folders
        .flat_map(|folder| fs::read_dir(folder).expect("files"))
        .map(|entry| entry.expect("a file").path())
        .collect()
}

/// As if it had lain there for an hour: a hub does not touch what may still be coming.
fn settle(file: &Path) {
    let hour = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(file).and_then(|file| file.set_modified(hour)).expect("a time");
}

#[test]
fn a_night_that_comes_between_two_rounds_is_trained_on_and_judged() {
    let place = Place::new(4, ROUNDS);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let nights = place.path("data").join(&names[0]);
    files(&nights).iter().for_each(|file| settle(file));
    let hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", " released version=1");
    for file in files(&nights) {
        let name = file.file_name().expect("a name").to_string_lossy().replacen('_', "+second_", 1);
        let new = place.path("new");
        fs::copy(&file, &new).expect("a copy");
        settle(&new);
        fs::rename(new, file.with_file_name(name)).expect("a night");
    }
    log.until(&names[0], "the nights were read again");
    hubs.into_iter().for_each(|hub| hub.done(&log));
    server.done(&log);
    let report = place.hub(&names[0]).join(format!("report/{}.json", names[0]));
    let report = fs::read_to_string(report).expect("a report");
    assert!(report.contains("judged on second, the last of 2 nights with labels"), "{report}");
    assert!(report.contains(&format!("{}/second", names[0])), "{report}");
}
