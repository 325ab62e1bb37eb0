//! `check`: what a hub would make of a folder of recordings, in words.

use std::fmt::Write as _;
use std::path::Path;

use somnus_signals::{Finding, Inspected, Inspection, NightRules, Severity, Standing};

/// Looks at everything in `folder` as [`crate::training::HubNights`] would.
pub fn check(folder: &Path) -> Inspection {
    somnus_signals::inspect(folder, &NightRules::default())
}

/// For people: what was found, what is missing, what will be used and why not.
pub fn describe(inspection: &Inspection) -> String {
    let mut text = String::new();
    let folder = inspection.folder.display();
    match inspection.layout {
        Some(layout) => {
            let count = inspection.recordings.len();
            let _ = writeln!(text, "{folder}: the {layout} layout, {count} recording{}", plural(count));
        }
        None => {
            let _ = writeln!(text, "{folder}: no layout that is known");
        }
    }
    for recording in &inspection.recordings {
        let _ = writeln!(text, "  {}", line(recording));
    }
    for finding in &inspection.findings {
        text.push_str(&said(finding));
    }
    let mend = inspection.findings.iter().filter(|finding| finding.severity != Severity::Note).count();
    let usable = |r: &&Inspected| !matches!(r.standing, Standing::LeftOut(_));
    let used = inspection.recordings.iter().filter(usable).count();
    let _ =
        write!(text, "{used} recording{} will be used, {mend} thing{} to mend", plural(used), plural(mend));
    text
}

fn line(recording: &Inspected) -> String {
    let Inspected { id, epochs, scored, streams, standing } = recording;
    let verdict = match standing {
        Standing::Scored => format!("{scored} of {epochs} epochs scored: trains and judges"),
        Standing::Staged => format!("{epochs} epochs, none scored: is staged"),
        Standing::LeftOut(reason) => format!("left out: {reason}"),
    };
    let covered = |part: &f32| format!(" {:.0} %", part * 100.0);
    let streams: Vec<String> = streams
        .iter()
        .map(|(kind, part)| format!("{kind}{}", part.as_ref().map_or_else(String::new, covered)))
        .collect();
    format!("{id:<16} {verdict} ({})", streams.join(", "))
}

fn said(finding: &Finding) -> String {
    let Finding { severity, path, line, what, remedy } = finding;
    let word = match severity {
        Severity::Stops => "error",
        Severity::Harms => "warning",
        Severity::Note => "note",
    };
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    format!("{word}: {}{line}: {what}\n    {remedy}\n", path.display())
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
