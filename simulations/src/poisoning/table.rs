//! Utility against strength, one table an attack.

use somnus_report::{Grid, GridLine, Spread};

use super::Cell;

/// For each attack the rules as lines and the parts that lie as columns: kappa of held-out people, mean ± sd over seeds. Of a
/// backdoor also how often it works.
pub(super) fn grids(cells: &[Cell]) -> Vec<Grid> {
    let mut all = Vec::new();
    for attack in in_order(cells.iter().filter_map(|cell| cell.attack)) {
        let kappa = format!("{attack}: kappa of held-out people, by the part that lies");
        all.push(grid(kappa, cells, attack, |cell| Some(cell.kappa)));
        if cells.iter().any(|cell| cell.attack == Some(attack) && cell.success.is_some()) {
            let success = format!("{attack}: part of wake that its pattern makes REM, by the part that lies");
            all.push(grid(success, cells, attack, |cell| cell.success));
        }
    }
    all
}

fn grid(title: String, cells: &[Cell], attack: &str, value: impl Fn(&Cell) -> Option<Spread>) -> Grid {
    let of_attack = || cells.iter().filter(|cell| cell.attack.is_none_or(|own| own == attack));
    let fractions: Vec<f64> = in_order(of_attack().map(|cell| cell.fraction));
    let line = |rule: &str| {
        let of = |fraction: &f64| of_attack().find(|cell| cell.rule == rule && cell.fraction == *fraction);
        let cells = fractions.iter().map(|part| of(part).and_then(&value).unwrap_or_default()).collect();
        GridLine { name: rule.to_owned(), cells }
    };
    Grid {
        title,
        lines_are: "rule".into(),
        columns: fractions.iter().map(|part| format!("{:.0} %", 100.0 * part)).collect(),
        lines: in_order(of_attack().map(|cell| cell.rule.as_str())).into_iter().map(line).collect(),
    }
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
    fn poisoning_tables_are_one_an_attack_with_the_honest_column_in_each() {
        let cells = [
            cell("mean", None, 0.0, 0.5),
            cell("mean", Some("replay"), 0.1, 0.4),
            cell("mean", Some("backdoor"), 0.1, 0.3),
            cell("median of 5 groups", None, 0.0, 0.2),
            cell("median of 5 groups", Some("replay"), 0.1, 0.1),
        ];
        let grids = grids(&cells);
        let titles: Vec<&str> = grids.iter().map(|grid| grid.title.split(',').next().unwrap()).collect();
        assert_eq!(
            titles,
            [
                "replay: kappa of held-out people",
                "backdoor: kappa of held-out people",
                "backdoor: part of wake that its pattern makes REM"
            ]
        );
        let means = |grid: &Grid| -> Vec<(String, Vec<Option<f64>>)> {
            let rounded = |cell: &Spread| cell.mean.map(|mean| (1e3 * mean).round() / 1e3);
            grid.lines
                .iter()
                .map(|line| (line.name.clone(), line.cells.iter().map(rounded).collect()))
                .collect()
        };
        let both = |one: Vec<Option<f64>>, other: Vec<Option<f64>>| {
            vec![("mean".to_owned(), one), ("median of 5 groups".to_owned(), other)]
        };
        assert!(grids.iter().all(|grid| grid.columns == ["0 %", "10 %"]));
        assert_eq!(means(&grids[0]), both(vec![Some(0.51), Some(0.41)], vec![Some(0.21), Some(0.11)]));
        assert_eq!(means(&grids[1]), both(vec![Some(0.51), Some(0.31)], vec![Some(0.21), None]));
        assert_eq!(means(&grids[2]), both(vec![Some(0.0), Some(0.1)], vec![Some(0.0), None]));
    }
}
