//! A recording becomes a night: one feature block per stream, and the rules that admit the night.

mod activity;
mod heart;
mod ibi;
mod posture;
mod scale;

use std::collections::BTreeMap;

pub(crate) use heart::BRIDGED_SECONDS;

use crate::recording::EPOCH_SECONDS;
use crate::{Excluded, Features, Night, NightRules, Quality, Recording, Stream, StreamKind};

/// Turns a recording into a night of features, or says why it must be left out.
///
/// Features per epoch (stream: width):
///
/// * `hr`: 12. Six 5-s mean heart rates minus the night's median, over the night's 90th percentile
///   of absolute deviation (at least 1 bpm), clipped to ±5; then the same six as (bpm − 60)/10.
/// * `ibi`: 6. Variability over five minutes ([`crate::NormalIntervals::variability`]), at least half of them covered: log
///   RMSSD, log SDNN, mean interval, log LF, log HF, each relative to the night as heart rate is; then pNN50.
/// * `activity`: 2. log(1 + count) of the two 15-s counts.
/// * `posture`: 4. The change, norm of the difference to the previous epoch's mean (g), then x, y, z (g).
///
/// What is relative to the night, and whether windows reach beyond their epoch, is up to [`crate::Normalisation`]. Other streams are
/// carried by the recording and have no features; [`crate::derive`] makes streams with features of them. A stream whose epoch is not
/// measured is `present = false` there and zero; only short gaps are bridged. Source: METHODS E.2 of the
/// project (the learnt whole-night net on the Walch 2019 set).
///
/// # Errors
/// [`Excluded`] when the night is too short, has too little heart rate or too few scored epochs.
pub fn prepare(recording: &Recording, rules: &NightRules) -> Result<Night, Excluded> {
    let exclude = |reason: String| Excluded { id: recording.id(), reason };
    let epochs = recording.epochs();
    if epochs < rules.min_epochs.max(1) {
        return Err(exclude(format!(
            "the night has {epochs} epochs of 30 s, fewer than {}",
            rules.min_epochs.max(1)
        )));
    }

    let mut features = BTreeMap::new();
    let mut quality = Quality::default();
    for (kind, stream) in &recording.streams {
        let Some(extracted) = extract(stream, epochs, rules) else {
            continue;
        };
        quality.coverage.insert(*kind, extracted.coverage());
        quality.rejected.insert(*kind, stream.rejected());
        features.insert(*kind, extracted);
    }
    quality.scored = recording.labels.iter().flatten().count();
    quality.longest_hr_gap_min =
        features.get(&StreamKind::Hr).map_or(epochs as f32, |hr| longest_gap(&hr.present) as f32)
            * (EPOCH_SECONDS / 60.0) as f32;
    check(&quality, rules).map_err(exclude)?;

    Ok(Night {
        person: recording.person.clone(),
        name: recording.name.clone(),
        epochs,
        features,
        time: (0..epochs).map(|e| (e as f64 * EPOCH_SECONDS / 3600.0) as f32).collect(),
        stages: recording.labels.clone(),
        normalisation: rules.normalisation,
        quality,
    })
}

fn extract(stream: &Stream, epochs: usize, rules: &NightRules) -> Option<Features> {
    let mode = rules.normalisation;
    match stream.kind() {
        StreamKind::Hr => Some(heart::features(stream, epochs, mode)),
        StreamKind::Activity => Some(activity::features(stream, epochs, mode.view())),
        StreamKind::Posture => Some(posture::features(stream, epochs, mode.view())),
        StreamKind::Ibi => Some(ibi::features(stream, epochs, mode)),
        StreamKind::Accel | StreamKind::Ecg | StreamKind::Ppg => None,
    }
}

fn check(quality: &Quality, rules: &NightRules) -> Result<(), String> {
    let rejected = quality.rejected.get(&StreamKind::Hr).copied().unwrap_or(0);
    match quality.coverage.get(&StreamKind::Hr) {
        None if rules.min_hr_coverage > 0.0 => return Err("no heart rate was recorded".into()),
        Some(coverage) if *coverage < rules.min_hr_coverage => {
            let blame = match rejected {
                0 => String::new(),
                n => format!(" ({n} samples were implausible or repeated)"),
            };
            return Err(format!(
                "heart-rate coverage is {:.0} % of epochs, below {:.0} %{blame}",
                coverage * 100.0,
                rules.min_hr_coverage * 100.0
            ));
        }
        _ => {}
    }
    match quality.scored {
        0 if rules.require_labels => Err("no epoch was scored".into()),
        n if n > 0 && n < rules.min_scored => {
            Err(format!("{n} epochs were scored, fewer than {}", rules.min_scored))
        }
        _ => Ok(()),
    }
}

/// The longest run of `false`.
fn longest_gap(present: &[bool]) -> usize {
    let runs = present.split(|p| *p).map(<[bool]>::len);
    runs.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Normalisation, PersonId, Stage};

    fn recording(epochs: usize, hr_epochs: usize) -> Recording {
        let times: Vec<f64> = (0..hr_epochs * 6).map(|i| i as f64 * 5.0 + 1.0).collect();
        let bpm = times.iter().map(|t| 60.0 + (t / 600.0) as f32).collect();
        let hr = Stream::new(StreamKind::Hr, times, bpm);
        Recording {
            person: PersonId::new("p").unwrap(),
            name: "night".into(),
            streams: BTreeMap::from([(StreamKind::Hr, hr)]),
            labels: vec![Some(Stage::N2); epochs],
        }
    }

    #[test]
    fn rules_exclude_with_a_reason() {
        let rules = NightRules::default();
        let night = prepare(&recording(200, 200), &rules).unwrap();
        assert_eq!((night.epochs, night.time.len(), night.stages.len()), (200, 200, 200));
        assert_eq!(night.time[120], 1.0);

        let reason = |r: &Recording, rules: &NightRules| prepare(r, rules).unwrap_err().reason;
        let short = reason(&recording(100, 100), &rules);
        assert_eq!(short, "the night has 100 epochs of 30 s, fewer than 120");
        let silent = reason(&recording(200, 44), &rules);
        assert!(silent.starts_with("heart-rate coverage is 22 %"), "{silent}");

        let mut without = recording(200, 200);
        without.streams.clear();
        assert_eq!(reason(&without, &rules), "no heart rate was recorded");
        let tolerant = NightRules { min_hr_coverage: 0.0, ..NightRules::default() };
        assert!(prepare(&without, &tolerant).unwrap().features.is_empty());

        let mut few = recording(200, 200);
        few.labels[10..].fill(None);
        assert_eq!(reason(&few, &rules), "10 epochs were scored, fewer than 60");
        few.labels.fill(None);
        assert!(!prepare(&few, &rules).unwrap().is_labelled());
        let strict = NightRules { require_labels: true, ..rules };
        assert_eq!(reason(&few, &strict), "no epoch was scored");
    }

    #[test]
    fn gaps_are_measured() {
        assert_eq!(longest_gap(&[true, false, false, true, false]), 2);
        assert_eq!(longest_gap(&[true, true]), 0);
        let night = prepare(&recording(200, 150), &NightRules::default()).unwrap();
        assert!((24.0..=25.0).contains(&night.quality.longest_hr_gap_min));
    }

    #[test]
    fn a_causal_night_does_not_know_the_future() {
        let config = crate::synthetic::SyntheticConfig { people: 1, ..Default::default() };
        let mut whole = crate::synthetic::recordings(&config).swap_remove(0);
        let hr = whole.streams[&StreamKind::Hr].clone();
        let beats = hr.values().iter().cycle().scan(0.0, |t, bpm| {
            *t += 60.0 / f64::from(*bpm);
            Some(*t)
        });
        let end = whole.epochs() as f64 * EPOCH_SECONDS;
        let ibi = crate::intervals(&beats.take_while(|t| *t < end).collect::<Vec<_>>());
        whole.streams.insert(StreamKind::Ibi, ibi);
        let cut = 150;
        let mut other = whole.clone();
        for (kind, stream) in &mut other.streams {
            // Another future: the past turned around, from the very end of epoch 149 on.
            let known = stream.within(f64::NEG_INFINITY, cut as f64 * EPOCH_SECONDS).end;
            let mut values = stream.values()[..known * kind.channels()].to_vec();
            values.extend(stream.values()[known * kind.channels()..].iter().rev());
            *stream = Stream::new(*kind, stream.times().to_vec(), values);
        }
        let differ = |normalisation, kind: StreamKind| {
            let rules = NightRules { normalisation, min_hr_coverage: 0.0, ..NightRules::default() };
            let nights = [&whole, &other].map(|r| prepare(r, &rules).unwrap());
            assert!(nights.iter().all(|n| n.normalisation == normalisation));
            let [a, b] = nights.map(|mut n| n.features.remove(&kind).unwrap());
            assert!(a.present[cut - 1], "{kind}");
            let width = a.width;
            let past = a.values[..cut * width] != b.values[..cut * width];
            let present = a.present[..cut] != b.present[..cut];
            assert_ne!(a.values[cut * width..], b.values[cut * width..], "{kind}: another future");
            past || present
        };
        for kind in [StreamKind::Hr, StreamKind::Ibi, StreamKind::Activity, StreamKind::Posture] {
            assert!(!differ(Normalisation::Causal, kind), "{kind}");
        }
        assert!(differ(Normalisation::WholeNight, StreamKind::Ibi), "or the test shows nothing");
    }

    #[test]
    fn rules_refuse_unknown_fields() {
        assert!(serde_json::from_str::<NightRules>("{\"min_hr_coverage\":0.5}").is_ok());
        let unknown = serde_json::from_str::<NightRules>("{\"min_hr_coverag\":0.5}");
        assert!(unknown.unwrap_err().to_string().contains("min_hr_coverag"));
    }
}
