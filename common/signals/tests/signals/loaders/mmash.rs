use somnus_signals::{Stream, StreamKind, mmash};
use tempfile::TempDir;

use super::{fault, folder, put, put_gz, real};

const SLEEP: &str = "\
,In Bed Date,In Bed Time,Out Bed Date,Out Bed Time,Onset Date,Onset Time,Total Minutes in Bed,Total Sleep Time (TST)
";

/// Rows from 23:59:00 to 00:02:59, still but for the second after midnight; midnight goes from day 1 to `tomorrow`.
fn user(dir: &TempDir, name: &str, tomorrow: &str, sleeps: &str) {
    let rows = (0..240).map(|second| {
        let (day, time) = match second {
            0..60 => ("1", format!("23:59:{second:02}")),
            _ => (tomorrow, format!("00:{:02}:{:02}", second / 60 - 1, second % 60)),
        };
        let (counts, bpm) = if second == 60 { (1700.0, 90) } else { (0.0, 60) };
        format!("{second},0,{bpm},{counts},{day},{time}\n")
    });
    let rows: String = rows.collect();
    put_gz(dir, &format!("{name}/Actigraph.csv"), format!(",Steps,HR,Vector Magnitude,day,time\n{rows}"));
    let beats = format!(
        ",ibi_s,day,time\n1,0.5,1,23:58:30\n2,0.75,{tomorrow},00:00:10\n3,0.75,{tomorrow},00:00:10\n"
    );
    put(dir, &format!("{name}/RR.csv"), beats);
    put(dir, &format!("{name}/sleep.csv"), format!("{SLEEP}{sleeps}"));
}

#[test]
fn a_day_and_its_night() {
    let dir = folder();
    user(&dir, "user_10", "-29", "0,1,00:00,1,00:02,1,00:01,2,1\n");
    user(&dir, "user_9", "2", "");
    put(&dir, "notes/readme.txt", "");
    let days = mmash::load(dir.path()).unwrap();
    let ids: Vec<_> = days.iter().map(|d| d.recording.id()).collect();
    assert_eq!(ids, ["user_9/day", "user_10/day"]);
    let [nine, ten] = &days[..] else { unreachable!() };
    assert_eq!(nine.recording.streams, ten.recording.streams, "the number of a day decides nothing");

    // Time 0 is the first beat, half a minute before the first second of movement.
    assert_eq!(ten.clock, 86_400.0 - 90.0);
    let stream = |kind| &ten.recording.streams[&kind];
    assert_eq!((stream(StreamKind::Hr).times()[0], stream(StreamKind::Hr).len()), (30.0, 240));
    assert_eq!(ten.recording.epochs(), 8);
    let activity = stream(StreamKind::Activity);
    assert_eq!((activity.times()[0], activity.len()), (30.0, 16));
    let moving: Vec<_> = (0..16).filter(|i| activity.sample(*i)[0] > 0.0).collect();
    assert_eq!(moving, [4]);
    assert_eq!((activity.times()[4], activity.values()[4]), (90.0, 100.0));
    let ibi = stream(StreamKind::Ibi);
    assert_eq!(ibi.len(), 3);
    assert!((ibi.times()[2] - ibi.times()[1] - 0.75).abs() < 1e-9);
    assert!((100.0..101.0).contains(&ibi.times()[1]) && (100.0..101.0).contains(&ibi.times()[2]));

    // The date of going to bed is that of the evening, though it was after midnight.
    let [sleep] = ten.sleeps[..] else { panic!("{:?}", ten.sleeps) };
    assert_eq!((sleep.in_bed, sleep.onset, sleep.out_of_bed), (90.0, 150.0, 210.0));
    let truth = [0, 0, 0, 0, 0, 1, 1, 0].map(|asleep| Some(asleep == 1));
    assert_eq!(ten.asleep(), truth);
    assert_eq!((nine.asleep(), nine.night()), (vec![None; 8], None));

    let night = ten.night().unwrap();
    assert_eq!(
        (night.recording.id(), night.recording.epochs(), night.clock),
        ("user_10".to_owned(), 4, 86_400.0)
    );
    assert_eq!(night.asleep(), [false, false, true, true].map(Some));
    let cut: Vec<_> = night.recording.streams.values().map(Stream::len).collect();
    assert_eq!(cut, [120, 8, 2], "hr, activity, ibi of two minutes");
    assert_eq!(night.recording.streams[&StreamKind::Activity].sample(0), [100.0]);
}

#[test]
fn faults_name_file_and_line() {
    let wrong = |file: &str, text: &str| {
        let dir = folder();
        user(&dir, "u", "2", "");
        put(&dir, &format!("u/{file}"), text);
        let fault = fault(&dir, mmash::load(dir.path()));
        fault.strip_prefix("u/").unwrap().to_owned()
    };
    let rr = |rows: &str| wrong("RR.csv", &format!(",ibi_s,day,time\n{rows}"));
    assert_eq!(wrong("RR.csv", ""), "RR.csv: no line with the columns' names");
    assert_eq!(wrong("RR.csv", ",ibi,day,time\n"), "RR.csv:1: no column is named \"ibi_s\"");
    assert_eq!(rr("1,0.5,1\n"), "RR.csv:2: 4 columns expected, found 3: \"1,0.5,1\"");
    let torn = "RR.csv:2: the last line is torn: \"10:00:0\" is not a time of day HH:MM:SS";
    assert_eq!(rr("1,0.5,1,10:00:0"), torn);
    assert_eq!(rr("1,x,1,10:00:00\n"), "RR.csv:2: \"x\" is not a number");
    assert_eq!(rr("1,1,0,10:00:00\n"), "RR.csv:2: days are counted from 1, this is day 0");
    let back = "1,1,1,10:00:00\n2,1,1,09:59:59\n";
    assert_eq!(rr(back), "RR.csv:3: the clock goes back to 09:59:59 of day 1");

    let slept = |rows: &str| wrong("sleep.csv", &format!("{SLEEP}{rows}"));
    assert_eq!(slept("0,x,23:59,1,00:02,1,23:59,3,2\n"), "sleep.csv:2: \"x\" is not the number of a day");
    let minutes = "sleep.csv:2: from 23:59 to 00:02 are not 30 minutes in bed";
    assert_eq!(slept("0,1,23:59,1,00:02,1,23:59,30,2\n"), minutes);
    let onset = "sleep.csv:2: the onset of sleep is not within the time in bed";
    assert_eq!(slept("0,1,23:59,1,00:02,1,00:03,3,2\n"), onset);
    assert_eq!(slept("0,1,23:59,1,00:02,1,00:00,3,4\n"), "sleep.csv:2: 4 minutes asleep in 3 minutes in bed");
    let twice = "0,1,23:59,1,00:02,1,00:00,3,2\n1,2,00:01,1,00:02,1,00:01,1,1\n";
    assert_eq!(slept(twice), "sleep.csv:3: it begins before the time in bed above it has ended");

    let dir = folder();
    user(&dir, "u", "2", "");
    std::fs::remove_file(dir.path().join("u/sleep.csv")).unwrap();
    assert_eq!(fault(&dir, mmash::load(dir.path())), "u/sleep.csv: no such file or folder");
    put(&dir, "u/Actigraph.csv", ",HR,Vector Magnitude,day,time\n");
    assert_eq!(fault(&dir, mmash::load(dir.path())), "u/Actigraph.csv: no row");
    let empty = folder();
    assert!(fault(&empty, mmash::load(empty.path())).contains("no recordings: folders"));
}

#[test]
fn nine_people_for_a_day() {
    let Some(dir) = real("mmash", "nine_people_for_a_day") else {
        return;
    };
    let days = mmash::load(&dir).unwrap();
    let ids: Vec<_> = days.iter().map(|d| d.recording.person.as_str()).collect();
    assert_eq!(
        ids,
        ["user_1", "user_3", "user_6", "user_8", "user_11", "user_13", "user_16", "user_18", "user_21"]
    );
    let rows = |day: &mmash::Day, kind| {
        let stream: &Stream = &day.recording.streams[&kind];
        stream.len() + stream.rejected()
    };
    let [first, ..] = &days[..] else { unreachable!() };
    assert_eq!(first.clock, f64::from(10 * 3600 + 10 * 60 + 17));
    assert_eq!((rows(first, StreamKind::Hr), rows(first, StreamKind::Ibi)), (67_936, 91_858));
    assert_eq!(first.recording.streams[&StreamKind::Hr].times()[0], 5.0);
    // 24:46 to 27:31 and 27:57 to 31:30 after the first midnight.
    let clock = |seconds: f64| (seconds + first.clock) / 60.0;
    let beds: Vec<_> = first.sleeps.iter().map(|s| (clock(s.in_bed), clock(s.out_of_bed))).collect();
    assert_eq!(beds, [(1486.0, 1651.0), (1677.0, 1890.0)]);

    let mut nights = Vec::new();
    for day in &days {
        let hours = day.recording.epochs() as f64 / 120.0;
        assert!((23.0..26.0).contains(&hours), "{}: {hours} h", day.recording.id());
        let Some(night) = day.night() else {
            assert_eq!(day.recording.person.as_str(), "user_11");
            continue;
        };
        let beats = &night.recording.streams[&StreamKind::Ibi];
        let apart = beats.times().windows(2).zip(&beats.values()[1..]);
        let joined = apart.filter(|(t, v)| (t[1] - t[0] - f64::from(**v)).abs() < 1e-3).count();
        println!(
            "{}: {:.1} h in bed from {:.2}, {} beats, {:.1} % joined to the one before",
            night.recording.id(),
            night.recording.epochs() as f64 / 120.0,
            night.clock / 3600.0 % 24.0,
            beats.len(),
            joined as f64 / beats.len() as f64 * 100.0
        );
        assert!(joined as f64 / beats.len() as f64 > 0.9);
        let asleep = night.asleep().iter().filter(|a| **a == Some(true)).count();
        assert!(asleep * 10 > night.recording.epochs() * 9);
        nights.push(night);
    }
    assert_eq!(nights.len(), 8);

    // In bed these counts are distributed like those of sleep-accel (3.8 %, 34 and 129).
    let counts: Vec<f32> =
        nights.iter().flat_map(|n| n.recording.streams[&StreamKind::Activity].values().to_vec()).collect();
    let mut moving: Vec<f32> = counts.iter().copied().filter(|c| *c > 0.0).collect();
    moving.sort_by(f32::total_cmp);
    let share = moving.len() as f64 / counts.len() as f64;
    let (half, most) = (moving[moving.len() / 2], moving[moving.len() * 9 / 10]);
    println!(
        "{:.1} % of {} windows move, by {half:.0} at the median, {most:.0} at 90 %",
        share * 100.0,
        counts.len()
    );
    assert!(
        (0.035..0.042).contains(&share) && (28.0..48.0).contains(&half) && (110.0..150.0).contains(&most)
    );
}
