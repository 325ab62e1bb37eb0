use std::collections::BTreeMap;

use somnus_signals::wisdm::{self, Activity};

use super::{fault, folder, put, put_gz, real};

#[test]
fn a_change_of_activity_begins_a_bout() {
    let dir = folder();
    let text =
        "7,A,9.80665,0,-9.80665;\n7,A,19.6133,0,0;\n\n7,M,0,0,0;\n7,A,1,nan,1;\n7,A,1,1,1;\n7,M,0,0,0;\n";
    put_gz(&dir, "data_7_accel_watch.txt", text);
    put(&dir, "data_10_accel_watch.txt", "10,D,0,0,9.80665;");
    put(&dir, "data_7_gyro_watch.txt", "not read");
    let bouts = wisdm::load(dir.path()).unwrap();
    let found: Vec<_> = bouts.iter().map(|b| (b.person.as_str(), b.activity, b.accel.len())).collect();
    let expected = [
        ("7", Activity::Walking, 2),
        ("7", Activity::Kicking, 1),
        ("7", Activity::Walking, 1),
        ("10", Activity::Sitting, 1),
    ];
    // The second M repeats the first.
    assert_eq!(found, expected);
    assert_eq!(bouts[0].accel.times(), [0.0, 0.05]);
    assert_eq!(bouts[0].accel.values(), [1.0, 0.0, -1.0, 2.0, 0.0, 0.0]);
    assert_eq!((bouts[2].accel.times(), bouts[2].accel.rejected()), (&[0.05][..], 1));
}

#[test]
fn faults_name_file_and_line() {
    let wrong = |text: &str| {
        let dir = folder();
        put(&dir, "data_7_accel_watch.txt", text);
        let fault = fault(&dir, wisdm::load(dir.path()));
        fault.strip_prefix("data_7_accel_watch.txt:").unwrap().to_owned()
    };
    assert_eq!(wrong(""), " no line `person,activity,x,y,z;`");
    assert_eq!(wrong("7,A,1,2,3\n"), "1: a line ends with a semicolon");
    assert_eq!(wrong("7,A,1,2,3;\n7,A,1,2,"), "2: the last line is torn: a line ends with a semicolon");
    assert_eq!(wrong("7,A,1,2;\n"), "1: `person,activity,x,y,z;` was expected: \"7,A,1,2;\"");
    let stamped = "7,A,252207666810782,1,2,3;\n";
    assert_eq!(wrong(stamped), format!("1: `person,activity,x,y,z;` was expected: {:?}", stamped.trim()));
    assert_eq!(wrong("8,A,1,2,3;\n"), "1: it is of person \"8\", the file of 7");
    assert_eq!(wrong("7,F,1,2,3;\n"), "1: \"F\" is no activity: one of A, B, C, D, E, M was expected");
    assert_eq!(wrong("7,AB,1,2,3;\n"), "1: \"AB\" is no activity: one of A, B, C, D, E, M was expected");
    assert_eq!(wrong("7,A,1,y,3;\n"), "1: \"y\" is not a number");
    let dir = folder();
    assert!(fault(&dir, wisdm::load(dir.path())).contains("no recordings: files like data_1600"));
}

#[test]
fn forty_one_people_do_six_things() {
    let Some(dir) = real("wisdm-watch", "forty_one_people_do_six_things") else {
        return;
    };
    let bouts = wisdm::load(&dir).unwrap();
    // Person 1629 is in the set twice and is read once.
    assert_eq!(bouts.len(), 6 * 41);
    let mut each: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for bout in &bouts {
        assert_eq!((bout.accel.len(), bout.accel.rejected()), (2400, 0), "{}", bout.person);
        each.entry(bout.person.as_str()).or_default().push(bout.activity);
    }
    assert_eq!(each.len(), 41);
    assert!(each.values().all(|activities| activities[..] == Activity::ALL));
    let g = [7.091_625f32, -0.591_667_1, 8.195_502].map(|v| v / 9.806_65);
    let close = bouts[0].accel.sample(0).iter().zip(g).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close, "{:?}", bouts[0].accel.sample(0));
    // A body at rest feels one g.
    let sitting = bouts.iter().filter(|b| b.activity == Activity::Sitting);
    for bout in sitting {
        let norms = bout.accel.values().chunks_exact(3).map(|s| s.iter().map(|v| v * v).sum::<f32>().sqrt());
        let mean = norms.sum::<f32>() / 2400.0;
        assert!((0.85..1.15).contains(&mean), "{}: {mean}", bout.person);
    }
}
