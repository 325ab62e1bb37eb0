//! What is made of raw signals, end to end.

use std::collections::BTreeMap;
use std::path::Path;

use somnus_signals::{
    NightRules, NormalIntervals, PersonId, Recording, Stream, StreamKind, View, derive, prepare,
    signal_quality, slpdb, synthetic,
};

use crate::wfdb;

#[test]
fn an_ecg_alone_has_heart_rate_and_its_variability() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mitdb"));
    if !dir.is_dir() {
        println!("SKIPPED an_ecg_alone_has_heart_rate_and_its_variability: {} is absent", dir.display());
        return;
    }
    let lead = wfdb::lead_0(dir, "103");
    // Five minutes of the half hour were lost.
    let kept = (0..lead.len()).filter(|i| !(600.0..900.0).contains(&lead.time(*i as f64)));
    let (times, values) = kept.map(|i| (lead.time(i as f64), lead.samples[i])).unzip();
    let ecg = Stream::new(StreamKind::Ecg, times, values);
    let quality = signal_quality(&ecg, 60).unwrap();
    println!("quality {quality:.2?}");
    assert!(quality[20..30].iter().all(|q| *q == 0.0));
    let good = quality.iter().filter(|q| **q > 0.9).count();
    assert!(good >= 48, "{good} epochs of 50 are good");
    let recording = derive(Recording {
        person: PersonId::new("103").unwrap(),
        name: "night".into(),
        streams: BTreeMap::from([(StreamKind::Ecg, ecg)]),
        labels: vec![None; 60],
    });
    let hr = &recording.streams[&StreamKind::Hr];
    assert!(hr.within(600.0, 900.0).is_empty());

    let annotated = somnus_signals::intervals(&wfdb::beats(dir, "103"));
    let reference = NormalIntervals::of(&annotated, View::Around).heart_rate(1.0);
    let mut errors: Vec<f32> = hr
        .times()
        .iter()
        .zip(hr.values())
        .filter_map(|(t, bpm)| {
            let (i, away) = reference.nearest(*t)?;
            (away == 0.0).then(|| (reference.values()[i] - bpm).abs())
        })
        .collect();
    errors.sort_by(f32::total_cmp);
    // Annotations lie on the complex to within a few samples, peaks on its top.
    let [middle, high] = [0.5, 0.99].map(|q| errors[(errors.len() as f64 * q) as usize]);
    println!(
        "heart rate from R peaks: {middle:.2} bpm off in the median, {high:.2} in 1 % of {} s",
        errors.len()
    );
    assert!(errors.len() > 1450 && middle < 0.5 && high < 3.0);

    let rules = NightRules { min_epochs: 60, ..NightRules::default() };
    let night = prepare(&recording, &rules).unwrap();
    assert_eq!(night.features.keys().copied().collect::<Vec<_>>(), [StreamKind::Hr, StreamKind::Ibi]);
    assert!((0.80..0.84).contains(&night.quality.coverage[&StreamKind::Hr]), "{:?}", night.quality);
}

#[test]
fn what_was_recorded_is_never_replaced() {
    let config = synthetic::SyntheticConfig { people: 1, ..Default::default() };
    let mut recording = synthetic::recordings(&config).swap_remove(0);
    assert_eq!(derive(recording.clone()), recording);

    // Acceleration at 1 Hz stands in for the two streams that are gone, and only for them.
    let n = recording.epochs() * 30;
    let times = (0..n).map(|i| i as f64).collect();
    let values = (0..n).flat_map(|i| [0.0, 0.0, if i % 900 < 30 { 0.8 } else { 1.0 }]).collect();
    recording.streams.insert(StreamKind::Accel, Stream::new(StreamKind::Accel, times, values));
    recording.streams.remove(&StreamKind::Activity);
    let derived = derive(recording.clone());
    assert_eq!(derived.streams[&StreamKind::Posture], recording.streams[&StreamKind::Posture]);
    assert_eq!(derived.streams[&StreamKind::Activity].len(), recording.epochs() * 2);
}

#[test]
fn beats_alone_are_enough_for_the_people_of_slpdb() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/slpdb"));
    if !dir.is_dir() {
        println!("SKIPPED beats_alone_are_enough_for_the_people_of_slpdb: {} is absent", dir.display());
        return;
    }
    for recording in slpdb::load(dir).unwrap() {
        let night = prepare(&derive(recording), &NightRules::default()).unwrap();
        println!("{:8} {} epochs {:?}", night.id(), night.epochs, night.quality);
        assert!([StreamKind::Hr, StreamKind::Ibi].iter().all(|kind| night.quality.coverage[kind] > 0.95));
        assert!(night.features.values().all(|f| f.values.iter().all(|v| v.is_finite())));
    }
}
