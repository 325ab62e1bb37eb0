//! Lead 0 and the beats of a record of `mitdb`.

use std::path::Path;

use somnus_signals::{Segment, wfdb};

/// Lead 0, mV.
pub(crate) fn lead_0(dir: &Path, record: &str) -> Segment {
    let mut record = wfdb::read(dir, record).unwrap();
    Segment { start: 0.0, rate: record.header.rate, samples: record.signals.swap_remove(0) }
}

/// Times of annotated beats, seconds. Stretches of ventricular flutter hold none.
pub(crate) fn beats(dir: &Path, record: &str) -> Vec<f64> {
    wfdb::beats(&wfdb::annotations(dir, record, "atr").unwrap()).collect()
}
