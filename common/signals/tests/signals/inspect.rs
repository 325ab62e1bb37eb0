//! `inspect` on every folder of real recordings, and on what happens to such folders.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_signals::{Finding, Inspection, Layout, NightRules, Severity, Standing, inspect};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")
}

/// The folder, or none with a line that says so.
fn folder(name: &str, test: &str) -> Option<PathBuf> {
    let folder = data().join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED {test}: no {}", folder.display());
    None
}

fn looked(dir: &Path) -> Inspection {
    inspect(dir, &NightRules::default())
}

fn told(inspection: &Inspection) -> String {
    inspection.findings.iter().map(|finding| format!("{finding:?}\n")).collect()
}

/// What each folder is, how many recordings it has, how many are used.
const FOLDERS: [(&str, Layout, usize, usize); 7] = [
    ("sleep-accel", Layout::SleepAccel, 24, 23),
    ("slpdb", Layout::Slpdb, 14, 14),
    ("stress-predict", Layout::E4, 30, 0),
    ("mmash", Layout::Mmash, 9, 9),
    ("crisdb", Layout::Crisdb, 240, 240),
    ("mitdb", Layout::Wfdb, 0, 0),
    ("wisdm-watch", Layout::Wisdm, 0, 0),
];

#[test]
fn every_real_folder_is_known_and_nothing_sound_is_called_broken() {
    for (name, layout, recordings, used) in FOLDERS {
        let Some(dir) = folder(name, "every_real_folder_is_known") else { continue };
        let inspection = looked(&dir);
        assert_eq!(inspection.layout, Some(layout), "{name}");
        assert_eq!(inspection.recordings.len(), recordings, "{name}: {}", told(&inspection));
        let left = |standing: &Standing| matches!(standing, Standing::LeftOut(_));
        let usable = inspection.recordings.iter().filter(|r| !left(&r.standing)).count();
        assert_eq!(usable, used, "{name}: {}", told(&inspection));
        let stops = inspection.findings.iter().filter(|f| f.severity == Severity::Stops).count();
        assert_eq!(stops, 0, "{name}: {}", told(&inspection));
        // One recording is known to be bad; an hour awake gives no night.
        let harms: Vec<&Finding> =
            inspection.findings.iter().filter(|f| f.severity == Severity::Harms).collect();
        let true_of_it = |finding: &&&Finding| match name {
            "sleep-accel" => finding.path.to_string_lossy().contains("7749105"),
            "stress-predict" => {
                finding.what.contains("no recording here can be used") || finding.what.contains("ibi")
            }
            _ => false,
        };
        let wrong: Vec<_> = harms.iter().filter(|finding| !true_of_it(finding)).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
        println!("{name}: {} findings, {} that harm", inspection.findings.len(), harms.len());
    }
}

/// A copy of some files of a folder.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(dir: &Path, keep: &[&str]) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for name in keep {
            let to = copy.path(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(dir.join(name), to).unwrap();
        }
        copy
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Unpacked.
    fn text(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap();
        let mut text = String::new();
        match name.ends_with(".gz") {
            true => MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).map(drop).unwrap(),
            false => text = String::from_utf8(bytes).unwrap(),
        }
        text
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        if !name.ends_with(".gz") {
            return fs::write(path, text).unwrap();
        }
        let mut packed = GzEncoder::new(fs::File::create(path).unwrap(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
    }

    /// Changes every line behind the first `header` ones.
    fn lines(&self, name: &str, header: usize, change: impl Fn(&str) -> String) {
        let text = self.text(name);
        let lines = text.lines().enumerate();
        let lines: Vec<String> =
            lines.map(|(i, line)| if i < header { line.to_owned() } else { change(line) }).collect();
        self.write(name, &(lines.join("\n") + "\n"));
    }

    fn shuffle(&self, name: &str, header: usize) {
        let text = self.text(name);
        let mut lines: Vec<&str> = text.lines().collect();
        lines[header..].shuffle(&mut ChaCha8Rng::seed_from_u64(7));
        self.write(name, &(lines.join("\n") + "\n"));
    }

    fn cut(&self, name: &str) {
        let bytes = fs::read(self.path(name)).unwrap();
        // Not between two lines.
        let mut at = bytes.len() * 2 / 3;
        while bytes[at - 1] == b'\n' || bytes[at] == b'\n' {
            at -= 1;
        }
        fs::write(self.path(name), &bytes[..at]).unwrap();
    }

    /// What is wrong with one file; something must be.
    fn finding(&self, file: &str) -> Finding {
        let inspection = looked(self.0.path());
        assert!(!inspection.is_sound(), "{file}: nothing was found\n{}", told(&inspection));
        let of_file = |f: &&Finding| f.path == self.path(file) && f.severity != Severity::Note;
        let finding = inspection.findings.iter().find(of_file);
        let finding = finding.unwrap_or_else(|| panic!("{file} is not named\n{}", told(&inspection))).clone();
        assert!(!finding.remedy.is_empty());
        println!("{finding:?}");
        finding
    }
}

/// A file of text of each layout, with its header's lines, and what it needs beside it.
const TEXTS: [(&str, &str, usize, &[&str]); 6] = [
    (
        "sleep-accel",
        "heart_rate/1066528_heartrate.txt",
        0,
        &[
            "heart_rate/1066528_heartrate.txt",
            "labels/1066528_labeled_sleep.txt",
            "counts/1066528_counts.txt",
        ],
    ),
    (
        "stress-predict",
        "S16/HR.csv.gz",
        2,
        &["S16/HR.csv.gz", "S16/ACC.csv.gz", "S16/IBI.csv.gz", "S16/BVP.csv.gz"],
    ),
    (
        "stress-predict",
        "S16/ACC.csv.gz",
        2,
        &["S16/HR.csv.gz", "S16/ACC.csv.gz", "S16/IBI.csv.gz", "S16/BVP.csv.gz"],
    ),
    (
        "mmash",
        "user_16/RR.csv.gz",
        1,
        &["user_16/RR.csv.gz", "user_16/Actigraph.csv.gz", "user_16/sleep.csv.gz"],
    ),
    ("crisdb", "e011a_hr_0.2hz.csv.gz", 1, &["e011a_hr_0.2hz.csv.gz"]),
    ("wisdm-watch", "data_1619_accel_watch.txt.gz", 0, &["data_1619_accel_watch.txt.gz"]),
];

fn every_text(test: &str, each: impl Fn(&Copy, &str, usize)) {
    for (name, file, header, keep) in TEXTS {
        if let Some(dir) = folder(name, test) {
            each(&Copy::of(&dir, keep), file, header);
        }
    }
}

#[test]
fn a_file_that_was_cut_off_is_named_with_the_line_where_it_ends() {
    every_text("a_file_that_was_cut_off", |copy, file, _| {
        copy.cut(file);
        let finding = copy.finding(file);
        assert!(finding.line.is_some_and(|line| line > 2), "{finding:?}");
        assert!(
            finding.remedy.contains("copy it again") || finding.remedy.contains("copy the original"),
            "{finding:?}"
        );
    });
}

#[test]
fn an_empty_file_is_named() {
    every_text("an_empty_file", |copy, file, _| {
        copy.write(file, "");
        let finding = copy.finding(file);
        assert_eq!((finding.severity, finding.line), (Severity::Stops, Some(1)), "{finding:?}");
        assert!(finding.what.contains("empty"), "{finding:?}");
    });
}

#[test]
fn lines_that_were_shuffled_are_noticed_with_and_without_times() {
    every_text("lines_that_were_shuffled", |copy, file, header| {
        copy.shuffle(file, header);
        let finding = copy.finding(file);
        assert!(finding.line.is_some(), "{finding:?}");
        assert!(finding.remedy.contains("shuffl"), "{finding:?}");
    });
}

#[test]
fn a_header_that_was_shuffled_too_is_named() {
    every_text("a_header_that_was_shuffled_too", |copy, file, header| {
        if header > 0 {
            copy.shuffle(file, 0);
            assert!(copy.finding(file).line.is_some());
        }
    });
}

/// `line` with its values from column `from` on multiplied.
fn scaled(line: &str, from: usize, factor: f64) -> String {
    let end = if line.ends_with(';') { ";" } else { "" };
    let words = line.trim_end_matches(';').split(',').enumerate();
    let word = |(i, word): (usize, &str)| match word.parse::<f64>() {
        Ok(value) if i >= from => format!("{}", value * factor),
        _ => word.to_owned(),
    };
    words.map(word).collect::<Vec<_>>().join(",") + end
}

#[test]
fn values_in_another_unit_are_named_with_what_mends_them() {
    let cases: [(usize, usize, f64, &str); 6] = [
        (0, 1, 1.0 / 60.0, "hz"),
        (1, 0, 1.0 / 60.0, "hz"),
        (2, 0, 1.0 / 64.0, "divided by 64"),
        (3, 1, 1000.0, "ms"),
        (4, 0, 1.0 / 60.0, "hz"),
        (5, 2, 1.0 / 9.806_65, "9.80665"),
    ];
    for (case, from, factor, guess) in cases {
        let (name, file, header, keep) = TEXTS[case];
        let Some(dir) = folder(name, "values_in_another_unit") else { continue };
        let copy = Copy::of(&dir, keep);
        // The beat files of mmash have their day and time behind the value.
        copy.lines(file, header, |line| match case {
            3 => {
                let (head, time) = line.rsplit_once(',').unwrap();
                let (head, day) = head.rsplit_once(',').unwrap();
                format!("{},{day},{time}", scaled(head, from, factor))
            }
            _ => scaled(line, from, factor),
        });
        let finding = copy.finding(file);
        assert!(finding.line.is_some_and(|line| line > header), "{finding:?}");
        assert!(finding.remedy.contains(guess), "{finding:?}");
    }
}

#[test]
fn another_time_zone_is_named_with_the_seconds_that_mend_it() {
    let moved = |file: &str, copy: &Copy, mend: &str| {
        let finding = copy.finding(file);
        assert!(finding.what.contains("time zone") && finding.remedy.contains(mend), "{finding:?}");
        assert!(finding.line.is_some(), "{finding:?}");
    };
    let (name, file, _, keep) = TEXTS[0];
    if let Some(dir) = folder(name, "another_time_zone") {
        let copy = Copy::of(&dir, keep);
        copy.lines(file, 0, |line| {
            let (time, bpm) = line.split_once(',').unwrap();
            format!("{},{bpm}", time.parse::<f64>().unwrap() + 7200.0)
        });
        moved(file, &copy, "-7200 s");
    }
    let (name, file, _, keep) = TEXTS[1];
    if let Some(dir) = folder(name, "another_time_zone") {
        let copy = Copy::of(&dir, keep);
        let text = copy.text(file);
        let (start, rest) = text.split_once('\n').unwrap();
        copy.write(file, &format!("{}\n{rest}", start.parse::<f64>().unwrap() - 3600.0));
        moved(file, &copy, "3600 s");
    }
    let (name, file, _, keep) = TEXTS[3];
    if let Some(dir) = folder(name, "another_time_zone") {
        let copy = Copy::of(&dir, keep);
        copy.lines(file, 1, |line| {
            let (head, time) = line.rsplit_once(',').unwrap();
            let (head, day) = head.rsplit_once(',').unwrap();
            let (hour, rest) = time.split_once(':').unwrap();
            let hours = day.parse::<u32>().unwrap() * 24 + hour.parse::<u32>().unwrap() + 1;
            format!("{head},{},{:02}:{rest}", hours / 24, hours % 24)
        });
        moved(file, &copy, "-3600 s");
    }
}

#[test]
fn binary_files_that_were_cut_off_or_emptied_are_named() {
    let cases: [(&str, &str, &[&str]); 2] = [
        ("slpdb", "slp32.ecg", &["slp32.ecg", "slp32.hea", "slp32.st"]),
        ("mitdb", "100.dat.gz", &["100.dat.gz", "100.hea", "100.atr"]),
    ];
    for (name, file, keep) in cases {
        let Some(dir) = folder(name, "binary_files") else { continue };
        let copy = Copy::of(&dir, keep);
        copy.cut(file);
        copy.finding(file);
        fs::write(copy.path(file), b"").unwrap();
        copy.finding(file);
    }
}

#[test]
fn a_folder_of_nothing_says_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let inspection = looked(dir.path());
    assert_eq!((inspection.layout, inspection.findings.len()), (None, 1));
    assert!(inspection.findings[0].what.contains("recording.toml"), "{}", told(&inspection));
    let missing = looked(&dir.path().join("nights"));
    assert!(missing.findings[0].what.contains("no such file or folder"), "{}", told(&missing));
}
