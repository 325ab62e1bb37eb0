//! `inspect` on EDF files, sound ones and what happens to such.

use std::fs;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_signals::{Finding, Inspection, Layout, NightRules, Severity, Standing, inspect};
use tempfile::TempDir;

use crate::edf_file::{EdfFile, Signal};

const NIGHT: &str = "anna.edf";
const STAGES: &str = "anna-Hypnogram.edf";

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn looked(files: &[(&str, Vec<u8>)]) -> Inspection {
    let dir = folder(files);
    inspect(dir.path(), &NightRules::default())
}

/// What is wrong with a file; something must be.
fn wrong(files: &[(&str, Vec<u8>)], name: &str) -> Finding {
    let inspection = looked(files);
    let of_file = |finding: &&Finding| finding.path.ends_with(name) && finding.severity != Severity::Note;
    let finding = inspection.findings.iter().find(of_file);
    let finding = finding.unwrap_or_else(|| panic!("{name} is not named: {:?}", inspection.findings)).clone();
    assert!(!finding.remedy.is_empty());
    println!("{finding:?}");
    finding
}

/// An hour and ten minutes of an ECG in plain EDF, records of a second.
fn ecg() -> EdfFile {
    let (seconds, rate) = (4200, 100);
    let at = |i: usize| {
        let t = i as f64 / f64::from(rate);
        0.3 * (t / 2.0).sin() + (-((t.fract() - 0.5) / 0.015).powi(2)).exp()
    };
    EdfFile {
        reserved: String::new(),
        seconds: 1.0,
        records: (0..seconds).map(f64::from).collect(),
        signals: vec![Signal {
            label: "ECG".into(),
            unit: "mV".into(),
            physical: (-3.0, 3.0),
            digital: (-2048, 2047),
            samples: 100,
            values: (0..seconds as usize * 100).map(at).collect(),
        }],
        ..EdfFile::hr(0)
    }
}

fn scored() -> Vec<u8> {
    EdfFile::stages(&["Sleep stage W", "Sleep stage N2", "Sleep stage R"], 1200.0).bytes()
}

#[test]
fn a_sound_night_is_used_and_every_signal_is_told_of() {
    let mut file = ecg();
    let other = Signal { label: "EEG Fpz-Cz".into(), unit: "uV".into(), ..file.signals[0].clone() };
    file.signals.push(other);
    let inspection = looked(&[(NIGHT, file.bytes()), (STAGES, scored())]);
    assert_eq!(inspection.layout, Some(Layout::Edf));
    assert!(inspection.is_sound(), "{:?}", inspection.findings);
    let [anna] = &inspection.recordings[..] else { panic!("{:?}", inspection.recordings) };
    assert_eq!((anna.epochs, anna.scored, &anna.standing), (140, 120, &Standing::Scored));
    let said = &inspection.findings[0].what;
    assert_eq!(
        said,
        "signals used: \"ECG\" at 100 Hz as ecg; not used: \"EEG Fpz-Cz\" at 100 Hz (only ECG, pulse wave, heart rate and acceleration \
         are used)"
    );
}

#[test]
fn a_night_of_brain_waves_alone_says_what_it_lacks() {
    let mut file = ecg();
    file.signals[0].label = "EEG Fpz-Cz".into();
    let inspection = looked(&[(NIGHT, file.bytes()), (STAGES, scored())]);
    assert!(!inspection.is_sound());
    assert_eq!(inspection.recordings[0].standing, Standing::LeftOut("no heart rate was recorded".into()));
    let note =
        inspection.findings.iter().find(|finding| finding.what.contains("signals used: none")).unwrap();
    assert!(note.remedy.contains("a night needs an ECG"), "{note:?}");
}

#[test]
fn what_was_cut_off_emptied_or_never_closed_is_named() {
    for name in [NIGHT, STAGES] {
        let mut files = [(NIGHT, ecg().bytes()), (STAGES, scored())];
        let bytes = &mut files.iter_mut().find(|(own, _)| *own == name).unwrap().1;
        bytes.truncate(bytes.len() * 2 / 3);
        let finding = wrong(&files, name);
        assert!(finding.what.contains("cut off") && finding.remedy.contains("copy it again"), "{finding:?}");
        assert_eq!(finding.severity, Severity::Stops);
        files.iter_mut().find(|(own, _)| *own == name).unwrap().1.clear();
        assert!(wrong(&files, name).what.contains("0 of 256 bytes of the header"));
    }
    let mut bytes = ecg().bytes();
    bytes[236..244].copy_from_slice(b"-1      ");
    let finding = wrong(&[(NIGHT, bytes)], NIGHT);
    assert!(finding.what.contains("write 4200 into the field"), "{finding:?}");
}

#[test]
fn records_that_were_shuffled_are_noticed_with_and_without_times() {
    let shuffled = |mut file: EdfFile| {
        let samples = file.signals[0].samples;
        let mut records: Vec<Vec<f64>> =
            file.signals[0].values.chunks(samples).map(<[f64]>::to_vec).collect();
        records.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
        file.signals[0].values = records.concat();
        file
    };
    let finding = wrong(&[(NIGHT, shuffled(ecg()).bytes())], NIGHT);
    assert!(
        finding.what.contains("from one data record to the next") && finding.remedy.contains("shuffl"),
        "{finding:?}"
    );
    // One value in each record.
    let mut slow = EdfFile::hr(4200);
    (slow.reserved, slow.seconds, slow.signals[0].samples) = (String::new(), 1.0, 1);
    slow.records = (0..4200).map(f64::from).collect();
    assert!(looked(&[(NIGHT, slow.bytes())]).is_sound());
    let finding = wrong(&[(NIGHT, shuffled(slow).bytes())], NIGHT);
    assert!(finding.what.contains("says nothing about the next one"), "{finding:?}");
    // An EDF+ knows when each of its records began.
    let mut plus = EdfFile::hr(4200);
    plus.records.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
    let finding = wrong(&[(NIGHT, plus.bytes())], NIGHT);
    assert!(finding.what.contains("records were shuffled"), "{finding:?}");
}

#[test]
fn another_unit_than_the_header_says_is_named_with_what_mends_it() {
    let mut hertz = EdfFile::hr(4200);
    hertz.signals[0].values.iter_mut().for_each(|bpm| *bpm /= 60.0);
    hertz.signals[0].physical = (0.0, 5.0);
    let finding = wrong(&[(NIGHT, hertz.bytes())], NIGHT);
    assert!(
        finding.what.starts_with("\"Heart rate\": ") && finding.remedy.contains("they look like hz"),
        "{finding:?}"
    );
    assert!(finding.remedy.contains("physical dimension"), "{finding:?}");
    let mut still = EdfFile::hr(4200);
    for label in ["ACC X", "ACC Y", "ACC Z"] {
        let values = vec![5.66; still.signals[0].values.len()];
        let axis = Signal { label: label.into(), unit: "g".into(), values, ..still.signals[0].clone() };
        still.signals.push(Signal { physical: (-40.0, 40.0), ..axis });
    }
    let finding = wrong(&[(NIGHT, still.bytes())], NIGHT);
    assert!(finding.remedy.contains("m/s2"), "{finding:?}");
    for axis in &mut still.signals[1..] {
        axis.unit = "m/s2".into();
    }
    assert!(looked(&[(NIGHT, still.bytes())]).is_sound());
}

#[test]
fn stages_of_another_zone_are_named_with_the_minutes_that_mend_them() {
    let mut stages = EdfFile::stages(&["Sleep stage W", "Sleep stage N2", "Sleep stage R"], 1200.0);
    stages.time = "23.00.00".into();
    let finding = wrong(&[(NIGHT, ecg().bytes()), (STAGES, stages.bytes())], STAGES);
    assert!(finding.what.contains("stages from minute 60 to 120, signals from 0 to 70"), "{finding:?}");
    assert!(
        finding.what.contains("time zone")
            && finding.remedy.contains("take 60 min or a little more from the start time in its header"),
        "{finding:?}"
    );
    stages.time = "21.00.00".into();
    stages.annotations.iter_mut().for_each(|said| said.0 += 600.0);
    let finding = wrong(&[(NIGHT, ecg().bytes()), (STAGES, stages.bytes())], STAGES);
    assert!(finding.remedy.contains("add 60 min or a little more to the start time"), "{finding:?}");
    let mut own = EdfFile::hr(4200);
    let stage = |i: u32| (3600.0 + f64::from(i) * 30.0, Some(30.0), "Sleep stage N2".to_owned());
    own.annotations = (0..60).map(stage).collect();
    let finding = wrong(&[(NIGHT, own.bytes())], NIGHT);
    assert!(finding.remedy.contains("the time of each stage") && !finding.remedy.contains("header"));
}

#[test]
fn one_is_told_of_as_one() {
    let mut file = EdfFile::hr(4200);
    file.reserved = "EDF+D".into();
    file.records.iter_mut().skip(100).for_each(|begins| *begins += 90.0);
    file.annotations = vec![(0.0, None, "Lights off".into())];
    let told = |file: &EdfFile, what: &str| {
        let findings = looked(&[(NIGHT, file.bytes())]).findings;
        assert!(findings.iter().any(|finding| finding.what == what), "{what}: {findings:?}");
    };
    told(&file, "the recording has 1 interruption");
    told(&file, "1 annotation is no sleep stage, and not used");
    file.records.iter_mut().skip(120).for_each(|begins| *begins += 90.0);
    file.annotations.push((5.0, None, "Door".into()));
    told(&file, "the recording has 2 interruptions");
    told(&file, "2 annotations are no sleep stages, and not used");
}
