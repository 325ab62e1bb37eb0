//! ActiGraph counts per second become activity on the scale of sleep-accel.

use std::collections::BTreeMap;

use crate::{Stream, StreamKind};

/// Seconds a window covers.
const WINDOW_SECONDS: u32 = 15;
/// A window is a gap when fewer of its seconds were recorded.
const MEASURED_SECONDS: u32 = 8;
/// The vector magnitude per window below which sleep-accel counts nothing.
const THRESHOLD: f64 = 600.0;
/// How much vector magnitude above it makes one count.
const PER_COUNT: f64 = 11.0;

/// The vector magnitude of each second.
#[derive(Debug, Default)]
pub(super) struct Movement {
    seconds: Vec<(u32, f64)>,
}

impl Movement {
    /// Takes a second's counts; what cannot be counts is a gap.
    pub(super) fn push(&mut self, second: u32, counts: f64) {
        if (0.0..=1e6).contains(&counts) {
            self.seconds.push((second, counts));
        }
    }

    /// Activity per 15 s from second `zero` on; missing seconds of a window are taken to be like the others.
    pub(super) fn activity(&self, zero: f64) -> Stream {
        let mut windows: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
        for (second, counts) in &self.seconds {
            let window = (f64::from(*second) - zero) as u32 / WINDOW_SECONDS;
            let (sum, measured) = windows.entry(window).or_default();
            *sum += counts;
            *measured += 1;
        }
        let (times, values) = windows
            .into_iter()
            .filter(|(_, (_, measured))| *measured >= MEASURED_SECONDS)
            .map(|(window, (sum, measured))| {
                let whole = sum * f64::from(WINDOW_SECONDS) / f64::from(measured);
                let count = ((whole - THRESHOLD) / PER_COUNT).max(0.0);
                (f64::from(window * WINDOW_SECONDS), count as f32)
            })
            .unzip();
        Stream::new(StreamKind::Activity, times, values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_by_the_rest_of_their_window_or_stay_gaps() {
        let mut movement = Movement::default();
        for second in (100..130).chain(130..137).chain(145..153) {
            movement.push(second, if second < 115 { 114.0 } else { 40.0 });
        }
        movement.push(153, f64::NAN);
        movement.push(154, -1.0);
        let activity = movement.activity(100.0);
        // 15 · 114 = 1710 is (1710 − 600) / 11; 15 · 40 is the threshold; 7 s are a gap; 8 s count as 15.
        assert_eq!(activity.times(), [0.0, 15.0, 45.0]);
        assert_eq!(activity.values(), [(1110.0 / 11.0) as f32, 0.0, 0.0]);
    }
}
