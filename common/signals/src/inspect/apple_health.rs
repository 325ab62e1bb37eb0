//! What an export of Apple Health tells, and what can and cannot be done with it.

use std::collections::BTreeMap;
use std::path::Path;

use super::judge;
use super::{Finding, Severity, counted};
use crate::apple_health::{self, Export, Night};
use crate::features::BRIDGED_SECONDS;
use crate::{StreamKind, stream::Stream};

/// Everything about a folder; what cannot be read at all is among it.
pub(super) fn look(dir: &Path) -> Vec<Finding> {
    let exports = match apple_health::exports(dir) {
        Ok(exports) => exports,
        Err(error) => return vec![judge::refused(&error)],
    };
    let mut findings = Vec::new();
    for (person, path) in exports {
        match Export::read(&path) {
            Ok(export) => {
                findings.extend(records(&export));
                findings.extend(nights(&export, &export.nights(&person)));
            }
            Err(error) => findings.push(judge::refused(&error)),
        }
    }
    findings
}

/// What single records tell.
fn records(export: &Export) -> Vec<Finding> {
    let find = finder(export);
    let mut findings: Vec<Finding> =
        judge::unit_of(StreamKind::Hr, &export.path, &export.values).into_iter().collect();
    if let Some((line, by, count)) = export.early {
        findings.push(find(
            Severity::Harms,
            Some(line),
            format!(
                "{} after the writing, by {:.0} min here: another time zone",
                and_more("this record", count, "of a time"),
                by as f64 / 60.0
            ),
            "export it again; if times were converted, each needs the offset (as in +0100) that belongs to it",
        ));
    }
    if let Some((line, why, count)) = &export.strange {
        findings.push(find(
            Severity::Note,
            Some(*line),
            format!("{}: {why}", and_more("this record of sleep", *count, "passed over")),
            "nothing; the others are used",
        ));
    }
    if export.repeated > 0 {
        let what = format!("{} records are in it twice, and used once", export.repeated);
        findings.push(find(Severity::Note, None, what, "nothing"));
    }
    findings
}

/// What the nights are good for.
fn nights(export: &Export, nights: &[Night]) -> Vec<Finding> {
    let find = finder(export);
    if nights.is_empty() {
        return vec![find(
            Severity::Harms,
            None,
            "no sleep analysis is in it, so nobody knows when the nights were".into(),
            "let the watch track sleep and export again, or cut the nights out yourself into the plain format (docs/data.md)",
        )];
    }
    let mut notes = vec![
        find(
            Severity::Note,
            None,
            format!(
                "the stages in it, {}, are a device's estimate and no labels: nights are staged; they neither train nor judge",
                by_source(nights.iter().map(|night| &night.sleep_source))
            ),
            "nothing; to train or judge, bring the stages of somebody who scored the night, in the plain format",
        ),
        find(
            Severity::Note,
            None,
            format!(
                "heart rate {}; movement and posture are missing, since Apple Health exports no acceleration",
                by_source(nights.iter().filter_map(|night| night.heart_source.as_ref()))
            ),
            "nothing; a model takes them as not measured, and is less sure",
        ),
    ];
    let gaps: Vec<f64> =
        nights.iter().filter_map(|night| usual_gap(night.recording.streams.get(&StreamKind::Hr)?)).collect();
    let sparse = gaps.iter().filter(|gap| **gap > BRIDGED_SECONDS).count();
    if sparse > 0 {
        let longest = gaps.iter().copied().fold(0.0, f64::max);
        notes.push(find(
            Severity::Note,
            None,
            format!(
                "in {sparse} of {} nights heart rate was mostly measured less often than every {BRIDGED_SECONDS} s (up to {longest:.0} s apart), \
                 which is too seldom to stage them by",
                nights.len()
            ),
            "let the watch measure all night, as it does in a workout or for some apps; what was not measured cannot be mended",
        ));
    }
    match export.sleepless() {
        0 => {}
        days => notes.push(find(
            Severity::Note,
            None,
            format!(
                "{} over",
                counted(
                    days,
                    "day has heart rate and no sleep analysis, and is passed",
                    "days have heart rate and no sleep analysis, and are passed"
                )
            ),
            "nothing; nobody knows when the night was",
        )),
    }
    notes
}

/// `this record is`, `this record and 2 more are`.
fn and_more(first: &str, count: usize, what: &str) -> String {
    match count {
        0 | 1 => format!("{first} is {what}"),
        count => format!("{first} and {} more are {what}", count - 1),
    }
}

/// `by "Watch" (30 nights), "Phone" (2)`.
fn by_source<'a>(sources: impl Iterator<Item = &'a String>) -> String {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    sources.for_each(|source| *counts.entry(source).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let each = |(source, count): &(&String, usize)| {
        // Apple writes a blank that must not break into its names.
        let name = source.replace('\u{a0}', " ");
        format!("{name:?} ({count} night{})", if *count == 1 { "" } else { "s" })
    };
    match &counts[..] {
        [] => "of no night".to_owned(),
        counts => format!("by {}", counts.iter().map(each).collect::<Vec<_>>().join(", ")),
    }
}

/// The median of what lies between two samples, seconds.
fn usual_gap(stream: &Stream) -> Option<f64> {
    let mut gaps: Vec<f64> = stream.times().windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied()
}

fn finder(export: &Export) -> impl Fn(Severity, Option<usize>, String, &str) -> Finding {
    let path = export.path.clone();
    move |severity, line, what, remedy| Finding {
        severity,
        path: path.clone(),
        line,
        what,
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_none_more() {
        assert_eq!(and_more("this record", 1, "passed over"), "this record is passed over");
        assert_eq!(and_more("this record", 3, "passed over"), "this record and 2 more are passed over");
    }
}
