//! Lead 0 and the beats of a record of `mitdb`.

use std::ops::Range;
use std::path::Path;

use somnus_signals::{Segment, wfdb};

/// Lead 0, mV.
pub(crate) fn lead_0(dir: &Path, record: &str) -> Segment {
    let mut record = wfdb::read(dir, record).unwrap();
    Segment { start: 0.0, rate: record.header.rate, samples: record.signals.swap_remove(0) }
}

/// Times of annotated beats, seconds.
pub(crate) fn beats(dir: &Path, record: &str) -> Vec<f64> {
    wfdb::beats(&wfdb::annotations(dir, record, "atr").unwrap()).collect()
}

/// When the ventricles flutter, seconds: beats are neither annotated nor scored there (ANSI/AAMI EC57).
pub(crate) fn flutter(dir: &Path, record: &str) -> Vec<Range<f64>> {
    /// Flutter begins (`[`) and ends (`]`).
    const EDGES: Range<u8> = 32..34;
    let remarks = wfdb::annotations(dir, record, "atr").unwrap();
    let edges = remarks.iter().filter(|a| EDGES.contains(&a.code.number()));
    let times: Vec<f64> = edges.map(|a| a.time).collect();
    times.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
}
