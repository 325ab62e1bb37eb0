//! What a file's peculiarities mean, and what to do about them.

use std::path::Path;

use super::scan::Scan;
use super::sheet::{Content, Sheet, Time};
use super::{Finding, Inspected, Severity, Standing, TOLD, counted};
use crate::plain::units;
use crate::recording::{DEFAULT_NIGHT, EPOCH_SECONDS};
use crate::{DataError, Layout, Recording, StreamKind};

/// Of values less than this part in the range of a body, the unit is doubted.
const PLAUSIBLE: f64 = 0.5;
/// Correlation of neighbouring values below which their order is doubted. Of heart rate five seconds apart it is above .9, of
/// wrist acceleration at 20 Hz above .3 even while jogging; of shuffled ones it is 0 within 2/√n.
const NEIGHBOURS: f64 = 0.1;
/// Fewest values that order is judged by.
const ENOUGH: usize = 600;
/// A file that begins or ends this much before or after the others, seconds, is told.
pub(super) const APART: f64 = 600.0;
/// A part of the night below this that a file lacks at one end is told and does not harm.
const SMALL: f64 = 0.1;
/// No two clocks that were set at all are further apart, seconds.
const FARTHEST: f64 = 1.5 * 86_400.0;
/// Time zones are quarters of an hour apart, seconds.
const ZONE: f64 = 900.0;
/// Lines out of order beyond this part are no accident of a sensor.
const ACCIDENT: f64 = 0.01;

/// What a loader refused.
pub(super) fn refused(error: &DataError) -> Finding {
    let (path, line, remedy) = match error {
        DataError::Missing { path } => {
            (path, None, "look for it where the others came from, or correct its name")
        }
        DataError::Empty { path, .. } => {
            (path, None, "copy it again; if there was nothing to record, remove it")
        }
        DataError::Malformed { path, line, .. } => (
            path,
            Some(*line),
            "look at this line; if the file was edited, shuffled or cut off, copy the original again",
        ),
        DataError::Read { path, .. } => {
            (path, None, "copy it again; it may be damaged, or not yours to read")
        }
        DataError::Write { path, .. } => (path, None, "look whether there is space and permission"),
        DataError::Corrupt { path, .. } => {
            (path, None, "copy it again: it is not what its header or format says")
        }
        DataError::Unsupported { path, .. } => (path, None, "convert it; docs/data.md says what is read"),
    };
    let text = error.to_string();
    // The error names the place too; here it has a place of its own.
    let place = path.display().to_string();
    let what = text.strip_prefix(&place).unwrap_or(&text);
    let what = line.map_or(what, |line| what.strip_prefix(&format!(":{line}")).unwrap_or(what));
    let what = what.trim_start_matches(": ").to_owned();
    Finding { severity: Severity::Stops, path: path.clone(), line, what, remedy: remedy.into() }
}

/// What one file alone tells.
pub(super) fn file(sheet: &Sheet, scan: &Scan) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, line, what: String, remedy: &str| {
        findings.push(Finding { severity, path: scan.path.clone(), line, what, remedy: remedy.into() });
    };
    if let Some((line, why)) = &scan.broken {
        if *line > 0 {
            let what = format!("cannot be read beyond line {}: {why}", line - 1);
            find(Severity::Stops, Some(*line), what, "copy it again: what is here is not the whole file");
        }
        // Otherwise it could not be opened, and the loader says why.
        return findings;
    }
    if scan.lines == 0 || scan.rows == 0 {
        let what = match scan.lines {
            0 => "the file is empty".to_owned(),
            lines => {
                format!("there is no sample behind {} at its beginning", counted(lines, "line", "lines"))
            }
        };
        find(
            Severity::Stops,
            Some(1),
            what,
            "copy it again; if there was nothing to record, remove the file",
        );
        return findings;
    }
    if let Some(note) = &scan.note {
        find(Severity::Note, None, note.clone(), "nothing if they are; otherwise write them with their zone");
    }
    if !scan.ended {
        let what = "the last line has no end: the file was cut off".to_owned();
        find(
            Severity::Harms,
            Some(scan.lines),
            what,
            "copy it again, and compare its size with the original's",
        );
    }
    if let Some((line, before, time)) = scan.back {
        let many = scan.backs as f64 > ACCIDENT * scan.rows as f64;
        let more = match scan.backs - 1 {
            0 => String::new(),
            more => format!(", and {}", counted(more, "more line goes back", "more lines go back")),
        };
        let what =
            format!("time goes back from {before} to {time} s{more}; lines are put in order before use");
        match many {
            true => find(
                Severity::Harms,
                Some(line),
                what,
                "sort the lines by time, or export them again: a file that was shuffled may have lost more than its order",
            ),
            false => find(Severity::Note, Some(line), what, "nothing needs to be done for so few"),
        }
    }
    findings.extend(order(sheet, scan));
    findings.extend(unit(sheet, scan));
    findings
}

/// Whether values that have no times are in the order in which they were measured.
fn order(sheet: &Sheet, scan: &Scan) -> Option<Finding> {
    let even = matches!(sheet.time, Time::Even | Time::Started);
    if !even {
        return None;
    }
    order_of(&scan.path, &scan.values)
}

/// Whether each of these values says something about the next.
pub(super) fn order_of(path: &Path, values: &[(usize, f64)]) -> Option<Finding> {
    let r = neighbours(values).filter(|_| values.len() >= ENOUGH)?;
    (r < NEIGHBOURS).then(|| Finding {
        severity: Severity::Harms,
        path: path.to_owned(),
        line: Some(values[0].0),
        what: format!(
            "a value says nothing about the next one (correlation {r:.2} over {} of them): they are not in the order in which \
             they were measured",
            values.len()
        ),
        remedy: "export the file again without sorting or shuffling; without times its order cannot be found again".into(),
    })
}

/// Correlation of each value with the next.
fn neighbours(values: &[(usize, f64)]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|(_, v)| v).sum::<f64>() / n;
    let spread: f64 = values.iter().map(|(_, v)| (v - mean).powi(2)).sum();
    let joint: f64 = values.windows(2).map(|w| (w[0].1 - mean) * (w[1].1 - mean)).sum();
    (spread > 0.0).then(|| joint / spread)
}

/// Whether values are in the unit that the layout says.
fn unit(sheet: &Sheet, scan: &Scan) -> Option<Finding> {
    let Content::Stream(kind) = sheet.content else { return None };
    unit_of(kind, &scan.path, &scan.values)
}

/// Whether these values, with their lines, are in the unit of `kind`; of three channels the length.
pub(super) fn unit_of(kind: StreamKind, path: &Path, values: &[(usize, f64)]) -> Option<Finding> {
    let (low, high) = usual(kind)?;
    let within = |factor: f64| {
        let fits = values.iter().filter(|(_, value)| (low..=high).contains(&(value * factor))).count();
        fits as f64 / values.len().max(1) as f64
    };
    if values.is_empty() || within(1.0) >= PLAUSIBLE {
        return None;
    }
    let (line, value) = *values.iter().find(|(_, value)| !(low..=high).contains(value))?;
    let guesses = guesses(kind);
    let best = guesses.iter().max_by(|a, b| within(a.1).total_cmp(&within(b.1)));
    let best = best.filter(|(_, factor)| within(*factor) >= PLAUSIBLE);
    let what = format!(
        "{:.3} {}: {:.0} % of the values are not within the usual {low} to {high} {}",
        value,
        kind.unit(),
        (1.0 - within(1.0)) * 100.0,
        kind.unit()
    );
    let remedy = match best {
        Some((name, factor)) => format!("they look like {name}: multiply them by {factor}"),
        None => format!("convert them to {}", kind.unit()),
    };
    Some(Finding { severity: Severity::Harms, path: path.to_owned(), line: Some(line), what, remedy })
}

/// Where most values of a person at rest are; of three channels, the length. None where anything goes.
fn usual(kind: StreamKind) -> Option<(f64, f64)> {
    match kind {
        StreamKind::Hr => Some((25.0, 220.0)),
        StreamKind::Ibi => Some((0.25, 2.5)),
        StreamKind::Posture | StreamKind::Accel => Some((0.25, 4.0)),
        StreamKind::Activity => Some((0.0, 1e6)),
        StreamKind::Ecg => Some((-20.0, 20.0)),
        StreamKind::Ppg => None,
    }
}

/// What a value may be in instead, and what mends it.
fn guesses(kind: StreamKind) -> Vec<(String, f64)> {
    let own = units(kind).iter().skip(1).map(|(name, factor)| ((*name).to_owned(), *factor));
    let wrist = [
        ("1/64 g", 1.0 / 64.0),
        ("g that were divided by 64", 64.0),
        ("g that were divided by 9.80665", 9.806_65),
    ];
    let wrist = wrist.map(|(name, factor)| (name.to_owned(), factor));
    let movement = matches!(kind, StreamKind::Posture | StreamKind::Accel);
    let beats = (kind == StreamKind::Hr).then(|| ("bpm that were multiplied by 60".to_owned(), 1.0 / 60.0));
    let longer = (kind == StreamKind::Ibi).then(|| ("minutes".to_owned(), 60.0));
    own.chain(wrist.into_iter().filter(|_| movement)).chain(beats).chain(longer).collect()
}

/// What the files of one recording tell about each other's clocks.
pub(super) fn together(scans: &[(&Sheet, Scan)]) -> Vec<Finding> {
    let spans: Vec<(&Sheet, &Scan, (f64, f64))> =
        scans.iter().filter_map(|(sheet, scan)| Some((*sheet, scan, scan.span?))).collect();
    // Labels say where the night is; without them, the clock that most of the others agree with does.
    let labels = spans.iter().position(|(sheet, _, _)| sheet.content == Content::Labels);
    let agree = |i: usize| spans.iter().filter(|other| common(spans[i].2, other.2) > 0.8).count();
    let Some(reference) = labels.or_else(|| (0..spans.len()).rev().max_by_key(|i| agree(*i))) else {
        return Vec::new();
    };
    let (of, _, night) = spans[reference];
    let others = spans.iter().enumerate().filter(|(i, _)| *i != reference);
    others.filter_map(|(_, (sheet, scan, span))| clock(sheet, scan, *span, of, night)).collect()
}

/// The part of the shorter one that lies within both.
fn common(a: (f64, f64), b: (f64, f64)) -> f64 {
    let shorter = (a.1 - a.0).min(b.1 - b.0).max(1.0);
    ((a.1.min(b.1) - a.0.max(b.0)) / shorter).max(0.0)
}

fn clock(sheet: &Sheet, scan: &Scan, span: (f64, f64), of: &Sheet, night: (f64, f64)) -> Option<Finding> {
    let (early, late) = (night.0 - span.0, night.1 - span.1);
    let name = sheet.content.name();
    let told = |severity, line, what: String, remedy: String| {
        Some(Finding { severity, path: scan.path.clone(), line: Some(line), what, remedy })
    };
    let find = |line, what, remedy| told(Severity::Harms, line, what, remedy);
    let first = if matches!(sheet.time, Time::Started | Time::After(_)) { 1 } else { sheet.header + 1 };
    let missing = |seconds: f64| match seconds < SMALL * (night.1 - night.0) {
        true => Severity::Note,
        false => Severity::Harms,
    };
    // Both ends moved the same way, by much the same: the clock, not the recording, is another.
    let moved = early.abs() > APART && late.abs() > APART && early.signum() == late.signum();
    let moved = moved && early.abs() < FARTHEST;
    if moved && (early - late).abs() < APART.max(0.2 * early.abs()) {
        let zones = (early / ZONE).round() * ZONE;
        let direction = if early < 0.0 { "after" } else { "before" };
        return find(
            first,
            format!(
                "{name} begins {:.0} min {direction} {} and ends {:.0} min {direction} it: another time zone, or a clock that is wrong",
                early.abs() / 60.0,
                of.content.name(),
                late.abs() / 60.0
            ),
            format!("if both were worn at the same time, add {zones:.0} s to its times"),
        );
    }
    if early < -APART && common(span, night) > 0.0 {
        return told(
            missing(-early),
            first,
            format!("{name} begins {:.0} min after {}", -early / 60.0, of.content.name()),
            "look whether its beginning is missing; what is not there is taken as not measured".into(),
        );
    }
    if late > APART && common(span, night) > 0.0 {
        return told(
            missing(late),
            scan.lines,
            format!("{name} ends {:.0} min before {}: the file may have been cut off", late / 60.0, of.content.name()),
            "compare its size with the original's, and copy it again if they differ; what is not there is taken as not measured".into(),
        );
    }
    if common(span, night) > 0.0 {
        return None;
    }
    find(
        first,
        format!("{name} and {} have no time in common", of.content.name()),
        "look whether they are of the same night and count from the same moment, and whether this line was shuffled".into(),
    )
}

/// Whether the beats of an slpdb record last as long as its stages; neither file has lines.
pub(super) fn beats(dir: &Path, recording: &Recording) -> Option<Finding> {
    let beats = recording.streams.get(&StreamKind::Ibi)?;
    let (end, last) = (recording.epochs() as f64 * EPOCH_SECONDS, beats.times().last().copied()?);
    let name = if recording.name == DEFAULT_NIGHT { "" } else { recording.name.as_str() };
    (end - last > APART).then(|| Finding {
        severity: Severity::Harms,
        path: dir.join(format!("{}{name}.ecg", recording.person)),
        line: None,
        what: format!(
            "the last beat is {:.0} min before the end of the last stage: the file may have been cut off",
            (end - last) / 60.0
        ),
        remedy: "compare its size with the original's, and copy it again if they differ".into(),
    })
}

/// What the folder as a whole is good for.
pub(super) fn purpose(layout: Layout, dir: &Path, recordings: &[Inspected]) -> Vec<Finding> {
    let note = |what: String, remedy: &str| Finding {
        severity: Severity::Note,
        path: dir.to_owned(),
        line: None,
        what,
        remedy: remedy.into(),
    };
    let mut notes = Vec::new();
    match layout {
        Layout::Wisdm => notes.push(note(
            "minutes of known activities, awake: there is no night to stage".into(),
            "it is for `somnus-sim pretrain`",
        )),
        Layout::Wfdb => notes.push(note(
            "waveforms without sleep stages".into(),
            "it is for `somnus-sim pretrain`; nights need heart rate or beats for hours",
        )),
        _ => {}
    }
    let left: Vec<&Inspected> =
        recordings.iter().filter(|r| matches!(r.standing, Standing::LeftOut(_))).collect();
    for recording in left.iter().take(TOLD) {
        if let Standing::LeftOut(reason) = &recording.standing {
            notes.push(note(
                format!("{} is left out: {reason}", recording.id),
                "nothing; the others are used",
            ));
        }
    }
    if left.len() > TOLD {
        notes.push(note(
            counted(left.len() - TOLD, "more is left out", "more are left out"),
            "the list of recordings says why",
        ));
    }
    if !recordings.is_empty() && left.len() == recordings.len() {
        notes.push(Finding {
            severity: Severity::Harms,
            ..note(
                "no recording here can be used".into(),
                "a night needs an hour and more, with heart rate in most of it; the notes say what each one lacks",
            )
        });
    }
    notes
}
