//! From a folder of people to a release, to its scores on others, to the next federation.

use std::path::Path;
use std::process::{Command, Output};

use somnus_protocol::checkpoint::Checkpoint;
use somnus_report::Summary;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_somnus-sim")).args(arguments).output().unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = sim(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    let output = sim(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?} was not refused");
    String::from_utf8(output.stderr).unwrap().trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn summary(folder: &Path) -> Summary {
    Summary::from_json(&std::fs::read_to_string(folder.join("summary.json")).unwrap()).unwrap()
}

/// The shipped training scenario, in a hurry.
fn hurried(from: &str) -> String {
    let path = format!("{}/../configs/sim/{from}.toml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().replace("rounds = 40", "rounds = 2")
}

#[test]
fn a_release_of_everybody_scores_strangers_and_starts_the_next_federation() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, seed) in [("people", "4"), ("strangers", "5")] {
        done(&["synth", "--out", text(&at(name)), "--people", "3", "--seed", seed]);
    }
    std::fs::write(at("train.toml"), hurried("sleep-accel-train")).unwrap();
    let (people, strangers) = (at("people"), at("strangers"));
    let scenario = at("train.toml");
    let train = |out: &Path| done(&["run", text(&scenario), "--data", text(&people), "--out", text(out)]);
    let printed = train(&at("one"));
    assert!(printed.contains("release.safetensors"), "{printed}");
    train(&at("two"));
    let release = at("one").join("release.safetensors");
    let bytes = std::fs::read(&release).unwrap();
    assert_eq!(bytes, std::fs::read(at("two").join("release.safetensors")).unwrap());
    let manifest = Checkpoint::from_bytes(&bytes).unwrap().manifest;
    assert_eq!(manifest.provenance["training"], "a federation of 3 people");
    assert_eq!(manifest.provenance["foundation"], "somnus-base");
    let trained = summary(&at("one"));
    assert!(trained.rows[0].note.as_ref().unwrap().contains("trained on"));
    assert!(trained.clients.iter().all(|client| client.role == "trained"));

    let scores = at("scores");
    let evaluate = |model: &Path| {
        done(&["evaluate", text(model), "--data", text(&strangers), "--out", text(&scores)]);
        summary(&scores)
    };
    let found = evaluate(&release);
    assert_eq!((found.clients.len(), found.rows.len()), (3, 1));
    assert_eq!(found.clients.iter().map(|c| c.confusion.total()).sum::<u64>(), found.rows[0].pooled.n);
    assert_eq!(found.merged.keys().collect::<Vec<_>>(), ["sleep-wake", "three"]);
    assert!(scores.join("report.html").is_file());

    // The release is the next foundation; a path in a scenario is taken from the scenario's folder.
    let next = hurried("sleep-accel-train");
    let line = next.lines().find(|line| line.starts_with("foundation = ")).unwrap().to_owned();
    let next = next
        .replace(&line, "foundation = \"one/release.safetensors\"")
        .replace("learning_rate = 4e-3", "learning_rate = 1e-30");
    std::fs::write(at("next.toml"), next).unwrap();
    done(&["run", text(&at("next.toml")), "--data", text(&people), "--out", text(&at("next"))]);
    let after = evaluate(&at("next").join("release.safetensors"));
    assert_eq!(after.rows[0].confusion, found.rows[0].confusion, "nothing was learned, so nothing is lost");
}

#[test]
fn what_is_no_model_and_who_has_no_labels_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    done(&["synth", "--out", text(&at("people")), "--people", "1"]);
    std::fs::write(at("text.safetensors"), "no model").unwrap();
    let (out, data) = (at("out"), at("people"));
    let said =
        refusal(&["evaluate", text(&at("text.safetensors")), "--data", text(&data), "--out", text(&out)]);
    assert!(said.contains("text.safetensors"), "{said}");
    done(&["foundation", "--out", text(&at("model.safetensors"))]);
    let model = at("model.safetensors");
    let said = refusal(&["evaluate", text(&model), "--data", text(&at("nowhere")), "--out", text(&out)]);
    assert!(said.contains("nowhere"), "{said}");
    std::fs::remove_dir_all(data.join("labels")).unwrap();
    let said = refusal(&["evaluate", text(&model), "--data", text(&data), "--out", text(&out)]);
    assert!(said.contains("people"), "{said}");

    let scenario = hurried("sleep-accel-train");
    let line = scenario.lines().find(|line| line.starts_with("foundation = ")).unwrap().to_owned();
    std::fs::write(at("lost.toml"), scenario.replace(&line, "foundation = \"lost.safetensors\"")).unwrap();
    let said = refusal(&["run", text(&at("lost.toml")), "--data", text(&data), "--out", text(&out)]);
    assert!(said.contains("lost.safetensors"), "{said}");
}
