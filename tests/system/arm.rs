//! The hub as it runs on a Raspberry Pi: built for ARM, emulated here, beside native hubs and a native server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Log, Place, builder, good, peak_mib, run, target};

/// Three hubs of this machine and one of another kind.
const ROUNDS: &str = "rounds = 2\ncohort = 4\nmin_clients = 4\nmin_reports = 4\n";
/// The network that ships.
const FOUNDATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/somnus-base.safetensors");
/// The programs of a release are stripped.
const LARGEST: u64 = 12_000_000;
/// MiB of the emulator with the hub inside it: the guest's memory is the emulator's own, and its translated code comes on top, so
/// the hub alone has less.
const MOST: f64 = 96.0;

/// Which machines, by triple; `SOMNUS_ARM` names others or more, as each has to be built first, which takes minutes.
const MACHINES: &str = "aarch64-unknown-linux-gnu";

/// The hub's program for `triple`; none, with the reason, if nobody asked or this machine cannot make it.
fn hub(triple: &str) -> Option<PathBuf> {
    let machines = std::env::var("SOMNUS_ARM").unwrap_or_else(|_| MACHINES.into());
    if !machines.contains(triple) {
        println!("SKIPPED {triple}: SOMNUS_ARM names it not, but {machines}");
        return None;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tools/cross.sh");
    let mut build = builder(script);
    build.args(["--as-it-is", triple, "-p", "somnus-client"]).env("CARGO_TARGET_DIR", target());
    let output = run(&mut build);
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("somnus-client")),
        Some(3) => {
            println!("SKIPPED {triple}: {}", told.trim());
            None
        }
        _ => panic!("{told}"),
    }
}

fn takes_part(triple: &str, emulator: &str, libraries: &str) {
    let Some(program) = hub(triple) else { return };
    let size = std::fs::metadata(&program).expect("a program").len();
    assert!(size < LARGEST, "{}: {size} bytes", program.display());

    let emulated = || {
        let mut command = Command::new(emulator);
        command.args(["-L", libraries]).arg(&program).env("RUST_LOG", "info");
        command
    };
    let place = Place::new(4, ROUNDS);
    std::fs::copy(FOUNDATION, place.server().join("foundation.safetensors")).expect("copied");
    let log = Log::new();
    let server = place.serve(&log);
    let mut names = place.people();
    let arm = names.pop().expect("four people");
    place.enrol(&names);
    place.prepare(&arm);
    good(emulated().args(["enrol", &place.invite(&arm), "--dir"]).arg(place.hub(&arm)));
    let hubs: Vec<_> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    // It does not end by itself, so that its peak can still be read when all is done.
    let guest = log.start(
        &arm,
        emulated()
            .args(["run", "--data"])
            .arg(place.path("data").join(&arm))
            .arg("--dir")
            .arg(place.hub(&arm)),
    );
    log.until(&arm, "the federation is complete");
    let peak = peak_mib(&guest).expect("it still runs");
    println!("{triple}: {:.1} MB, peak resident memory under emulation {peak:.1} MiB", size as f64 / 1e6);
    assert!((1.0..MOST).contains(&peak), "{peak:.1} MiB");
    good(Command::new("sh").args(["-c", &format!("kill {}", guest.id())]));
    guest.done(&log);
    hubs.into_iter().for_each(|hub| hub.done(&log));
    server.done(&log);

    // All four are in each sum: it is the emulated hub's masks that the others' cancel.
    for round in &place.status()["rounds"].as_array().expect("rounds")[..2] {
        assert_eq!(round["counted"], 4, "{round:#}");
    }
    let report = good(emulated().args(["report", "--dir"]).arg(place.hub(&arm)));
    assert!(std::fs::read_to_string(report).expect("a page").contains("<svg"));
}

#[test]
fn a_hub_of_64_bit_arm_takes_part_and_reports() {
    takes_part("aarch64-unknown-linux-gnu", "qemu-aarch64-static", "/usr/aarch64-linux-gnu");
}

#[test]
fn a_hub_of_32_bit_arm_takes_part_and_reports() {
    takes_part("armv7-unknown-linux-gnueabihf", "qemu-arm-static", "/usr/arm-linux-gnueabihf");
}
