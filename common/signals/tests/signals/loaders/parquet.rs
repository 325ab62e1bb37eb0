//! Parquet files in the plain format. Small ones were written by another implementation (Apache's, in Rust, version 60); longer ones
//! are written here.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_signals::{Layout, NightRules, Severity, Stage, StreamKind, inspect, plain};

use super::{fault, folder, put, put_gz};
use crate::parquet_file::{Values, parquet};

/// `time` in microseconds since 1970 and `value`, FLOAT that may be missing: two groups of seven rows, dictionaries, snappy, pages of
/// version 1.
const HR: &str = "\
    504152311504157015664c150e1500120000382800d49aaf9d4c0600401fe705080c806a33b0011008c0b57f0508080001cc05083c40\
    4c18b19d4c0600809764b19d4c06001500150a150e2c150e15101506150600000510030388c61a1504153015344c150c150012000018\
    5c00007042000071420000724200007442000075420000764215001516151a2c150e15101506150600000b28020000000377030388c6\
    021504157015664c150e15001200003828c0e2b0b19d4c0600002efd05080c407949b201100880c495050808c00fe205083c005b2eb3\
    9d4c060040a67ab39d4c06001500150a150e2c150e15101506150600000510030388c61a1504153015344c150c1500120000185c0000\
    7042000071420000724200007442000075420000764215001516151a2c150e15101506150600000b28020000000377030388c602191c\
    168a01153016000000191c168a02153c16000000191c16c803153016000000191c16c804153c160000001502193c48016d1504001504\
    2500180474696d6525144c8c111c2c000000000015082502180576616c756500161c192c192c26001c1504193500061019180474696d\
    651502160e16b80116b201268a012608292c15041500150200150015101502000016840515160026001c150819350006101918057661\
    6c75651502160e168401168c01268a0226ba01292c150415001502001500151015020000169a0515160016bc02160e260816be021400\
    00192c26001c1504193500061019180474696d651502160e16b80116b20126c80326c602292c15041500150200150015101502000016\
    b00515160026001c1508193500061019180576616c75651502160e168401168c0126c80426f803292c15041500150200150015101502\
    000016c60515160016bc02160e26c60216be02140200280174192c1c00002c0000003c01000050415231";

/// `time`, INT32, and `stage`, text that may be missing: the same with gzip and pages of version 2.
const STAGES: &str = "\
    5041523115041538154c4c150e15001200001f8b08000000000000fffbfbffffff7fff21800108188198098899811800b3d5901a1c00\
    00001506150a150a5c150e1500150e151015001500120000030388c61a1504152215404c150615001200001f8b08000000000000ff63\
    646060086702127e8660d2080071796d0f110000001506150c150c5c150e1502150e1510150415001200000377020340091504153815\
    4e4c150e15001200001f8b08000000000000ff6361606060056236206607620e20e604622e200600f490a0611c0000001506150a150a\
    5c150e1500150e151015001500120000030388c61a1504152415464c150615001200001f8b08000000000000ff63626060f033620692\
    41aebe8c402a1c001bd6cf82120000001506150c150c5c150e1502150e15101504150012000003770203500a191c1670153616000000\
    191c168202153816000000191c16a403153616000000191c16bc041538160000001504193c48016d15040015022500180474696d6500\
    150c250218057374616765250000161c192c192c26001c1502193500061019180474696d651504160e168a01169e0126702608292c15\
    041500150200150615101502000016f40415140026001c150c193500061019180573746167651504160e167616940126820226a60129\
    2c150415001502001506151015020000168805151600168002160e260816b202140000192c26001c1502193500061019180474696d65\
    1504160e168a0116a00126a40326ba02292c150415001502001506151015020000169e0515160026001c150c19350006101918057374\
    6167651504160e1678169a0126bc0426da03292c15041500150200150615101502000016b405151600168202160e26ba0216ba021402\
    00280174192c1c00001c0000003001000050415231";

/// `time` and `x`, DOUBLE, neither missing: not packed, no dictionaries, pages of version 2.
const PLAIN: &str = "\
    504152311506157015705c150e1500150e1500150015001200000000000000000000000000000000e03f000000000000f03f00000000\
    0000f83f0000000000000040000000000000044000000000000008401506157015705c150e1500150e15001500150012000000000000\
    00000000000000000000e03f000000000000f03f000000000000f83f0000000000000040000000000000044000000000000008401506\
    157015705c150e1500150e1500150015001200000000000000000c400000000000001040000000000000124000000000000014400000\
    00000000164000000000000018400000000000001a401506157015705c150e1500150e1500150015001200000000000000000c400000\
    00000000104000000000000012400000000000001440000000000000164000000000000018400000000000001a40191c1608159c0116\
    000000191c16a401159c0116000000191c16c002159c0116000000191c16dc03159c01160000001504193c48016d150400150a250018\
    0474696d6500150a250018017800161c192c192c26001c150a1925000619180474696d651500160e169c01169c012608491c15061500\
    1502000016f80415160026001c150a19250006191801781500160e169c01169c0126a401491c1506150015020000168e0515180016b8\
    02160e260816b802140000192c26001c150a1925000619180474696d651500160e169c01169c0126c002491c150615001502000016a6\
    0515180026001c150a19250006191801781500160e169c01169c0126dc03491c150615001502000016be0515180016b802160e26c002\
    16b802140200280174192c2c00002c000000f900000050415231";

const TOML: &str = "person = \"anna\"\nstart = 1773090000\n[streams.hr]\ntime = \"unix\"\n";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn files_of_another_implementation_are_read() {
    let dir = folder();
    put(&dir, "recording.toml", TOML);
    put(&dir, "hr.parquet", bytes(HR));
    let anna = plain::load(dir.path()).unwrap().remove(0);
    let hr = &anna.streams[&StreamKind::Hr];
    let there: Vec<usize> = (0..14).filter(|i| i % 7 != 3).collect();
    // Within rounding of a time in microseconds since 1970.
    let times: Vec<f64> = hr.times().iter().map(|time| (time * 1e5).round() / 1e5).collect();
    assert_eq!(times, there.iter().map(|i| *i as f64 * 5.0).collect::<Vec<_>>());
    assert_eq!(hr.values(), there.iter().map(|i| 60.0 + (i % 7) as f32 * 0.25).collect::<Vec<_>>());
    assert_eq!(hr.rejected(), 2);

    let toml = "person = \"anna\"\n[streams.ibi]\nfile = \"x.parquet\"\n[labels]\nfile = \"s.parquet\"\n";
    put(&dir, "recording.toml", toml);
    put(&dir, "x.parquet", bytes(PLAIN));
    put(&dir, "s.parquet", bytes(STAGES));
    // Its first stage begins three seconds before the recording: the file was read, and its values are judged like any.
    assert_eq!(
        fault(&dir, plain::load(dir.path())),
        "s.parquet:2: -3 s is not at the beginning of a 30-s epoch"
    );
    put(&dir, "recording.toml", toml.split("[labels]").next().unwrap());
    let ibi = plain::load(dir.path()).unwrap().remove(0).streams.remove(&StreamKind::Ibi).unwrap();
    assert_eq!((ibi.times(), ibi.rejected()), (&[0.5, 1.0, 1.5, 2.0, 2.5, 3.0][..], 8));
    assert_eq!(ibi.times().iter().map(|time| *time as f32).collect::<Vec<_>>(), ibi.values());
}

#[test]
fn decimals_are_the_numbers_that_they_say() {
    let dir = folder();
    put(&dir, "recording.toml", "person = \"anna\"\n[streams.hr]\n");
    let (times, values) = (Values::Hundredths(&[0, 250, 500]), Values::Hundredths(&[6150, 6225, 6000]));
    put(&dir, "hr.parquet", parquet(&[("time", times), ("bpm", values)]));
    let hr = plain::load(dir.path()).unwrap().remove(0).streams.remove(&StreamKind::Hr).unwrap();
    assert_eq!((hr.times(), hr.values()), (&[0.0, 2.5, 5.0][..], &[61.5, 62.25, 60.0][..]));
}

#[test]
fn times_of_no_zone_are_told_of_and_days_are_no_times() {
    let dir = folder();
    put(&dir, "recording.toml", TOML);
    let bpm: Vec<f64> = (0..1000).map(|i| 60.0 + f64::from(i / 60 % 7)).collect();
    let micros: Vec<i64> = (0..1000).map(|i| 1_773_090_000_000_000 + i * 5_000_000).collect();
    let file = |times| parquet(&[("time", times), ("bpm", Values::Numbers(&bpm))]);
    put(&dir, "hr.parquet", file(Values::Local(&micros)));
    let hr = plain::load(dir.path()).unwrap().remove(0).streams.remove(&StreamKind::Hr).unwrap();
    assert!((hr.times()[999] - 4995.0).abs() < 1e-6);
    let looked = inspect(dir.path(), &NightRules::default());
    let note = looked.findings.iter().find(|finding| finding.what.contains("no zone")).unwrap();
    assert!(note.severity == Severity::Note && note.path.ends_with("hr.parquet"), "{note:?}");
    put(&dir, "hr.parquet", file(Values::Days(&[20_521; 1000])));
    assert_eq!(
        fault(&dir, plain::load(dir.path())),
        "hr.parquet: column \"time\" has dates without a time of day: write seconds since the start, or timestamps"
    );
}

#[test]
fn columns_are_found_gzipped_too() {
    let dir = folder();
    put(&dir, "recording.toml", "person = \"anna\"\n[streams.hr]\n");
    let (times, values) = (Values::Numbers(&[0.0, 5.0]), Values::Numbers(&[61.0, 62.0]));
    put_gz(&dir, "hr.parquet", parquet(&[("time", times), ("bpm", values)]));
    let hr = plain::load(dir.path()).unwrap().remove(0).streams.remove(&StreamKind::Hr).unwrap();
    assert_eq!(hr.values(), [61.0, 62.0]);
}

#[test]
fn damage_never_panics_and_always_names_the_file() {
    let dir = folder();
    put(&dir, "recording.toml", TOML);
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    for whole in [HR, STAGES, PLAIN].map(bytes) {
        for length in (0..whole.len()).step_by(3) {
            put(&dir, "hr.parquet", &whole[..length]);
            let wrong = fault(&dir, plain::load(dir.path()));
            assert!(wrong.starts_with("hr.parquet: no Parquet file, or cut off"), "{length} bytes: {wrong}");
        }
        for _ in 0..500 {
            let mut bytes = whole.clone();
            for _ in 0..chance.random_range(1..6) {
                let at = chance.random_range(0..bytes.len());
                bytes[at] = if chance.random() {
                    chance.random()
                } else {
                    bytes[at] ^ 1 << chance.random_range(0..8)
                };
            }
            put(&dir, "hr.parquet", &bytes);
            if let Err(error) = plain::load(dir.path()) {
                assert!(error.to_string().contains("hr.parquet"), "{error}");
            }
        }
    }
}

#[test]
fn a_night_of_columns_is_a_night_of_lines() {
    let seconds: Vec<f64> = (0..1000).map(|i| f64::from(i) * 5.0).collect();
    let bpm: Vec<f64> = (0..1000).map(|i| 60.0 + f64::from(i / 60 % 7)).collect();
    let epochs: Vec<f64> = (0..160).map(|i| f64::from(i) * 30.0).collect();
    let stages: Vec<&str> = (0..160).map(|i| ["W", "N1", "N2", "N3", "REM"][i / 8 % 5]).collect();
    let toml = "person = \"anna\"\n[streams.hr]\n[labels]\nfile = \"stages.parquet\"\n";
    let dir = folder();
    put(&dir, "recording.toml", toml);
    put(&dir, "hr.parquet", parquet(&[("time", Values::Numbers(&seconds)), ("bpm", Values::Numbers(&bpm))]));
    put(
        &dir,
        "stages.parquet",
        parquet(&[("time", Values::Numbers(&epochs)), ("stage", Values::Words(&stages))]),
    );
    let anna = plain::load(dir.path()).unwrap().remove(0);
    assert_eq!((anna.streams[&StreamKind::Hr].times(), anna.labels.len()), (&seconds[..], 160));
    assert_eq!((anna.labels[8], anna.labels[39]), (Some(Stage::N1), Some(Stage::Rem)));
    let looked = || inspect(dir.path(), &NightRules::default());
    assert_eq!(looked().layout, Some(Layout::Plain));
    assert!(looked().is_sound(), "{:?}", looked().findings);

    // What `check` finds in lines it finds in rows.
    let hertz: Vec<f64> = bpm.iter().map(|bpm| bpm / 60.0).collect();
    put(
        &dir,
        "hr.parquet",
        parquet(&[("time", Values::Numbers(&seconds)), ("bpm", Values::Numbers(&hertz))]),
    );
    let harm = |severity| {
        let findings = looked().findings.into_iter();
        findings
            .filter(|finding| finding.path.ends_with("hr.parquet"))
            .find(|f| f.severity == severity)
            .unwrap()
    };
    let unit = harm(Severity::Harms);
    assert!(
        unit.path.ends_with("hr.parquet") && unit.line == Some(2) && unit.remedy.contains("hz"),
        "{unit:?}"
    );
    let whole = parquet(&[("time", Values::Numbers(&seconds)), ("bpm", Values::Numbers(&bpm))]);
    put(&dir, "hr.parquet", &whole[..whole.len() / 2]);
    let cut = harm(Severity::Stops);
    assert!(cut.what.contains("cut off") && cut.remedy.contains("copy it again"), "{cut:?}");
    put(&dir, "hr.parquet", "");
    assert!(harm(Severity::Stops).what.contains("no Parquet file"));
}
