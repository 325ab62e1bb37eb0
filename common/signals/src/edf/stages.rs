//! Stages among annotations.

use super::annotations::Annotation;
use crate::recording::EPOCH_SECONDS;
use crate::table::shorten;
use crate::{Stage, natural_order};

/// What EDF+ puts before a stage's name.
const PREFIX: &str = "sleep stage ";
/// A stage may begin this far from its epoch, seconds.
const SLACK: f64 = 1.0;

/// One stretch of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    /// Seconds since the file's start.
    pub(crate) onset: f64,
    /// Seconds.
    pub(crate) duration: f64,
    /// None for movement, and for what could not be scored.
    pub(crate) stage: Option<Stage>,
}

/// The stages of a file, and how many annotations are something else.
pub(super) fn of(annotations: &[Annotation]) -> Result<(Vec<Scored>, usize), String> {
    let mut found = Vec::new();
    for annotation in annotations {
        if let Some(stage) = stage(&annotation.text)? {
            // Who says no duration means one epoch.
            let duration = annotation.duration.filter(|duration| *duration > 0.0).unwrap_or(EPOCH_SECONDS);
            found.push(Scored { onset: annotation.onset, duration, stage });
        }
    }
    let others = annotations.len() - found.len();
    found.sort_by(|a, b| a.onset.total_cmp(&b.onset));
    Ok((found, others))
}

/// `None` for what is no stage. Rechtschaffen and Kales' stages 3 and 4 are AASM's N3.
fn stage(text: &str) -> Result<Option<Option<Stage>>, String> {
    let lower = text.to_ascii_lowercase();
    let (name, named) = match lower.strip_prefix(PREFIX) {
        Some(name) => (name.trim(), true),
        None => (&lower[..], false),
    };
    Ok(Some(match (name, named) {
        ("w" | "wake", _) => Some(Stage::Wake),
        ("n1", _) | ("1", true) => Some(Stage::N1),
        ("n2", _) | ("2", true) => Some(Stage::N2),
        ("n3" | "n4", _) | ("3" | "4", true) => Some(Stage::N3),
        ("r" | "rem", _) => Some(Stage::Rem),
        // Sleep of no stage that was told: `N` is NREM that nobody divided.
        ("?" | "m" | "mt" | "n" | "movement time" | "movement" | "unscored" | "u" | "", true)
        | ("movement time", false) => None,
        (_, false) => return Ok(None),
        (_, true) => {
            return Err(format!(
                "the annotation {:?} is no stage: W, 1, 2, 3, 4, N1, N2, N3, R, M or ? expected",
                shorten(text)
            ));
        }
    }))
}

/// Where epochs begin, seconds after the file's start, 0 to 30: with the first stage.
pub(super) fn phase(scored: &[Scored]) -> f64 {
    let first = scored.iter().find(|scored| scored.stage.is_some());
    let phase = first.map_or(0.0, |first| first.onset.rem_euclid(EPOCH_SECONDS));
    if phase <= SLACK || phase >= EPOCH_SECONDS - SLACK { 0.0 } else { phase }
}

/// A stage for each of `epochs` from second `phase` on. What lies outside is passed over, and what could not be scored.
pub(super) fn labels(scored: &[Scored], phase: f64, epochs: usize) -> Result<Vec<Option<Stage>>, String> {
    let mut labels = vec![None; epochs];
    let mut until = f64::NEG_INFINITY;
    let end = phase + epochs as f64 * EPOCH_SECONDS;
    let matters = |scored: &&Scored| {
        scored.stage.is_some() && scored.onset < end && scored.onset + scored.duration > phase
    };
    for Scored { onset, duration, stage } in scored.iter().filter(matters) {
        let first = ((onset - phase) / EPOCH_SECONDS).round();
        let count = (duration / EPOCH_SECONDS).round();
        if (onset - phase - first * EPOCH_SECONDS).abs() > SLACK
            || (duration - count * EPOCH_SECONDS).abs() > SLACK
            || count < 1.0
        {
            return Err(format!(
                "the stage at {onset} s, of {duration} s, does not fit epochs of 30 s that begin at {phase} s"
            ));
        }
        if first < until {
            return Err(format!("the epoch at {onset} s is scored twice"));
        }
        until = first + count;
        let place = |epoch: f64| epoch.clamp(0.0, epochs as f64) as usize;
        labels[place(first)..place(until)].fill(*stage);
    }
    Ok(labels)
}

/// The stem that a recording and its stages share: `NAME`, of `NAME.edf`, `NAME-PSG.edf`.
pub(super) fn stem(file: &str) -> &str {
    let stem = &file[..file.len().saturating_sub(super::SUFFIX.len())];
    let ends = ["-PSG", "_PSG", "-psg", "_psg"];
    ends.iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem)
}

/// Person and night of a Sleep-EDF name (`SC4ssNE0`, `ST7ssNJ0`), whose last letters are the scorer's.
pub(super) fn sleep_edf(stem: &str) -> Option<(&str, &str)> {
    let known = stem.len() == 8 && stem.is_ascii() && (stem.starts_with("SC4") || stem.starts_with("ST7"));
    let numbered = known && stem.as_bytes()[3..6].iter().all(u8::is_ascii_digit);
    numbered.then(|| (&stem[..5], &stem[5..6]))
}

/// Whether a file of stages belongs to a recording.
pub(super) fn belongs(scoring: &str, recording: &str) -> bool {
    let (scoring, recording) = (stem(scoring), stem(recording));
    let own = scoring.split_once(['-', '_']).map_or(scoring, |(head, _)| head);
    match (sleep_edf(own), sleep_edf(recording)) {
        (Some(a), Some(b)) => a == b,
        _ => scoring.strip_prefix(recording).is_some_and(|rest| rest.starts_with(['-', '_'])),
    }
}

/// The longest name that fits is meant: `a-1-stages` is of `a-1` where there is `a` too.
pub(super) fn owner<'a>(scoring: &str, recordings: &'a [String]) -> Option<&'a String> {
    let fits = recordings.iter().filter(|recording| belongs(scoring, recording));
    fits.max_by(|a, b| stem(a).len().cmp(&stem(b).len()).then_with(|| natural_order(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(onset: f64, duration: Option<f64>, text: &str) -> Annotation {
        Annotation { onset, duration, text: text.into() }
    }

    #[test]
    fn both_manuals_names_become_stages_and_events_do_not() {
        let texts = ["W", "1", "2", "3", "4", "R", "M", "?", "N1", "N2", "N3"]
            .map(|name| format!("Sleep stage {name}"));
        let annotations: Vec<_> =
            texts.iter().enumerate().map(|(i, text)| said(i as f64 * 30.0, Some(30.0), text)).collect();
        let (scored, others) = of(&annotations).unwrap();
        let names: Vec<_> =
            labels(&scored, 0.0, 12).unwrap().iter().map(|s| s.map_or("-", Stage::name)).collect();
        assert_eq!(names, ["W", "N1", "N2", "N3", "N3", "REM", "-", "-", "N1", "N2", "N3", "-"]);
        assert_eq!(others, 0);
        let (scored, others) =
            of(&[said(0.0, None, "Apnea"), said(0.0, None, "N2"), said(0.0, None, "2")]).unwrap();
        assert_eq!((scored.len(), others, scored[0].duration), (1, 2, 30.0));
        assert!(
            of(&[said(0.0, None, "Sleep stage 5")]).unwrap_err().contains("\"Sleep stage 5\" is no stage")
        );
    }

    #[test]
    fn epochs_begin_with_the_first_stage() {
        let scored = of(&[said(72.5, Some(60.0), "N2"), said(132.5, Some(30.0), "REM")]).unwrap().0;
        assert_eq!(phase(&scored), 12.5);
        let stages = labels(&scored, 12.5, 4).unwrap();
        assert_eq!(stages, [None, None, Some(Stage::N2), Some(Stage::N2)]);
        let twice = of(&[said(0.0, Some(60.0), "N2"), said(30.0, None, "W")]).unwrap().0;
        assert_eq!(labels(&twice, 0.0, 9).unwrap_err(), "the epoch at 30 s is scored twice");
        let short = of(&[said(0.0, Some(20.0), "N2")]).unwrap().0;
        assert!(labels(&short, 0.0, 9).unwrap_err().starts_with("the stage at 0 s, of 20 s, does not fit"));
    }

    #[test]
    fn files_of_stages_find_their_recording() {
        let files = ["a.edf", "a-1.edf", "SC4001E0-PSG.edf", "SC4002E0-PSG.edf"].map(String::from);
        let of = |scoring| owner(scoring, &files).map(String::as_str);
        assert_eq!(of("a-Hypnogram.edf"), Some("a.edf"));
        assert_eq!(of("a-1_stages.edf"), Some("a-1.edf"));
        assert_eq!(of("SC4001EC-Hypnogram.edf"), Some("SC4001E0-PSG.edf"));
        assert_eq!(of("b-Hypnogram.edf"), None);
        assert_eq!(sleep_edf("ST7011J0"), Some(("ST701", "1")));
    }
}
