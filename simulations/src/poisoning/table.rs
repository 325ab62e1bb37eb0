//! Utility against strength, one block an attack, for a terminal.

use std::fmt::Write;

use somnus_report::Spread;

use super::Cell;

/// For each attack the rules as lines and the parts that lie as columns: kappa of held-out people, mean ± sd over seeds. Of a
/// backdoor also how often it works. Ends with a newline.
#[must_use]
pub fn table(cells: &[Cell]) -> String {
    let mut out = String::new();
    for attack in in_order(cells.iter().filter_map(|cell| cell.attack)) {
        let _ = writeln!(out, "{attack}: kappa of held-out people");
        block(&mut out, cells, attack, |cell| Some(cell.kappa));
        if cells.iter().any(|cell| cell.attack == Some(attack) && cell.success.is_some()) {
            let _ = writeln!(out, "{attack}: part of wake that its pattern makes REM");
            block(&mut out, cells, attack, |cell| cell.success);
        }
    }
    out
}

fn block(out: &mut String, cells: &[Cell], attack: &str, value: impl Fn(&Cell) -> Option<Spread>) {
    let of_attack = || cells.iter().filter(|cell| cell.attack.is_none_or(|own| own == attack));
    let rules = in_order(of_attack().map(|cell| cell.rule.as_str()));
    let fractions = in_order(of_attack().map(|cell| cell.fraction.to_bits())).into_iter().map(f64::from_bits);
    let fractions: Vec<f64> = fractions.collect();
    let width = rules.iter().map(|rule| rule.chars().count()).max().unwrap_or(0).max("liars".len());
    let _ = write!(out, "{:<width$}", "liars");
    for fraction in &fractions {
        let _ = write!(out, "  {:>15}", format!("{:.0} %", 100.0 * fraction));
    }
    out.push('\n');
    for rule in rules {
        let _ = write!(out, "{rule:<width$}");
        for fraction in &fractions {
            let cell = of_attack().find(|cell| cell.rule == rule && cell.fraction == *fraction);
            let _ = write!(out, "  {:>15}", cell.and_then(&value).map_or("-".into(), spread));
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Each once, in the order in which they first come.
fn in_order<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

fn spread(spread: Spread) -> String {
    match (spread.mean, spread.sd) {
        (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
        (Some(mean), None) => format!("{mean:.3}"),
        (None, _) => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(rule: &str, attack: Option<&'static str>, fraction: f64, kappa: f64) -> Cell {
        let of = |values: &[f64]| Spread::of(values.iter().copied().map(Some));
        let success = (attack != Some("replay")).then(|| of(&[fraction]));
        let kappa = of(&[kappa, kappa + 0.02]);
        Cell { rule: rule.into(), attack, fraction, kappa, people: Spread::default(), success }
    }

    #[test]
    fn poisoning_tables_have_a_block_an_attack_with_the_honest_column_in_each() {
        let cells = [
            cell("mean", None, 0.0, 0.5),
            cell("mean", Some("replay"), 0.1, 0.4),
            cell("mean", Some("backdoor"), 0.1, 0.3),
            cell("median of 5 groups", None, 0.0, 0.2),
            cell("median of 5 groups", Some("replay"), 0.1, 0.1),
        ];
        let expected = "\
replay: kappa of held-out people
liars                           0 %             10 %
mean                  0.510 ± 0.014    0.410 ± 0.014
median of 5 groups    0.210 ± 0.014    0.110 ± 0.014

backdoor: kappa of held-out people
liars                           0 %             10 %
mean                  0.510 ± 0.014    0.310 ± 0.014
median of 5 groups    0.210 ± 0.014                -

backdoor: part of wake that its pattern makes REM
liars                           0 %             10 %
mean                          0.000            0.100
median of 5 groups            0.000                -

";
        assert_eq!(table(&cells), expected);
    }
}
