//! What a training asks between two steps: whether to go on, and when.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::config::Limits;
use super::cpu::Share;
use super::memory;
use super::reason::Reason;
use super::watch::Verdict;

/// How long a training waits for something that passes by itself. A round does not wait longer for it either.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Rests are taken in pieces, so that a limit that binds meanwhile is noticed.
const PIECE: Duration = Duration::from_secs(1);

/// A clock that only goes forward, and a way to let it.
pub trait Clock: Send + Sync {
    /// Since some moment.
    fn now(&self) -> Duration;

    /// Does nothing for so long.
    fn rest(&self, time: Duration);
}

/// This machine's clock.
pub struct Monotonic(Instant);

/// Holds up one training, on the thread that it runs on.
pub struct Brake {
    verdict: Verdict,
    share: Share,
    memory: Option<u64>,
    clock: Box<dyn Clock>,
    /// When it last let go.
    since: Mutex<Duration>,
}

impl Default for Brake {
    /// One that never holds anything up.
    fn default() -> Self {
        Self::new(Verdict::default(), &Limits::default())
    }
}

impl Default for Monotonic {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn rest(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Brake {
    /// One that keeps to the last word of a [`Watch`](super::Watch), and to a share of a processor and of memory.
    pub fn new(verdict: Verdict, limits: &Limits) -> Self {
        Self::with(verdict, limits, Box::new(Monotonic::default()))
    }

    fn with(verdict: Verdict, limits: &Limits, clock: Box<dyn Clock>) -> Self {
        let Limits { cpu: share, memory, .. } = *limits;
        Self { verdict, share, memory, clock, since: Mutex::default() }
    }

    /// Whether there is anything to ask [`Brake::fits`] about.
    pub fn counts_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether work fits that takes `need` bytes of the process.
    ///
    /// # Errors
    /// [`Reason::Memory`]; the hub is told that this federation's work does not fit.
    pub fn fits(&self, need: u64, what: &'static str) -> Result<(), Reason> {
        memory::check(self.memory, need, what).inspect_err(|reason| self.verdict.misfit(reason.clone()))
    }

    /// Before work of any kind. Waits for what passes by itself.
    ///
    /// # Errors
    /// The limit that binds and does not pass, or not within [`LONGEST_PAUSE`].
    pub fn begin(&self) -> Result<(), Reason> {
        self.clear()?;
        self.let_go();
        Ok(())
    }

    /// Between two steps: rests for the time that the last one took of others, then as [`Brake::begin`].
    ///
    /// # Errors
    /// As [`Brake::begin`].
    pub fn between(&self) -> Result<(), Reason> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = self.share.rest(self.clock.now().saturating_sub(since));
        loop {
            self.clear()?;
            if due.is_zero() {
                self.let_go();
                return Ok(());
            }
            let piece = due.min(PIECE);
            self.clock.rest(piece);
            due -= piece;
        }
    }

    fn let_go(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
    }

    /// Waits until no limit binds.
    fn clear(&self) -> Result<(), Reason> {
        let began = self.clock.now();
        while let Some(reason) = self.verdict.binds() {
            if !reason.passes() || self.clock.now().saturating_sub(began) >= LONGEST_PAUSE {
                return Err(reason);
            }
            self.clock.rest(PIECE);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A clock that goes on only while somebody rests, and what binds from when on.
    #[derive(Clone)]
    struct Virtual {
        now: Arc<Mutex<Duration>>,
        binds: Arc<Vec<(u64, Option<Reason>)>>,
        verdict: Verdict,
    }

    impl Virtual {
        fn new(binds: Vec<(u64, Option<Reason>)>) -> Self {
            let clock = Self { now: Arc::default(), binds: Arc::new(binds), verdict: Verdict::default() };
            clock.rest(Duration::ZERO);
            clock
        }

        fn brake(&self, percent: u32) -> Brake {
            let limits = Limits { cpu: Share::new(percent).unwrap(), ..Limits::default() };
            Brake::with(self.verdict.clone(), &limits, Box::new(self.clone()))
        }

        fn seconds(&self) -> f64 {
            self.now().as_secs_f64()
        }
    }

    impl Clock for Virtual {
        fn now(&self) -> Duration {
            *self.now.lock().unwrap()
        }

        fn rest(&self, time: Duration) {
            let mut now = self.now.lock().unwrap();
            *now += time;
            let word = self.binds.iter().rev().find(|(from, _)| Duration::from_secs(*from) <= *now);
            self.verdict.set(word.and_then(|(_, reason)| reason.clone()));
        }
    }

    #[test]
    fn what_does_not_fit_is_told_to_who_decides_where_to_be() {
        let verdict = Verdict::default();
        let brake = Brake::new(verdict.clone(), &Limits { memory: Some(100), ..Limits::default() });
        assert!(brake.fits(100, "it").is_ok() && verdict.take_misfit().is_none());
        let reason = brake.fits(101, "it").unwrap_err();
        assert_eq!(verdict.take_misfit(), Some(reason));
        assert!(!Brake::default().counts_memory());
    }

    fn hot() -> Reason {
        Reason::Hot { celsius: 80.0, most: 75.0 }
    }

    #[test]
    fn a_training_takes_its_share_of_the_time() {
        for (percent, all) in [(100, 20.0), (50, 40.0), (20, 100.0), (1, 2000.0)] {
            let clock = Virtual::new(Vec::new());
            let brake = clock.brake(percent);
            brake.begin().unwrap();
            // Ten steps of half a second and ten of one and a half.
            for step in 0..20 {
                clock.rest(Duration::from_millis(if step < 10 { 500 } else { 1500 }));
                brake.between().unwrap();
            }
            assert!((clock.seconds() - all).abs() < 1e-6, "{percent} %: {} s", clock.seconds());
        }
    }

    #[test]
    fn time_between_two_trainings_is_not_made_up_for() {
        let clock = Virtual::new(Vec::new());
        let brake = clock.brake(50);
        brake.begin().unwrap();
        clock.rest(Duration::from_secs(3600));
        brake.begin().unwrap();
        clock.rest(Duration::from_secs(2));
        brake.between().unwrap();
        assert_eq!(clock.seconds(), 3604.0);
    }

    #[test]
    fn heat_makes_it_wait_and_costs_nothing_else() {
        let clock = Virtual::new(vec![(5, Some(hot())), (65, None)]);
        let brake = clock.brake(100);
        brake.begin().unwrap();
        clock.rest(Duration::from_secs(6));
        brake.between().unwrap();
        assert_eq!(clock.seconds(), 65.0);
    }

    #[test]
    fn heat_that_does_not_pass_ends_it() {
        let clock = Virtual::new(vec![(5, Some(hot()))]);
        let brake = clock.brake(100);
        brake.begin().unwrap();
        clock.rest(Duration::from_secs(6));
        assert_eq!(brake.between(), Err(hot()));
        assert_eq!(clock.seconds(), 6.0 + LONGEST_PAUSE.as_secs_f64());
    }

    #[test]
    fn a_window_that_closes_ends_it_at_once_also_in_a_rest() {
        let closed = Some(Reason::OnBattery);
        let clock = Virtual::new(vec![(20, closed.clone())]);
        let brake = clock.brake(1);
        brake.begin().unwrap();
        clock.rest(Duration::from_secs(1));
        // It would rest for 99 seconds.
        assert_eq!(brake.between().err(), closed);
        assert_eq!(clock.seconds(), 20.0);
        assert_eq!(brake.begin().err(), closed);
    }
}
