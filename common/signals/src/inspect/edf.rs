//! What the files of [`crate::edf`] tell, which have records and channels in place of lines.

use std::path::Path;

use super::judge::{self, APART};
use super::{Finding, Severity, TOLD, counted};
use crate::DataError;
use crate::edf::{self, Channel, Edf, Files, Raw, Role, Scoring};

/// Values that are judged, spread over the recording.
const LOOKED_AT: usize = 50_000;
/// Of steps from record to record that are so much larger than those within, the order is doubted.
const TORN: f64 = 2.0;
/// Fewest records, and fewest samples in each, by which.
const RECORDS: usize = 100;
const SAMPLES: usize = 4;
/// Time zones are quarters of an hour apart, minutes.
const ZONE: f64 = 15.0;

/// Everything about a folder; what cannot be read at all is among it.
pub(super) fn look(dir: &Path) -> Vec<Finding> {
    let files = match edf::list(dir) {
        Ok(files) => files,
        Err(error) => return vec![judge::refused(&error)],
    };
    let mut findings = Vec::new();
    let mut notes = Vec::new();
    for of_one in &files {
        match one(of_one) {
            Ok((harms, known)) => {
                findings.extend(harms);
                notes.extend(known);
            }
            Err(error) => findings.push(judge::refused(&error)),
        }
    }
    if notes.len() > TOLD {
        let more = format!("{} about other files", counted(notes.len() - TOLD, "more note", "more notes"));
        notes.truncate(TOLD);
        notes.push(note(dir, more, "look at one person's files alone to see them"));
    }
    findings.extend(notes);
    findings
}

/// What harms, and what is worth knowing.
fn one(files: &Files) -> Result<(Vec<Finding>, Vec<Finding>), DataError> {
    let path = &files.signals;
    let channels = edf::channels(&edf::header(path)?);
    let used = |i: usize| channels.get(i).is_some_and(|channel| matches!(channel.role, Role::Stream { .. }));
    let mut file = edf::read(path, |i, _| used(i))?;
    let scoring = edf::scoring(files, &file)?;
    let mut harms = Vec::new();
    let signals = edf::raw(&mut file, &channels);
    for raw in &signals {
        let values = values(raw);
        let named = |finding: Finding| Finding {
            line: None,
            what: format!("{:?}: {}", raw.label, finding.what),
            ..finding
        };
        harms.extend(judge::unit_of(raw.kind, path, &values).map(|finding| {
            let remedy =
                format!("{}, by the physical dimension, minimum and maximum in its header", finding.remedy);
            named(Finding { remedy, ..finding })
        }));
        let shuffled =
            if raw.per_record >= SAMPLES { torn(path, &file, raw) } else { judge::order_of(path, &values) };
        harms.extend(shuffled.map(named));
    }
    harms.extend(outside(&scoring, &file, path));
    Ok((harms, known(files, &file, &channels, &signals, &scoring)))
}

/// Some of the values, as many of each part of the recording; of three channels the length.
fn values(raw: &Raw) -> Vec<(usize, f64)> {
    let width = raw.kind.channels();
    let step = match raw.per_record {
        // Order is judged by these, so none may be left out.
        samples if samples < SAMPLES => 1,
        _ => raw.len().div_ceil(LOOKED_AT).max(1),
    };
    let length = |sample: &[f32]| match sample {
        [value] => f64::from(*value),
        _ => sample.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt(),
    };
    raw.values.chunks_exact(width).enumerate().step_by(step).map(|(i, sample)| (i, length(sample))).collect()
}

/// A waveform goes on from record to record. In records that were shuffled it jumps.
fn torn(path: &Path, file: &Edf, raw: &Raw) -> Option<Finding> {
    let (width, per_record) = (raw.kind.channels(), raw.per_record);
    let step = |i: usize| f64::from((raw.values[i * width] - raw.values[(i - 1) * width]).abs());
    let follows = |k: &usize| file.records[*k] - file.records[k - 1] < file.header.seconds * 1.01;
    let joints: Vec<usize> = (1..file.records.len()).filter(follows).map(|k| k * per_record).collect();
    let mean = |steps: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = steps.fold((0.0, 0.0), |(sum, count), step| (sum + step, count + 1.0));
        sum / f64::max(count, 1.0)
    };
    let between = mean(&mut joints.iter().map(|i| step(*i)));
    let within = mean(&mut joints.iter().flat_map(|i| (i + 1..i + per_record).map(step)));
    let ratio = between / within;
    (joints.len() >= RECORDS && within > 0.0 && ratio > TORN).then(|| Finding {
        severity: Severity::Harms,
        path: path.to_owned(),
        line: None,
        what: format!(
            "from one data record to the next it jumps {ratio:.0} times as far as from sample to sample within them: the records are not \
             in the order in which they were measured"
        ),
        remedy: "export the file again; records that were shuffled do not say where they belong".into(),
    })
}

/// Stages that lie beyond the signals: another zone, or another night.
fn outside(scoring: &Scoring, file: &Edf, signals: &Path) -> Option<Finding> {
    let scored = scoring.stages.iter().filter(|scored| scored.stage.is_some());
    let span = scored.fold(None, |span: Option<(f64, f64)>, scored| {
        let (from, to) = (scored.onset, scored.onset + scored.duration);
        Some(span.map_or((from, to), |(first, last)| (first.min(from), last.max(to))))
    });
    let (from, to) = span?;
    let (early, late) = (-from, to - file.end());
    if early <= APART && late <= APART {
        return None;
    }
    let (change, by, place) = if late > early { ("take", late, "from") } else { ("add", early, "to") };
    let zone = (by / 60.0 / ZONE).ceil() * ZONE;
    let of = match scoring.path == signals {
        true => "the time of each stage, where they were scored, and export the file again",
        false => "the start time in its header, byte 176",
    };
    Some(Finding {
        severity: Severity::Harms,
        path: scoring.path.clone(),
        line: None,
        what: format!(
            "stages from minute {:.0} to {:.0}, signals from 0 to {:.0}: another time zone, or a clock that is wrong; what is outside is passed over",
            from / 60.0,
            to / 60.0,
            file.end() / 60.0
        ),
        remedy: format!(
            "if both are of the same night, {change} {zone:.0} min or a little more {place} {of}"
        ),
    })
}

fn known(
    files: &Files,
    file: &Edf,
    channels: &[Channel],
    signals: &[Raw],
    scoring: &Scoring,
) -> Vec<Finding> {
    let path = &files.signals;
    let mut notes = Vec::new();
    let mut used: Vec<String> = Vec::new();
    let mut unused: Vec<String> = Vec::new();
    for Channel { label, rate, role, .. } in channels {
        let rate = rate.map_or_else(String::new, |rate| format!(" at {rate} Hz"));
        match role {
            Role::Stream { kind, .. } => used.push(format!("{label:?}{rate} as {kind}")),
            Role::Annotations => {}
            Role::Unused(reason) => unused.push(format!("{label:?}{rate} ({reason})")),
        }
    }
    let list =
        |channels: &[String]| if channels.is_empty() { "none".to_owned() } else { channels.join(", ") };
    let remedy = match used.is_empty() {
        true => {
            "a night needs an ECG, a pulse wave or heart rate; if one of these is it, give it a label and unit that say so"
        }
        false => "nothing, if these are the right ones",
    };
    notes.push(note(path, format!("signals used: {}; not used: {}", list(&used), list(&unused)), remedy));
    if scoring.others > 0 {
        let what = format!(
            "{}, and not used",
            counted(scoring.others, "annotation is no sleep stage", "annotations are no sleep stages")
        );
        notes.push(note(
            &scoring.path,
            what,
            "nothing; stages are called `Sleep stage W`, `Sleep stage N1` and so on",
        ));
    }
    if !file.header.start.agrees {
        notes.push(note(
            path,
            "the start date in byte 168 is not that of the recording field in byte 88; the first is used"
                .into(),
            "correct one of them if a file of stages belongs to this one",
        ));
    }
    let gaps = file.records.windows(2).filter(|pair| pair[1] - pair[0] > 1.5 * file.header.seconds).count();
    if gaps > 0 {
        notes.push(note(
            path,
            format!("the recording has {}", counted(gaps, "interruption", "interruptions")),
            "nothing; gaps are taken as not measured",
        ));
    }
    let possible = |raw: &Raw| {
        let mut samples = raw.values.chunks_exact(raw.kind.channels());
        samples.any(|sample| sample.iter().all(|value| raw.kind.plausible(*value)))
    };
    for Raw { kind, .. } in signals.iter().filter(|raw| !possible(raw)) {
        notes.push(note(
            path,
            format!("no sample of {kind} can have come from a body"),
            "look at its scale and unit",
        ));
    }
    notes
}

fn note(path: &Path, what: String, remedy: &str) -> Finding {
    Finding { severity: Severity::Note, path: path.to_owned(), line: None, what, remedy: remedy.into() }
}
