//! The program itself: what it writes, and what it says when it cannot.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use somnus_report::{Identification, Summary};
use somnus_signals::sleep_accel;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_somnus-sim")).args(arguments).output().unwrap()
}

fn config(name: &str) -> String {
    format!("{}/../configs/sim/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn summary(folder: &Path) -> Summary {
    Summary::from_json(&std::fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap()
}

/// Runs, expects a refusal, and returns its one line.
fn refusal(arguments: &[&str]) -> String {
    let output = sim(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} was not refused");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    said.trim().to_owned()
}

#[test]
fn a_run_writes_everything_and_the_same_seed_gives_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| -> (PathBuf, String) {
        let out = folder.path().join(name);
        let smoke = config("smoke");
        let output = sim(&[&["run", &smoke, "--out", text(&out)], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (out, String::from_utf8(output.stdout).unwrap())
    };
    let (one, printed) = run("one", &["--jobs", "1"]);
    let (two, _) = run("two", &["--jobs", "2"]);
    let (other, _) = run("other", &["--seed", "9"]);
    for row in ["majority", "time-of-night only", "local-only", "shuffled labels", "central", "federated"] {
        assert!(printed.lines().any(|line| line.starts_with(row)), "{row} is not in\n{printed}");
    }
    let found = summary(&one);
    assert_eq!(found.reproducible(), summary(&two).reproducible());
    assert_ne!(found.rows, summary(&other).rows);
    assert_eq!(found.clients.len(), 6);
    assert!(found.clients.iter().all(|client| client.role == "held-out"));
    for client in &found.clients {
        for kind in ["html", "json", "csv"] {
            assert!(one.join(format!("clients/{}.{kind}", client.id)).is_file());
        }
    }
    assert!(one.join("report.html").is_file());
    assert_eq!(found.rounds.len(), 2);
    assert!(found.rounds.iter().all(|round| round.reported == 6 && round.evaluation.is_some()));
    // The clients' matrices are the federated row's.
    let federated = found.rows.iter().find(|row| row.name == "federated").unwrap();
    for client in &found.clients {
        assert_eq!(client.confusion, federated.subjects[&client.id]);
    }
    // Rows on the same split score the same epochs.
    let epochs: Vec<u64> =
        found.rows.iter().filter(|row| !row.name.starts_with("own night")).map(|row| row.pooled.n).collect();
    assert!(epochs.iter().all(|n| *n == epochs[0]), "{epochs:?}");
}

#[test]
fn what_cannot_be_done_is_one_line_that_names_the_culprit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let scenario = at("wrong.toml");
    std::fs::write(&scenario, "name = 'x'\nfold = 3\n").unwrap();
    let said = refusal(&["run", text(&scenario)]);
    assert!(said.ends_with("wrong.toml: line 2: unknown key `fold`; did you mean `folds`?"), "{said}");
    let said = refusal(&["run", "no/such.toml"]);
    assert!(said.contains("no/such.toml: "), "{said}");

    let real = config("sleep-accel");
    let said = refusal(&["run", &real]);
    assert!(
        said.contains("scenario `sleep-accel` reads recordings") && said.contains("--data DIR"),
        "{said}"
    );
    let said = refusal(&["run", &real, "--data", text(&at("nothing-here"))]);
    assert!(said.contains("nothing-here"), "{said}");
    let said = refusal(&["run", &config("smoke"), "--data", "anywhere"]);
    assert!(said.contains("--data does not apply"), "{said}");

    std::fs::write(at("file"), "not a folder").unwrap();
    let said = refusal(&["run", &config("smoke"), "--out", text(&at("file/out"))]);
    assert!(said.contains("cannot create the folder") && said.contains("file/out"), "{said}");
    let said = refusal(&["foundation", "--out", text(&at("file/model.safetensors"))]);
    assert!(said.contains("file"), "{said}");
    let said = refusal(&["synth", "--out", text(&at("file")), "--people", "1"]);
    assert!(said.contains("file"), "{said}");
    let said = refusal(&["synth", "--out", text(&at("none")), "--people", "0"]);
    assert!(said.contains("--people"), "{said}");
}

#[test]
fn nobody_with_a_usable_night_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(sim(&["synth", "--out", text(&data), "--people", "2", "--seed", "4"]).status.success());
    std::fs::remove_dir_all(data.join("heart_rate")).unwrap();
    let said = refusal(&["run", &config("sleep-accel"), "--data", text(&data)]);
    assert!(said.contains("0 people with a usable night, at least 2 are needed"), "{said}");
    assert!(said.contains("2 nights were left out") && said.contains("synthetic-0000"), "{said}");
}

#[test]
fn synthetic_people_on_disk_are_those_in_memory_and_may_be_split_over_hubs() {
    let folder = tempfile::tempdir().unwrap();
    let (all, hubs) = (folder.path().join("all"), folder.path().join("hubs"));
    for (out, more) in [(&all, &[][..]), (&hubs, &["--split"][..])] {
        let arguments = [&["synth", "--out", text(out), "--people", "3", "--seed", "4"], more].concat();
        let output = sim(&arguments);
        assert!(output.status.success());
    }
    let people = sleep_accel::people(&all).unwrap();
    assert_eq!(people.len(), 3);
    for person in &people {
        let own = sleep_accel::load(&hubs.join(person.as_str())).unwrap();
        assert_eq!(own, sleep_accel::load_person(&all, person).unwrap());
    }
}

#[test]
fn a_foundation_is_a_checkpoint_and_depends_on_its_seed_alone() {
    use somnus_protocol::checkpoint::Checkpoint;

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, seed: &str| {
        let out = folder.path().join(name);
        let config = config("smoke");
        assert!(
            sim(&["foundation", "--config", &config, "--out", text(&out), "--seed", seed]).status.success()
        );
        std::fs::read(out).unwrap()
    };
    let (one, again, other) = (write("a", "1"), write("b", "1"), write("c", "2"));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(Checkpoint::from_bytes(&one).unwrap().manifest.name, "somnus-initial");

    // Without a scenario it is the model that ships, whatever the seed.
    let shipped = folder.path().join("shipped");
    assert!(sim(&["foundation", "--out", text(&shipped)]).status.success());
    assert_eq!(std::fs::read(shipped).unwrap(), somnus_sim::start::BASE);
    let manifest = Checkpoint::from_bytes(somnus_sim::start::BASE).unwrap().manifest;
    assert_eq!(manifest.name, "somnus-base");
    assert!(somnus_sim::start::BASE.len() <= 8_000_000, "a hub has to hold it");
}

#[test]
fn a_probe_tells_synthetic_people_apart_and_needs_two_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let (data, alone, model) =
        (folder.path().join("data"), folder.path().join("alone"), folder.path().join("m.safetensors"));
    assert!(sim(&["foundation", "--out", text(&model)]).status.success());
    for (out, people) in [(&data, "4"), (&alone, "1")] {
        assert!(sim(&["synth", "--out", text(out), "--people", people]).status.success());
    }
    let ask = |data: &Path| {
        sim(&["probe", text(&model), "--data", text(data), "--subjects", "--seeds", "2", "--json"])
    };
    let output = ask(&data);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Identification> = serde_json::from_slice(&output.stdout).unwrap();
    let rows: Vec<&str> = found.iter().map(|one| one.row.as_str()).collect();
    assert_eq!(rows, ["inputs", "embeddings"]);
    for one in &found {
        assert_eq!((one.chance, one.epoch.n), (0.25, 2));
        let epoch = one.epoch.mean.unwrap();
        assert!(epoch > one.chance, "{}: {epoch}", one.row);
    }
    let said = refusal(&["probe", text(&model), "--data", text(&alone), "--subjects"]);
    assert!(said.contains("alone: at least two people"), "{said}");
}

#[test]
fn the_model_that_ships_scores_and_stages_recordings_and_tells_it_to_programs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, staged) = (at("data"), at("staged"));
    assert!(sim(&["synth", "--out", text(&data), "--people", "2"]).status.success());
    let file = format!("{}/../models/somnus-base.safetensors", env!("CARGO_MANIFEST_DIR"));
    let evaluate = |model: &str, out: &Path| {
        let output = sim(&["evaluate", model, "--data", text(&data), "--out", text(out), "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = Summary::from_json(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
        assert_eq!(told, summary(out));
        told
    };
    let (named, read) = (evaluate("base", &at("named")), evaluate(&file, &at("read")));
    assert_eq!(named.reproducible(), read.reproducible());
    let output = sim(&["stage", "base", "--data", text(&data), "--out", text(&staged), "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tables = told["tables"].as_array().unwrap();
    assert_eq!((tables.len(), told["left_out"].as_array().unwrap().len()), (2, 0));
    assert!(tables.iter().all(|table| Path::new(table.as_str().unwrap()).is_file()), "{told}");
}

#[test]
fn a_server_needs_no_more_memory_for_two_hundred_clients_than_for_ten() {
    let output = sim(&["bench", "memory", "--json"]);
    let memory: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (few, many) = (memory["few_mib"].as_f64().unwrap(), memory["many_mib"].as_f64().unwrap());
    if few == 0.0 {
        println!("SKIPPED a_server_needs_no_more_memory: /proc/self/status is absent");
        return;
    }
    assert!(many - few < 5.0, "{few} MiB with 10 clients, {many} MiB with 200");
}
