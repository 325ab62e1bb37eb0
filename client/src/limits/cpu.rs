//! A share of one processor, and a priority among programs that want it.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{getpriority_process, setpriority_process};

/// Percent of one processor, 1 to 100. A training is one thread: it works, and then rests until the share is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// `percent`, if that is a share.
    pub fn new(percent: u32) -> Option<Self> {
        (1..=100).contains(&percent).then_some(Self(percent))
    }

    /// Percent.
    pub fn percent(self) -> u32 {
        self.0
    }

    /// How long to rest after work.
    pub fn rest(self, worked: Duration) -> Duration {
        worked.saturating_mul(100 - self.0) / self.0
    }
}

/// Lowers the priority of the calling thread, and of those that it starts from then on, to `nice`; never raises it.
///
/// # Errors
/// What the system says.
pub fn lower_priority(nice: i32) -> io::Result<()> {
    let failed = |error: Errno| io::Error::from_raw_os_error(error.raw_os_error());
    if nice > getpriority_process(None).map_err(failed)? {
        setpriority_process(None, nice).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_makes_the_share_right() {
        let ms = Duration::from_millis;
        assert_eq!(Share::ALL.rest(ms(300)), Duration::ZERO);
        assert_eq!(Share::new(50).unwrap().rest(ms(300)), ms(300));
        assert_eq!(Share::new(25).unwrap().rest(ms(300)), ms(900));
        assert_eq!(Share::new(1).unwrap().rest(ms(10)), ms(990));
        assert_eq!((Share::new(0), Share::new(101)), (None, None));
        for percent in 1..=100 {
            let (worked, share) = (Duration::from_secs(100), Share::new(percent).unwrap());
            let all = worked + share.rest(worked);
            let got = 100.0 * worked.as_secs_f64() / all.as_secs_f64();
            assert!((got - f64::from(percent)).abs() < 1e-6, "{percent}: {got}");
        }
    }

    #[test]
    fn priority_goes_down_and_never_up() {
        // On a thread of its own: it stays low.
        let nice = std::thread::spawn(|| {
            let before = getpriority_process(None).unwrap();
            lower_priority(before - 1).unwrap();
            assert_eq!(getpriority_process(None).unwrap(), before);
            lower_priority(19).unwrap();
            lower_priority(3).unwrap();
            getpriority_process(None).unwrap()
        });
        assert_eq!(nice.join().unwrap(), 19);
    }
}
