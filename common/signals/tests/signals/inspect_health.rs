//! `inspect` on exports of Apple Health, sound ones and what happens to such.

use somnus_signals::{Finding, Inspection, Layout, NightRules, Severity, Standing, inspect};

use crate::health_file::{HealthFile, WATCH, moment};

fn looked(text: &str) -> Inspection {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("export.xml"), text).unwrap();
    inspect(dir.path(), &NightRules::default())
}

/// What is wrong with the file; something must be.
fn wrong(text: &str) -> Finding {
    let inspection = looked(text);
    let of_file = |f: &&Finding| f.path.ends_with("export.xml") && f.severity != Severity::Note;
    let finding = inspection.findings.iter().find(of_file);
    let finding = finding.unwrap_or_else(|| panic!("nothing was found: {:?}", inspection.findings)).clone();
    assert!(!finding.remedy.is_empty());
    println!("{finding:?}");
    finding
}

fn night() -> HealthFile {
    let mut file = HealthFile::default();
    file.night(0, 5, 1);
    file
}

#[test]
fn an_export_says_what_can_and_cannot_be_done_with_it() {
    let inspection = looked(&night().text());
    assert_eq!(inspection.layout, Some(Layout::AppleHealth));
    assert!(inspection.is_sound(), "{:?}", inspection.findings);
    assert_eq!((inspection.recordings[0].scored, &inspection.recordings[0].standing), (0, &Standing::Staged));
    let notes: Vec<&str> = inspection.findings.iter().map(|finding| &finding.what[..]).collect();
    let stages = "the stages in it, by \"Anna’s Apple Watch\" (1 night), are a device's estimate and no labels: nights are staged; \
                  they neither train nor judge";
    let movement = "heart rate by \"Anna’s Apple Watch\" (1 night); movement and posture are missing, since Apple Health exports no \
                    acceleration";
    assert_eq!(notes, [stages, movement]);
}

#[test]
fn heart_rate_every_five_minutes_is_too_seldom_and_said_to_be() {
    let mut file = night();
    file.night(1, 300, 1);
    (0..200).for_each(|i| file.hr(WATCH, &moment(5 * 86_400 + i * 60, 1), 60.0));
    let inspection = looked(&file.text());
    assert!(inspection.is_sound(), "{:?}", inspection.findings);
    assert!(
        matches!(&inspection.recordings[1].standing, Standing::LeftOut(why) if why.contains("heart-rate coverage"))
    );
    let has = |what: &str| {
        assert!(
            inspection.findings.iter().any(|f| f.what.contains(what)),
            "{what}: {:?}",
            inspection.findings
        );
    };
    has("in 1 of 2 nights heart rate was mostly measured less often than every 60 s (up to 300 s apart)");
    has("1 day has heart rate and no sleep analysis, and is passed over");
}

#[test]
fn without_sleep_nobody_knows_the_night() {
    let mut file = night();
    file.records.retain(|record| record.contains("HeartRate"));
    let finding = wrong(&file.text());
    assert!(
        finding.what.contains("no sleep analysis") && finding.remedy.contains("plain format"),
        "{finding:?}"
    );
}

#[test]
fn what_was_cut_off_or_emptied_is_named_with_its_line() {
    let text = night().text();
    let mut at = text.len() * 2 / 3;
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let finding = wrong(&text[..at]);
    assert!(finding.what.contains("cut off") && finding.line.is_some_and(|line| line > 1000), "{finding:?}");
    assert!(finding.remedy.contains("copy the original again"), "{finding:?}");
    let finding = wrong("");
    assert_eq!((finding.severity, finding.line), (Severity::Stops, Some(1)));
}

#[test]
fn heart_rate_in_another_unit_is_named_with_what_mends_it() {
    let mut file = HealthFile::default();
    file.night(0, 60, 1);
    let mut text = file.text();
    for bpm in 60..70 {
        text = text.replace(&format!("value=\"{bpm}\""), &format!("value=\"{:.3}\"", f64::from(bpm) / 60.0));
    }
    let finding = wrong(&text);
    assert_eq!(finding.line, Some(16));
    assert!(finding.remedy.contains("they look like hz: multiply them by 60"), "{finding:?}");
    // What the file itself says is believed.
    let inspection = looked(&text.replace("count/min", "count/s"));
    assert!(inspection.is_sound(), "{:?}", inspection.findings);
}

#[test]
fn another_time_zone_is_named_with_its_line() {
    let mut file = night();
    file.records = file
        .records
        .iter()
        .map(|record| match record.split_once(" startDate") {
            Some((head, tail)) => format!("{head} startDate{}", tail.replace("+0100", "-0700")),
            None => record.clone(),
        })
        .collect();
    let finding = wrong(&file.text());
    assert_eq!(finding.line, Some(12));
    assert!(finding.what.contains("by 480 min") && finding.what.contains("time zone"), "{finding:?}");
    assert!(finding.remedy.contains("offset"), "{finding:?}");
}

#[test]
fn lines_that_were_shuffled_are_no_export_any_more() {
    let mut lines: Vec<String> = night().text().lines().map(str::to_owned).collect();
    lines.reverse();
    let finding = wrong(&lines.join("\n"));
    assert!(finding.line.is_some() && finding.remedy.contains("shuffled"), "{finding:?}");
}
