//! What encoders know of the heart, and how they find each other's moments, as tables.

use somnus_report::{Grid, GridLine, Spread};

use super::CrossModal;
use super::ways::Taught;
use crate::lab::positives::ridge_error;
use crate::lab::pulse::Moment;
use crate::lab::wrist::Deal;
use crate::probe::{Retrieval, centred, effective_rank, median_error};

/// Numbers of the heart: name, and where a moment has it.
pub(super) type Truth = (&'static str, fn(&Moment) -> Option<f32>);
pub(super) const TRUTHS: [Truth; 3] =
    [("HR error, bpm", |m| m.hr), ("SDNN error, ms", |m| m.sdnn), ("RMSSD error, ms", |m| m.rmssd)];

/// What an encoder is worth.
pub(super) struct Score {
    pub(super) errors: [Option<f64>; 3],
    pub(super) rank: Option<f64>,
    /// Of a student, how it finds pulse waves and is found by them.
    pub(super) found: Option<[Retrieval; 2]>,
}

impl CrossModal {
    pub(super) fn finding(&self, rows: &[(&str, Vec<&Score>)]) -> Grid {
        let columns = [
            "gallery",
            "top-1",
            "top-5",
            "mean rank",
            "pulse finds movement, top-1",
            "chance, top-1",
            "chance, rank",
        ];
        let line = |(name, scores): &(&str, Vec<&Score>)| {
            let of = |what: &dyn Fn(&[Retrieval; 2]) -> f64| {
                Spread::of(scores.iter().map(|score| score.found.as_ref().map(what)))
            };
            let guess = |found: &[Retrieval; 2]| Retrieval::chance(found[0].gallery);
            GridLine {
                name: (*name).to_owned(),
                cells: vec![
                    of(&|found| found[0].gallery as f64),
                    of(&|found| found[0].top1),
                    of(&|found| found[0].top5),
                    of(&|found| found[0].mean_rank),
                    of(&|found| found[1].top1),
                    of(&|found| guess(found).top1),
                    of(&|found| guess(found).mean_rank),
                ],
            }
        };
        Grid {
            title: "The pulse wave of a moment, sought by its acceleration, of people who taught nothing"
                .into(),
            lines_are: "encoder".into(),
            columns: columns.map(str::to_owned).to_vec(),
            lines: rows.iter().map(line).collect(),
        }
    }
}

/// Probes of rows of people who teach and of those who judge.
pub(super) fn known_of_heart(deal: &Deal<'_>, [known, asked]: &[Vec<f32>; 2]) -> Score {
    let width = known.len() / deal.known.len();
    let error = |(_, of): Truth| ridge_error(width, (&deal.known, known), (&deal.asked, asked), of);
    Score { errors: TRUTHS.map(error), rank: effective_rank(width, &centred(width, asked)), found: None }
}

pub(super) fn pulse_score(taught: &Taught, deal: &Deal<'_>) -> Score {
    let rows = |all: &[&Moment]| taught.rows(&all.iter().map(|moment| &moment.ppg[..]).collect::<Vec<_>>());
    known_of_heart(deal, &[rows(&deal.known), rows(&deal.asked)])
}

pub(super) fn knowledge(rows: &[(&str, Vec<&Score>)], deals: &[Deal<'_>]) -> Grid {
    let line = |(name, scores): &(&str, Vec<&Score>)| {
        let mut cells: Vec<Spread> = (0..TRUTHS.len())
            .map(|truth| Spread::of(scores.iter().map(|score| score.errors[truth])))
            .collect();
        let first = |against: &[&Score]| {
            let less = |(own, other): (&&Score, &&Score)| Some(1.0 - own.errors[0]? / other.errors[0]?);
            Spread::of(scores.iter().zip(against).map(less))
        };
        // Against the encoders of acceleration that taught themselves or were told.
        cells.push(first(&rows[2].1));
        cells.push(first(&rows[5].1));
        cells.push(Spread::of(scores.iter().map(|score| score.rank)));
        GridLine { name: (*name).to_owned(), cells }
    };
    let constant = |(_, of): &Truth| {
        Spread::of(deals.iter().map(|deal| {
            let values = |all: &[&Moment]| all.iter().filter_map(|moment| of(moment)).collect::<Vec<f32>>();
            median_error(&values(&deal.known), &values(&deal.asked))
        }))
    };
    let mut lines: Vec<GridLine> = rows.iter().map(line).collect();
    let mut cells: Vec<Spread> = TRUTHS.iter().map(constant).collect();
    cells.extend([Spread::of([None]), Spread::of([None]), Spread::of([None])]);
    lines.push(GridLine { name: "the median of people who teach".into(), cells });
    let columns = TRUTHS.iter().map(|(name, _)| (*name).to_owned());
    let more = ["less HR error than SimCLR", "than supervised", "effective rank"].map(str::to_owned);
    Grid {
        title: "What frozen embeddings of acceleration know of the heart, of people who taught nothing"
            .into(),
        lines_are: "encoder".into(),
        columns: columns.chain(more).collect(),
        lines,
    }
}
