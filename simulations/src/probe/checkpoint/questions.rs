//! The questions, each a table: a line for each way of embedding, means and deviations over seeds.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_report::{Confusion, Grid, GridLine, Metrics, Spread};

use super::embedded::{Line, Matrix};
use crate::probe::{Gallery, LinearProbe, Ridge, centred, effective_rank, label_efficiency, median_error};

/// Parts that people are dealt into; each is judged by probes fitted on the others.
const FOLDS: usize = 5;
/// Shares of the people who are labelled.
const FRACTIONS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];

/// Rows to fit on and rows to judge on, no person having both.
pub(super) struct Split {
    pub(super) known: Vec<usize>,
    pub(super) asked: Vec<usize>,
}

/// The splits of `rows`, whose people are `people[row]`: everybody is asked once. None with fewer than two people: nobody would
/// be left to learn from.
pub(super) fn splits(rows: &[usize], people: &[usize], seed: u64) -> Vec<Split> {
    let mut everybody: Vec<usize> =
        rows.iter().map(|row| people[*row]).collect::<BTreeSet<_>>().into_iter().collect();
    everybody.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let folds = if everybody.len() < 2 { 0 } else { FOLDS.min(everybody.len()) };
    let split = |fold: usize| {
        let held: BTreeSet<usize> = everybody.iter().skip(fold).step_by(folds).copied().collect();
        let (asked, known) = rows.iter().partition(|row| held.contains(&people[**row]));
        Split { known, asked }
    };
    (0..folds).map(split).collect()
}

/// A table of `ask`ed numbers, one for each column.
pub(super) fn table(
    title: String,
    columns: &[&str],
    lines: &[Line],
    ask: impl Fn(&Matrix, u64) -> Vec<Option<f64>>,
) -> Grid {
    let line = |line: &Line| {
        let asked: Vec<_> = line.of_seed.iter().zip(0..).map(|(rows, seed)| ask(rows, seed)).collect();
        grid_line(line.name.clone(), &asked)
    };
    grid(title, columns, lines.iter().map(line).collect())
}

/// A table of lines that are there.
pub(super) fn grid(title: String, columns: &[&str], lines: Vec<GridLine>) -> Grid {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Grid { title, lines_are: "embedding".into(), columns, lines }
}

/// What seeds came to, each a number for each column. One that is the same for all has no deviation: it does not depend on
/// them.
pub(super) fn grid_line(name: String, of_seed: &[Vec<Option<f64>>]) -> GridLine {
    let columns = of_seed.first().map_or(0, Vec::len);
    let cell = |column: usize| {
        let all = Spread::of(of_seed.iter().map(|asked| asked[column]));
        let same = of_seed.windows(2).all(|pair| pair[0][column] == pair[1][column]);
        if same { Spread { sd: None, ..all } } else { all }
    };
    GridLine { name, cells: (0..columns).map(cell).collect() }
}

/// How many directions the rows use.
pub(super) fn rank(lines: &[Line]) -> Grid {
    let columns = ["smooth effective rank", "without their mean", "of"];
    table("How many directions embeddings use".into(), &columns, lines, |rows, _| {
        let away = centred(rows.width, &rows.values);
        vec![
            effective_rank(rows.width, &rows.values),
            effective_rank(rows.width, &away),
            Some(rows.width as f64),
        ]
    })
}

/// Whose a row is: `recordings` `[n]` tells rows apart that do not follow each other, `cut` how a recording is cut into
/// what is known and what is asked.
pub(super) fn identity(lines: &[Line], people: &[usize], recordings: &[usize], cut: (f32, usize)) -> Grid {
    let columns = ["row", "recording", "chance"];
    let title = "Whose is it? A fresh probe learns the first part of each recording; right by the row, and by most rows of a recording";
    table(title.into(), &columns, lines, |rows, seed| {
        let mut owners: Vec<usize> = people.to_vec();
        owners.sort_unstable();
        owners.dedup();
        let mut galleries: Vec<Vec<Vec<f32>>> = vec![Vec::new(); owners.len()];
        let mut last = None;
        for ((row, person), recording) in rows.values.chunks_exact(rows.width).zip(people).zip(recordings) {
            let own = &mut galleries[owners.binary_search(person).unwrap_or(0)];
            if last != Some((person, recording)) {
                own.push(Vec::new());
                last = Some((person, recording));
            }
            if let Some(recording) = own.last_mut() {
                recording.extend_from_slice(row);
            }
        }
        let found = Gallery::new(rows.width, galleries).cut_at(cut).identify(seed);
        vec![found.map(|f| f.epoch), found.map(|f| f.night), found.map(|f| 1.0 / f.people as f64)]
    })
}

/// How well a line tells classes apart: `labels` `[n]`, of `classes`; rows without are not asked.
pub(super) struct Classes<'a> {
    pub(super) people: &'a [usize],
    pub(super) labels: &'a [Option<usize>],
    pub(super) classes: usize,
}

impl Classes<'_> {
    fn labelled(&self) -> Vec<usize> {
        (0..self.labels.len()).filter(|row| self.labels[*row].is_some()).collect()
    }

    fn of(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().filter_map(|row| self.labels[*row]).collect()
    }

    fn judged(&self, rows: &Matrix, known: &[usize], asked: &[usize], seed: u64) -> Confusion {
        let whose: Vec<usize> = known.iter().map(|row| self.people[*row]).collect();
        let probe =
            LinearProbe::fit(rows.width, &rows.pick(known), &self.of(known), &whose, self.classes, seed);
        probe.judge(&rows.pick(asked), &self.of(asked))
    }

    /// Kappa and macro-F1 of everybody, each person judged by a probe of the others.
    pub(super) fn table(&self, title: String, lines: &[Line]) -> Grid {
        table(title, &["macro-F1", "kappa"], lines, |rows, seed| {
            let parts = splits(&self.labelled(), self.people, seed);
            let judged = parts.iter().map(|part| self.judged(rows, &part.known, &part.asked, seed));
            let judged: Vec<Confusion> = judged.collect();
            let found = Confusion::sum(&judged).ok().flatten().map(|all| Metrics::of(&all));
            vec![found.as_ref().and_then(|f| f.macro_f1), found.as_ref().and_then(|f| f.kappa)]
        })
    }

    /// Macro-F1 by how many of the others are labelled; of the first part of the people alone.
    pub(super) fn efficiency(&self, title: String, lines: &[Line]) -> Grid {
        let columns = FRACTIONS.map(|fraction| format!("{:.0} % of the people labelled", 100.0 * fraction));
        table(title, &columns.each_ref().map(String::as_str), lines, |rows, seed| {
            let Some(Split { known, asked }) = splits(&self.labelled(), self.people, seed).into_iter().next()
            else {
                return vec![None; FRACTIONS.len()];
            };
            let others: BTreeSet<usize> = known.iter().map(|row| self.people[*row]).collect();
            let others: Vec<usize> = others.into_iter().collect();
            let points = label_efficiency(&others, &FRACTIONS, seed, |some| {
                let own: Vec<usize> =
                    known.iter().copied().filter(|row| some.contains(&self.people[*row])).collect();
                Metrics::of(&self.judged(rows, &own, &asked, seed)).macro_f1
            });
            points.into_iter().map(|point| point.score).collect()
        })
    }
}

/// How near a line comes to numbers: `targets` have each a column's name and `[n]`; rows without are not asked.
pub(super) struct Numbers<'a> {
    pub(super) people: &'a [usize],
    pub(super) targets: &'a [(&'static str, Vec<Option<f32>>)],
}

/// A split, and the numbers of its rows.
struct Part {
    split: Split,
    known: Vec<f32>,
    asked: Vec<f32>,
}

impl Numbers<'_> {
    /// The mean absolute error on everybody, each person judged by a line of the others. The first line is the best constant.
    pub(super) fn table(&self, title: String, lines: &[Line], seeds: u64) -> Grid {
        let columns: Vec<&str> = self.targets.iter().map(|(name, _)| *name).collect();
        let mut found = table(title, &columns, lines, |rows, seed| {
            self.errors(seed, |part| {
                let whose: Vec<usize> = part.split.known.iter().map(|row| self.people[*row]).collect();
                let line = Ridge::fit(rows.width, &rows.pick(&part.split.known), &part.known, &whose);
                line.mae(&rows.pick(&part.split.asked), &part.asked)
            })
        });
        let constant = |seed| self.errors(seed, |part| median_error(&part.known, &part.asked));
        let constants: Vec<_> = (0..seeds).map(constant).collect();
        found.lines.insert(0, grid_line("none: the best constant".into(), &constants));
        found
    }

    /// The errors of each target, each part of the people weighing as it has rows.
    fn errors(&self, seed: u64, judge: impl Fn(&Part) -> Option<f64>) -> Vec<Option<f64>> {
        let of = |target: &[Option<f32>]| {
            let there: Vec<usize> = (0..target.len()).filter(|row| target[*row].is_some()).collect();
            let values = |rows: &[usize]| rows.iter().filter_map(|row| target[*row]).collect();
            let parts = splits(&there, self.people, seed).into_iter().map(|split| {
                let (known, asked) = (values(&split.known), values(&split.asked));
                Part { split, known, asked }
            });
            let errors: Vec<f64> =
                parts.map(|part| Some(judge(&part)? * part.asked.len() as f64)).collect::<Option<_>>()?;
            (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / there.len() as f64)
        };
        self.targets.iter().map(|(_, target)| of(target)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn everybody_is_asked_once_by_others() {
        let people = [4, 4, 7, 9, 9, 9, 2, 2, 3, 5, 6];
        let rows: Vec<usize> = (0..people.len()).filter(|row| *row != 1).collect();
        let parts = splits(&rows, &people, 3);
        assert_eq!(parts.len(), FOLDS);
        let mut asked: Vec<usize> = parts.iter().flat_map(|part| part.asked.clone()).collect();
        asked.sort_unstable();
        assert_eq!(asked, rows);
        for part in &parts {
            assert_eq!(part.known.len() + part.asked.len(), rows.len());
            assert!(
                part.asked.iter().all(|row| part.known.iter().all(|other| people[*row] != people[*other]))
            );
        }
    }

    #[test]
    fn one_person_alone_is_asked_nothing() {
        assert!(splits(&[0, 1, 2], &[5, 5, 5], 1).is_empty() && splits(&[], &[], 1).is_empty());
        // Two people with rows, one with labels.
        let people = [3, 3, 3, 8];
        let rows = Rc::new(Matrix { width: 1, values: vec![1.0, 2.0, 4.0, 3.0] });
        let lines = [Line { name: "made".into(), of_seed: vec![rows] }];
        let empty = |found: &Grid| found.lines.iter().flat_map(|line| &line.cells).all(|c| c.mean.is_none());
        let targets = [("HR", vec![Some(60.0), Some(70.0), Some(80.0), None])];
        let found = Numbers { people: &people, targets: &targets }.table("t".into(), &lines, 1);
        assert!(found.lines.len() == 2 && empty(&found), "{found:?}");
        let labels = [Some(0), Some(1), Some(0), None];
        let classes = Classes { people: &people, labels: &labels, classes: 2 };
        for found in [classes.table("t".into(), &lines), classes.efficiency("t".into(), &lines)] {
            assert!(empty(&found), "{found:?}");
        }
    }

    #[test]
    fn what_rows_say_is_found_and_what_they_do_not_is_not() {
        // Ten people with 30 rows each: the first number is a heart rate, the second the class, the third the person.
        let people: Vec<usize> = (0..300).map(|row| row / 30).collect();
        let rate = |row: usize| (row * 37 % 50) as f32;
        let values: Vec<f32> =
            (0..300).flat_map(|row| [rate(row), (row % 3) as f32, people[row] as f32]).collect();
        let rows = Rc::new(Matrix { width: 3, values });
        let line = Line { name: "made".into(), of_seed: vec![Rc::clone(&rows), rows] };
        let lines = [line];
        let targets = [("HR", (0..300).map(|row| (row % 10 > 0).then(|| 60.0 + rate(row))).collect())];
        let found = Numbers { people: &people, targets: &targets }.table("t".into(), &lines, 2);
        let mean = |line: usize, column: usize| found.lines[line].cells[column].mean.unwrap();
        assert!(mean(0, 0) > 8.0 && mean(1, 0) < 0.1, "{found:?}");
        let labels: Vec<Option<usize>> = (0..300).map(|row| (row % 7 > 0).then_some(row % 3)).collect();
        let classes = Classes { people: &people, labels: &labels, classes: 3 };
        let found = classes.table("t".into(), &lines);
        assert!(found.lines[0].cells.iter().all(|cell| cell.mean.unwrap() > 0.99), "{found:?}");
        let curve = classes.efficiency("t".into(), &lines);
        assert_eq!((curve.columns.len(), curve.lines[0].cells.len()), (4, 4));
        let whose = identity(&lines, &people, &people, (0.6, 2));
        assert!(
            whose.lines[0].cells[0].mean.unwrap() > 0.9 && whose.lines[0].cells[2].mean == Some(0.1),
            "{whose:?}"
        );
        let most = rank(&lines).lines[0].cells[2];
        assert_eq!((most.n, most.mean, most.sd), (2, Some(3.0), None));
    }
}
