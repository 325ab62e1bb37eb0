//! A wristband's acceleration and pulse wave of the same moments: do the embeddings find each other, and is the heart in them?

use std::path::Path;

use somnus_model::Stager;
use somnus_report::{Grid, GridLine};
use somnus_signals::StreamKind;

use super::embedded::{Encoder, Line, Matrix};
use super::questions::{Numbers, Split, grid, grid_line, identity, rank, splits};
use super::{ProbeError, enough};
use crate::lab::pulse::{Moment, moments};
use crate::probe::subjects::CUT;
use crate::probe::{Retrieval, Ridge, retrieval};

/// Seconds of a moment: an epoch of sleep staging.
const SECONDS: f64 = 30.0;

pub(super) fn ask(stager: &Stager, folder: &Path, seeds: u64) -> Result<Vec<Grid>, ProbeError> {
    let (accel, ppg) = (Encoder::of(stager, StreamKind::Accel)?, Encoder::of(stager, StreamKind::Ppg)?);
    if accel.is_none() && ppg.is_none() {
        let folder = folder.display().to_string();
        return Err(ProbeError::NoEncoder { folder, stream: StreamKind::Accel });
    }
    let (_, moments) = moments(folder, SECONDS)?;
    let people: Vec<usize> = moments.iter().map(|moment| moment.person).collect();
    let everybody = people.chunk_by(|a, b| a == b).count();
    enough(folder, everybody, "acceleration and a pulse wave of the same time")?;
    let of = |samples: fn(&Moment) -> &[f32]| moments.iter().flat_map(samples).copied().collect::<Vec<f32>>();
    let accel = accel.map(|encoder| encoder.lines_of_epochs(&of(|moment| &moment.accel), seeds));
    let ppg = ppg.map(|encoder| encoder.lines_of_epochs(&of(|moment| &moment.ppg), seeds));
    let lines: Vec<Line> = accel.iter().chain(&ppg).flatten().cloned().collect();
    let target = |of: fn(&Moment) -> Option<f32>| moments.iter().map(of).collect::<Vec<_>>();
    let targets = [
        ("heart rate, bpm", target(|moment| moment.hr)),
        ("SDNN, ms", target(|moment| moment.sdnn)),
        ("RMSSD, ms", target(|moment| moment.rmssd)),
    ];
    let all = format!("{} moments of {SECONDS} s of {everybody} people", moments.len());
    let mut grids = Vec::new();
    if let (Some(accel), Some(ppg)) = (&accel, &ppg) {
        grids.push(found(
            &format!("Which moment is it? {all}; galleries of people whom nothing was fitted on"),
            accel,
            ppg,
            &people,
        ));
    }
    let title = format!("The heart by a line: mean absolute error; {all}, each judged by a line of others");
    grids.push(Numbers { people: &people, targets: &targets }.table(title, &lines, seeds));
    grids.push(identity(&lines, &people, &people, CUT));
    grids.push(rank(&lines));
    Ok(grids)
}

/// Retrieval in both directions: by the embeddings as they are, and by a line from one to the other that was fitted on others.
fn found(title: &str, accel: &[Line; 2], ppg: &[Line; 2], people: &[usize]) -> Grid {
    let columns = ["gallery", "top-1", "top-5", "mean rank", "top-1 of a guess", "mean rank of a guess"];
    let rows: Vec<usize> = (0..people.len()).collect();
    let line = |from: &Line, to: &Line, look: Look| -> GridLine {
        let pairs = from.of_seed.iter().zip(&to.of_seed).zip(0..);
        let asked: Vec<_> = pairs
            .map(|((from, to), seed)| {
                let parts = splits(&rows, people, seed);
                mean(parts.iter().filter_map(|part| look.up(from, to, part, people)))
            })
            .collect();
        grid_line(format!("{} to {}{}", from.name, to.name, look.name()), &asked)
    };
    let mut lines = Vec::new();
    for (accel, ppg) in accel.iter().zip(ppg) {
        for look in [Look::AsTheyAre, Look::ByALine] {
            lines.extend([line(accel, ppg, look), line(ppg, accel, look)]);
        }
    }
    grid(title.to_owned(), &columns, lines)
}

/// How embeddings of one stream are compared with those of another.
#[derive(Clone, Copy)]
enum Look {
    AsTheyAre,
    ByALine,
}

impl Look {
    fn name(self) -> &'static str {
        match self {
            Self::AsTheyAre => "",
            Self::ByALine => ", by a line",
        }
    }

    fn up(self, from: &Matrix, to: &Matrix, part: &Split, people: &[usize]) -> Option<Retrieval> {
        let gallery = to.pick(&part.asked);
        match self {
            Self::AsTheyAre => retrieval(&from.pick(&part.asked), &gallery, to.width),
            Self::ByALine => {
                let (queries, gallery) = by_a_line(from, to, part, people);
                retrieval(&queries, &gallery, to.width)
            }
        }
    }
}

/// The embeddings that `from` makes one expect, and those that are there; both in deviations of the people whom the lines
/// were fitted on, so that no column outweighs the others.
fn by_a_line(from: &Matrix, to: &Matrix, part: &Split, people: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let whose: Vec<usize> = part.known.iter().map(|row| people[*row]).collect();
    let (known, asked) = (from.pick(&part.known), from.pick(&part.asked));
    let (learned, there) = (to.pick(&part.known), to.pick(&part.asked));
    let (mut queries, mut gallery) = (vec![0.0; there.len()], vec![0.0; there.len()]);
    for column in 0..to.width {
        let of = |rows: &[f32]| rows.iter().skip(column).step_by(to.width).copied().collect::<Vec<f32>>();
        let target = of(&learned);
        let n = target.len().max(1) as f32;
        let mean = target.iter().sum::<f32>() / n;
        let deviation = (target.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt().max(1e-6);
        let line = Ridge::fit(from.width, &known, &target, &whose);
        for (row, (query, own)) in asked.chunks_exact(from.width).zip(of(&there)).enumerate() {
            queries[row * to.width + column] = (line.predict(query) - mean) / deviation;
            gallery[row * to.width + column] = (own - mean) / deviation;
        }
    }
    (queries, gallery)
}

/// The mean over galleries of everything, and of what a guess gets.
fn mean(found: impl Iterator<Item = Retrieval>) -> Vec<Option<f64>> {
    let all: Vec<[f64; 6]> = found
        .map(|one| {
            let guess = Retrieval::chance(one.gallery);
            [one.gallery as f64, one.top1, one.top5, one.mean_rank, guess.top1, guess.mean_rank]
        })
        .collect();
    let part = 1.0 / all.len() as f64;
    (0..6)
        .map(|column| (!all.is_empty()).then(|| part * all.iter().map(|one| one[column]).sum::<f64>()))
        .collect()
}
