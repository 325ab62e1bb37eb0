//! Pulses of a wristband against what the wristband itself reports.

use std::path::Path;

use somnus_signals::{
    EPOCH_SECONDS, NormalIntervals, Segment, StreamKind, View, e4, intervals, pulses, signal_quality,
};

/// The wristband's own intervals give its own heart rate best, to .67 bpm, when averaged over the minute before.
const AVERAGED: f64 = 60.0;

#[test]
fn pulses_agree_with_the_wristbands_own_heart_rate() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/stress-predict"));
    if !dir.is_dir() {
        println!("SKIPPED pulses_agree_with_the_wristbands_own_heart_rate: {} is absent", dir.display());
        return;
    }
    println!("person  minutes  |error|   bias bpm   intervals  within 50 ms %");
    let (mut errors, mut agree) = (Vec::new(), Vec::new());
    let (mut trusty, mut doubtful) = (Vec::new(), Vec::new());
    for recording in e4::load(dir).unwrap() {
        let stream = |kind| &recording.streams[&kind];
        let [ppg] = &Segment::cut(stream(StreamKind::Ppg), 0, 0.0)[..] else {
            panic!("{}: the pulse has gaps", recording.id());
        };
        let ibi = intervals(&pulses(ppg).unwrap());
        let normal = NormalIntervals::of(&ibi, View::Around);

        let mut own = Vec::new();
        let reported = stream(StreamKind::Hr);
        for (to, bpm) in reported.times().iter().zip(reported.values()).step_by(10) {
            let until = |t: f64| normal.ends().partition_point(|e| *e <= t);
            let inside = &normal.seconds()[until(to - AVERAGED)..until(*to)];
            let covered: f64 = inside.iter().sum();
            // A clean stretch: hardly anything in it was dropped.
            if covered >= 0.9 * AVERAGED {
                own.push(60.0 * inside.len() as f64 / covered - f64::from(*bpm));
            }
        }

        // The wristband times a pulse at its foot, which is before its steepest rise.
        let trusted = stream(StreamKind::Ibi);
        let quality = signal_quality(stream(StreamKind::Ppg), recording.epochs()).unwrap();
        let close = trusted.times().iter().zip(trusted.values()).map(|(time, seconds)| {
            let pulse = ibi.times().partition_point(|t| t < time);
            let near = ibi.times().get(pulse).is_some_and(|t| t - time < 0.4);
            let close = near && (ibi.values()[pulse] - seconds).abs() < 0.05;
            match quality.get((time / EPOCH_SECONDS) as usize) {
                // What Orphanidou et al. 2015 trust.
                Some(q) if *q >= 0.86 => trusty.push(close),
                Some(_) => doubtful.push(close),
                None => {}
            }
            close
        });
        let close: Vec<bool> = close.collect();
        let (error, bias) = mean(&own);
        let within = share(&close);
        println!(
            "{:>6} {:8} {error:8.2} {bias:10.2} {:11} {within:11.1}",
            recording.id(),
            own.len(),
            close.len()
        );
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
    let [good, bad] = [&trusty, &doubtful].map(|close| share(close));
    println!(
        "{good:.1} % of {} where the quality is at least .86, {bad:.1} % of {} where it is not",
        trusty.len(),
        doubtful.len()
    );
    assert!(good > 90.0 && bad < good - 10.0);
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
