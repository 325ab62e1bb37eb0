use somnus_signals::{Recording, Stage, StreamKind, slpdb};
use tempfile::TempDir;

use super::wfdb::{annotation, end, remark};
use super::{fault, folder, put, put_gz, real};

/// A record of 100 s at 250 Hz: beats at 1, 2, 2.5, 6.5 and 8 s with noise between, stages as given.
fn record(dir: &TempDir, name: &str, stages: &[(i32, &str)]) {
    put(
        dir,
        &format!("{name}.hea"),
        format!("{name} 1 250/0.03(94) 25000\n{name}.dat 212 -500 12 0 -4 59911 0 ECG\n"),
    );
    let beats = [annotation(1, 250), annotation(14, 50), annotation(5, 200), annotation(1, 125)];
    let late = [annotation(1, 1000), annotation(28, 10), annotation(1, 365), end()];
    put(dir, &format!("{name}.ecg"), [beats, late].concat().concat());
    let scored: Vec<_> = stages.iter().map(|(step, text)| remark(*step, text)).chain([end()]).collect();
    put_gz(dir, &format!("{name}.st"), scored.concat());
}

#[test]
fn beats_become_intervals_and_remarks_stages() {
    let dir = folder();
    record(&dir, "slp02a", &[(1, "W"), (7499, "4 LA LA"), (7500, "MT")]);
    record(&dir, "slp1", &[(7500, "R"), (7500, "1 HA\0")]);
    let recordings = slpdb::load(dir.path()).unwrap();
    let ids: Vec<_> = recordings.iter().map(Recording::id).collect();
    assert_eq!(ids, ["slp1", "slp02/a"]);
    assert_eq!(recordings[0].labels, [None, Some(Stage::Rem), Some(Stage::N1)]);
    assert_eq!(recordings[1].labels, [Some(Stage::Wake), Some(Stage::N3), None]);
    let ibi = &recordings[1].streams[&StreamKind::Ibi];
    assert_eq!(ibi.times(), [2.0, 2.5, 8.0]);
    assert_eq!(ibi.values(), [1.0, 0.5, 1.5]);
    // 2.5 to 6.5 s is no interval between two beats.
    assert_eq!(ibi.rejected(), 1);
}

#[test]
fn faults_name_file_and_moment() {
    let wrong = |stages: &[(i32, &str)]| {
        let dir = folder();
        record(&dir, "s1", stages);
        fault(&dir, slpdb::load(dir.path()))
    };
    assert_eq!(wrong(&[(1, "5")]), "s1.st: \"5\" at 0.004 s is no stage: W, 1, 2, 3, 4, R or MT expected");
    assert_eq!(wrong(&[(0, "")]), "s1.st: \"\" at 0 s is no stage: W, 1, 2, 3, 4, R or MT expected");
    assert_eq!(wrong(&[(1000, "W")]), "s1.st: the stage at 4 s is not at the beginning of a 30-s epoch");
    assert_eq!(wrong(&[(1, "W"), (1, "W")]), "s1.st: the epoch at 0.008 s is scored twice or out of order");
    assert_eq!(wrong(&[(22_500, "W")]), "s1.st: the stage at 90 s is after the record's end");
    let dir = folder();
    record(&dir, "s1", &[]);
    put(&dir, "s1.hea", "s1 0 250\n");
    assert_eq!(
        fault(&dir, slpdb::load(dir.path())),
        "s1.hea: a length of at most a week must be in the header"
    );
    put(&dir, "s1.hea", "s1 0 250 999999999999\n");
    assert_eq!(
        fault(&dir, slpdb::load(dir.path())),
        "s1.hea: a length of at most a week must be in the header"
    );
    std::fs::remove_file(dir.path().join("s1.ecg")).unwrap();
    assert_eq!(fault(&dir, slpdb::load(dir.path())), "s1.ecg: no such file or folder");
}

#[test]
fn fourteen_recordings_of_twelve_people() {
    let Some(dir) = real("slpdb", "fourteen_recordings_of_twelve_people") else {
        return;
    };
    let recordings = slpdb::load(&dir).unwrap();
    let ids: Vec<_> = recordings.iter().map(Recording::id).collect();
    let two = ["slp01/a", "slp01/b", "slp02/a", "slp02/b"];
    let one = ["slp03", "slp04", "slp14", "slp32", "slp37", "slp41", "slp48", "slp59", "slp61", "slp66"];
    assert_eq!(ids, [&two[..], &one[..]].concat());
    let epochs: Vec<_> = recordings.iter().map(Recording::epochs).collect();
    assert_eq!(epochs, [240, 360, 360, 270, 720, 720, 720, 640, 700, 780, 760, 480, 740, 440]);

    let histogram = |recording: &Recording| {
        let count = |stage| recording.labels.iter().filter(|l| **l == stage).count();
        (Stage::ALL.map(|s| count(Some(s))), count(None))
    };
    assert_eq!(histogram(&recordings[0]), ([7, 1, 105, 47 + 66, 13], 1));
    assert_eq!(histogram(&recordings[3]), ([107, 14, 119, 0, 29], 1));
    // Scoring begins after 90 s, and one epoch is movement time.
    assert_eq!(histogram(&recordings[6]), ([321, 188, 126, 30 + 12, 36], 7));
    assert_eq!(recordings[0].labels[0], Some(Stage::N3));
    let all =
        recordings.iter().map(histogram).fold([0; 5], |sum, (h, _)| std::array::from_fn(|i| sum[i] + h[i]));
    println!("W, N1, N2, N3, REM: {all:?}");
    assert_eq!(all, [2322, 1268, 3218, 536, 523]);

    let ibi = |i: usize| &recordings[i].streams[&StreamKind::Ibi];
    assert_eq!(ibi(0).len() + ibi(0).rejected(), 7805);
    assert_eq!(ibi(0).times()[0], 234.0 / 250.0);
    assert_eq!(ibi(0).values()[0], ((234 - 19) as f64 / 250.0) as f32);
    // Two of the 11,317 annotations of slp02b are blocked P waves.
    assert_eq!(ibi(3).len() + ibi(3).rejected(), 11_314);
}
