//! R peaks against the beats that two cardiologists annotated.

use std::path::Path;

use somnus_signals::r_peaks;

use crate::wfdb;

/// A detection this close to a beat is that beat, seconds (ANSI/AAMI EC57).
const WINDOW: f64 = 0.15;

#[derive(Default)]
struct Score {
    hits: usize,
    extra: usize,
    missed: usize,
}

impl Score {
    /// Matches in the order of time, each once: the nearer of two detections takes a beat.
    fn of(found: &[f64], beats: &[f64]) -> Self {
        let mut score = Self::default();
        let (mut f, mut b) = (0, 0);
        while f < found.len() && b < beats.len() {
            let off = found[f] - beats[b];
            let next_is_nearer = |times: &[f64], i: usize, to: f64| {
                times.get(i + 1).is_some_and(|t| (t - to).abs() < off.abs())
            };
            if off.abs() > WINDOW {
                if off < 0.0 {
                    score.extra += 1;
                    f += 1;
                } else {
                    score.missed += 1;
                    b += 1;
                }
            } else if next_is_nearer(found, f, beats[b]) {
                score.extra += 1;
                f += 1;
            } else if next_is_nearer(beats, b, found[f]) {
                score.missed += 1;
                b += 1;
            } else {
                score.hits += 1;
                (f, b) = (f + 1, b + 1);
            }
        }
        score.extra += found.len() - f;
        score.missed += beats.len() - b;
        score
    }

    fn sensitivity(&self) -> f64 {
        self.hits as f64 / (self.hits + self.missed) as f64
    }

    fn predictivity(&self) -> f64 {
        self.hits as f64 / (self.hits + self.extra) as f64
    }

    fn print(&self, name: &str) {
        let Self { hits, extra, missed } = self;
        let (se, ppv) = (self.sensitivity() * 100.0, self.predictivity() * 100.0);
        println!("{name:>6} {hits:6} {extra:5} {missed:5} {se:7.2} {ppv:7.2}");
    }
}

#[test]
fn r_peaks_find_the_beats_of_every_record_of_mitdb() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mitdb"));
    if !dir.is_dir() {
        println!("SKIPPED r_peaks_find_the_beats_of_every_record_of_mitdb: {} is absent", dir.display());
        return;
    }
    let records = somnus_signals::wfdb::records(dir).unwrap();
    println!("record     TP    FP    FN   Se %   PPV %");
    let mut all = Score::default();
    let mut poor = Vec::new();
    for record in &records {
        let flutter = wfdb::flutter(dir, record);
        let mut found = r_peaks(&wfdb::lead_0(dir, record)).unwrap();
        found.retain(|t| !flutter.iter().any(|f| f.contains(t)));
        let score = Score::of(&found, &wfdb::beats(dir, record));
        score.print(record);
        if score.sensitivity() < 0.99 || score.predictivity() < 0.99 {
            poor.push(record);
        }
        all.hits += score.hits;
        all.extra += score.extra;
        all.missed += score.missed;
    }
    all.print("all");
    assert!(poor.is_empty(), "below 99 %: {poor:?}");
}
