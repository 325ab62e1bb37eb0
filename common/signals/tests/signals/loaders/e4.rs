use somnus_signals::{PersonId, Recording, StreamKind, e4};
use tempfile::TempDir;

use super::{fault, folder, put, put_gz, real};

const ACC: &str = "1000.0, 1000.0, 1000.0\n32.0, 32.0, 32.0\n-64,0,32\n1,2,3\n";

fn session(dir: &TempDir) -> Result<Recording, somnus_signals::DataError> {
    e4::load_folder(dir.path(), &PersonId::new("p").unwrap())
}

#[test]
fn streams_share_the_earliest_start() {
    let dir = folder();
    put(&dir, "S10/ACC.csv", ACC);
    put_gz(&dir, "S10/BVP.csv", "1000\r\n64\r\n-0.5\r\n2.25\r\nnan\r\n");
    put(&dir, "S10/HR.csv", "1010.0\n1.0\n83.0\n300.0\n84.5\n");
    put_gz(&dir, "S10/IBI.csv", "1000.5, IBI\n35.5,0.875\n36.5,1.0\n");
    put(&dir, "S9/HR.csv", "50.0\n1.0\n61.0\n");
    put(&dir, "notes/readme.txt", "no recording");
    put(&dir, "LICENSE", "");
    let recordings = e4::load(dir.path()).unwrap();
    let ids: Vec<_> = recordings.iter().map(Recording::id).collect();
    assert_eq!(ids, ["S9", "S10"]);
    let streams = &recordings[1].streams;
    assert_eq!(streams[&StreamKind::Accel].times(), [0.0, 1.0 / 32.0]);
    assert_eq!(streams[&StreamKind::Accel].sample(0), [-1.0, 0.0, 0.5]);
    assert_eq!(streams[&StreamKind::Ppg].times(), [0.0, 1.0 / 64.0]);
    assert_eq!(streams[&StreamKind::Ppg].values(), [-0.5, 2.25]);
    assert_eq!(streams[&StreamKind::Ppg].rejected(), 1);
    assert_eq!(streams[&StreamKind::Hr].times(), [10.0, 12.0]);
    assert_eq!(streams[&StreamKind::Hr].rejected(), 1);
    assert_eq!(streams[&StreamKind::Ibi].times(), [36.0, 37.0]);
    assert_eq!(streams[&StreamKind::Ibi].values(), [0.875, 1.0]);
    // The longest stream ends at 37 s: one whole epoch, unscored.
    assert_eq!(recordings[1].labels, [None]);
    assert!(recordings[0].labels.is_empty());
}

#[test]
fn faults_name_file_and_line() {
    let wrong = |file: &str, text: &str| {
        let dir = folder();
        put(&dir, file, text);
        fault(&dir, session(&dir))
    };
    let no_rate = "a line with the start and one with the rate were expected";
    assert_eq!(wrong("ACC.csv", ""), format!("ACC.csv: {no_rate}"));
    assert_eq!(wrong("BVP.csv", "1000\n"), format!("BVP.csv: {no_rate}"));
    assert_eq!(wrong("BVP.csv", "x,y\n64\n"), "BVP.csv:1: \"x\" is not a number");
    assert_eq!(wrong("BVP.csv", "-5\n64\n"), "BVP.csv:1: -5 is no start in UTC seconds");
    assert_eq!(wrong("BVP.csv", "nan\n64\n"), "BVP.csv:1: NaN is no start in UTC seconds");
    assert_eq!(wrong("BVP.csv", "1000\n0\n1\n"), "BVP.csv:2: 0 Hz is no rate of this device");
    let two = "1,1,1\n32,32,32\n1,2,3\n1,2\n";
    assert_eq!(wrong("ACC.csv", two), "ACC.csv:4: 3 numbers expected, found 2: \"1,2\"");
    let torn = "1,1,1\n32,32,32\n1,2,3\n1,2";
    assert_eq!(
        wrong("ACC.csv", torn),
        "ACC.csv:4: the last line is torn: 3 numbers expected, found 2: \"1,2\""
    );
    let rates = "1,1,1\n32,32,64\n";
    assert_eq!(
        wrong("ACC.csv", rates),
        "ACC.csv:2: one number for all channels was expected: [32.0, 32.0, 64.0]"
    );
    assert_eq!(wrong("IBI.csv", ""), "IBI.csv: a line `start, IBI` was expected");
    assert_eq!(wrong("IBI.csv", "1000\n1,2\n"), "IBI.csv:1: `start, IBI` was expected: \"1000\"");
    assert_eq!(
        wrong("IBI.csv", "1, IBI\n1e9,1\n"),
        "IBI.csv:2: 1000000000 s is more than a week from the start"
    );
    assert!(wrong("other.csv", "").ends_with("none of ACC.csv, BVP.csv, HR.csv and IBI.csv is here"));

    let dir = folder();
    put(&dir, "ACC.csv", ACC);
    put_gz(&dir, "BVP.csv", "1700000000\n64\n1\n");
    assert!(fault(&dir, session(&dir)).starts_with("BVP.csv:1: it starts 1699999000 s after another file"));
    put(&dir, "BVP.csv.gz", b"\x1f\x8b\x08\0");
    assert_eq!(fault(&dir, session(&dir)), "BVP.csv.gz: cannot be read: the gzip data ends too early");
    assert!(
        fault(&dir, e4::load(dir.path()))
            .ends_with("folders with files like ACC.csv and BVP.csv were expected")
    );
    put(&dir, "a b/HR.csv", "50.0\n1.0\n61.0\n");
    assert!(fault(&dir, e4::load(dir.path())).starts_with("a b: \"a b\" is not a person's id"));
}

#[test]
fn thirty_people_with_wristbands() {
    let Some(dir) = real("stress-predict", "thirty_people_with_wristbands") else {
        return;
    };
    let recordings = e4::load(&dir).unwrap();
    assert_eq!(recordings.len(), 30);
    let first = &recordings[0];
    assert_eq!((first.id(), first.epochs()), ("S01".to_owned(), 108));
    let streams = &first.streams;
    let len = |kind| (streams[&kind].len(), streams[&kind].rejected());
    assert_eq!(len(StreamKind::Accel), (104_310, 0));
    assert_eq!(len(StreamKind::Ppg), (208_703, 0));
    assert_eq!(len(StreamKind::Hr), (3250, 0));
    assert_eq!(len(StreamKind::Ibi), (1260, 0));
    assert_eq!(streams[&StreamKind::Accel].sample(0), [-2.0 / 64.0, 43.0 / 64.0, 43.0 / 64.0]);
    assert_eq!(streams[&StreamKind::Hr].times()[0], 10.0);
    assert_eq!(streams[&StreamKind::Ibi].times()[0], 35.484_375);
    assert_eq!(streams[&StreamKind::Ppg].values()[208_702], -52.59);
    for recording in &recordings {
        // Accelerometer and pulse run side by side, to the second.
        let end = |kind| *recording.streams[&kind].times().last().unwrap();
        assert!((end(StreamKind::Accel) - end(StreamKind::Ppg)).abs() < 2.5, "{}", recording.id());
        assert!((3000.0..3600.0).contains(&end(StreamKind::Ppg)), "{}", recording.id());
    }
}
