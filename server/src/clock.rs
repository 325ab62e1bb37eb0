//! Wall-clock time, passed in so that expiry can be tested without waiting for it.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Seconds since 1970-01-01 UTC.
pub type Seconds = u64;

/// Tells the time of day. Certificates and invitations are judged by it; deadlines of rounds are not.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Seconds + Send + Sync>);

impl WallClock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self(Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())))
    }

    /// A clock that tells what `read` returns.
    pub fn from_fn(read: impl Fn() -> Seconds + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time now.
    pub fn now(&self) -> Seconds {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WallClock({})", self.now())
    }
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.now())))
    }
}
