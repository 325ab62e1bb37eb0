//! A recording becomes a night: one feature block per stream, and the rules that admit the night.

mod activity;
mod heart;
mod posture;

use std::collections::BTreeMap;

use crate::recording::EPOCH_SECONDS;
use crate::{Excluded, Features, Night, NightRules, Quality, Recording, Stream, StreamKind};

/// Turns a recording into a night of features, or says why it must be left out.
///
/// Features per epoch (stream: width):
///
/// * `hr`: 12. Six 5-s mean heart rates minus the night's median, over the night's 90th percentile
///   of absolute deviation (at least 1 bpm), clipped to ±5; then the same six as (bpm − 60)/10.
/// * `activity`: 2. log(1 + count) of the two 15-s counts.
/// * `posture`: 4. The change, norm of the difference to the previous epoch's mean (g), then x, y, z (g).
///
/// Other streams are carried by the recording and have no features yet. A stream whose epoch is not
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
        quality,
    })
}

fn extract(stream: &Stream, epochs: usize, rules: &NightRules) -> Option<Features> {
    match stream.kind() {
        StreamKind::Hr => Some(heart::features(stream, epochs, rules.normalisation)),
        StreamKind::Activity => Some(activity::features(stream, epochs)),
        StreamKind::Posture => Some(posture::features(stream, epochs)),
        StreamKind::Accel | StreamKind::Ibi | StreamKind::Ecg | StreamKind::Ppg => None,
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
    use crate::{PersonId, Stage};

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
    fn rules_refuse_unknown_fields() {
        assert!(serde_json::from_str::<NightRules>("{\"min_hr_coverage\":0.5}").is_ok());
        let unknown = serde_json::from_str::<NightRules>("{\"min_hr_coverag\":0.5}");
        assert!(unknown.unwrap_err().to_string().contains("min_hr_coverag"));
    }
}
