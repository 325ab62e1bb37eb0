//! The example as its reader runs it.

use std::process::Command;

/// The kappa in the line that begins with `name`.
fn kappa(told: &str, name: &str) -> f64 {
    let line =
        told.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {told}"));
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number at the end")
}

#[test]
fn people_whom_no_training_saw_are_staged_better_than_by_chance() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = |seed: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_somnus-own"));
        let output =
            command.arg(folder.path()).args(["--make", "18", "--seed", seed]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let told = study("1");
    assert!(told.starts_with("12 people train, 6 are left out"), "{told}");
    let untrained = kappa(&told, "untrained").abs();
    let (plain, own) = (kappa(&told, "FedAvg"), kappa(&told, "look-ahead"));
    assert!(untrained < 0.1 && plain > 0.2 && own > 0.2, "{told}");
    assert!((plain - own).abs() > 1e-6, "the rule makes no difference: {told}");
}

#[test]
fn a_diary_that_is_torn_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ann.csv"), "epoch,bpm,counts,stage\n0,60,1,wake\n1,61,0,slep\n")
        .expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_somnus-own")).arg(folder.path()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("ann.csv") && told.contains("line 3"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}
