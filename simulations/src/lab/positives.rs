//! What do positives of one person cost? Pulse-wave encoders contrasted by wearer or by window, with and without KoLeo:
//! how many directions they use, how well strangers are told apart by them, and what they know of the heart
//! (arXiv 2312.05409, whose probes know age and sex almost surely: what such an encoder learns is who somebody is).

use std::path::Path;

use serde::{Deserialize, Serialize};
use somnus_report::{Grid, GridLine, Spread, Summary};
use somnus_signals::StreamKind;

use super::learn::{Pace, untrained};
use super::participants::{Contrast, Positives, contrast};
use super::pulse::Moment;
use super::wrist::{Deal, Wrists, wave};
use super::{LabError, Means, Study, crew, within};
use crate::probe::{Gallery, Ridge, centred, effective_rank, median_error};
use crate::progress::Progress;

/// A study of positives.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositivesStudy {
    /// Its name.
    pub name: String,
    /// Each deals people anew.
    pub seeds: Vec<u64>,
    /// People who judge. Default 10.
    pub held_out: usize,
    /// Steps of each encoder. Default 400.
    pub steps: u32,
    /// Pairs of a step; at most one of each wearer who teaches. Default 32.
    pub batch: usize,
    /// Peak of the rate. Default .001.
    pub learning_rate: f32,
    /// Divides cosines. Default .04, after arXiv 2312.05409.
    pub temperature: f32,
    /// The weight of KoLeo where there is any. Default .1, after the same.
    pub koleo: f32,
    /// What stays of the following copy in a step. Default .99.
    pub momentum: f32,
}

impl Default for PositivesStudy {
    fn default() -> Self {
        Self {
            name: "positives".into(),
            seeds: vec![1, 2, 3],
            held_out: 10,
            steps: 400,
            batch: 32,
            learning_rate: 1e-3,
            temperature: 0.04,
            koleo: 0.1,
            momentum: 0.99,
        }
    }
}

const COLUMNS: [&str; 6] = [
    "effective rank",
    "the same, centred",
    "strangers told apart, by the window",
    "by the session",
    "HR error, bpm",
    "RMSSD error, ms",
];

impl Study for PositivesStudy {
    fn subject(&self) -> &'static str {
        "contrast of wearers and of windows, pulse waves"
    }

    fn check(&self) -> Result<(), (String, String)> {
        within(&[
            ("held_out", self.held_out as f64, 2.0, 1e4),
            ("steps", f64::from(self.steps), 1.0, 1e6),
            ("batch", self.batch as f64, 2.0, 1024.0),
            ("learning_rate", f64::from(self.learning_rate), 1e-9, 1.0),
            ("temperature", f64::from(self.temperature), 1e-3, 100.0),
            ("koleo", f64::from(self.koleo), 1e-6, 100.0),
            ("momentum", f64::from(self.momentum), 0.0, 1.0),
        ])
    }

    fn run(&self, data: Option<&Path>, means: &Means, summary: &mut Summary) -> Result<(), LabError> {
        let dir = data.ok_or(LabError::NoData("stress-predict"))?;
        let wrists = Wrists::load(dir)?;
        let deals: Vec<Deal<'_>> =
            self.seeds.iter().map(|seed| wrists.deal(dir, self.held_out, *seed)).collect::<Result<_, _>>()?;
        let none = None::<(Positives, f32)>;
        let ways = [
            ("one wearer, KoLeo", Some((Positives::Participant, self.koleo))),
            ("one wearer, no KoLeo", Some((Positives::Participant, 0.0))),
            ("one window, KoLeo", Some((Positives::Segment, self.koleo))),
            ("one window, no KoLeo", Some((Positives::Segment, 0.0))),
            ("random weights", none),
        ];
        let jobs: Vec<(usize, usize)> =
            (0..ways.len()).flat_map(|way| (0..deals.len()).map(move |deal| (way, deal))).collect();
        let bar = (means.progress)(4 * u64::from(self.steps) * deals.len() as u64);
        let found =
            crew::all(means.jobs, &jobs, |(way, deal)| self.score(ways[*way].1, &deals[*deal], &bar))?;
        bar.finish();
        let line = |(way, (name, _)): (usize, &(&str, _))| {
            let scores = &found[way * deals.len()..(way + 1) * deals.len()];
            let cell = |column: usize| Spread::of(scores.iter().map(|score| score[column]));
            GridLine { name: (*name).to_owned(), cells: (0..COLUMNS.len()).map(cell).collect() }
        };
        let mut lines: Vec<GridLine> = ways.iter().enumerate().map(line).collect();
        let constant = |of: fn(&Moment) -> Option<f32>| {
            Spread::of(deals.iter().map(|deal| {
                let values = |all: &[&Moment]| all.iter().filter_map(|m| of(m)).collect::<Vec<f32>>();
                median_error(&values(&deal.known), &values(&deal.asked))
            }))
        };
        let chance = Spread::of([Some(1.0 / self.held_out as f64)]);
        let nothing = Spread::of([None]);
        lines.push(GridLine {
            name: "a guess".into(),
            cells: vec![nothing, nothing, chance, chance, constant(|m| m.hr), constant(|m| m.rmssd)],
        });
        summary.grids.push(Grid {
            title: "Pulse-wave encoders, on people who taught nothing".into(),
            lines_are: "pairs are of".into(),
            columns: COLUMNS.map(str::to_owned).to_vec(),
            lines,
        });
        summary.notes.push(format!(
            "{} people, of whom {} judge; mean ± sd over seeds. Who is told apart are people that the encoder never met: a \
             fresh probe learns the first part of each session and is asked about the last. Errors are mean absolute ones \
             of ridge regressions fitted to the people who taught. No public set here has pulse waves and stages: what \
             the encoder knows of its task is asked by heart rate. A step has at most one pair of each wearer who teaches, whatever `batch` says. Temperature, KoLeo \
             and momentum are the paper's or near; nothing was chosen on these people.",
            wrists.ids.len(),
            self.held_out
        ));
        Ok(())
    }
}

impl PositivesStudy {
    fn score(
        &self,
        way: Option<(Positives, f32)>,
        deal: &Deal<'_>,
        bar: &Progress,
    ) -> Result<[Option<f64>; 6], LabError> {
        let wave = wave(StreamKind::Ppg);
        let weights = match way {
            Some((positives, koleo)) => {
                let how = Contrast {
                    positives,
                    koleo,
                    temperature: self.temperature,
                    batch: self.batch,
                    momentum: self.momentum,
                };
                let pace = Pace { steps: self.steps, rate: self.learning_rate };
                contrast(&deal.bank, 1, &wave, how, pace, deal.seed, bar)?
            }
            None => untrained(wave.specs(), deal.seed)?,
        };
        let embed = |all: &[&Moment]| {
            wave.embed_windows(&weights, &all.iter().map(|m| &m.ppg[..]).collect::<Vec<_>>())
        };
        let width = wave.embedding;
        let (known, asked) = (embed(&deal.known), embed(&deal.asked));
        let mut sessions: Vec<(usize, Vec<f32>)> = Vec::new();
        for (moment, row) in deal.asked.iter().zip(asked.chunks_exact(width)) {
            match sessions.iter_mut().find(|(person, _)| *person == moment.person) {
                Some((_, rows)) => rows.extend_from_slice(row),
                None => sessions.push((moment.person, row.to_vec())),
            }
        }
        let gallery = Gallery::new(width, sessions.into_iter().map(|(_, rows)| vec![rows]).collect());
        let identity = gallery.identify(deal.seed);
        let error = |of: fn(&Moment) -> Option<f32>| {
            ridge_error(width, (&deal.known, &known), (&deal.asked, &asked), of)
        };
        Ok([
            effective_rank(width, &asked),
            effective_rank(width, &centred(width, &asked)),
            identity.map(|found| found.epoch),
            identity.map(|found| found.night),
            error(|m| m.hr),
            error(|m| m.rmssd),
        ])
    }
}

/// The mean absolute error on `asked` of a ridge regression of `known`, both moments with a row of `width` each, where
/// there is a truth.
pub(super) fn ridge_error(
    width: usize,
    known: (&[&Moment], &[f32]),
    asked: (&[&Moment], &[f32]),
    of: impl Fn(&Moment) -> Option<f32>,
) -> Option<f64> {
    let labelled = |(moments, rows): (&[&Moment], &[f32])| {
        let (mut x, mut y, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (moment, row) in moments.iter().zip(rows.chunks_exact(width)) {
            if let Some(truth) = of(moment) {
                x.extend_from_slice(row);
                y.push(truth);
                groups.push(moment.person);
            }
        }
        (x, y, groups)
    };
    let (x, y, groups) = labelled(known);
    let (asked, truth, _) = labelled(asked);
    if y.is_empty() { None } else { Ridge::fit(width, &x, &y, &groups).mae(&asked, &truth) }
}
