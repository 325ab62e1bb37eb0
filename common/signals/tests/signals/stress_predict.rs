//! Pulses of a wristband against what the wristband itself reports.

use std::io::{BufRead, BufReader};
use std::path::Path;

use somnus_signals::{NormalIntervals, Segment, View, intervals, pulses};

/// The wristband's own intervals give its own heart rate best, to .67 bpm, when averaged over the minute before.
const AVERAGED: f64 = 60.0;

fn rows(dir: &Path, person: &str, name: &str) -> impl Iterator<Item = Vec<String>> {
    let file = std::fs::File::open(dir.join(person).join(format!("{name}.csv.gz"))).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    lines.map(|line| line.unwrap().split(',').map(|cell| cell.trim().to_owned()).collect())
}

/// Start time (s), rate (Hz) and values of a file of one column.
fn track(dir: &Path, person: &str, name: &str) -> (f64, f64, Vec<f32>) {
    let mut numbers = rows(dir, person, name).map(|row| row[0].parse::<f64>().unwrap());
    let (start, rate) = (numbers.next().unwrap(), numbers.next().unwrap());
    (start, rate, numbers.map(|v| v as f32).collect())
}

/// Time and length of the intervals that the wristband trusts, seconds.
fn trusted(dir: &Path, person: &str) -> Vec<(f64, f64)> {
    let mut rows = rows(dir, person, "IBI");
    let start: f64 = rows.next().unwrap()[0].parse().unwrap();
    rows.map(|row| (start + row[0].parse::<f64>().unwrap(), row[1].parse().unwrap())).collect()
}

#[test]
fn pulses_agree_with_the_wristbands_own_heart_rate() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/stress-predict"));
    if !dir.is_dir() {
        println!("SKIPPED pulses_agree_with_the_wristbands_own_heart_rate: {} is absent", dir.display());
        return;
    }
    let folders = std::fs::read_dir(dir).unwrap().map(|f| f.unwrap());
    let mut people: Vec<String> =
        folders.filter(|f| f.path().is_dir()).map(|f| f.file_name().into_string().unwrap()).collect();
    people.sort();
    println!("person  minutes  |error|   bias bpm   intervals  within 50 ms %");
    let (mut errors, mut agree) = (Vec::new(), Vec::new());
    for person in &people {
        let (start, rate, samples) = track(dir, person, "BVP");
        let (hr_start, hr_rate, reported) = track(dir, person, "HR");
        let ibi = intervals(&pulses(&Segment { start, rate, samples }).unwrap());
        let normal = NormalIntervals::of(&ibi, View::Around);

        let mut own = Vec::new();
        for (i, bpm) in reported.iter().enumerate().step_by(10) {
            let to = hr_start + i as f64 / hr_rate;
            let until = |t: f64| normal.ends().partition_point(|e| *e <= t);
            let inside = &normal.seconds()[until(to - AVERAGED)..until(to)];
            let covered: f64 = inside.iter().sum();
            // A clean stretch: hardly anything in it was dropped.
            if covered >= 0.9 * AVERAGED {
                own.push(60.0 * inside.len() as f64 / covered - f64::from(*bpm));
            }
        }

        // The wristband times a pulse at its foot, which is before its steepest rise.
        let close = trusted(dir, person).into_iter().map(|(time, seconds)| {
            let pulse = ibi.times().partition_point(|t| *t < time);
            let near = ibi.times().get(pulse).is_some_and(|t| t - time < 0.4);
            near && (f64::from(ibi.values()[pulse]) - seconds).abs() < 0.05
        });
        let close: Vec<bool> = close.collect();
        let (error, bias) = mean(&own);
        let within = share(&close);
        println!("{person:>6} {:8} {error:8.2} {bias:10.2} {:11} {within:11.1}", own.len(), close.len());
        errors.extend(own);
        agree.extend(close);
    }
    let (error, bias) = mean(&errors);
    println!(
        "all: {error:.2} bpm off (bias {bias:.2}) in {} clean minutes; {:.1} % of {} intervals within 50 ms",
        errors.len(),
        share(&agree),
        agree.len()
    );
    assert!(error < 1.5 && bias.abs() < 0.5);
    assert!(share(&agree) > 85.0);
}

/// Means of the absolute values and of the values.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    (values.iter().map(|v| v.abs()).sum::<f64>() / n, values.iter().sum::<f64>() / n)
}

fn share(values: &[bool]) -> f64 {
    100.0 * values.iter().filter(|v| **v).count() as f64 / values.len().max(1) as f64
}
