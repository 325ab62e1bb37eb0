//! One direction of a bad link as arithmetic: whether what is sent arrives, and when. All chance is from a seed.

use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a direction does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// From one end to the other.
    pub(crate) latency: Duration,
    /// Fraction that never arrives.
    pub(crate) loss: f64,
    /// Fraction that takes half the time and overtakes what was sent before it.
    pub(crate) hurry: f64,
    /// None: as fast as it comes.
    pub(crate) rate: Option<Rate>,
}

/// A narrow place and the queue before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) kbit_per_second: f64,
    /// Bytes that may wait; what comes on top of them is lost.
    pub(crate) queue: usize,
}

impl Line {
    /// A good one.
    pub(crate) const CLEAR: Self = Self { latency: Duration::ZERO, loss: 0.0, hurry: 0.0, rate: None };

    /// As slow as said, with a queue of half a second or a dozen datagrams.
    pub(crate) fn slow(kbit_per_second: f64) -> Self {
        let queue = ((kbit_per_second * 1000.0 / 8.0 * 0.5) as usize).max(16 * 1024);
        Self { rate: Some(Rate { kbit_per_second, queue }), ..Self::CLEAR }
    }
}

impl Rate {
    fn time(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / (self.kbit_per_second * 1000.0))
    }
}

/// A line in use.
pub(crate) struct Pipe {
    line: Line,
    chance: SmallRng,
    /// When the last datagram has left the queue.
    free: Option<Instant>,
}

impl Pipe {
    pub(crate) fn new(line: Line, seed: u64) -> Self {
        Self { line, chance: SmallRng::seed_from_u64(seed), free: None }
    }

    /// From now on it is another line.
    pub(crate) fn become_line(&mut self, line: Line) {
        self.line = line;
    }

    /// When a datagram arrives that is sent now; `None` if it is lost.
    pub(crate) fn send(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        // Drawn in any case, so that one datagram's fate does not move another's chance.
        let (lost, hurried) = (self.chance.random::<f64>(), self.chance.random::<f64>());
        let mut left = now;
        if let Some(rate) = &self.line.rate {
            let start = self.free.map_or(now, |free| free.max(now));
            let room = rate.time(rate.queue);
            if start - now + rate.time(bytes) > room {
                return None;
            }
            left = start + rate.time(bytes);
            self.free = Some(left);
        }
        if lost < self.line.loss {
            return None;
        }
        Some(left + if hurried < self.line.hurry { self.line.latency / 2 } else { self.line.latency })
    }
}

#[test]
fn a_narrow_line_spaces_datagrams_and_loses_what_its_queue_cannot_hold() {
    let rate = Some(Rate { kbit_per_second: 64.0, queue: 3000 });
    let line = Line { latency: Duration::from_millis(300), rate, ..Line::CLEAR };
    let (mut pipe, now) = (Pipe::new(line, 1), Instant::now());
    let arrivals: Vec<Option<u128>> =
        (0..4).map(|_| pipe.send(now, 1000).map(|at| (at - now).as_millis())).collect();
    assert_eq!(arrivals, [Some(425), Some(550), Some(675), None]);
    // The queue is empty again.
    let later = now + Duration::from_secs(1);
    assert_eq!(pipe.send(later, 1000), Some(later + Duration::from_millis(425)));
}

#[test]
fn the_same_seed_loses_and_hurries_the_same_datagrams() {
    let line = Line { latency: Duration::from_millis(100), loss: 0.05, hurry: 0.1, rate: None };
    let now = Instant::now();
    let fate = |seed| {
        let mut pipe = Pipe::new(line, seed);
        (0..10_000).map(|_| pipe.send(now, 1).map(|at| (at - now).as_millis())).collect::<Vec<_>>()
    };
    let fates = fate(1);
    assert_eq!(fates, fate(1));
    assert_ne!(fates, fate(2));
    let share = |of| fates.iter().filter(|fate| **fate == of).count() as f64 / 10_000.0;
    // Five standard deviations of a binomial of 10,000.
    assert!((share(None) - 0.05).abs() < 0.011, "{}", share(None));
    assert!((share(Some(50)) - 0.1 * 0.95).abs() < 0.015, "{}", share(Some(50)));
}
