//! The sleep-accel folder layout: round trip, raw motion, and every way a file can be wrong.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use somnus_signals::{
    DataError, NightRules, PersonId, Recording, Stage, Stream, StreamKind, prepare, sleep_accel,
};

fn person(id: &str) -> PersonId {
    PersonId::new(id).unwrap()
}

fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What loading says is wrong, from the folder's name on.
fn fault(dir: &Path) -> String {
    let text = sleep_accel::load(dir).unwrap_err().to_string();
    text.replace(&format!("{}/", dir.display()), "")
}

fn samples(kind: StreamKind) -> impl Strategy<Value = Stream> {
    let value = match kind {
        StreamKind::Hr => 20.0f32..250.0,
        StreamKind::Activity => 0.0f32..1e6,
        _ => -20.0f32..20.0,
    };
    let sample = (-60.0f64..9000.0, prop::collection::vec(value, kind.channels()));
    prop::collection::vec(sample, 0..40).prop_map(move |samples| {
        let times = samples.iter().map(|s| s.0).collect();
        let values = samples.iter().flat_map(|s| s.1.clone()).collect();
        // Built twice, because what the first rejected (equal times) the second no longer sees.
        let stream = Stream::new(kind, times, values);
        Stream::new(kind, stream.times().to_vec(), stream.values().to_vec())
    })
}

fn recordings() -> impl Strategy<Value = Recording> {
    let stage = prop::option::of(prop::sample::select(&Stage::ALL[..]));
    (
        "[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}",
        prop::sample::select(&["night", "night-2", "2024.11.20_a"][..]),
        prop::option::of(samples(StreamKind::Hr)),
        prop::option::of(samples(StreamKind::Activity)),
        prop::option::of(samples(StreamKind::Posture)),
        prop::option::of(samples(StreamKind::Accel)),
        prop::collection::vec(stage, 300..320),
    )
        .prop_map(|(id, name, hr, activity, posture, accel, labels)| Recording {
            person: person(&id),
            name: name.to_owned(),
            streams: [hr, activity, posture, accel].into_iter().flatten().map(|s| (s.kind(), s)).collect(),
            labels,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_written_is_loaded(mut recording in recordings()) {
        let dir = tempfile::tempdir().unwrap();
        sleep_accel::write(dir.path(), &recording).unwrap();
        let accel = sleep_accel::load_motion(dir.path(), &recording.person, &recording.name).unwrap();
        prop_assert_eq!(accel.as_ref(), recording.streams.get(&StreamKind::Accel));
        let mut loaded = sleep_accel::load(dir.path()).unwrap();
        prop_assert_eq!(sleep_accel::load_person(dir.path(), &recording.person).unwrap(), loaded.clone());
        if recording.streams.remove(&StreamKind::Accel).is_some() {
            // Missing counts and posture were derived from it; that is tested elsewhere.
            let kept = &recording.streams;
            loaded[0].streams.retain(|kind, _| kept.contains_key(kind));
        }
        prop_assert_eq!(loaded, vec![recording]);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), pick in 0usize..5) {
        let names = ["heart_rate/a_heartrate.txt", "labels/a_labeled_sleep.txt", "counts/a_counts.txt",
            "posture/a_acceleration.txt", "motion/a_acceleration.txt"];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(names[pick]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        if let Ok(loaded) = sleep_accel::load(dir.path()) {
            let _ = prepare(&loaded[0], &NightRules::default());
        }
    }

    #[test]
    fn no_numbers_make_it_panic(rows in prop::collection::vec((any::<f64>(), any::<f64>()), 0..30), pick in 0usize..3) {
        let names = ["heart_rate/a_heartrate.txt", "labels/a_labeled_sleep.txt", "counts/a_counts.txt"];
        let text: String = rows.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), names[pick], &text);
        if let Ok(loaded) = sleep_accel::load(dir.path()) {
            let _ = prepare(&loaded[0], &NightRules { min_hr_coverage: 0.0, min_epochs: 0, ..Default::default() });
        }
    }
}

#[test]
fn the_public_layout_with_raw_motion() {
    let dir = tempfile::tempdir().unwrap();
    let labels: String = (0..20).map(|e| format!("{} {}\n", e * 30, [0, 2, 4, 5][e / 5])).collect();
    put(dir.path(), "labels/31_labeled_sleep.txt", &labels);
    // Hours of heart rate before the night, as in the public set.
    let hr: String = (-4000i32..140).map(|i| format!("{}.5,{}\n", i * 5, 60 + i.rem_euclid(3))).collect();
    put(dir.path(), "heart_rate/31_heartrate.txt", &hr);
    put(dir.path(), "steps/31_steps.txt", "not read at all");
    let mut motion = String::new();
    for i in -6000..32_000 {
        let t = f64::from(i) / 50.0;
        let shaken = (300.0..315.0).contains(&t);
        let z = if shaken { (t * 40.0).sin() } else { 0.0 } - 0.9;
        motion.push_str(&format!("{t:.6} 0.1 0.2 {z:.6}\n"));
    }
    put(dir.path(), "motion/31_acceleration.txt", &motion);

    let loaded = sleep_accel::load(dir.path()).unwrap();
    let [recording] = &loaded[..] else { panic!("one night") };
    assert_eq!(recording.epochs(), 20);
    assert_eq!(recording.labels[12], Some(Stage::N3), "stage 4 is N3");
    let kinds: Vec<_> = recording.streams.keys().copied().collect();
    assert_eq!(kinds, [StreamKind::Hr, StreamKind::Activity, StreamKind::Posture]);
    for stream in recording.streams.values() {
        assert!(stream.times()[0] >= -90.0, "{} before the night is dropped", stream.kind());
    }

    let rules = NightRules { min_epochs: 10, min_scored: 10, ..NightRules::default() };
    let night = prepare(recording, &rules).unwrap();
    let activity = &night.features[&StreamKind::Activity];
    assert!(activity.epoch(10)[0] > 6.0, "{:?}", activity.epoch(10));
    assert!(activity.epoch(5)[0] == 0.0 && activity.epoch(15) == [0.0, 0.0]);
    let posture = &night.features[&StreamKind::Posture];
    assert!(posture.epoch(3)[0] < 1e-3 && (posture.epoch(3)[3] + 0.9).abs() < 1e-3);
    assert!(night.quality.coverage.values().all(|c| *c == 1.0));
}

#[test]
fn without_labels_the_night_ends_with_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    let hr: String = (0..1000).map(|i| format!("{} {}\n", i * 5, 60)).collect();
    put(dir.path(), "heart_rate/a_heartrate.txt", &hr);
    put(dir.path(), "heart_rate/a+second_heartrate.txt", &hr);
    put(dir.path(), "heart_rate/._a_heartrate.txt", "left by an operating system");
    let cohort = sleep_accel::cohort(dir.path(), &NightRules::default()).unwrap();
    let nights: Vec<_> = cohort.nights.iter().map(|n| (n.id(), n.epochs)).collect();
    assert_eq!(nights, [("a".into(), 166), ("a/second".into(), 166)]);
    assert!(cohort.nights.iter().all(|n| !n.is_labelled()));
    assert_eq!(cohort.people(), [person("a")]);
    assert_eq!(cohort.nights_of(&person("a")).count(), 2);
}

#[test]
fn bad_quality_is_excluded_and_never_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let labels: String = (0..200).map(|e| format!("{} 2\n", e * 30)).collect();
    for id in ["absurd", "backwards", "empty", "silent"] {
        put(dir.path(), &format!("labels/{id}_labeled_sleep.txt"), &labels);
    }
    let lines = |bpm: fn(i32) -> String| (0..1200).map(|i| format!("{},{}\n", i * 5, bpm(i))).collect();
    let absurd: String = lines(|i| ["nan", "-5", "300", "inf", "1e30", "60"][i as usize % 6].into());
    // One plausible sample in six is half a minute apart, which is bridged: keep one in thirty.
    let absurd: String = absurd
        .lines()
        .enumerate()
        .filter(|(i, _)| i % 6 != 5 || i % 30 == 29)
        .map(|(_, l)| format!("{l}\n"))
        .collect();
    put(dir.path(), "heart_rate/absurd_heartrate.txt", &absurd);
    let backwards: String = lines(|_| "61".into());
    let backwards: String = backwards.lines().rev().map(|l| format!("{l}\n")).collect();
    put(dir.path(), "heart_rate/backwards_heartrate.txt", &backwards);
    put(dir.path(), "heart_rate/empty_heartrate.txt", "");

    let cohort = sleep_accel::cohort(dir.path(), &NightRules::default()).unwrap();
    let [night] = &cohort.nights[..] else { panic!("one passes: {:?}", cohort.excluded) };
    assert_eq!(night.person, person("backwards"));
    let excluded: Vec<_> = cohort.excluded.iter().map(|e| (&*e.id, &*e.reason)).collect();
    assert_eq!(excluded[0].0, "absurd");
    assert!(excluded[0].1.contains("1000 samples were implausible"), "{}", excluded[0].1);
    assert_eq!(excluded[1], ("empty", "heart-rate coverage is 0 % of epochs, below 60 %"));
    assert_eq!(excluded[2], ("silent", "no heart rate was recorded"));
}

#[test]
fn faults_name_file_and_line() {
    let cases: BTreeMap<(&str, &str), &str> = BTreeMap::from([
        (
            ("labels/a_labeled_sleep.txt", "0 0\n30 7\n"),
            "labels/a_labeled_sleep.txt:2: 7 is no stage: 0, 1, 2, 3, 4, 5 or -1 expected",
        ),
        (
            ("labels/a_labeled_sleep.txt", "0 0\n30 0.5\n"),
            "labels/a_labeled_sleep.txt:2: 0.5 is no stage: 0, 1, 2, 3, 4, 5 or -1 expected",
        ),
        (
            ("labels/a_labeled_sleep.txt", "0 0\n44 1\n"),
            "labels/a_labeled_sleep.txt:2: 44 s is not at the beginning of a 30-s epoch",
        ),
        (
            ("labels/a_labeled_sleep.txt", "0 0\n0 1\n"),
            "labels/a_labeled_sleep.txt:2: the epoch at 0 s is scored twice",
        ),
        (
            ("labels/a_labeled_sleep.txt", "1700000010 0\n"),
            "labels/a_labeled_sleep.txt:1: 1700000010 s is more than 36 h after the recording's start",
        ),
        (
            ("labels/a_labeled_sleep.txt", ""),
            "labels/a_labeled_sleep.txt: no label: lines `seconds stage` were expected",
        ),
        (
            ("heart_rate/a_heartrate.txt", "0,60\n5,61\n10,"),
            "heart_rate/a_heartrate.txt:3: the last line is torn: 2 numbers expected, found 1: \"10,\"",
        ),
        (
            ("heart_rate/a_heartrate.txt", "time,bpm\n"),
            "heart_rate/a_heartrate.txt:1: \"time\" is not a number",
        ),
        (
            ("heart_rate/a_heartrate.txt", "1700000000,60\n"),
            "heart_rate/a_heartrate.txt:1: 1700000000 s is more than 36 h after the recording's start",
        ),
        (
            ("posture/a_acceleration.txt", "0 1 2\n"),
            "posture/a_acceleration.txt:1: 4 numbers expected, found 3: \"0 1 2\"",
        ),
        (
            ("motion/a_acceleration.txt", "0 1 2 3\nx 1 2 3\n"),
            "motion/a_acceleration.txt:2: \"x\" is not a number",
        ),
        (
            ("counts/a b_counts.txt", ""),
            "counts/a b_counts.txt: \"a b\" is not a person's id: 1 to 64 of A-Z a-z 0-9 . _ - are allowed, and no dot in front",
        ),
        (
            ("counts/a+night_counts.txt", ""),
            "counts/a+night_counts.txt: the night named night is written without its name",
        ),
        (("notes.txt", "hello"), "ROOT: no recordings: files like heart_rate/ID_heartrate.txt were expected"),
    ]);
    for ((file, text), expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), file, text);
        let found = fault(dir.path()).replace(&dir.path().display().to_string(), "ROOT");
        assert_eq!(found, expected);
    }
}

#[test]
fn packed_files_are_read_like_plain_ones() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "heart_rate/a_heartrate.txt", "0,60\n5,61\n");
    put(dir.path(), "labels/a_labeled_sleep.txt", "0 0\n30 2\n");
    let plain = sleep_accel::load(dir.path()).unwrap();
    for file in ["heart_rate/a_heartrate.txt", "labels/a_labeled_sleep.txt"] {
        let path = dir.path().join(file);
        let packed = File::create(dir.path().join(format!("{file}.gz"))).unwrap();
        let mut encoder = GzEncoder::new(packed, Compression::default());
        encoder.write_all(&fs::read(&path).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(path).unwrap();
    }
    assert_eq!(sleep_accel::load(dir.path()).unwrap(), plain);
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let text = sleep_accel::people(&absent).unwrap_err().to_string();
    assert_eq!(text, format!("{}: no such file or folder", absent.display()));
    put(dir.path(), "heart_rate/a_heartrate.txt", "0,60\n");
    let error = sleep_accel::load_person(dir.path(), &person("b")).unwrap_err();
    assert!(error.to_string().ends_with("b_heartrate.txt: this person has no file here"));
    put(dir.path(), "file", "");
    let error = sleep_accel::load(&dir.path().join("file")).unwrap_err();
    assert!(matches!(error, DataError::Read { .. }), "{error}");
    fs::create_dir(dir.path().join("heart_rate/c_heartrate.txt")).unwrap();
    let error = sleep_accel::load(dir.path()).unwrap_err();
    assert!(error.to_string().contains("c_heartrate.txt: cannot be read"), "{error}");
}

#[test]
fn writing_refuses_what_the_layout_cannot_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut recording = Recording {
        person: person("a"),
        name: "../up".into(),
        streams: BTreeMap::new(),
        labels: vec![None; 3],
    };
    let refused = sleep_accel::write(dir.path(), &recording).unwrap_err();
    assert!(refused.to_string().contains("\"../up\" cannot name a night"), "{refused}");
    recording.name = "night".into();
    let ecg = Stream::new(StreamKind::Ecg, vec![0.0], vec![0.1]);
    recording.streams.insert(StreamKind::Ecg, ecg);
    let refused = sleep_accel::write(dir.path(), &recording).unwrap_err();
    assert!(refused.to_string().contains("no place for ecg"), "{refused}");
    put(dir.path(), "file", "");
    recording.streams.clear();
    let refused = sleep_accel::write(&dir.path().join("file"), &recording).unwrap_err();
    assert!(matches!(refused, DataError::Write { .. }), "{refused}");
}
