use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_signals::apple_health::{self, Estimate, Night};
use somnus_signals::{Layout, NightRules, PersonId, StreamKind, Task, prepare};

use super::{fault, folder, put, put_gz};
use crate::health_file::{HealthFile, WATCH, moment};

fn nights(file: &HealthFile) -> Vec<Night> {
    let dir = folder();
    put(&dir, "export.xml", file.text());
    apple_health::nights(&dir.path().join("export.xml"), &PersonId::new("anna").unwrap()).unwrap()
}

fn runs(night: &Night) -> Vec<(Option<Estimate>, usize)> {
    night.estimates.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

#[test]
fn a_night_is_staged_and_its_watch_is_not_believed() {
    let mut file = HealthFile::default();
    file.night(0, 5, 1);
    let dir = folder();
    put(&dir, "apple_health_export/export.xml", file.text());
    assert_eq!(Layout::detect(dir.path()).unwrap(), Layout::AppleHealth);
    let all = Layout::AppleHealth.load(dir.path()).unwrap();
    assert_eq!((all.len(), all[0].id().as_str(), all[0].epochs()), (1, "me/2024-01-02", 240));
    assert!(all[0].labels.iter().all(Option::is_none));
    let hr = &all[0].streams[&StreamKind::Hr];
    assert_eq!((hr.len(), hr.times()[1], hr.values()[0]), (1440, 5.0, 65.0));
    let night = prepare(&all[0], &NightRules::default()).unwrap();
    assert!(!night.is_labelled() && night.quality.coverage[&StreamKind::Hr] > 0.99);

    let night = &nights(&file)[0];
    assert_eq!((night.start, night.utc_offset), (1_704_232_800, 3600));
    let (awake, core, deep, rem) = (Estimate::Awake, Estimate::Core, Estimate::Deep, Estimate::Rem);
    assert_eq!(runs(night), [awake, core, deep, rem].map(|state| (Some(state), 60)));
    assert_eq!((&night.sleep_source[..], night.heart_source.as_deref()), (WATCH, Some(WATCH)));
    let classes = [awake, core, deep, rem, Estimate::Asleep].map(|state| state.class(Task::Four));
    assert_eq!(classes, [Some(0), Some(1), Some(2), Some(3), None]);
}

#[test]
fn what_counts_is_the_moment_and_not_how_it_is_written() {
    let mut home = HealthFile::default();
    home.night(0, 5, 1);
    home.night(1, 5, 1);
    let mut away = HealthFile::default();
    away.night(0, 5, 1);
    away.night(1, 5, -5);
    let (home, away) = (nights(&home), nights(&away));
    assert_eq!(home[0], away[0]);
    assert_eq!(home[1].start, away[1].start);
    assert_eq!(
        (home[1].recording.id(), away[1].recording.id()),
        ("anna/2024-01-03".into(), "anna/2024-01-03".into())
    );
    assert_eq!((home[1].utc_offset, away[1].utc_offset), (3600, -18_000));
    assert_eq!(home[1].recording.streams, away[1].recording.streams);
}

#[test]
fn neither_order_nor_repetition_changes_anything() {
    let mut file = HealthFile::default();
    file.night(0, 30, 1);
    file.night(2, 30, 1);
    let before = nights(&file);
    assert_eq!(
        before.iter().map(|night| night.recording.name.as_str()).collect::<Vec<_>>(),
        ["2024-01-02", "2024-01-04"]
    );
    file.records.extend_from_within(..);
    file.records.shuffle(&mut ChaCha8Rng::seed_from_u64(7));
    assert_eq!(nights(&file), before);
}

#[test]
fn a_night_has_one_source_for_sleep_and_one_for_heart_rate() {
    let mut file = HealthFile::default();
    file.night(0, 60, 1);
    // The telephone saw more of the night and less in it; an app tells more, and is no watch.
    file.sleep("Phone", &moment(0, 1), &moment(20_000, 1), "InBed");
    file.sleep("App", &moment(3600, 1), &moment(12_000, 1), "AsleepUnspecified");
    (0..1000).for_each(|i| file.hr("Strap", &moment(4000 + i * 7, 1), 80.0));
    let night = nights(&file).remove(0);
    assert_eq!((&night.sleep_source[..], night.heart_source.as_deref()), (WATCH, Some("Strap")));
    assert_eq!(night.recording.epochs(), 240);
    assert!(night.recording.streams[&StreamKind::Hr].values().iter().all(|bpm| *bpm == 80.0));

    file.records.retain(|record| !record.contains("Watch"));
    let night = nights(&file).remove(0);
    assert_eq!((&night.sleep_source[..], runs(&night)), ("App", vec![(Some(Estimate::Asleep), 280)]));
    file.records.retain(|record| !record.contains("\"App\""));
    let night = nights(&file).remove(0);
    assert_eq!((&night.sleep_source[..], runs(&night)), ("Phone", vec![(None, 666)]));
}

#[test]
fn naps_are_no_nights_and_getting_up_is_part_of_one() {
    let mut file = HealthFile::default();
    file.sleep(WATCH, "2024-01-02 14:00:00 +0100", "2024-01-02 15:00:00 +0100", "AsleepCore");
    file.sleep(WATCH, "2024-01-02 23:00:00 +0100", "2024-01-03 01:00:00 +0100", "AsleepCore");
    file.sleep(WATCH, "2024-01-03 02:30:00 +0100", "2024-01-03 07:00:00 +0100", "AsleepREM");
    file.sleep(WATCH, "2024-01-03 12:00:00 +0100", "2024-01-03 12:30:00 +0100", "AsleepCore");
    let all = nights(&file);
    let core = |n| (Some(Estimate::Core), n);
    assert_eq!(runs(&all[0]), [core(240), (None, 180), (Some(Estimate::Rem), 540)]);
    assert_eq!(
        (all.len(), &all[0].recording.name[..], &all[1].recording.name[..]),
        (2, "2024-01-02", "2024-01-03")
    );
    assert!(all[0].recording.streams.is_empty() && all[0].heart_source.is_none());
}

#[test]
fn an_evening_that_a_traveller_has_twice_has_two_names() {
    let mut file = HealthFile::default();
    file.sleep(WATCH, "2024-01-02 23:00:00 +0900", "2024-01-03 06:00:00 +0900", "Asleep");
    file.sleep(WATCH, "2024-01-02 21:00:00 -0800", "2024-01-03 05:00:00 -0800", "Asleep");
    let names: Vec<_> = nights(&file).into_iter().map(|night| night.recording.name).collect();
    assert_eq!(names, ["2024-01-02", "2024-01-02-2"]);
}

#[test]
fn folders_are_people() {
    let mut file = HealthFile::default();
    file.night(0, 60, 1);
    let dir = folder();
    put(&dir, "bert/export.xml", file.text());
    put_gz(&dir, "anna/apple_health_export/export.xml", file.text());
    let ids: Vec<_> = Layout::AppleHealth.load(dir.path()).unwrap().iter().map(|night| night.id()).collect();
    assert_eq!(ids, ["anna/2024-01-02", "bert/2024-01-02"]);
    let people = Layout::AppleHealth.people(dir.path()).unwrap();
    assert_eq!(people.len(), 2);
    assert_eq!(Layout::AppleHealth.load_person(dir.path(), &people[1]).unwrap().len(), 1);
    let nobody = PersonId::new("carl").unwrap();
    assert!(
        Layout::AppleHealth
            .load_person(dir.path(), &nobody)
            .unwrap_err()
            .to_string()
            .contains("carl has no night here")
    );
    put(&dir, "d e/export.xml", file.text());
    assert_eq!(Layout::detect(dir.path()).unwrap(), Layout::AppleHealth);
    assert!(fault(&dir, Layout::AppleHealth.load(dir.path())).contains("is not a person's id"));
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let mut file = HealthFile::default();
    file.night(0, 1800, 1);
    let text = file.text();
    let wrong = |text: &str| {
        let dir = folder();
        put(&dir, "export.xml", text);
        fault(&dir, apple_health::load(dir.path()))
    };
    assert_eq!(
        wrong(&text.replacen("unit=\"count/min\"", "unit=\"bpm\"", 1)),
        "export.xml:16: heart rate in \"bpm\": count/min was expected"
    );
    assert_eq!(
        wrong(&text.replacen("value=\"65\"", "value=\"6S\"", 1)),
        "export.xml:16: \"6S\" is no heart rate"
    );
    assert_eq!(
        wrong(&text.replacen(
            "startDate=\"2024-01-02 23:00:00 +0100\"",
            "startDate=\"2024-01-02 23:00:00\"",
            1
        )),
        "export.xml:12: startDate: \"2024-01-02 23:00:00\" is no date such as 2024-01-02 23:04:05 +0100"
    );
    assert_eq!(wrong(&text.replacen("startDate", "begin", 1)), "export.xml:12: a record without startDate");
    assert_eq!(
        wrong(""),
        "export.xml:1: this is no export of Apple Health, or cut off: it has no HealthData"
    );
    assert!(wrong("<html>\n<p>\n").starts_with("export.xml:3: this is no export"));
    let unclosed = &text[..text.rfind("</HealthData").unwrap()];
    assert_eq!(wrong(unclosed), "export.xml:31: cut off: the file ends, and HealthData does not");
    let long =
        text.replacen("sourceVersion=\"10.2\"", &format!("sourceVersion=\"{}\"", "1".repeat(2 << 20)), 1);
    assert!(wrong(&long).contains("line 16: an element of more than 1048576 bytes"));
}

#[test]
fn every_export_that_was_cut_off_is_refused_and_damage_never_panics() {
    let mut file = HealthFile::default();
    file.night(0, 1800, 1);
    let text = file.text().into_bytes();
    let whole = text.len() - 1;
    let dir = folder();
    for length in (0..whole).step_by(7) {
        put(&dir, "export.xml", &text[..length]);
        let wrong = fault(&dir, apple_health::load(dir.path()));
        assert!(wrong.starts_with("export.xml:"), "{length} bytes: {wrong}");
    }
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..600 {
        let mut bytes = text.clone();
        for _ in 0..chance.random_range(1..8) {
            let at = chance.random_range(0..bytes.len());
            bytes[at] =
                if chance.random() { chance.random() } else { b"<>\"&/ 0;"[chance.random_range(0..8)] };
        }
        put(&dir, "export.xml", &bytes);
        if let Err(error) = apple_health::load(dir.path()) {
            assert!(error.to_string().contains("export.xml"), "{error}");
        }
    }
}
