//! Bad input to the real binaries: one clear line each, and the server lives on.

use std::net::UdpSocket;

use crate::harness::{Log, Place, bad, good, program};

const ROUNDS: &str = "rounds = 1\ncohort = 1\nmin_clients = 9\nmin_reports = 1\n";

#[test]
fn every_bad_invitation_has_its_own_sentence_and_costs_the_server_nothing() {
    let place = Place::plain(1, ROUNDS);
    let other = Place::plain(1, ROUNDS);
    let log = Log::new();
    let server = place.serve(&log);

    // Reused: another hub with a token that was used.
    let token = place.invite("ann");
    good(&mut place.enrolling("ann", &token));
    let line = bad(&mut place.enrolling("thief", &token));
    assert!(line.contains("already been used"), "{line}");

    // Withdrawn with its name.
    let token = place.invite("eve");
    good(&mut place.admin(&["revoke", "eve"]));
    let line = bad(&mut place.enrolling("eve", &token));
    assert!(line.contains("withdrawn"), "{line}");

    // Damaged: a character lost in a paste.
    let token = place.invite("bob");
    let line = bad(&mut place.enrolling("bob", &token[..token.len() - 1]));
    assert!(line.contains("damaged"), "{line}");
    let line = bad(&mut place.enrolling("bob", "hello"));
    assert!(line.contains("not an invitation"), "{line}");

    // Foreign: another federation's server sits at the address that the token names.
    let foreign = other.invite("bob");
    let theirs = std::fs::read_to_string(other.server().join("server.toml")).expect("a file");
    let moved = theirs.replace(&format!(":{}", other.port()), &format!(":{}", place.port()));
    std::fs::write(other.server().join("server.toml"), moved).expect("written");
    let misled = other.invite("bob");
    let line = bad(&mut place.enrolling("bob", &misled));
    assert!(line.contains("another federation") || line.contains("not the one"), "{line}");
    drop(foreign);

    // A revoked hub.
    good(&mut place.admin(&["revoke", "ann"]));
    let name = &place.people()[0];
    let mut command = program("somnus-client");
    command.args(["run", "--until-finished", "--data"]).arg(place.path("data").join(name));
    let line = bad(command.arg("--dir").arg(place.hub("ann")));
    assert!(line.contains("revoked"), "{line}");

    // After all that the server still enrols those who belong.
    good(&mut place.enrolling("bob", &token));
    drop(server);
}

#[test]
fn what_an_operator_gets_wrong_is_named() {
    let place = Place::plain(1, ROUNDS);
    // A port in use.
    let taken = UdpSocket::bind(("127.0.0.1", place.port())).expect("free until now");
    let line = bad(&mut place.admin(&["serve"]));
    assert!(line.contains(&place.port().to_string()) && line.contains("in use"), "{line}");
    drop(taken);
    // An unknown key, with the nearest known one and its line.
    let path = place.server().join("server.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, text.replace("min_reports = 1", "min_report = 1")).expect("written");
    let line = bad(&mut place.admin(&["serve"]));
    assert!(line.contains("unknown key `min_report`; did you mean `min_reports`?"), "{line}");
    // No federation there.
    let line = bad(program("somnus-server").args(["status", "--dir"]).arg(place.path("nowhere")));
    assert!(line.contains("nowhere") && line.contains("init"), "{line}");
    // One there already.
    let line = bad(program("somnus-server").arg("init").arg(place.server()));
    assert!(line.contains("already"), "{line}");
    // A folder that cannot be written: a file is in its place.
    let file = place.path("file");
    std::fs::write(&file, "x").expect("written");
    let line = bad(program("somnus-server").arg("init").arg(file.join("server")));
    assert!(line.contains("file/server"), "{line}");
}

#[test]
fn bad_recordings_name_file_and_line() {
    let place = Place::plain(1, ROUNDS);
    let name = place.people().remove(0);
    let data = place.path("data").join(&name);
    let run = |data: &std::path::Path| {
        let mut command = program("somnus-client");
        command.args(["run", "--data"]).arg(data).arg("--dir").arg(place.hub(&name));
        command
    };
    // Not enrolled yet.
    let line = bad(&mut run(&data));
    assert!(line.contains("enrol"), "{line}");
    let log = Log::new();
    let server = place.serve(&log);
    good(&mut place.enrolling(&name, &place.invite(&name)));
    let line = bad(&mut run(&place.path("missing")));
    assert!(line.contains("missing"), "{line}");
    let file = data.join("heart_rate").join(format!("{name}_heartrate.txt"));
    let text = std::fs::read_to_string(&file).expect("heart rate");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[6] = "12,abc";
    std::fs::write(&file, lines.join("\n")).expect("written");
    let line = bad(&mut run(&data));
    assert!(line.contains("_heartrate.txt") && line.contains('7'), "{line}");
    std::fs::write(&file, "0,60\n5,61\n").expect("written");
    let line = bad(&mut run(&data));
    assert!(line.contains("no night can be used") && line.contains("coverage"), "{line}");
    drop(server);
}

#[test]
fn the_simulator_names_what_is_wrong_with_a_scenario() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("bad.toml");
    std::fs::write(&scenario, "name = \"x\"\n[data]\nkind = \"synthetic\"\npeple = 3\n").expect("written");
    let line = bad(program("somnus-sim").arg("run").arg(&scenario));
    assert!(line.contains("bad.toml") && line.contains("`people`"), "{line}");
    let line = bad(program("somnus-sim").arg("run").arg(folder.path().join("none.toml")));
    assert!(line.contains("none.toml"), "{line}");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/sleep-accel.toml");
    let line = bad(program("somnus-sim").args(["run", root]));
    assert!(line.contains("--data"), "{line}");
    let line = bad(program("somnus-sim").args(["run", root, "--data"]).arg(folder.path().join("gone")));
    assert!(line.contains("gone"), "{line}");
}
