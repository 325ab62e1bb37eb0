//! Movement by stage: activity counts, turns of the wrist, and the times for the heart to follow.

use crate::{Stage, Stream, StreamKind};

use super::chance::Chance;
use super::person::Person;

/// Chance of movement in a 15-s window in W, N1, N2, N3, REM.
const MOVES: [f64; 5] = [0.22, 0.10, 0.010, 0.007, 0.015];
/// Chance that a movement turns the wrist.
const TURNS: [f64; 5] = [0.40, 0.45, 0.55, 0.55, 0.60];
/// Chance in each epoch of a small shift without a count.
const SHIFTS: [f64; 5] = [0.05, 0.06, 0.04, 0.05, 0.08];
/// One step of the count scale.
const STEP: f64 = 3.07;

/// The movement of a night.
pub(super) struct Movement {
    /// Counts per 15 s.
    pub(super) activity: Stream,
    /// Gravity direction per 30 s.
    pub(super) posture: Stream,
    /// Seconds and size (about 1) of each movement.
    pub(super) moments: Vec<(f64, f64)>,
}

pub(super) fn movement(person: &Person, stages: &[Stage], chance: &mut Chance) -> Movement {
    let (mut times, mut counts) = (Vec::new(), Vec::new());
    let (mut posture_times, mut posture) = (Vec::new(), Vec::new());
    let mut moments = Vec::new();
    let mut gravity = direction(chance);
    let begin = chance.uniform(0.0, 0.02);
    // Wakefulness is restless or quiet; quiet wake is what wrist devices take for sleep.
    let mut quiet = false;
    let mut previous = None;
    for (epoch, stage) in stages.iter().enumerate() {
        let s = *stage as usize;
        if previous != Some(stage) {
            quiet = chance.happens(person.waking.quiet);
        }
        previous = Some(stage);
        let restless = match stage {
            Stage::Wake if quiet => person.waking.stirring * person.waking.stillness,
            Stage::Wake => person.waking.stirring,
            _ => 1.0,
        };
        for half in 0..2 {
            let time = epoch as f64 * 30.0 + f64::from(half) * 15.0;
            let mut count = 0.0;
            if chance.happens((MOVES[s] * person.restlessness * restless).min(0.9)) {
                // Wrist counts are multiples of the digitiser's step, log-normal in size.
                let steps = chance.log_normal(9.0, 1.0).clamp(1.0, 180.0).round();
                count = steps * STEP;
                let when = time + chance.uniform(0.0, 15.0);
                moments.push((when, (steps / 9.0).powf(0.4).min(2.0)));
                if chance.happens(TURNS[s]) {
                    gravity = turn(gravity, chance.log_normal(0.35, 0.9), chance);
                }
            }
            times.push(begin + time);
            counts.push(count as f32);
        }
        if chance.happens(SHIFTS[s] * person.restlessness) {
            gravity = turn(gravity, chance.log_normal(0.08, 0.7), chance);
        }
        posture_times.push(epoch as f64 * 30.0);
        // Breathing, pulse and the sensor's own noise.
        posture.extend(gravity.map(|g| (g + chance.normal(0.0, 0.003)) as f32));
    }
    Movement {
        activity: Stream::new(StreamKind::Activity, times, counts),
        posture: Stream::new(StreamKind::Posture, posture_times, posture),
        moments,
    }
}

/// A resting direction of the wrist, mostly face up.
fn direction(chance: &mut Chance) -> [f64; 3] {
    let upright = if chance.happens(0.75) { -0.8 } else { 0.5 };
    unit([chance.normal(0.0, 0.45), chance.normal(0.0, 0.45), chance.normal(upright, 0.3)])
}

/// Moves the direction by about `size`; large turns go to a new resting place.
fn turn(gravity: [f64; 3], size: f64, chance: &mut Chance) -> [f64; 3] {
    if size > 0.6 {
        return direction(chance);
    }
    unit(gravity.map(|g| g + chance.normal(0.0, size / 2.0)))
}

fn unit(v: [f64; 3]) -> [f64; 3] {
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-6);
    v.map(|x| x / norm)
}
