//! A table of a study's own, where rows and comparisons do not say it best: utility against strength, bytes against kappa.

use serde::{Deserialize, Serialize};

use crate::Spread;

/// Rows of a run that a page shows beside grids; of more there are the grids, and all of them as data.
pub(crate) const ROWS_BESIDE: usize = 40;

/// Lines by columns; each cell a mean, and its deviation where there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// What it shows.
    pub title: String,
    /// What a line is.
    pub lines_are: String,
    /// What each column is, with its unit.
    pub columns: Vec<String>,
    /// The lines.
    pub lines: Vec<GridLine>,
}

/// One line of a [`Grid`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GridLine {
    /// What it is of.
    pub name: String,
    /// As many as there are columns; a cell without a mean is empty.
    pub cells: Vec<Spread>,
}

/// `0.449 ± 0.146`; large numbers with fewer digits, an empty cell as a dash.
pub(crate) fn cell(spread: &Spread) -> String {
    let digits = match spread.mean.map_or(0.0, f64::abs) {
        large if large >= 1000.0 => 0,
        some if some >= 10.0 => 1,
        _ => 3,
    };
    match (spread.mean, spread.sd) {
        (Some(mean), Some(sd)) => format!("{mean:.digits$} ± {sd:.digits$}"),
        (Some(mean), None) => format!("{mean:.digits$}"),
        (None, _) => "-".to_owned(),
    }
}

impl Grid {
    /// Header and lines as text.
    pub(crate) fn text(&self) -> Vec<Vec<String>> {
        let header = std::iter::once(self.lines_are.clone()).chain(self.columns.iter().cloned()).collect();
        let line =
            |line: &GridLine| std::iter::once(line.name.clone()).chain(line.cells.iter().map(cell)).collect();
        std::iter::once(header).chain(self.lines.iter().map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, well_formed};
    use crate::{Summary, html, markdown, table};

    fn grid() -> Grid {
        let of = |values: &[f64]| Spread::of(values.iter().copied().map(Some));
        let line = |name: &str, cells: Vec<Spread>| GridLine { name: name.into(), cells };
        Grid {
            title: "sign-flip: kappa <of> held-out people".into(),
            lines_are: "rule".into(),
            columns: vec!["0 %".into(), "kB up".into()],
            lines: vec![
                line("mean", vec![of(&[0.5, 0.52]), of(&[49.152])]),
                line("median", vec![Spread::default(), of(&[12_345.6])]),
            ],
        }
    }

    #[test]
    fn a_grid_is_on_every_page() {
        let summary = Summary { grids: vec![grid()], ..testing::summary(3, 1) };
        let page = markdown::run(&summary);
        assert!(
            page.contains("| rule | 0 % | kB up |\n|---|---|---|\n| mean | 0.510 ± 0.014 | 49.2 |\n"),
            "{page}"
        );
        assert!(page.contains("| median | - | 12346 |"), "{page}");
        let text = table::run(&summary);
        assert!(text.contains("\nmean    0.510 ± 0.014   49.2\nmedian              -  12346\n"), "{text}");
        let page = html::run_page(&summary);
        well_formed(&page).unwrap();
        assert!(page.contains("kappa &lt;of&gt; held-out people") && page.contains("0.510 ± 0.014"));
        assert_eq!(Summary::from_json(&summary.to_json().unwrap()).unwrap(), summary);
    }

    #[test]
    fn many_rows_give_way_to_grids() {
        let mut summary = testing::summary(3, 1);
        summary.rows = std::iter::repeat_n(summary.rows[0].clone(), ROWS_BESIDE + 1).collect();
        let all = [markdown::run(&summary), table::run(&summary), html::run_page(&summary)];
        summary.grids = vec![grid()];
        let fewer = [markdown::run(&summary), table::run(&summary), html::run_page(&summary)];
        let name = summary.rows[0].name.as_str();
        for (all, fewer) in all.iter().zip(&fewer) {
            assert!(all.matches(name).count() > ROWS_BESIDE && fewer.matches(name).count() < 5);
            assert!(fewer.contains("41 rows"), "{fewer}");
        }
    }
}
