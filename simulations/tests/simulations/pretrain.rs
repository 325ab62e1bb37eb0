//! Pretraining from outside: whole, interrupted, and asked for what it cannot do.

use std::path::Path;

use somnus_model::{DeviceKind, Stager};
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::ids::Digest;
use somnus_sim::pretrain::{Loaded, Pretraining, Record};
use somnus_sim::progress::Progress;

fn smoke() -> Loaded {
    Loaded::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim/pretrain-smoke.toml")).unwrap()
}

fn silent(_: &str, _: u64) -> Progress {
    Progress::hidden()
}

fn open(out: &Path) -> Pretraining<'static> {
    Pretraining::open(smoke(), None, out, &silent).unwrap()
}

fn finish(mut pretraining: Pretraining<'_>) -> Record {
    while pretraining.advance().unwrap() {}
    pretraining.finish().unwrap()
}

fn foundation(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("foundation.safetensors")).unwrap()
}

#[test]
fn interrupted_it_ends_with_the_same_bytes_and_losses() {
    let folder = tempfile::tempdir().unwrap();
    let (straight, halting) = (folder.path().join("straight"), folder.path().join("halting"));
    for out in [&straight, &halting] {
        std::fs::create_dir(out).unwrap();
    }
    let whole = finish(open(&straight));
    // In the middle of each stage, and between the two: they have 60 parts each.
    for parts in [25, 35, 31] {
        let mut killed = open(&halting);
        for _ in 0..parts {
            assert!(killed.advance().unwrap());
        }
    }
    let record = finish(open(&halting));
    assert_eq!(foundation(&straight), foundation(&halting));
    for (a, b) in whole.stages.iter().zip(&record.stages) {
        assert_eq!((&a.curves, a.steps), (&b.curves, b.steps));
    }
    // Done is done: opened once more it has nothing left to do.
    let mut again = open(&halting);
    assert!(!again.advance().unwrap());
    assert_eq!(again.finish().unwrap(), record);
    let json = std::fs::read_to_string(halting.join("pretrain.json")).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);

    let masked = &whole.stages[0].curves[0].points;
    let mean = |points: &[(u32, f32)]| points.iter().map(|p| p.1).sum::<f32>() / points.len() as f32;
    let (first, last) = (mean(&masked[..10]), mean(&masked[50..]));
    assert!(last < 0.9 * first, "the masked loss goes from {first} to {last}");

    let checkpoint = Checkpoint::from_bytes(&foundation(&straight)).unwrap();
    let provenance = &checkpoint.manifest.provenance;
    assert_eq!(provenance["config_sha256"], smoke().digest.to_hex());
    assert!(provenance["stage.2"].starts_with("rehearsal: 60 steps, cross-entropy "), "{provenance:?}");
    let stager = Stager::from_checkpoint(&checkpoint, DeviceKind::Flex).unwrap();
    assert_eq!(stager.parameters(), whole.weights);
}

#[test]
fn a_student_is_told_from_whom_it_learned_and_a_bad_teacher_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim/nano-smoke.toml");
    let loaded = Loaded::load(&path).unwrap();
    let record = finish(Pretraining::open(loaded, None, folder.path(), &silent).unwrap());
    let losses = &record.stages[0].curves[0].points;
    assert!(losses.last().unwrap().1.is_finite() && losses.last().unwrap().0 == 20, "{losses:?}");
    let checkpoint = Checkpoint::from_bytes(&foundation(folder.path())).unwrap();
    let teacher = Digest::of(somnus_sim::start::BASE).to_hex();
    let provenance = &checkpoint.manifest.provenance;
    assert_eq!(provenance["teacher.1"], format!("somnus-base, SHA-256 {teacher}"));
    assert_eq!(provenance["training"], "pretrained; no label of a human was used");

    let distil = |teacher: &str, net: &str| {
        let text = format!(
            "name = 'x'\n[net]\n{net}\n[[stage]]\nkind = 'distil'\nteacher = '{teacher}'\nsynthetic = {{ people = 1 }}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let loaded = Loaded::from_text(&text).unwrap();
        let mut pretraining = Pretraining::open(loaded, None, folder.path(), &silent).unwrap();
        pretraining.advance().unwrap_err().to_string()
    };
    let error = distil("no/such.safetensors", "width = 16");
    assert!(error.starts_with("stage 1 (distil): teacher: no/such.safetensors: "), "{error}");
    let error = distil("base", "context = [3]");
    assert!(error.contains("stage 1 (distil): the teacher has context [2, 5, 10, 20, 40]"), "{error}");
    let error = distil("base", "task = 'three'\ncontext = [3]");
    assert!(error.contains("stage 1 (distil): the teacher"), "{error}");
}

#[test]
fn another_teacher_of_the_same_name_does_not_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("teacher.safetensors"), folder.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    let text = format!(
        "name = 'x'\n[net]\nwidth = 16\n[[stage]]\nkind = 'distil'\nteacher = '{}'\nsynthetic = {{ people = 1 }}\nplan = {{ steps = 3 }}\n",
        file.display()
    );
    let open = || Pretraining::open(Loaded::from_text(&text).unwrap(), None, &out, &silent).unwrap();
    let mut base = Checkpoint::from_bytes(somnus_sim::start::BASE).unwrap();
    base.manifest.provenance.insert("training".into(), "supervised".into());
    let first = base.to_bytes().unwrap();
    std::fs::write(&file, &first).unwrap();
    assert!(open().advance().unwrap());
    std::fs::write(&file, somnus_sim::start::NANO).unwrap();
    let error = open().advance().unwrap_err().to_string();
    assert!(error.starts_with("stage 1 (distil): the teacher's file is another"), "{error}");
    std::fs::write(&file, &first).unwrap();
    let mut again = open();
    while again.advance().unwrap() {}
    // Whoever taught is recorded, whatever lies there now.
    std::fs::remove_file(&file).unwrap();
    let record = again.finish().unwrap();
    let sha256 = Digest::of(&first).to_hex();
    assert_eq!(record.stages[0].teacher.as_ref().unwrap().sha256, sha256);
    let provenance = Checkpoint::from_bytes(&foundation(&out)).unwrap().manifest.provenance;
    assert_eq!(provenance["teacher.1"], format!("somnus-base, SHA-256 {sha256}"));
    assert!(!provenance["training"].contains("no label of a human"), "{provenance:?}");
}

#[test]
fn a_state_of_another_configuration_is_not_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path()).advance().unwrap());
    let text = "name = 'x'\n[[stage]]\nkind = 'rehearsal'\ncohort = { people = 2 }\n";
    let other = Loaded::from_text(text).unwrap();
    let error = Pretraining::open(other, None, folder.path(), &silent).err().unwrap().to_string();
    assert!(error.contains("state.safetensors: it belongs to another configuration"), "{error}");
    let state = folder.path().join("state.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() / 2]).unwrap();
    let error = Pretraining::open(smoke(), None, folder.path(), &silent).err().unwrap().to_string();
    assert!(error.contains("state.safetensors: not a safetensors file"), "{error}");
}

#[test]
fn a_folder_that_is_missing_is_named_with_its_stage_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = 'x'\n[[stage]]\nkind = 'rehearsal'\ncohort = { people = 2 }\n\
        [[stage]]\nkind = 'masked-nights'\nmmash = true\n";
    let refused = |root: Option<&Path>| {
        let loaded = Loaded::from_text(text).unwrap();
        Pretraining::open(loaded, root, folder.path(), &silent).err().unwrap().to_string()
    };
    assert_eq!(
        refused(None),
        "stage 2 (masked-nights) reads `mmash`: give the folder it is in with --data ROOT"
    );
    let error = refused(Some(folder.path()));
    let expected = format!("reads {}: no such folder", folder.path().join("mmash").display());
    assert!(error.starts_with("stage 2 (masked-nights) ") && error.ends_with(&expected), "{error}");
    // There, and empty: still the stage and the folder.
    std::fs::create_dir(folder.path().join("mmash")).unwrap();
    let short = text.replace("cohort = { people = 2 }", "cohort = { people = 1 }\nplan = { steps = 1 }");
    let loaded = Loaded::from_text(&short).unwrap();
    let mut pretraining = Pretraining::open(loaded, Some(folder.path()), folder.path(), &silent).unwrap();
    assert!(pretraining.advance().unwrap());
    let error = pretraining.advance().err().unwrap().to_string();
    assert!(
        error.starts_with("stage 2 (masked-nights): ") && error.contains("mmash: no recordings"),
        "{error}"
    );
}

#[test]
fn every_stage_reads_its_public_sets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !root.join("mitdb").is_dir() {
        println!("SKIPPED every_stage_reads_its_public_sets: {} is not there", root.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = "name = 'all'\n[net]\nwidth = 16\ndilations = [1]\n\
        [[stage]]\nkind = 'masked-nights'\ncrisdb = true\nmmash = true\nplan = { steps = 2 }\n\
        [[stage]]\nkind = 'relcon'\nmotif_steps = 1\nsteps = 1\nbatch = 2\ncandidates = 1\n\
        [[stage]]\nkind = 'focal'\nsteps = 1\nbatch = 2\ngame = { reversal = { strength = 0.1 } }\n\
        [[stage]]\nkind = 'ecg'\nsteps = 1\nbatch = 2\n";
    let loaded = Loaded::from_text(text).unwrap();
    let record = finish(Pretraining::open(loaded, Some(&root), folder.path(), &silent).unwrap());
    let read: Vec<&str> = record.data.keys().map(String::as_str).collect();
    assert_eq!(read, ["crisdb", "mitdb", "mmash", "stress-predict", "wisdm-watch"]);
    let checkpoint = Checkpoint::from_bytes(&foundation(folder.path())).unwrap();
    let stager = Stager::from_checkpoint(&checkpoint, DeviceKind::Flex).unwrap();
    for encoder in ["accel", "ecg", "ppg"] {
        assert!(stager.frozen().contains_key(&format!("encoder.{encoder}.head.weight")), "{encoder}");
    }
    assert!(record.model_bytes < 8 << 20);
}
