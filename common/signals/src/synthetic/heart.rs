//! Heart rate as a watch reports it: physiology that follows the stage, seen through a coarse sensor.

use std::ops::Range;

use crate::{Stage, Stream, StreamKind};

use super::chance::Chance;
use super::person::Person;

/// Heart-rate bursts without movement per epoch, in W, N1, N2, N3, REM: autonomic arousals.
const AROUSALS: [f64; 5] = [0.22, 0.28, 0.07, 0.03, 0.14];
/// Seconds in which the heart settles to a new stage.
const SETTLING: f64 = 75.0;

/// Heart rate of a night, bpm, about every five seconds. `moments` are movements to react to (seconds, size);
/// `failure` is a time without any signal.
pub(super) fn heart(
    person: &Person,
    stages: &[Stage],
    moments: &[(f64, f64)],
    failure: Range<f64>,
    chance: &mut Chance,
) -> Stream {
    let truth = physiology(person, stages, moments, chance);
    watch(&truth, moments, failure, chance)
}

/// The true heart rate of every second, `[30 * epochs]`, bpm.
fn physiology(person: &Person, stages: &[Stage], moments: &[(f64, f64)], chance: &mut Chance) -> Vec<f64> {
    let seconds = stages.len() * 30;
    let mut bursts = bursts(person, stages, moments, chance);
    let mut slow = Noise::new(1200.0);
    let mut middle = Noise::new(150.0);
    let mut fast = Noise::new(12.0);
    let mut level = person.rise[0] + 2.0;
    let mut unrest = person.unrest[0];
    let evening = chance.normal(person.evening_load, 1.5);
    let warm = chance.uniform(-1.0, 1.0);
    let mut truth = Vec::with_capacity(seconds);
    // Waking up on the way into a stage, or dreaming hard: every bout is its own.
    let mut bout = 0.0;
    let mut previous = None;
    for second in 0..seconds {
        let stage = stages[second / 30];
        let s = stage as usize;
        if previous != Some(stage) {
            bout = chance.normal(0.0, if stage == Stage::N3 { 0.6 } else { 0.8 });
            previous = Some(stage);
        }
        level += (person.rise[s] + bout - level) / SETTLING;
        unrest += (person.unrest[s] - unrest) / 40.0;
        let hours = second as f64 / 3600.0;
        let drift = evening * (hours / 1.6) * (1.0 - hours / 1.6).exp() + warm * (hours / 2.0).sin();
        let wander = person.wander * slow.next(chance);
        // REM is not only higher but uneven over minutes.
        let uneven = 1.0 + (unrest - 1.0) * 0.8;
        let noise = person.variability * (uneven * middle.next(chance) + 1.35 * unrest * fast.next(chance));
        truth.push(person.baseline + level + drift + wander + noise + bursts.next(second));
    }
    truth
}

/// Heart-rate bursts: up within seconds, down within half a minute.
struct Bursts {
    /// Second of onset and height, descending in time.
    waiting: Vec<(usize, f64)>,
    target: f64,
    value: f64,
}

impl Bursts {
    fn next(&mut self, second: usize) -> f64 {
        while self.waiting.last().is_some_and(|(t, _)| *t <= second) {
            let (_, height) = self.waiting.pop().unwrap_or_default();
            self.target = self.target.max(height);
        }
        self.value += (self.target - self.value) / 4.0;
        self.target *= 1.0 - 1.0 / 16.0;
        self.value
    }
}

fn bursts(person: &Person, stages: &[Stage], moments: &[(f64, f64)], chance: &mut Chance) -> Bursts {
    let mut waiting: Vec<(usize, f64)> = Vec::new();
    for (time, size) in moments {
        let height = person.startle * size * chance.log_normal(1.0, 0.4);
        waiting.push((*time as usize, height));
    }
    for (epoch, stage) in stages.iter().enumerate() {
        if chance.happens(AROUSALS[*stage as usize] * person.lightness) {
            let time = epoch as f64 * 30.0 + chance.uniform(0.0, 30.0);
            let height = person.startle * chance.log_normal(0.8, 0.4);
            waiting.push((time as usize, height));
        }
    }
    waiting.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    Bursts { waiting, target: 0.0, value: 0.0 }
}

/// First-order autoregressive noise at 1 Hz with unit variance.
struct Noise {
    keep: f64,
    value: f64,
}

impl Noise {
    fn new(seconds: f64) -> Self {
        Self { keep: (-1.0 / seconds).exp(), value: 0.0 }
    }

    fn next(&mut self, chance: &mut Chance) -> f64 {
        let fresh = (1.0 - self.keep * self.keep).sqrt();
        self.value = self.keep * self.value + chance.normal(0.0, fresh);
        self.value
    }
}

/// The sensor: irregular samples, smoothing, whole beats, drop-outs, and confusion after movement.
fn watch(truth: &[f64], moments: &[(f64, f64)], failure: Range<f64>, chance: &mut Chance) -> Stream {
    let end = truth.len() as f64;
    let gaps = drop_outs(end, chance);
    let noisy = chance.log_normal(0.06, 0.8);
    let (mut times, mut bpm) = (Vec::new(), Vec::new());
    let mut time = chance.uniform(0.2, 9.0);
    let mut smooth = truth.first().copied().unwrap_or(60.0);
    let mut misread = 0.0;
    while time < end {
        smooth += 0.6 * (truth[time as usize] - smooth);
        let after = moments.partition_point(|(t, _)| *t < time);
        let moved = after.checked_sub(1).is_some_and(|i| time - moments[i].0 < 20.0);
        if chance.happens(if moved { noisy } else { noisy * 0.02 }) {
            misread = chance.normal(4.0, 11.0);
        }
        let lost = gaps.iter().any(|gap| gap.contains(&time)) || failure.contains(&time);
        if !lost {
            times.push((time * 1e5).round() / 1e5);
            bpm.push((smooth + misread).round().clamp(35.0, 190.0) as f32);
        }
        misread *= 0.6;
        let step = if chance.happens(0.72) { 5.0 } else { chance.uniform(3.5, 7.0).round() };
        time += step;
    }
    Stream::new(StreamKind::Hr, times, bpm)
}

/// Times without a sample: a few short ones on most nights, many on a badly worn watch, now and then a long one.
fn drop_outs(end: f64, chance: &mut Chance) -> Vec<Range<f64>> {
    let number = chance.log_normal(1.2, 1.3).min(50.0) as usize;
    let mut gaps: Vec<Range<f64>> = (0..number)
        .map(|_| {
            let from = chance.uniform(0.0, end);
            from..from + 15.0 + chance.exponential(45.0).min(600.0)
        })
        .collect();
    if chance.happens(0.08) {
        let from = chance.uniform(0.0, end);
        gaps.push(from..from + chance.uniform(300.0, 1800.0));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Person {
        let mut person = Person::usual(&mut Chance::new(1, 0));
        person.baseline = 60.0;
        person.lightness = 0.0;
        person.startle = 15.0;
        person
    }

    #[test]
    fn the_heart_answers_movement_and_settles() {
        let stages = [Stage::N2; 40];
        let run = |moments: &[(f64, f64)]| physiology(&calm(), &stages, moments, &mut Chance::new(3, 1));
        let moved = run(&[(600.0, 1.0)]);
        let mean = |range: Range<usize>| moved[range.clone()].iter().sum::<f64>() / range.len() as f64;
        assert!(mean(605..620) > mean(560..600) + 4.0);
        assert!((mean(700..760) - mean(540..600)).abs() < 4.0);
    }

    #[test]
    fn the_watch_reports_whole_beats_and_nothing_in_a_failure() {
        let stages = [Stage::N2; 120];
        let stream = heart(&calm(), &stages, &[], 600.0..1200.0, &mut Chance::new(3, 1));
        assert!(stream.values().iter().all(|v| v.fract() == 0.0 && (40.0..90.0).contains(v)));
        assert!(stream.within(600.0, 1200.0).is_empty());
        assert!((500..=720).contains(&(stream.len() + 120)), "about one in five seconds");
        assert_eq!(stream.rejected(), 0);
    }
}
