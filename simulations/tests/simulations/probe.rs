//! What a checkpoint knows of a folder, asked from outside.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use somnus_model::DeviceKind;
use somnus_report::{Grid, Summary};
use somnus_signals::wisdm::Activity;
use somnus_sim::probe::checkpoint::probe;
use somnus_sim::start::named;

fn asked(folder: &Path, seeds: u64) -> Result<Summary, String> {
    let model = named(Path::new("base"), DeviceKind::Flex).unwrap();
    probe(&model, folder, seeds, Instant::now()).map_err(|error| error.to_string())
}

fn titles(grids: &[Grid]) -> Vec<&str> {
    let first = |grid: &Grid| grid.title.find([',', ';', '?', ' ']).unwrap_or(0);
    grids.iter().map(|grid| &grid.title[..first(grid)]).collect()
}

fn sim(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_somnus-sim")).args(arguments).output().unwrap()
}

fn real(test: &str, set: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(set);
    let here = folder.is_dir();
    if !here {
        println!("SKIPPED {test}: {} is absent", folder.display());
    }
    here.then_some(folder)
}

/// A person of `wisdm`: each activity is a swing of its own speed, half a minute of it.
fn mover(folder: &Path, person: usize) {
    let mut text = String::new();
    for (number, activity) in Activity::ALL.into_iter().enumerate() {
        for i in 0..20 * 30 {
            let swing = (i as f32 * 0.2 * (1 + number) as f32 + person as f32).sin();
            let (letter, size) = (activity.letter(), 3.0 + number as f32);
            writeln!(text, "{person},{letter},{},{},{};", size * swing, 9.8 - swing, size).unwrap();
        }
    }
    std::fs::write(folder.join(format!("data_{person}_accel_watch.txt")), text).unwrap();
}

/// A wristband's person whose heart beats ever faster, for `minutes`.
fn wearer(folder: &Path, person: usize, minutes: usize) {
    let (folder, seconds) = (folder.join(format!("S{person:02}")), 60 * minutes);
    std::fs::create_dir_all(&folder).unwrap();
    let hz = |second: f32| (1.0 + 0.1 * person as f32) * (1.0 + 0.3 * second / seconds as f32);
    let write = |name: &str, header: String, lines: Vec<String>| {
        std::fs::write(folder.join(name), format!("{header}\n{}\n", lines.join("\n"))).unwrap();
    };
    let pulse = |i: usize, rate: f32| (std::f32::consts::TAU * hz(i as f32 / rate) * i as f32 / rate).sin();
    let accel = (0..32 * seconds).map(|i| format!("{},0,{}", (3.0 * pulse(i, 32.0)) as i32, 60 + person));
    write("ACC.csv", "1000,1000,1000\n32,32,32".into(), accel.collect());
    let ppg = (0..64 * seconds).map(|i| format!("{:.3}", 40.0 * pulse(i, 64.0)));
    write("BVP.csv", "1000\n64".into(), ppg.collect());
    let hr = (0..seconds).map(|second| format!("{:.2}", 60.0 * hz(second as f32)));
    write("HR.csv", "1010\n1".into(), hr.collect());
    let beats = (1..seconds).map(|second| format!("{second},{:.4}", 1.0 / hz(second as f32)));
    write("IBI.csv", "1000, IBI".into(), beats.collect());
}

#[test]
fn nights_are_asked_for_stages_and_the_trained_network_knows_more() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    assert!(sim(&["synth", "--out", data, "--people", "4"]).status.success());
    let output = sim(&["probe", "base", "--data", data, "--seeds", "1", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = Summary::from_json(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    assert_eq!(titles(&found.grids), ["Stages", "Macro-F1", "Whose", "How"]);
    let kappa = |line: usize| found.grids[0].lines[line].cells[1].mean.unwrap();
    assert_eq!(found.grids[0].lines[1].name, "staging network, untrained");
    assert!(kappa(0) > kappa(1) && kappa(0) > 0.3, "{:?}", found.grids[0]);
    assert_eq!(found.reproducible(), asked(Path::new(data), 1).unwrap().reproducible());
    let shown = sim(&["probe", "base", "--data", data, "--seeds", "1"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.starts_with("somnus-base: what its embeddings know\n"), "{shown}");
}

#[test]
fn movers_are_asked_for_what_they_do() {
    let folder = tempfile::tempdir().unwrap();
    (1600..1606).for_each(|person| mover(folder.path(), person));
    let found = asked(folder.path(), 2).unwrap();
    assert_eq!(titles(&found.grids), ["What", "Macro-F1", "Whose", "How"]);
    let told = &found.grids[0].lines[0].cells;
    assert!(told[0].mean.unwrap() > 0.9 && told[0].n == 2, "six speeds are easily told apart: {told:?}");
}

#[test]
fn wearers_are_asked_for_their_hearts() {
    let folder = tempfile::tempdir().unwrap();
    (1..6).for_each(|person| wearer(folder.path(), person, 6));
    let found = asked(folder.path(), 1).unwrap();
    assert_eq!(titles(&found.grids), ["Which", "The", "Whose", "How"]);
    let retrieval = &found.grids[0];
    assert_eq!(retrieval.lines.len(), 8);
    let gallery = retrieval.lines[0].cells[0].mean.unwrap();
    assert!((10.0..=12.0).contains(&gallery), "six minutes of one of five people: {gallery}");
    assert_eq!(retrieval.lines[0].cells[5].mean, Some((gallery + 1.0) / 2.0));
    let error = |line: usize| found.grids[1].lines[line].cells[0].mean.unwrap();
    assert_eq!(found.grids[1].lines[3].name, "ppg");
    assert!(error(3) < error(0), "a pulse tells its rate: {:?}", found.grids[1]);
}

#[test]
fn one_person_and_a_folder_of_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    mover(folder.path(), 1600);
    let said = asked(folder.path(), 1).unwrap_err();
    assert!(said.ends_with("1 people with acceleration, at least 2 are needed"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let said = asked(empty.path(), 1).unwrap_err();
    assert!(said.contains("nothing here is known"), "{said}");
}

#[test]
fn eight_bits_stage_as_f32_does() {
    let test = "eight_bits_stage_as_f32_does";
    let Some(data) = real(test, "sleep-accel") else { return };
    let out = tempfile::tempdir().unwrap();
    let (data, out) = (data.to_str().unwrap(), out.path().to_str().unwrap());
    let output = sim(&["evaluate", "base", "--data", data, "--int8", "--out", out, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = Summary::from_json(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let rows: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows, ["somnus-base", "somnus-base in int8"]);
    let cell = |line: usize, column: usize| found.grids[0].lines[line].cells[column].mean.unwrap();
    assert!(cell(1, 1).abs() < 0.01, "kappa changed by {}", cell(1, 1));
    assert!(cell(1, 2) > 0.98, "{} of the epochs are staged alike", cell(1, 2));
    assert!(cell(1, 4) < 0.3 * cell(0, 4), "{} KiB of {}", cell(1, 4), cell(0, 4));
}
