//! The tables of ways.

use somnus_report::{Grid, GridLine, Metrics, Spread};

use super::Activities;
use super::ways::{Score, WAYS, Way};

impl Activities {
    pub(super) fn grids<'a>(&self, of_way: &dyn Fn(usize) -> &'a [Score]) -> Vec<Grid> {
        let line = |way: usize, cells: Vec<Spread>| GridLine { name: WAYS[way].1.to_owned(), cells };
        let all = |way: usize, of: &dyn Fn(&Metrics) -> Option<f64>| {
            Spread::of(of_way(way).iter().map(|score| of(&score.all)))
        };
        let whole = Grid {
            title: "Six activities of people who taught nothing, by a linear probe on frozen embeddings"
                .into(),
            lines_are: "learned by".into(),
            columns: ["macro-F1", "accuracy", "kappa"].map(str::to_owned).to_vec(),
            lines: (0..WAYS.len())
                .map(|way| {
                    line(
                        way,
                        vec![all(way, &|m| m.macro_f1), all(way, &|m| m.accuracy), all(way, &|m| m.kappa)],
                    )
                })
                .collect(),
        };
        let few = |way: usize| {
            let at = |n: usize| Spread::of(of_way(way).iter().map(|score| score.few[n]));
            let mut cells: Vec<Spread> = (0..self.labelled.len()).map(at).collect();
            cells.push(all(way, &|m| m.macro_f1));
            line(way, cells)
        };
        let people = |n: &usize| if *n == 1 { "1 person".to_owned() } else { format!("{n} people") };
        let curve = Grid {
            title: "Macro-F1 with the labels of only so many people".into(),
            lines_are: "learned by".into(),
            columns: self.labelled.iter().map(people).chain(["everybody who teaches".to_owned()]).collect(),
            lines: (0..WAYS.len()).filter(|way| WAYS[*way].0 != Way::Supervised).map(few).collect(),
        };
        vec![whole, curve]
    }
}
