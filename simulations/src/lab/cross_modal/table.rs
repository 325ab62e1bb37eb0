//! What encoders know of the heart, and how they find each other's moments, as tables.

use somnus_report::{Grid, GridLine, Spread};

use super::ways::{Taught, WAYS, Way};
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
    /// Of the supervised encoder, the HR error of its own line.
    pub(super) line: Option<f64>,
    /// Of a student, how it finds pulse waves.
    pub(super) found: Option<Found>,
}

/// How moments of people who judge find each other.
pub(super) struct Found {
    /// Among those of everybody: acceleration seeks its pulse wave, and the other way round.
    pub(super) everybody: [Retrieval; 2],
    /// Among one person's own, acceleration seeks: the mean over people, and what a guess gets.
    pub(super) own_top1: f64,
    pub(super) own_chance: f64,
}

/// How students find pulse waves.
pub(super) fn finding(rows: &[(&str, Vec<&Score>)]) -> Grid {
    type Column = (&'static str, fn(&Found) -> f64);
    const COLUMNS: [Column; 9] = [
        ("gallery", |found| found.everybody[0].gallery as f64),
        ("top-1", |found| found.everybody[0].top1),
        ("a guess", |found| Retrieval::chance(found.everybody[0].gallery).top1),
        ("top-5", |found| found.everybody[0].top5),
        ("mean rank", |found| found.everybody[0].mean_rank),
        ("a guess's rank", |found| Retrieval::chance(found.everybody[0].gallery).mean_rank),
        ("pulse seeks, top-1", |found| found.everybody[1].top1),
        ("within a person, top-1", |found| found.own_top1),
        ("a guess within", |found| found.own_chance),
    ];
    let line = |(name, scores): &(&str, Vec<&Score>)| GridLine {
        name: (*name).to_owned(),
        cells: COLUMNS
            .map(|(_, of)| Spread::of(scores.iter().map(|score| score.found.as_ref().map(of))))
            .to_vec(),
    };
    Grid {
        title: "The pulse wave of a moment, sought by its acceleration, of people who taught nothing".into(),
        lines_are: "encoder".into(),
        columns: COLUMNS.map(|(name, _)| name.to_owned()).to_vec(),
        lines: rows.iter().map(line).collect(),
    }
}

/// Probes of rows of people who teach and of those who judge.
pub(super) fn known_of_heart(deal: &Deal<'_>, [known, asked]: &[Vec<f32>; 2]) -> Score {
    let width = known.len() / deal.known.len();
    let error = |(_, of): Truth| ridge_error(width, (&deal.known, known), (&deal.asked, asked), of);
    Score {
        errors: TRUTHS.map(error),
        rank: effective_rank(width, &centred(width, asked)),
        line: None,
        found: None,
    }
}

pub(super) fn pulse_score(taught: &Taught, deal: &Deal<'_>) -> Score {
    let rows = |all: &[&Moment]| taught.rows(&all.iter().map(|moment| &moment.ppg[..]).collect::<Vec<_>>());
    known_of_heart(deal, &[rows(&deal.known), rows(&deal.asked)])
}

pub(super) fn knowledge(rows: &[(&str, Vec<&Score>)], deals: &[Deal<'_>]) -> Grid {
    let least = |seed: usize, ways: &[Way]| {
        let of_way = |way: &Way| WAYS.iter().position(|(one, _)| one == way).map(|row| rows[row].1[seed]);
        let readings = ways.iter().filter_map(of_way).flat_map(|score| [score.errors[0], score.line]);
        readings.flatten().min_by(f64::total_cmp)
    };
    let best = |ways: &[Way]| (0..deals.len()).map(|seed| least(seed, ways)).collect::<Vec<_>>();
    let (alone, told) = (best(&[Way::Simclr, Way::Changes, Way::Masked]), best(&[Way::Supervised]));
    let less = |scores: &[&Score], than: &[Option<f64>]| {
        let part = |(own, other): (&&Score, &Option<f64>)| Some(1.0 - own.errors[0]? / (*other)?);
        Spread::of(scores.iter().zip(than).map(part))
    };
    let line = |(name, scores): &(&str, Vec<&Score>)| {
        let mut cells: Vec<Spread> = (0..TRUTHS.len())
            .map(|truth| Spread::of(scores.iter().map(|score| score.errors[truth])))
            .collect();
        // Against the best of those that taught themselves, and the better reading of the one that was told.
        cells.push(less(scores, &alone));
        cells.push(less(scores, &told));
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
    let nothing = Spread::of([None]);
    let told = Spread::of(told_lines(rows));
    lines.push(GridLine {
        name: "supervised by heart rate, its own line".into(),
        cells: vec![told, nothing, nothing, nothing, nothing, nothing],
    });
    let mut cells: Vec<Spread> = TRUTHS.iter().map(constant).collect();
    cells.extend([nothing; 3]);
    lines.push(GridLine { name: "the median of people who teach".into(), cells });
    let columns = TRUTHS.iter().map(|(name, _)| (*name).to_owned());
    let more = ["less HR error than the best self-supervised", "than supervised", "effective rank, centred"]
        .map(str::to_owned);
    Grid {
        title: "What frozen embeddings of acceleration know of the heart, of people who taught nothing"
            .into(),
        lines_are: "encoder".into(),
        columns: columns.chain(more).collect(),
        lines,
    }
}

/// What the supervised encoder's own line is wrong by, seed by seed.
fn told_lines<'a>(rows: &'a [(&str, Vec<&'a Score>)]) -> impl Iterator<Item = Option<f64>> + 'a {
    let told = WAYS.iter().position(|(way, _)| *way == Way::Supervised);
    told.into_iter().flat_map(|row| rows[row].1.iter().map(|score| score.line))
}
