//! Time as the machines see it: a number that their driver hands them with every call.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A moment on the driver's own monotonic clock, measured from when that driver started.
///
/// The state machines never read a clock. A deployed driver counts real time, the simulator and the tests count
/// virtual time, and the machines cannot tell which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The moment `elapsed` after the driver's start.
    pub const fn at(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Time since the driver's start.
    pub const fn elapsed(self) -> Duration {
        self.0
    }

    /// The time from `earlier` to this moment, zero if that lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t+{:.3}s", self.0.as_secs_f64())
    }
}
