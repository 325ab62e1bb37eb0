//! Disks that are full for a while, on the real binaries: a federation waits for them, loses nothing, and goes on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::harness::{BINARIES, Log, Place, binaries, copy, good};

const ROUNDS: &str = "rounds = 3\ncohort = 4\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 5.0\n\
                      training_seconds = 60.0\nevaluation_seconds = 30.0\npause_seconds = 0.2\n\
                      secure = { patience_seconds = 30.0 }\n";
/// Set in the process that has mounts of its own.
const INSIDE: &str = "SOMNUS_TEST_HAS_OWN_MOUNTS";

/// Runs a test of this file in a mount namespace of its own, so that neither root nor cleaning up is needed.
fn with_own_mounts(test: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut command = Command::new("unshare");
    command.env(INSIDE, "1").env(BINARIES, binaries());
    command.args(["--user", "--map-root-user", "--mount"]).arg(std::env::current_exe().expect("a path"));
    let ran = command.args(["--exact", "--nocapture"]).arg(format!("disk::{test}")).output();
    let ran = ran.map(|ran| {
        let said = [&ran.stdout[..], &ran.stderr[..]].concat();
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    });
    match ran {
        Ok((good, said)) if !said.contains("unshare: ") && !said.contains(CANNOT) => {
            assert!(good && said.contains("1 passed"), "{said}");
        }
        why => println!("SKIPPED {test}: no disk can be mounted here: {why:?}"),
    }
}

const CANNOT: &str = "CANNOT MOUNT";

/// Moves a folder to a disk of its own with so many MiB; false if that cannot be.
fn on_a_small_disk(folder: &Path, mib: u32) -> bool {
    let large = folder.with_extension("large");
    fs::rename(folder, &large).expect("a folder");
    fs::create_dir(folder).expect("a folder");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "somnus"]).arg(folder);
    if !mount.status().is_ok_and(|status| status.success()) {
        println!("{CANNOT}");
        return false;
    }
    copy(&large.join("."), folder);
    true
}

fn fill(folder: &Path) {
    let mut file = fs::File::create(folder.join("filler")).expect("a file");
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn make_space(folder: &Path) {
    fs::remove_file(folder.join("filler")).expect("a file");
}

#[test]
fn a_server_waits_for_a_full_disk_and_loses_nothing() {
    with_own_mounts("a_server_waits_for_a_full_disk_and_loses_nothing", || {
        let place = Place::new(4, ROUNDS);
        let mut log = Log::new();
        let server = place.serve(&log);
        let names = place.enrol_everybody();
        server.kill();
        log = Log::new();
        if !on_a_small_disk(&place.server(), 12) {
            return;
        }
        let mut server = place.serve(&log);
        let mut hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
        let first = log.until("server", " released version=1");
        fill(&place.server());
        let line = log.until("server", "waits for the disk");
        assert!(line.contains("the disk is full"), "{line}");
        assert!(!server.has_ended() && hubs.iter_mut().all(|hub| !hub.has_ended()));
        make_space(&place.server());
        log.until("server", "the disk has space again");
        hubs.into_iter().for_each(|hub| hub.done(&log));
        server.done(&log);
        let told = || log.seen().join("\n");
        let status = place.status();
        assert_eq!(status["release"], 3, "{status:#}; {}", told());
        assert_eq!(status["clients"].as_array().map(Vec::len), Some(4));
        let rounds = status["rounds"].as_array().expect("rounds");
        let aborted =
            rounds.iter().filter(|round| round["outcome"].as_str().is_some_and(|o| o.contains("abort")));
        assert_eq!(aborted.count(), 0, "a full disk cost a round; {}", told());
        // The release that was announced before is the one that is there.
        let out = place.path("first.safetensors");
        good(place.admin(&["export", "--version", "1"]).arg("--out").arg(&out));
        let read = somnus_protocol::checkpoint::Checkpoint::from_bytes(&fs::read(out).expect("a file"));
        let digest = &read.expect("a checkpoint").manifest.provenance["release-sha256"];
        assert!(first.contains(&digest[..12]), "{digest} is not of {first}");
    });
}

#[test]
fn a_hub_waits_for_a_full_disk_and_comes_back() {
    with_own_mounts("a_hub_waits_for_a_full_disk_and_comes_back", || {
        let place = Place::new(4, ROUNDS);
        let log = Log::new();
        let server = place.serve(&log);
        let names = place.enrol_everybody();
        let small = place.hub(&names[1]);
        if !on_a_small_disk(&small, 4) {
            return;
        }
        let mut hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
        log.until("server", " released version=1");
        fill(&small);
        let line = log.until(&names[1], " the disk ");
        assert!(line.contains("the disk is full"), "{line}");
        assert!(hubs.iter_mut().all(|hub| !hub.has_ended()), "{}", log.seen().join("\n"));
        make_space(&small);
        hubs.into_iter().for_each(|hub| hub.done(&log));
        server.done(&log);
        assert_eq!(place.status()["release"], 3, "{}", log.seen().join("\n"));
        let report = small.join("report").join(format!("{}.json", names[1]));
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(report).expect("a report")).expect("JSON");
        assert_eq!(report["model"]["version"], 3);
    });
}
