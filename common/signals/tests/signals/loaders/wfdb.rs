use proptest::prelude::*;
use somnus_signals::{StreamKind, wfdb};
use tempfile::TempDir;

use super::{fault, folder, put, put_gz, real};

/// The bytes of an annotation `step` ticks after the one before.
pub(super) fn annotation(code: u16, step: i32) -> Vec<u8> {
    let word = |v: u16| v.to_le_bytes();
    match u16::try_from(step) {
        Ok(step) if step < 1024 => word(code << 10 | step).to_vec(),
        _ => [word(59 << 10), word((step >> 16) as u16), word(step as u16), word(code << 10)].concat(),
    }
}

/// A note with a text.
pub(super) fn remark(step: i32, text: &str) -> Vec<u8> {
    let aux = (63u16 << 10 | text.len() as u16).to_le_bytes();
    let filling = &[0][..text.len() % 2];
    [annotation(22, step), aux.to_vec(), text.into(), filling.to_vec()].concat()
}

/// The mark at the end of a file.
pub(super) fn end() -> Vec<u8> {
    vec![0, 0]
}

/// Samples in format 212; `filled` up to three whole bytes or not.
fn packed(samples: &[i16], filled: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for pair in samples.chunks(2) {
        let first = (pair[0] & 0xfff) as u16;
        let second = pair.get(1).map_or(0, |s| (s & 0xfff) as u16);
        bytes.extend([first as u8, (first >> 8) as u8 | (second >> 8 << 4) as u8]);
        if pair.len() == 2 || filled {
            bytes.push(second as u8);
        }
    }
    bytes
}

fn sum(samples: impl Iterator<Item = i16>) -> i32 {
    samples.map(i32::from).sum::<i32>() as i16 as i32
}

fn wrong(header: &str, samples: &[u8]) -> String {
    let dir = folder();
    put(&dir, "r.hea", header);
    put(&dir, "r.dat", samples);
    fault(&dir, wfdb::read(dir.path(), "r"))
}

#[test]
fn headers_in_all_their_forms() {
    let dir = folder();
    let text = "\
# a comment before
r 5 250/0.033333333(94) 3 23:07:00 19/1/1989

a.dat 212 -200/mV 12 0 -17 59911 0 ECG
a.dat 212 4.77778(-477)/mmHg 12 7 -248 -19332 0 Resp (sum)
b.dat 16+24
b.dat 16x4:7+24 0 11 1024
c.dat 80 100.5/uV
#44 M
";
    put_gz(&dir, "r.hea", text.replace('\n', "\r\n"));
    let header = wfdb::header(dir.path(), "r").unwrap();
    assert_eq!((header.record.as_str(), header.rate, header.samples), ("r", 250.0, Some(3)));
    assert_eq!(header.comments, ["a comment before", "44 M"]);
    let all: Vec<_> = header
        .signals
        .iter()
        .map(|s| {
            (
                s.file.as_str(),
                s.format,
                s.samples_per_frame,
                s.skew,
                s.offset,
                s.gain,
                s.baseline,
                s.unit.as_str(),
            )
        })
        .collect();
    let expected = [
        ("a.dat", 212, 1, 0, 0, -200.0, 0, "mV"),
        ("a.dat", 212, 1, 0, 0, 4.77778, -477, "mmHg"),
        ("b.dat", 16, 1, 0, 24, 200.0, 0, "mV"),
        ("b.dat", 16, 4, 7, 24, 200.0, 1024, "mV"),
        ("c.dat", 80, 1, 0, 0, 100.5, 0, "uV"),
    ];
    assert_eq!(all, expected);
    let checksums: Vec<_> = header.signals.iter().map(|s| s.checksum).collect();
    assert_eq!(checksums, [Some(59_911), Some((-19_332i16).cast_unsigned()), None, None, None]);
    assert_eq!(header.signals[1].description, "Resp (sum)");

    put(&dir, "short.hea", "short 0");
    let short = wfdb::header(dir.path(), "short").unwrap();
    assert_eq!((short.rate, short.samples, short.signals.len()), (250.0, None, 0));
    assert_eq!(wfdb::records(dir.path()).unwrap(), ["r", "short"]);
}

#[test]
fn faults_of_headers_name_the_line() {
    let wrong = |text: &str| wrong(text, b"");
    assert_eq!(wrong(""), "r.hea: a line with the record's name was expected");
    assert_eq!(wrong("# only\n"), "r.hea: a line with the record's name was expected");
    assert_eq!(wrong("r\n"), "r.hea:1: the number of signals is missing");
    assert_eq!(wrong("r two\n"), "r.hea:1: \"two\" is not a whole number that fits here");
    assert_eq!(wrong("r/3 2 360 100\n"), "r.hea:1: records of several segments (3) are not read");
    assert_eq!(wrong("r 999\n"), "r.hea:1: 999 signals are more than the 256 that are read");
    assert_eq!(wrong("r 1 0\n"), "r.hea:1: 0 Hz is no sampling rate");
    assert_eq!(wrong("r 1 nan\n"), "r.hea:1: NaN Hz is no sampling rate");
    assert_eq!(wrong("r 2 360\nr.dat 16\n"), "r.hea: 2 signals are announced, 1 described");
    assert_eq!(wrong("r 1 360\nr.dat 16\nr.dat 16\n"), "r.hea:3: a line after the last of 1 signals");
    assert_eq!(wrong("r 1 360\nr.dat\n"), "r.hea:2: \"\" is not a whole number that fits here");
    assert_eq!(wrong("r 1 360\nr.dat 16 2(x\n"), "r.hea:2: \"x\" is no gain with a baseline");
    assert_eq!(wrong("r 1 360\nr.dat 16 inf\n"), "r.hea:2: inf is no gain");
    for outside in ["../r.dat", "/r.dat", "~", "-", "a\\b"] {
        let what = format!("r.hea:2: {outside:?} is not the name of a file beside the header");
        assert_eq!(wrong(&format!("r 1 360\n{outside} 16\n")), what);
    }
    assert_eq!(
        wrong("r 1 360\nr.dat 80 0 8 0 0 0 0 II\n"),
        "r.hea: signal \"II\": signal format 80 is not read, only 16 and 212"
    );
    assert_eq!(
        wrong("r 1 360\nr.dat 16x2\n"),
        "r.hea: signal \"\": 2 samples per frame are not read, only 1"
    );
    assert_eq!(wrong("r 1 360\nr.dat 16:3\n"), "r.hea: signal \"\": a skew of 3 frames is not read, only 0");
}

#[test]
fn faults_of_signals_name_the_file() {
    let three = packed(&[1, -2, 3], false);
    let header = "r 1 360 3\nr.dat 212 200 12 0 1 2 0 II\n";
    assert_eq!(wrong(header, &three[..4]), "r.dat: 4 bytes of samples, 5 by the header");
    assert_eq!(wrong(header, &packed(&[1, -2, 3, 4, 5], true)), "r.dat: 9 bytes of samples, 5 by the header");
    assert_eq!(
        wrong(header, &packed(&[1, -2, 4], true)),
        "r.dat: signal \"II\": the checksum is 3, by the header 2"
    );
    assert_eq!(wrong("r 1 360\nr.dat 212\n", &three[..4]), "r.dat: 4 bytes end within a sample or frame");
    assert_eq!(wrong("r 1 360\nr.dat 16\n", b"abc"), "r.dat: 3 bytes end within a sample or frame");
    assert_eq!(
        wrong("r 2 360\nr.dat 16\nr.dat 16\n", b"abcdef"),
        "r.dat: 6 bytes end within a sample or frame"
    );
    assert_eq!(wrong("r 1 360\nr.dat 16+9\n", b"abc"), "r.dat: 3 bytes, shorter than the offset of 9");
    let mixed = "r.dat: its signals are said to have different formats or offsets";
    assert_eq!(wrong("r 2 360\nr.dat 16\nr.dat 212\n", b"abcd"), mixed);
    let huge = format!("r 1 360 {}\nr.dat 16\n", usize::MAX);
    assert!(wrong(&huge, b"ab").starts_with("r.dat: 2 bytes of samples, "));

    let dir = folder();
    put(&dir, "r.hea", "r 2 360\nr.dat 16\ns.dat 16\n");
    put(&dir, "r.dat", b"ab");
    assert_eq!(fault(&dir, wfdb::read(dir.path(), "r")), "s.dat: no such file or folder");
    put(&dir, "s.dat", b"abcd");
    assert_eq!(fault(&dir, wfdb::read(dir.path(), "r")), "r.hea: its signal files have different lengths");
}

#[test]
fn values_are_physical_and_nothing_is_nan() {
    let dir = folder();
    put(&dir, "r.hea", "r 3 100 2\na.dat 212 -200(10)/mV\na.dat 212 0.5/uV 12 4\nb.dat 16+3 100/mmHg\n");
    put_gz(&dir, "a.dat", packed(&[-2048, 2047, 110, -2047], true));
    put(
        &dir,
        "b.dat",
        [b"xyz".to_vec(), 250i16.to_le_bytes().into(), i16::MIN.to_le_bytes().into()].concat(),
    );
    let record = wfdb::read(dir.path(), "r").unwrap();
    assert!(record.signals[0][0].is_nan() && record.signals[2][1].is_nan());
    assert_eq!((record.signals[0][1], record.signals[2][0]), (-0.5, 2.5));
    assert_eq!(record.signals[1], [4086.0, -4102.0]);
    let ecg = record.ecg(0).unwrap();
    assert_eq!((ecg.kind(), ecg.times(), ecg.values()), (StreamKind::Ecg, &[0.01][..], &[-0.5][..]));
    assert_eq!(record.ecg(1).unwrap().values()[0], 4.086);
    assert!(record.ecg(2).is_none() && record.ecg(3).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn stored_samples_come_back(
        frames in prop::collection::vec([-2047i16..2048, -2047i16..2048, -2047i16..2048], 0..20),
        signals in 1usize..4, wide: bool, filled: bool, counted: bool,
    ) {
        let dir = folder();
        let all: Vec<i16> = frames.iter().flat_map(|f| f[..signals].to_vec()).collect();
        let bytes = if wide { all.iter().flat_map(|s| s.to_le_bytes()).collect() } else { packed(&all, filled) };
        put(&dir, "r.dat", bytes);
        // Without a count, one signal of packed samples cannot tell filling from a sample.
        let samples = if counted || signals == 1 { frames.len().to_string() } else { String::new() };
        let format = if wide { 16 } else { 212 };
        let lines = (0..signals).map(|i| {
            format!("r.dat {format} 1 12 0 0 {} 0 s{i}\n", sum(frames.iter().map(|f| f[i])))
        });
        let header = format!("r {signals} 100 {samples}\n{}", lines.collect::<String>());
        put(&dir, "r.hea", header);
        let record = wfdb::read(dir.path(), "r").unwrap();
        prop_assert_eq!(record.signals.len(), signals);
        for (i, signal) in record.signals.iter().enumerate() {
            let stored: Vec<f32> = frames.iter().map(|f| f32::from(f[i])).collect();
            prop_assert_eq!(signal, &stored);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ -~\n]{0,80}") {
        let dir = folder();
        put(&dir, "a.hea", "a 2 360\na.dat 212\na.dat 212\n");
        put(&dir, "a.dat", &bytes);
        put(&dir, "a.atr", &bytes);
        put(&dir, "b.hea", &bytes);
        put(&dir, "c.hea", format!("c 1 360\nc.dat {text}"));
        put(&dir, "c.dat", &bytes);
        let _ = wfdb::annotations(dir.path(), "a", "atr");
        for record in ["a", "b", "c"] {
            let _ = wfdb::read(dir.path(), record);
        }
    }
}

fn annotated(dir: &TempDir, bytes: &[Vec<u8>]) -> Result<Vec<wfdb::Annotation>, somnus_signals::DataError> {
    put(dir, "r.hea", "r 0 200/7(3) 0\n");
    put(dir, "r.atr", bytes.concat());
    wfdb::annotations(dir.path(), "r", "atr")
}

#[test]
fn annotations_with_all_their_words() {
    let dir = folder();
    let word = |code: u16, value: i8| (code << 10 | u16::from(value.cast_unsigned())).to_le_bytes().to_vec();
    let bytes = [
        annotation(28, 18),
        word(61, -1),
        word(62, 1),
        word(60, 5),
        (63u16 << 10 | 3).to_le_bytes().to_vec(),
        b"(N\0\0".to_vec(),
        annotation(1, 1023),
        annotation(5, 1024),
        annotation(41, 70_000),
        annotation(8, -5),
        end(),
        b"ignored".to_vec(),
    ];
    let found = annotated(&dir, &bytes).unwrap();
    let first = &found[0];
    assert_eq!((first.tick, first.time, first.code.number()), (18, 0.09, 28));
    assert_eq!((first.subtype, first.channel, first.number, first.aux.as_str()), (-1, 1, 5, "(N"));
    // Channel and number stay, subtype and text do not.
    let second = &found[1];
    assert_eq!((second.subtype, second.channel, second.number, second.aux.as_str()), (0, 1, 5, ""));
    let ticks: Vec<_> = found.iter().map(|a| a.tick).collect();
    assert_eq!(ticks, [18, 1041, 2065, 72_065, 72_060]);
    let beats: Vec<_> = wfdb::beats(&found).collect();
    assert_eq!(beats, [1041.0 / 200.0, 2065.0 / 200.0, 72_065.0 / 200.0, 72_060.0 / 200.0]);

    // A file may bring its own clock.
    let own = [
        remark(0, "## time resolution: 1000"),
        remark(0, "## annotation type definitions"),
        annotation(1, 250),
        end(),
    ];
    let found = annotated(&dir, &own).unwrap();
    assert_eq!((found.len(), found[0].tick, found[0].time), (1, 250, 0.25));
}

#[test]
fn faults_of_annotations_name_the_byte() {
    let dir = folder();
    let wrong = |bytes: &[Vec<u8>]| fault(&dir, annotated(&dir, bytes));
    let torn = |bytes| format!("r.atr: it ends at byte {bytes} without an end mark: the file is torn");
    assert_eq!(wrong(&[]), torn(0));
    assert_eq!(wrong(&[annotation(1, 5)]), torn(2));
    assert_eq!(wrong(&[annotation(1, 5), vec![7]]), torn(3));
    assert_eq!(wrong(&[annotation(1, 5), vec![0, 59 << 2, 1]]), torn(5));
    assert_eq!(wrong(&[annotation(22, 5), vec![9, 63 << 2], b"short".into()]), torn(9));
    let alone = "r.atr: byte 0 speaks of an annotation, and there is none before it";
    assert_eq!(wrong(&[vec![9, 63 << 2]]), alone);
    assert_eq!(
        wrong(&[annotation(1, 5), annotation(55, 1), end()]),
        "r.atr: 55 at byte 2 is no annotation code"
    );
    let early = "r.atr: the annotation at byte 6 lies before the record's start";
    assert_eq!(wrong(&[annotation(1, -5), end()]), early);
    let clock = [remark(0, "## time resolution: 0"), end()];
    assert_eq!(wrong(&clock), "r.atr: \"0\" is no time resolution");
}

#[test]
fn which_codes_are_beats() {
    let dir = folder();
    let all: Vec<_> = (1..50).map(|code| annotation(code, 1)).chain([end()]).collect();
    let found = annotated(&dir, &all).unwrap();
    let beats: Vec<_> = found.iter().filter(|a| a.code.is_beat()).map(|a| a.code.number()).collect();
    assert_eq!(beats, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41]);
}

#[test]
fn six_electrocardiograms() {
    let Some(dir) = real("mitdb", "six_electrocardiograms") else {
        return;
    };
    // Annotations and beats of each record, as the database's directory counts them.
    let expected = [
        ("100", 2274, 2273),
        ("103", 2091, 2084),
        ("111", 2133, 2124),
        ("115", 1962, 1953),
        ("119", 2094, 1987),
        ("200", 2792, 2601),
    ];
    assert_eq!(wfdb::records(&dir).unwrap(), expected.map(|e| e.0));
    for (name, annotations, beats) in expected {
        // Reading verifies the checksum of both leads.
        let record = wfdb::read(&dir, name).unwrap();
        assert_eq!((record.header.rate, record.signals.len()), (360.0, 2));
        assert!(record.signals.iter().all(|s| s.len() == 650_000));
        let found = wfdb::annotations(&dir, name, "atr").unwrap();
        assert_eq!((found.len(), wfdb::beats(&found).count()), (annotations, beats), "{name}");
    }
    let record = wfdb::read(&dir, "100").unwrap();
    let leads: Vec<_> = record.header.signals.iter().map(|s| s.description.as_str()).collect();
    assert_eq!(leads, ["MLII", "V5"]);
    // 995 and 1011 with a gain of 200 and a baseline of 1024; the last is 768.
    assert_eq!((record.signals[0][0], record.signals[1][0]), (-0.145, -0.065));
    assert_eq!(record.signals[0][649_999], -1.28);
    let ecg = record.ecg(0).unwrap();
    assert_eq!((ecg.len(), ecg.rejected()), (650_000, 0));
    let found = wfdb::annotations(&dir, "100", "atr").unwrap();
    assert_eq!((found[0].tick, found[0].aux.as_str()), (18, "(N"));
    assert_eq!(wfdb::beats(&found).take(2).collect::<Vec<_>>(), [77.0 / 360.0, 370.0 / 360.0]);
    // At an R peak the lead is higher than half a millivolt above the beginning.
    let peak = record.signals[0][74..81].iter().copied().fold(f32::MIN, f32::max);
    assert!(peak > 0.5, "{peak}");
}
