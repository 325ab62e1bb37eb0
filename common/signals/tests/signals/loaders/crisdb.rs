use somnus_signals::{Recording, StreamKind, crisdb};

use super::{fault, folder, put, put_gz, real};

#[test]
fn empty_lines_are_missing_values() {
    let dir = folder();
    put_gz(&dir, "e10b_hr_0.2hz.csv", "hr_bpm\n60.5\n\n\n61\n1.6\nnan\n62");
    put(&dir, "e9_hr_0.2hz.csv", "hr_bpm\r\n60\r\n");
    put(&dir, "README", "");
    let recordings = crisdb::load(dir.path()).unwrap();
    let ids: Vec<_> = recordings.iter().map(Recording::id).collect();
    assert_eq!(ids, ["e9", "e10/b"]);
    let hr = &recordings[1].streams[&StreamKind::Hr];
    assert_eq!(hr.times(), [0.0, 15.0, 30.0]);
    assert_eq!(hr.values(), [60.5, 61.0, 62.0]);
    assert_eq!((hr.rejected(), recordings[1].epochs()), (2, 1));
}

#[test]
fn faults_name_file_and_line() {
    let wrong = |text: &str| {
        let dir = folder();
        put(&dir, "e1_hr_0.2hz.csv", text);
        fault(&dir, crisdb::load(dir.path()))
    };
    assert_eq!(wrong(""), "e1_hr_0.2hz.csv: a first line `hr_bpm` was expected");
    assert_eq!(wrong("60.5\n61\n"), "e1_hr_0.2hz.csv:1: `hr_bpm` was expected: \"60.5\"");
    assert_eq!(wrong("hr_bpm\n60,61\n"), "e1_hr_0.2hz.csv:2: \"60,61\" is not a number");
    assert_eq!(wrong("hr_bpm\n60\n6x"), "e1_hr_0.2hz.csv:3: the last line is torn: \"6x\" is not a number");
    let long = format!("hr_bpm\n{}", "\n".repeat(121_000));
    assert_eq!(wrong(&long), "e1_hr_0.2hz.csv:120963: the recording is longer than a week");
    let dir = folder();
    assert!(fault(&dir, crisdb::load(dir.path())).contains("no recordings: files like e006a"));
    put_gz(&dir, "e e_hr_0.2hz.csv", "hr_bpm\n");
    assert!(
        fault(&dir, crisdb::load(dir.path())).starts_with("e e_hr_0.2hz.csv: \"e e\" is not a person's id")
    );
}

#[test]
fn two_hundred_and_forty_hearts() {
    let Some(dir) = real("crisdb", "two_hundred_and_forty_hearts") else {
        return;
    };
    let recordings = crisdb::load(&dir).unwrap();
    assert_eq!(recordings.len(), 240);
    let mut people: Vec<_> = recordings.iter().map(|r| r.person.clone()).collect();
    people.dedup();
    assert_eq!(people.len(), 240);
    let hr = |i: usize| &recordings[i].streams[&StreamKind::Hr];
    assert_eq!(recordings[0].id(), "e006/a");
    assert_eq!((hr(0).len(), hr(0).rejected()), (17_282, 0));
    assert_eq!(hr(0).values()[..3], [78.8, 78.4, 78.2]);
    let all: usize = (0..240).map(|i| hr(i).len() + hr(i).rejected()).sum();
    assert_eq!(all, 4_028_172);
    let rejected: usize = (0..240).map(|i| hr(i).rejected()).sum();
    println!("{rejected} of {all} rejected");
    assert!(recordings.iter().all(|r| (3346 * 5 / 30 - 1..=18_687 * 5 / 30).contains(&r.epochs())));
}
