//! A night that comes while its hub is running.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::harness::{Log, Place, copy};

/// More than there is time for: the night cannot come too late, and the test ends when it has seen it.
const ROUNDS: &str = "rounds = 100000\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
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
    let _server = place.serve(&log);
    let names = place.enrol_everybody();
    let [own, other] = [0, 1].map(|n| place.path("data").join(&names[n]));

    // Two folders, with one night and with two, and the hub's is a name for the first of them.
    let [one, two] = ["one", "two"].map(|name| place.path(name));
    fs::rename(&own, &one).expect("a folder");
    copy(&one, &two);
    for file in files(&other) {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let kind = file.parent().and_then(Path::file_name).expect("a folder");
        let name = name.replacen(&names[1], &format!("{}+second", names[0]), 1);
        fs::copy(&file, two.join(kind).join(name)).expect("a copy");
    }
    [&one, &two].iter().flat_map(|folder| files(folder)).for_each(|file| settle(&file));
    symlink(&one, &own).expect("a name");
    let new = place.path("new");
    symlink(&two, &new).expect("a name");

    let _hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", " released version=1");
    // All of it at once.
    fs::rename(&new, &own).expect("the second night");
    log.until(&names[0], "the nights were read again");
    log.until(&names[0], " evaluated version=");
    let report = fs::read_to_string(place.hub(&names[0]).join("evaluation.json")).expect("a report");
    assert!(report.contains("judged on second, the last of 2 nights with labels"), "{report}");
    assert!(report.contains(&format!("{}/second", names[0])), "{report}");
}
