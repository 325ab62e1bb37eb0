use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_signals::edf::{self, Edf, Kind, Role};
use somnus_signals::{Layout, NightRules, PersonId, Stage, StreamKind, derive, prepare};

use super::{fault, folder, put, put_gz};
use crate::edf_file::{EdfFile, Signal};

fn read(bytes: &[u8]) -> Result<Edf, String> {
    let dir = folder();
    put(&dir, "a.edf", bytes);
    edf::read(&dir.path().join("a.edf"), |_, _| true)
        .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

fn signal(label: &str, unit: &str, samples: usize, values: Vec<f64>) -> Signal {
    Signal {
        label: label.into(),
        unit: unit.into(),
        physical: (-5.0, 5.0),
        digital: (-32_768, 32_767),
        samples,
        values,
    }
}

fn files() -> impl Strategy<Value = EdfFile> {
    let channel = ("[A-Z]{1,8}", 1..20usize, -1000..0i32, 1..1000i32, -2000..0i16, 1..2000i16, any::<bool>());
    let annotation = (0..4000u32, prop::option::of(0..600u32), "[a-zA-Z ?é]{1,12}");
    (
        prop::collection::vec(channel, 1..4),
        prop::collection::vec(annotation, 0..6),
        0..8usize,
        1..40u32,
        0..3usize,
        prop::collection::vec(0..100u32, 8),
        any::<u64>(),
    )
        .prop_map(|(channels, annotations, count, tenths, kind, breaks, seed)| {
            let mut chance = ChaCha8Rng::seed_from_u64(seed);
            let seconds = f64::from(tenths) / 8.0;
            let broken =
                |k: usize| if kind == 2 { breaks[..k].iter().map(|b| f64::from(*b)).sum() } else { 0.0 };
            let signals = channels.into_iter().map(|(label, samples, low, high, least, most, turned)| {
                let physical = if turned {
                    (f64::from(high), f64::from(low))
                } else {
                    (f64::from(low), f64::from(high))
                };
                let values = (0..samples * count)
                    .map(|_| chance.random_range(f64::from(low)..=f64::from(high)))
                    .collect();
                Signal { label, unit: "uV".into(), physical, digital: (least, most), samples, values }
            });
            EdfFile {
                signals: signals.collect(),
                reserved: ["", "EDF+C", "EDF+D"][kind].into(),
                seconds,
                records: (0..count).map(|k| k as f64 * seconds + broken(k)).collect(),
                annotations: annotations
                    .into_iter()
                    .map(|(onset, duration, text)| {
                        (f64::from(onset) / 8.0, duration.map(|d| f64::from(d) / 8.0), text)
                    })
                    .collect(),
                ..EdfFile::hr(0)
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read(file in files()) {
        let read = read(&file.bytes()).unwrap();
        let kind = match &file.reserved[..] {
            "" => Kind::Edf,
            "EDF+C" => Kind::Continuous,
            _ => Kind::Discontinuous,
        };
        prop_assert_eq!((read.header.kind, read.header.records), (kind, Some(file.records.len())));
        prop_assert_eq!(&read.records, &file.records);
        for (i, signal) in file.signals.iter().enumerate() {
            prop_assert_eq!((&read.header.signals[i].label, read.header.signals[i].samples), (&signal.label, signal.samples));
            let values = &read.signals[&i];
            prop_assert_eq!(values.len(), signal.values.len());
            let steps = f64::from(signal.digital.1) - f64::from(signal.digital.0);
            let step = (signal.physical.1 - signal.physical.0).abs() / steps;
            for (value, written) in values.iter().zip(&signal.values) {
                prop_assert!((f64::from(*value) - written).abs() <= 0.5001 * step + 1e-4, "{value} {written} {step}");
            }
            let times = read.times(i);
            prop_assert_eq!(times.len(), values.len());
            prop_assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
        }
        // An EDF without the plus has no place for text, and a file without records for anything.
        let said = if kind == Kind::Edf || file.records.is_empty() { 0 } else { file.annotations.len() };
        prop_assert_eq!(read.annotations.len(), said);
        for annotation in &read.annotations {
            let same = |(onset, duration, text): &(f64, Option<f64>, String)| {
                *onset == annotation.onset && *duration == annotation.duration && text.trim() == annotation.text
            };
            prop_assert!(file.annotations.iter().any(same), "{annotation:?}");
        }
    }

    #[test]
    fn every_file_that_was_cut_off_or_goes_on_is_refused(file in files(), part in 0.0..1.0f64) {
        let bytes = file.bytes();
        let cut = (bytes.len() as f64 * part) as usize;
        let wrong = read(&bytes[..cut]).unwrap_err();
        prop_assert!(wrong.starts_with("a.edf: cut off"), "{wrong}");
        let longer = [&bytes[..], &[0, 0]].concat();
        prop_assert!(read(&longer).unwrap_err().contains("there are bytes behind data record"));
    }

    #[test]
    fn damage_never_panics_and_always_names_the_file(file in files(), seed in any::<u64>(), hits in 1..24usize) {
        let mut bytes = file.bytes();
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..hits {
            // Headers are small beside records and decide more.
            let end = if chance.random_bool(0.7) { bytes.len().min(1024) } else { bytes.len() };
            let at = chance.random_range(0..end);
            bytes[at] = match chance.random_range(0..3) {
                0 => chance.random(),
                1 => b"0123456789-+. "[chance.random_range(0..14)],
                _ => bytes[at] ^ 1 << chance.random_range(0..8),
            };
        }
        let dir = folder();
        put(&dir, "a.edf", &bytes);
        if let Err(error) = Layout::Edf.load(dir.path()) {
            let dir = dir.path().display().to_string();
            prop_assert!(error.to_string().contains(&dir), "{error}");
        }
    }
}

#[test]
fn a_header_that_promises_much_takes_no_memory() {
    let mut file = EdfFile::hr(60);
    file.signals[0].samples = 30;
    let mut bytes = file.bytes();
    let place = 256 + 216 * 2;
    bytes[place..place + 8].copy_from_slice(b"30000000");
    let wrong = read(&bytes).unwrap_err();
    assert!(wrong.starts_with("a.edf: cut off in data record 1 of 2: it ends at byte "), "{wrong}");
    bytes[place..place + 8].copy_from_slice(b"99999999");
    assert!(read(&bytes).unwrap_err().contains("by its header a data record has"));
}

#[test]
fn each_wrong_field_is_named_by_its_byte() {
    let good = EdfFile::hr(60).bytes();
    let wrong = |at: usize, text: &str| {
        let mut bytes = good.clone();
        bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        read(&bytes).unwrap_err()
    };
    assert_eq!(wrong(0, "1"), "a.edf: this is no EDF file: its first field, the version, is not 0");
    assert_eq!(
        wrong(168, "31.02.26"),
        "a.edf: header bytes 168 to 183 (start date and time): \"31.02.26\" is no day"
    );
    assert_eq!(
        wrong(184, "512     "),
        "a.edf: header bytes 184 and 252: 512 bytes of header for 2 signals, where 768 would be right"
    );
    assert_eq!(
        wrong(236, "two     "),
        "a.edf: header byte 236 (number of data records): \"two\" is not a number"
    );
    assert_eq!(wrong(236, "-2      "), "a.edf: header byte 236 (number of data records): -2 is no count");
    let open = wrong(236, "-1      ");
    assert!(
        open.contains("was never closed")
            && open.contains("2 whole ones are here")
            && open.contains("write 2 into"),
        "{open}"
    );
    assert_eq!(
        wrong(244, "0       "),
        "a.edf: header byte 244 (seconds of a data record): 0 s, and there are signals"
    );
    assert!(
        wrong(688, "-3      ").contains("header byte 688 (samples in each data record of \"Heart rate\")")
    );
    // A line break in how a signal was filtered is nobody's trouble.
    let mut odd = good.clone();
    odd[530] = b'\n';
    assert!(read(&odd).is_ok());
    assert_eq!(read(b"").unwrap_err(), "a.edf: cut off: 0 of 256 bytes of the header are here");
    assert_eq!(
        read(b"\xffBIOSEMI and so on, as long as a header is at the very least: \
               ....................................................................................................\
               ....................................................................................................")
            .unwrap_err(),
        "a.edf: BDF, whose samples have 24 bits, is not read: convert it to EDF"
    );
}

#[test]
fn records_out_of_order_are_named() {
    let mut file = EdfFile::hr(120);
    file.records = vec![0.0, 60.0, 30.0, 90.0];
    let wrong = read(&file.bytes()).unwrap_err();
    let shuffled = "a.edf: data record 2: it says that it begins at 60 s, after the one before at 30 s: records were shuffled, or some are missing";
    assert_eq!(wrong, shuffled);
    file.reserved = "EDF+D".into();
    let wrong = read(&file.bytes()).unwrap_err();
    assert_eq!(
        wrong,
        "a.edf: data record 3: it says that it begins at 30 s, and the one before ends at 90 s: records were shuffled"
    );
}

#[test]
fn an_interrupted_recording_keeps_its_gap() {
    let mut file = EdfFile::hr(120);
    file.reserved = "EDF+D".into();
    file.records = vec![0.0, 30.0, 3630.0, 3660.0];
    let dir = folder();
    put(&dir, "anna.edf", file.bytes());
    let anna = Layout::Edf.load(dir.path()).unwrap().remove(0);
    let times = anna.streams[&StreamKind::Hr].times().to_vec();
    assert_eq!((times[59], times[60], anna.epochs()), (59.0, 3630.0, 123));
}

#[test]
fn stages_from_another_file_stand_on_the_clock_of_the_signals() {
    let texts =
        ["Sleep stage W", "Sleep stage 2", "Sleep stage 4", "Sleep stage R", "Sleep stage M", "Lights on"];
    let mut scoring = EdfFile::stages(&texts, 60.0);
    scoring.time = "22.01.00".into();
    let dir = folder();
    put_gz(&dir, "anna+2026-03-09.EDF", EdfFile::hr(600).bytes());
    put(&dir, "anna+2026-03-09-Hypnogram.edf", scoring.bytes());
    put(&dir, "bert.edf", EdfFile::hr(600).bytes());
    assert_eq!(Layout::detect(dir.path()).unwrap(), Layout::Edf);
    let all = Layout::Edf.load(dir.path()).unwrap();
    let ids: Vec<_> = all.iter().map(|recording| recording.id()).collect();
    assert_eq!(ids, ["anna/2026-03-09", "bert"]);
    let (w, n2, n3, rem) = (Some(Stage::Wake), Some(Stage::N2), Some(Stage::N3), Some(Stage::Rem));
    assert_eq!(all[0].labels[..12], [None, None, w, w, n2, n2, n3, n3, rem, rem, None, None]);
    assert_eq!((all[0].labels.len(), all[1].labels.iter().flatten().count()), (20, 0));
    let bert = PersonId::new("bert").unwrap();
    assert_eq!(Layout::Edf.load_person(dir.path(), &bert).unwrap(), all[1..]);
    assert_eq!(Layout::Edf.people(dir.path()).unwrap().len(), 2);
}

#[test]
fn epochs_begin_with_the_first_stage_of_an_edf_plus() {
    let mut file = EdfFile::hr(4200);
    file.annotations = vec![(12.0, None, "Lights off".into())];
    file.annotations
        .extend((0..130).map(|i| (20.0 + f64::from(i) * 30.0, Some(30.0), "Sleep stage N2".into())));
    let dir = folder();
    put(&dir, "anna.edf", file.bytes());
    let anna = Layout::Edf.load(dir.path()).unwrap().remove(0);
    assert_eq!((anna.labels.len(), anna.labels.iter().flatten().count()), (139, 130));
    let hr = &anna.streams[&StreamKind::Hr];
    assert_eq!((hr.times()[0], hr.len()), (0.0, 4180));
    assert!((hr.values()[0] - (60.0 + 10.0 * (20f32 / 300.0).sin())).abs() < 0.01, "{}", hr.values()[0]);
    let night = prepare(&anna, &NightRules::default()).unwrap();
    assert_eq!((night.epochs, night.quality.scored), (139, 130));
}

#[test]
fn beats_come_from_an_ecg_and_gravity_from_three_axes() {
    let seconds = 180;
    // A spike a second, on a slow wave.
    let ecg = |i: usize| {
        let t = i as f64 / 128.0;
        0.1 * (t / 2.0).sin() + 1200.0 * (-((t.fract() - 0.5) / 0.012).powi(2)).exp() / 1000.0
    };
    let mut file =
        EdfFile { seconds: 1.0, records: (0..seconds).map(|k| k as f64).collect(), ..EdfFile::hr(0) };
    let still = |value: f64| vec![value; seconds * 25];
    file.signals = vec![
        signal("EEG Fpz-Cz", "uV", 100, vec![0.0; seconds * 100]),
        signal("ECG II", "mV", 128, (0..seconds * 128).map(ecg).collect()),
        signal("ECG V1", "mV", 128, vec![0.0; seconds * 128]),
        signal("ACC X", "m/s2", 25, still(0.0)),
        signal("ACC Y", "m/s2", 25, still(0.0)),
        signal("ACC Z", "m/s2", 25, still(-4.903_325)),
    ];
    let dir = folder();
    put(&dir, "anna.edf", file.bytes());
    let anna = Layout::Edf.load(dir.path()).unwrap().remove(0);
    let kinds: Vec<_> = anna.streams.keys().copied().collect();
    use StreamKind::{Accel, Activity, Ecg, Hr, Ibi, Posture};
    assert_eq!(kinds, [Hr, Activity, Posture, Accel, Ibi]);
    let ibi = anna.streams[&Ibi].values();
    assert!(ibi.len() > 170 && ibi.iter().all(|interval| (interval - 1.0).abs() < 0.01), "{ibi:?}");
    let accel = anna.streams[&Accel].sample(100);
    assert!((accel[2] + 0.5).abs() < 1e-3 && accel[0].abs() < 1e-3, "{accel:?}");

    let list = edf::list(dir.path()).unwrap();
    let raw = edf::load_files(&list[0]).unwrap();
    assert_eq!(raw.streams.keys().copied().collect::<Vec<_>>(), [Accel, Ecg]);
    let channels = edf::channels(&edf::header(&list[0].signals).unwrap());
    assert!(matches!(&channels[0].role, Role::Unused(reason) if reason.starts_with("only ECG")));
    assert!(matches!(&channels[2].role, Role::Unused(reason) if reason == "\"ECG II\" is used"));
    assert_eq!(channels[6].role, Role::Annotations);
}

#[test]
fn beats_without_the_waveform_are_those_with_it() {
    let seconds = 600;
    let ecg = |i: usize| {
        let t = i as f64 / 128.0;
        0.1 * (t / 2.0).sin() + (-(((t * 1.1).fract() - 0.5) / 0.012).powi(2)).exp()
    };
    let later = |k: usize| k as f64 + if k < 300 { 0.0 } else { 77.0078125 };
    let mut file = EdfFile { seconds: 1.0, records: (0..seconds).map(later).collect(), ..EdfFile::hr(0) };
    file.reserved = "EDF+D".into();
    file.signals = vec![signal("ECG", "mV", 128, (0..seconds * 128).map(ecg).collect())];
    file.annotations = vec![(12.25, Some(30.0), "Sleep stage N2".into())];
    let dir = folder();
    put(&dir, "anna.edf", file.bytes());
    let anna = Layout::Edf.load(dir.path()).unwrap().remove(0);
    let mut whole = derive(edf::load_files(&edf::list(dir.path()).unwrap()[0]).unwrap());
    assert!(whole.streams.remove(&StreamKind::Ecg).is_some());
    assert!(anna.streams[&StreamKind::Ibi].len() > 600);
    assert_eq!(anna, whole);
}

#[test]
fn what_is_not_scored_or_not_inside_need_not_fit() {
    let mut file = EdfFile::hr(600);
    let said = |onset: f64, seconds: f64, text: &str| (onset, Some(seconds), format!("Sleep stage {text}"));
    file.annotations = vec![
        said(0.0, 47.0, "?"),
        said(47.0, 60.0, "W"),
        said(107.0, 13.0, "M"),
        said(137.0, 60.0, "N2"),
        said(590.0, 13.0, "?"),
        said(640.0, 100.0, "W"),
    ];
    let dir = folder();
    put(&dir, "anna.edf", file.bytes());
    let anna = Layout::Edf.load(dir.path()).unwrap().remove(0);
    let (w, n2) = (Some(Stage::Wake), Some(Stage::N2));
    assert_eq!(anna.labels[..7], [None, w, w, None, n2, n2, None]);
    file.annotations.push(said(300.0, 30.0, "W"));
    put(&dir, "anna.edf", file.bytes());
    assert!(fault(&dir, edf::load(dir.path())).contains("the stage at 300 s, of 30 s, does not fit"));
}

#[test]
fn stages_in_records_that_last_no_time_are_read() {
    let mut scoring = EdfFile::stages(&["Sleep stage W", "Sleep stage N2", "Sleep stage R"], 30.0);
    scoring.records = vec![0.0, 30.0, 60.0];
    let read = read(&scoring.bytes()).unwrap();
    assert_eq!((read.header.kind, read.annotations.len()), (Kind::Continuous, 3));
}

#[test]
fn sleep_edf_names_are_people_and_nights() {
    let dir = folder();
    put(&dir, "SC4001E0-PSG.edf", EdfFile::hr(300).bytes());
    put(&dir, "SC4002E0-PSG.edf", EdfFile::hr(300).bytes());
    put(&dir, "SC4001EC-Hypnogram.edf", EdfFile::stages(&["Sleep stage W", "Sleep stage 1"], 150.0).bytes());
    put(&dir, "SC4002EC-Hypnogram.edf", EdfFile::stages(&["Sleep stage 3"], 300.0).bytes());
    let all = Layout::Edf.load(dir.path()).unwrap();
    assert_eq!(all.iter().map(|recording| recording.id()).collect::<Vec<_>>(), ["SC400/1", "SC400/2"]);
    assert_eq!((all[0].labels[5], all[1].labels[0]), (Some(Stage::N1), Some(Stage::N3)));
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let dir = folder();
    put(&dir, "b-stages.edf", EdfFile::stages(&["Sleep stage W"], 30.0).bytes());
    assert_eq!(
        fault(&dir, edf::load(dir.path())).split_once(": ").unwrap().1,
        "no recordings: EDF files with signals were expected"
    );
    put(&dir, "a.edf", EdfFile::hr(300).bytes());
    assert!(fault(&dir, edf::load(dir.path())).starts_with("b-stages.edf: it has annotations alone"));
    put(&dir, "b.edf", EdfFile::hr(300).bytes());
    edf::load(dir.path()).unwrap();
    put(&dir, "b-again.edf", EdfFile::stages(&["Sleep stage W"], 30.0).bytes());
    assert!(fault(&dir, edf::load(dir.path())).contains("has annotations of the same recording"));
    std::fs::remove_file(dir.path().join("b-again.edf")).unwrap();
    let mut other = EdfFile::stages(&["Sleep stage W"], 30.0);
    other.date = "10.03.26".into();
    put(&dir, "b-stages.edf", other.bytes());
    assert!(
        fault(&dir, edf::load(dir.path()))
            .starts_with("b-stages.edf: its stages begin 1440 min after the signals")
    );
    put(&dir, "b-stages.edf", EdfFile::stages(&["Sleep stage 7"], 30.0).bytes());
    assert!(
        fault(&dir, edf::load(dir.path()))
            .starts_with("b-stages.edf: the annotation \"Sleep stage 7\" is no stage")
    );
    put(&dir, "who is this.edf", EdfFile::hr(300).bytes());
    assert!(fault(&dir, edf::load(dir.path())).contains("is not a person's id"));
}
