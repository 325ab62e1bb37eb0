//! A server that moves: a backup is written while rounds are made, and another folder goes on from it.

use std::fs;

use crate::harness::{Log, Place, good, program};

const ROUNDS: &str = "rounds = 3\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 30.0\npause_seconds = 0.2\n\
                      secure = { patience_seconds = 30.0 }\n";

#[test]
fn a_backup_of_a_running_server_goes_on_elsewhere_with_the_same_hubs() {
    let place = Place::new(4, ROUNDS);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", " released version=1");
    let file = place.path("backup");
    good(place.admin(&["backup"]).arg(&file));
    // That machine is gone; the name now leads to another one.
    server.kill();
    fs::rename(place.server(), place.path("lost")).expect("a folder");
    good(program("somnus-server").arg("restore").arg(&file).arg(place.server()));
    let restored = place.status();
    assert!(restored["release"].as_u64().is_some_and(|release| release >= 1), "{restored:#}");
    let server = place.serve(&log);
    hubs.into_iter().for_each(|hub| hub.done(&log));
    server.done(&log);
    let status = place.status();
    assert_eq!(status["release"], 3, "{status:#}; {}", log.seen().join("\n"));
    assert_eq!(status["clients"].as_array().map(Vec::len), Some(4));
}
