//! A run as a section of a Markdown page.

use std::fmt::Write;

use crate::leak::{by_attack, cell};
use crate::{Interval, Summary};

/// Heading, table of rows, comparisons, merged tasks, who was left out and the notes. Fractions with three digits; a
/// dash where a number is undefined.
#[must_use]
pub fn run(summary: &Summary) -> String {
    let mut out = format!("## {}\n\n", summary.name);
    let _ = writeln!(
        out,
        "{}; seeds {}; {:.0} s.\n",
        summary.subject(),
        list(summary.seeds.iter().map(u64::to_string)),
        summary.seconds
    );
    for grid in &summary.grids {
        let _ = writeln!(out, "{}:\n", grid.title);
        for (at, line) in grid.text().iter().enumerate() {
            let _ = writeln!(out, "| {} |", line.join(" | "));
            if at == 0 {
                let _ = writeln!(out, "|{}", "---|".repeat(line.len()));
            }
        }
        out.push('\n');
    }
    if summary.shows_rows() {
        rows(&mut out, summary);
    } else if !summary.rows.is_empty() {
        let _ = writeln!(
            out,
            "{} rows with their comparisons are in the run's summary.json.",
            summary.rows.len()
        );
    }
    if !summary.identification.is_empty() {
        out.push_str(
            "\n| who sleeps? | people | by the epoch | by the night | chance |\n|---|---|---|---|---|\n",
        );
        for one in &summary.identification {
            let _ = writeln!(
                out,
                "| {} | {} | {} ± {} | {} ± {} | {} |",
                one.row,
                one.who,
                number(one.epoch.mean),
                number(one.epoch.sd),
                number(one.night.mean),
                number(one.night.sd),
                number(Some(one.chance))
            );
        }
    }
    for (attack, lines) in by_attack(&summary.leaks) {
        let measures = lines[0].scores.iter().map(|score| score.measure.as_str());
        let measures: Vec<&str> = measures.collect();
        let _ = writeln!(out, "\n| {attack} | {} | people |", measures.join(" | "));
        let _ = writeln!(out, "|---|{}---|", "---|".repeat(measures.len()));
        for line in lines {
            let cells: Vec<String> = line.scores.iter().map(cell).collect();
            let _ = writeln!(out, "| {} | {} | {} |", line.against, cells.join(" | "), line.people);
        }
    }
    if !summary.leaks.is_empty() {
        out.push_str("\nOf attacks: value [95 % interval over people] ± sd over seeds; what a guess gets.\n");
    }
    if let (false, Some(last)) = (summary.merged.is_empty(), summary.rows.last()) {
        out.push('\n');
        for (task, metrics) in &summary.merged {
            let _ = writeln!(
                out,
                "- *{}* read as {task}: kappa {}, macro-F1 {}, accuracy {}",
                last.name,
                number(metrics.kappa),
                number(metrics.macro_f1),
                number(metrics.accuracy)
            );
        }
    }
    if !(summary.excluded.is_empty() && summary.notes.is_empty()) {
        out.push('\n');
    }
    for excluded in &summary.excluded {
        let _ = writeln!(out, "- left out {}: {}", excluded.id, excluded.reason);
    }
    for note in &summary.notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

fn rows(out: &mut String, summary: &Summary) {
    out.push_str("| row | kappa [95 % interval over people] | sd over seeds | macro-F1 | accuracy | kappa per person | people | note |\n");
    out.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in &summary.rows {
        let person = &row.per_subject.kappa;
        let _ = writeln!(
            out,
            "| {} | {}{} | {} | {} | {} | {} ± {} | {} | {} |",
            row.name,
            number(row.pooled.kappa),
            row.interval.kappa.map_or(String::new(), |i| format!(" {}", interval(i))),
            number(row.seeds.spread.sd),
            number(row.pooled.macro_f1),
            number(row.pooled.accuracy),
            number(person.mean),
            number(person.sd),
            row.subjects.len(),
            row.note.as_deref().unwrap_or("")
        );
    }
    if !summary.comparisons.is_empty() {
        out.push_str(
            "\n| kappa, the same people | difference [95 % interval] | Wilcoxon p |\n|---|---|---|\n",
        );
        for compared in &summary.comparisons {
            let noise = compared.interval.is_none_or(|i| i.low <= 0.0 && i.high >= 0.0);
            let _ = writeln!(
                out,
                "| {} minus {} | {}{}{} | {} |",
                compared.row,
                compared.baseline,
                number(compared.kappa_difference),
                compared.interval.map_or(String::new(), |i| format!(" {}", interval(i))),
                if noise { ", noise" } else { "" },
                number(compared.wilcoxon.as_ref().map(|test| test.p))
            );
        }
    }
}

fn interval(interval: Interval) -> String {
    format!("[{:.3}, {:.3}]", interval.low, interval.high)
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.3}"))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
