//! What a student of a size comes to, what teaching adds, and what the smaller ones predict of the largest.

use somnus_report::{Grid, GridLine, Spread};

use super::net::Shape;
use super::train::{Off, Score};
use super::{HeartRate, School, Scores};
use crate::lab::size_law::{Form, SizeLaw};

/// Bytes of a weight.
const BYTES: f64 = 4.0;

/// The tables of a study; `scores[student][seed][way]`, `milliseconds` of a night by student.
pub(super) fn grids(
    study: &HeartRate,
    schools: &[School],
    scores: &[Vec<Scores>],
    milliseconds: &[f64],
) -> Vec<Grid> {
    let weights: Vec<usize> = study.students.iter().map(|shape| study.net(shape).weights()).collect();
    let names: Vec<String> = study
        .students
        .iter()
        .zip(&weights)
        .map(|(shape, n)| format!("{} ({})", shape.name(), short(*n)))
        .collect();
    let ways: Vec<String> = std::iter::once("from scratch")
        .chain(study.strategies.iter().map(|way| way.name()))
        .map(|way| format!("{way}, bpm"))
        .collect();
    let over_seeds = |student: usize, value: &dyn Fn(&Scores) -> f64| {
        Spread::of(scores[student].iter().map(|seed| Some(value(seed))))
    };
    let lines = |skip: usize, value: &dyn Fn(&Scores, usize) -> f64, head: &dyn Fn(usize) -> Vec<f64>| {
        let line = |(student, name): (usize, &String)| {
            let known = head(student).into_iter().map(|value| Spread { n: 1, mean: Some(value), sd: None });
            let found = (skip..ways.len()).map(|way| over_seeds(student, &|seed| value(seed, way)));
            GridLine { name: name.clone(), cells: known.chain(found).collect() }
        };
        names.iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let grid = |title: &str, columns: Vec<String>, lines| Grid {
        title: title.into(),
        lines_are: "widths (weights)".into(),
        columns,
        lines,
    };

    let costs = ["weights", "KiB", "ms a night, one core"].map(str::to_owned);
    let cost = |student: usize| {
        let n = weights[student] as f64;
        vec![n, n * BYTES / 1024.0, milliseconds[student]]
    };
    let nothing = |_: usize| Vec::new();
    vec![
        grid(
            "Mean absolute error of the heart rate of held-out people, read as the mean of the posterior",
            [&costs[..], &ways].concat(),
            lines(0, &|seed, way| seed[way].expectation.all, &cost),
        ),
        grid(
            "The same, read as the largest class",
            ways.clone(),
            lines(0, &|seed, way| seed[way].largest.all, &nothing),
        ),
        grid(
            "The mean of the posterior again, on windows where the wristband makes out at least half of the beats",
            ways.clone(),
            lines(0, &|seed, way| seed[way].expectation.sure, &nothing),
        ),
        grid(
            "Error less that of the same student from scratch, mean of the posterior: what a teacher adds is below 0",
            ways[1..].to_vec(),
            lines(1, &|seed, way| seed[way].expectation.all - seed[0].expectation.all, &nothing),
        ),
        beside(study, schools),
        law(study, &weights, scores, Form::Power),
        law(study, &weights, scores, Form::Exponential),
    ]
}

/// Who else reads the same windows: always the training people's mean; the pulse detector, which says that mean where it has no
/// answer; and the teacher.
fn beside(study: &HeartRate, schools: &[School]) -> Grid {
    let line = |name: &str, value: &dyn Fn(&School) -> [Option<f64>; 4]| {
        let column = |i: usize| Spread::of(schools.iter().map(|school| value(school)[i]));
        GridLine { name: name.into(), cells: (0..4).map(column).collect() }
    };
    let both = |off: Off| (Some(off.all), Some(off.sure));
    let constant = |school: &School| {
        let mean = school.split.train.mean();
        let (all, sure) = both(Off::of(std::iter::repeat(mean), &school.split.test));
        [all, None, sure, None]
    };
    let detector = |school: &School| {
        let (found, mean) = (&school.split.detected, school.split.train.mean());
        let (all, sure) = both(Off::of(found.iter().map(|bpm| bpm.unwrap_or(mean)), &school.split.test));
        let answers = 100.0 * found.iter().flatten().count() as f64 / found.len() as f64;
        [all, None, sure, Some(answers)]
    };
    let teacher = |school: &School| {
        let Score { expectation, largest } = school.teacher_score;
        let (all, sure) = both(expectation);
        [all, Some(largest.all), sure, None]
    };
    let name = format!("teacher ({})", short(study.net(&study.teacher).weights()));
    let columns =
        ["error, bpm", "as the largest class, bpm", "where the wristband is sure, bpm", "has an answer, %"];
    Grid {
        title: "Error of others on the same windows".into(),
        lines_are: "who".into(),
        columns: columns.map(str::to_owned).to_vec(),
        lines: vec![
            line("mean of the training people", &constant),
            line("pulse detector", &detector),
            line(&name, &teacher),
        ],
    }
}

/// A law of size, fitted to all but the largest network over the wave, one fit for each seed.
fn law(study: &HeartRate, weights: &[usize], scores: &[Vec<Scores>], form: Form) -> Grid {
    let mut order: Vec<usize> =
        (0..weights.len()).filter(|student| matches!(study.students[*student], Shape::Wave { .. })).collect();
    order.sort_by_key(|student| weights[*student]);
    let largest = order.pop();
    let line = |(way, name): (usize, &str)| {
        let error = |student: usize, seed: usize| scores[student][seed][way].expectation.all;
        let fit = |seed: usize| {
            let points: Vec<(f64, f64)> =
                order.iter().map(|student| (weights[*student] as f64, error(*student, seed))).collect();
            SizeLaw::fit(form, &points)
        };
        let cell = |value: &dyn Fn(usize) -> Option<f64>| Spread::of((0..study.seeds.len()).map(value));
        let cells = vec![
            cell(&|seed| Some(error(largest?, seed))),
            cell(&|seed| Some(fit(seed)?.at(weights[largest?] as f64))),
            cell(&|seed| Some(fit(seed)?.floor)),
            cell(&|seed| Some(fit(seed)?.shape)),
            cell(&|seed| Some(fit(seed)?.off)),
        ];
        GridLine { name: name.to_owned(), cells }
    };
    let ways = std::iter::once("from scratch").chain(study.strategies.iter().map(|way| way.name()));
    let (law, shape) = match form {
        Form::Power => ("c + a N^-b", "b"),
        Form::Exponential => ("c + a e^(-N/s)", "s, weights"),
    };
    let size = largest.map_or_else(|| "none".to_owned(), |student| short(weights[student]));
    let columns = ["measured, bpm", "predicted, bpm", "floor c, bpm", shape, "fit off by, bpm"];
    Grid {
        title: format!(
            "Error as {law} of N weights, fitted without the largest network ({size}) and held against it"
        ),
        lines_are: "taught".into(),
        columns: columns.map(str::to_owned).to_vec(),
        lines: ways.enumerate().map(line).collect(),
    }
}

/// `1.4 k`, `190 k`, `1.0 M`.
fn short(weights: usize) -> String {
    match weights as f64 {
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 99_500.0 => format!("{:.0} k", n / 1e3),
        n if n >= 1e3 => format!("{:.1} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let all = [960, 1388, 55_040, 190_000, 999_000, 1_040_000].map(short);
        assert_eq!(all, ["960", "1.4 k", "55.0 k", "190 k", "999 k", "1.0 M"]);
    }
}
