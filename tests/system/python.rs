//! A release is read by another language, which computes the same.

use std::path::Path;
use std::process::Command;

use crate::harness::{good, program};

/// What reads the example: the interpreter that CI prepares, or the machine's own.
fn python() -> Command {
    Command::new(std::env::var_os("SOMNUS_PYTHON").unwrap_or_else(|| "python3".into()))
}

#[test]
fn numpy_reads_a_checkpoint_and_comes_to_the_same_logits() {
    let asked = python().args(["-c", "import numpy"]).output();
    if !asked.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED numpy_reads_a_checkpoint_and_comes_to_the_same_logits: no python3 with numpy");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().expect("a folder");
    let (nights, out) = (folder.path().join("nights"), folder.path().join("out"));
    let model = root.join("models/somnus-base.safetensors");
    good(program("somnus-sim").args(["synth", "--people", "1", "--out"]).arg(&nights));
    good(
        program("somnus-sim")
            .arg("stage")
            .arg(&model)
            .arg("--data")
            .arg(&nights)
            .arg("--out")
            .arg(&out)
            .arg("--tensors"),
    );
    let written = std::fs::read_dir(&out).expect("a folder").map(|entry| entry.expect("an entry").path());
    let night = written.into_iter().find(|path| path.extension().is_some_and(|end| end == "safetensors"));
    let reader = root.join("docs/examples/somnus.py");
    let difference = good(python().arg(reader).arg(model).arg(night.expect("a night's tensors")));
    let difference: f64 = difference.parse().expect("a number");
    println!("largest difference of a logit: {difference:e}");
    assert!(difference < 1e-4, "{difference}");
}
