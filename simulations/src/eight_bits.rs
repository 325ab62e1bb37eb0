//! Staging in int8 beside staging in f32: what it costs in kappa, and what it saves.

use std::time::Instant as Clock;

use serde::Serialize;
use somnus_model::{Prepared, Quantised, Stager};
use somnus_report::{ClientResult, Grid, GridLine, Row, Spread};

/// Stagings of one night whose median counts.
const REPEATS: usize = 31;

/// What staging a night takes at one precision of weights and activations.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StagingCost {
    /// `f32` or `int8`.
    pub of: &'static str,
    /// Milliseconds by the clock on one thread, the median of many.
    pub milliseconds: f64,
    /// The network's weights at rest, KiB.
    pub kib: f64,
}

/// The same night staged in f32 and in int8, on this thread.
#[must_use]
pub fn costs(stager: &Stager, night: &Prepared) -> [StagingCost; 2] {
    let coded = Quantised::of(stager);
    let cost = |of, bytes: usize, stage: &dyn Fn()| {
        let mut seconds: Vec<f64> = (0..REPEATS)
            .map(|_| {
                let start = Clock::now();
                stage();
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        StagingCost { of, milliseconds: 1e3 * seconds[REPEATS / 2], kib: bytes as f64 / 1024.0 }
    };
    let exact = || drop(std::hint::black_box(stager.predict_prepared(night)));
    let rounded = || drop(std::hint::black_box(coded.predict(night)));
    [cost("f32", 4 * stager.parameters(), &exact), cost("int8", coded.bytes(), &rounded)]
}

/// The same people at both precisions, each with its row and its cost.
pub(crate) fn grid(rows: [&Row; 2], clients: [&[ClientResult]; 2], costs: &[StagingCost; 2]) -> Grid {
    let kappa = |row: &Row| row.pooled.kappa;
    let [exact, _] = rows;
    let lines = rows.into_iter().zip(clients).zip(costs).map(|((row, own), cost)| {
        let lost = kappa(row).zip(kappa(exact)).map(|(own, exact)| own - exact);
        let cells = [kappa(row), lost, alike(clients[0], own), Some(cost.milliseconds), Some(cost.kib)];
        GridLine { name: cost.of.into(), cells: cells.map(|cell| Spread::of([cell])).to_vec() }
    });
    Grid {
        title: "Eight bits: the same network and nights, weights and activations rounded".into(),
        lines_are: "precision".into(),
        columns: ["kappa", "kappa - f32", "epochs staged alike", "ms a night", "KiB"]
            .map(String::from)
            .to_vec(),
        lines: lines.collect(),
    }
}

/// Share of epochs that two stagings of the same people have alike.
fn alike(some: &[ClientResult], others: &[ClientResult]) -> Option<f64> {
    let epochs = |clients: &[ClientResult]| -> Vec<Option<u8>> {
        let nights = clients.iter().flat_map(|client| &client.nights);
        nights.flat_map(|night| night.predicted.iter().copied()).collect()
    };
    let (some, others) = (epochs(some), epochs(others));
    let same = some.iter().zip(&others).filter(|(a, b)| a == b).count();
    (!some.is_empty()).then(|| same as f64 / some.len() as f64)
}
