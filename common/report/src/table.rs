//! The comparison table as plain text, for a terminal.

use crate::leak::{by_attack, cell};
use crate::{Identification, Leak, Row, Spread, Summary};

/// The rows with aligned columns: accuracy, kappa with its 95 % interval, macro-F1, each person's kappa as mean ± sd,
/// epochs. Numbers as fractions with three digits; a dash where a number is undefined. Ends with a newline.
#[must_use]
pub fn comparison(rows: &[Row]) -> String {
    let header =
        ["", "accuracy", "kappa [95 % CI]", "macro-F1", "kappa per subject", "subjects", "epochs", ""];
    let mut lines: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    for row in rows {
        let kappa = &row.per_subject.kappa;
        let interval =
            row.interval.kappa.map_or(String::new(), |i| format!(" [{}, {}]", fixed(i.low), fixed(i.high)));
        lines.push(vec![
            row.name.clone(),
            number(row.pooled.accuracy),
            format!("{}{interval}", number(row.pooled.kappa)),
            number(row.pooled.macro_f1),
            spread(kappa),
            row.subjects.len().to_string(),
            row.pooled.n.to_string(),
            row.note.clone().unwrap_or_default(),
        ]);
    }
    align(&lines)
}

/// How well a probe tells people apart: each accuracy as mean ± sd. Ends with a newline.
#[must_use]
pub fn identification(found: &[Identification]) -> String {
    let header = ["who sleeps?", "by the epoch", "by the night", "chance", "people"];
    let mut lines: Vec<Vec<String>> = vec![header.map(str::to_owned).to_vec()];
    lines.extend(found.iter().map(|one| {
        vec![one.row.clone(), spread(&one.epoch), spread(&one.night), fixed(one.chance), one.who.clone()]
    }));
    align(&lines)
}

/// What attacks get: for each attack its lines, with value, interval and chance in each cell. Ends with a newline.
#[must_use]
pub fn leaks(leaks: &[Leak]) -> String {
    let of_attack = |(attack, lines): (&str, Vec<&Leak>)| {
        let mut header = vec![attack.to_owned()];
        header.extend(lines[0].scores.iter().map(|score| score.measure.clone()));
        header.push("people".into());
        let mut table = vec![header];
        for line in lines {
            let mut row = vec![line.against.clone()];
            row.extend(line.scores.iter().map(cell));
            row.push(line.people.to_string());
            table.push(row);
        }
        align(&table)
    };
    by_attack(leaks).into_iter().map(of_attack).collect::<Vec<_>>().join("\n")
}

/// The table of a run with a heading, and a line on seeds and exclusions.
#[must_use]
pub fn run(summary: &Summary) -> String {
    let mut out = format!("{}: {}\n\n", summary.name, summary.subject());
    for grid in &summary.grids {
        // The last column is for words.
        let lines: Vec<Vec<String>> =
            grid.text().into_iter().map(|line| line.into_iter().chain([String::new()]).collect()).collect();
        out.push_str(&format!("{}\n{}\n", grid.title, align(&lines)));
    }
    if summary.shows_rows() {
        rows(&mut out, summary);
    } else if !summary.rows.is_empty() {
        out.push_str(&format!("{} rows are in rows.csv and summary.json\n", summary.rows.len()));
    }
    if !summary.identification.is_empty() {
        out.push('\n');
        out.push_str(&identification(&summary.identification));
    }
    if !summary.leaks.is_empty() {
        out.push('\n');
        out.push_str(&leaks(&summary.leaks));
    }
    for excluded in &summary.excluded {
        out.push_str(&format!("left out {}: {}\n", excluded.id, excluded.reason));
    }
    out
}

fn rows(out: &mut String, summary: &Summary) {
    out.push_str(&comparison(&summary.rows));
    let spread: Vec<String> = summary
        .rows
        .iter()
        .filter_map(|row| Some(format!("{} {}", row.name, fixed(row.seeds.spread.sd?))))
        .collect();
    if !spread.is_empty() {
        out.push_str(&format!(
            "\nsd of pooled kappa over {} seeds: {}\n",
            summary.seeds.len(),
            spread.join(", ")
        ));
    }
    if let Some(last) = summary.rows.last() {
        for (task, metrics) in &summary.merged {
            out.push_str(&format!(
                "{} read as {task}: accuracy {}, kappa {}, macro-F1 {}\n",
                last.name,
                number(metrics.accuracy),
                number(metrics.kappa),
                number(metrics.macro_f1)
            ));
        }
    }
}

fn fixed(value: f64) -> String {
    format!("{value:.3}")
}

fn spread(spread: &Spread) -> String {
    match (spread.mean, spread.sd) {
        (Some(mean), Some(sd)) => format!("{} ± {}", fixed(mean), fixed(sd)),
        (mean, _) => number(mean),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), fixed)
}

/// First and last column to the left, the others to the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                if column == 0 || column + 1 == columns {
                    format!("{cell}{pad}")
                } else {
                    format!("{pad}{cell}")
                }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
        if index == 0 {
            let total = widths.iter().take(columns - 1).sum::<usize>() + 2 * (columns - 2);
            out.push_str(&"─".repeat(total));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn columns_line_up() {
        let summary = testing::summary(5, 2);
        let text = comparison(&summary.rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + summary.rows.len());
        let end = |line: &str, needle: &str| {
            line.find(needle).map(|at| line[..at].chars().count() + needle.chars().count())
        };
        let macro_f1 = end(lines[0], "macro-F1").unwrap();
        for (line, row) in lines[2..].iter().zip(&summary.rows) {
            assert!(line.starts_with(&row.name), "{line}");
            let cell = fixed(row.pooled.macro_f1.unwrap());
            let head: String = line.chars().take(macro_f1).collect();
            assert!(head.ends_with(&cell), "{cell} does not end at {macro_f1}: {line}");
        }
        assert!(text.contains("negative control") && text.contains(" ± "));
    }

    #[test]
    fn who_was_told_apart_is_shown_with_its_chance() {
        let of = |values: &[f64]| Spread::of(values.iter().copied().map(Some));
        let found = Identification {
            row: "central".into(),
            who: "trained".into(),
            chance: 0.125,
            epoch: of(&[0.5, 0.7]),
            night: of(&[1.0]),
        };
        let summary = Summary { identification: vec![found], ..testing::summary(3, 1) };
        let text = run(&summary);
        let line = text.lines().find(|line| line.contains("0.125")).unwrap();
        let cells: Vec<&str> = line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect();
        assert_eq!(cells, ["central", "0.600 ± 0.141", "1.000", "0.125", "trained"]);
        let page = crate::markdown::run(&summary);
        assert!(page.contains("| central | trained | 0.600 ± 0.141 | 1.000 ± - | 0.125 |"), "{page}");
        assert_eq!(Summary::from_json(&summary.to_json().unwrap()).unwrap(), summary);
    }

    #[test]
    fn an_undefined_number_is_a_dash() {
        let one = crate::Confusion::try_from(vec![vec![9, 0], vec![0, 0]]).unwrap();
        let people = [("p".to_owned(), one)].into_iter().collect();
        let text = comparison(&[Row::from_subjects("x", &people, 1).unwrap()]);
        assert!(text.lines().nth(2).unwrap().contains(" - "), "{text}");
    }
}
