//! Real work for virtual moments: a pool of threads that works in the order in which results will be needed.
//!
//! The world hands in a job with the virtual moment at which its result enters, and takes the result when that moment
//! has come; only then may it have to wait. So that a cohort of hundreds does not pile up finished updates, workers
//! stay at most a window of two jobs a thread ahead of the world. What a job computes can depend on neither.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use somnus_protocol::time::Instant;

type Work<R> = Box<dyn FnOnce() -> R + Send>;

/// A pool whose results are taken by ticket.
pub struct Executor<R> {
    shared: Arc<Shared<R>>,
    workers: Vec<JoinHandle<()>>,
    number: u64,
}

/// A job that was handed in; tickets order by virtual moment, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket {
    due: Instant,
    number: u64,
}

struct Shared<R> {
    state: Mutex<State<R>>,
    /// Something for the workers may have changed.
    work: Condvar,
    /// A result has come in.
    done: Condvar,
    window: usize,
}

struct State<R> {
    queue: BTreeMap<Ticket, Work<R>>,
    running: BTreeSet<Ticket>,
    finished: BTreeMap<Ticket, thread::Result<R>>,
    /// Running, but nobody wants the result any more.
    abandoned: BTreeSet<Ticket>,
    /// What the world waits for: it may be begun even when the window is full.
    wanted: Option<Ticket>,
    closing: bool,
    /// Most jobs that were ever running or finished at once; the tests look at it.
    most_ahead: usize,
}

impl<R: Send + 'static> Executor<R> {
    /// A pool of `jobs` threads, at least one.
    ///
    /// # Panics
    /// If the system gives no thread.
    #[must_use]
    pub fn new(jobs: usize) -> Self {
        let jobs = jobs.max(1);
        let state = State {
            queue: BTreeMap::new(),
            running: BTreeSet::new(),
            finished: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            wanted: None,
            closing: false,
            most_ahead: 0,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            window: 2 * jobs,
        });
        let spawn = |index| {
            let shared = Arc::clone(&shared);
            let name = format!("job-{index}");
            thread::Builder::new()
                .name(name)
                .spawn(move || shared.labour())
                .expect("the system gives threads")
        };
        Self { workers: (0..jobs).map(spawn).collect(), shared, number: 0 }
    }

    /// Hands in a job whose result is needed at `due`.
    pub fn submit(&mut self, due: Instant, work: impl FnOnce() -> R + Send + 'static) -> Ticket {
        let ticket = Ticket { due, number: self.number };
        self.number += 1;
        self.shared.lock().queue.insert(ticket, Box::new(work));
        self.shared.work.notify_one();
        ticket
    }

    /// The result, waiting for it if need be.
    ///
    /// # Panics
    /// With the job's own panic, if it panicked; and if the ticket was taken or cancelled before.
    pub fn take(&mut self, ticket: Ticket) -> R {
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = state.finished.remove(&ticket) {
                state.wanted = None;
                drop(state);
                self.shared.work.notify_one();
                return result.unwrap_or_else(|panic| resume_unwind(panic));
            }
            assert!(
                state.queue.contains_key(&ticket) || state.running.contains(&ticket),
                "a ticket is good once"
            );
            state.wanted = Some(ticket);
            self.shared.work.notify_all();
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Forgets a job; one that runs is left to end.
    pub fn cancel(&mut self, ticket: Ticket) {
        let mut state = self.shared.lock();
        state.queue.remove(&ticket);
        state.finished.remove(&ticket);
        if state.running.contains(&ticket) {
            state.abandoned.insert(ticket);
        }
        drop(state);
        self.shared.work.notify_one();
    }

    #[cfg(test)]
    fn most_ahead(&self) -> usize {
        self.shared.lock().most_ahead
    }
}

impl<R> Drop for Executor<R> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        state.queue.clear();
        drop(state);
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // Its jobs' panics are caught; there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

impl<R> Shared<R> {
    /// A panic cannot leave the state half changed: jobs run outside of the lock.
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn labour(&self) {
        let mut state = self.lock();
        loop {
            if state.closing {
                return;
            }
            let Some((ticket, work)) = state.next(self.window) else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running.insert(ticket);
            state.most_ahead = state.most_ahead.max(state.ahead());
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(work));
            state = self.lock();
            state.running.remove(&ticket);
            if !state.abandoned.remove(&ticket) {
                state.finished.insert(ticket, result);
                self.done.notify_one();
            }
        }
    }
}

impl<R> State<R> {
    fn ahead(&self) -> usize {
        self.running.len() + self.finished.len()
    }

    fn next(&mut self, window: usize) -> Option<(Ticket, Work<R>)> {
        if let Some(wanted) = self.wanted
            && let Some(work) = self.queue.remove(&wanted)
        {
            return Some((wanted, work));
        }
        if self.ahead() >= window { None } else { self.queue.pop_first() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn second(n: u64) -> Instant {
        Instant::at(Duration::from_secs(n))
    }

    #[test]
    fn results_come_by_ticket_and_memory_stays_within_the_window() {
        for jobs in [1, 2, 4] {
            let mut executor = Executor::new(jobs);
            let tickets: Vec<Ticket> =
                (0..300u64).map(|n| executor.submit(second(n), move || n * n)).collect();
            for (n, ticket) in (0..).zip(tickets) {
                assert_eq!(executor.take(ticket), n * n);
            }
            assert!(executor.most_ahead() <= 2 * jobs + 1, "{} with {jobs} threads", executor.most_ahead());
        }
    }

    #[test]
    fn what_is_wanted_runs_even_when_the_window_is_full() {
        let mut executor = Executor::new(1);
        let early: Vec<Ticket> = (0..10).map(|n| executor.submit(second(n), move || n)).collect();
        let late = executor.submit(second(99), || 99);
        assert_eq!(executor.take(late), 99);
        assert_eq!(executor.take(early[9]), 9);
        assert_eq!(executor.take(early[0]), 0);
    }

    #[test]
    fn a_cancelled_job_is_not_begun_and_frees_its_place() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let mut executor = Executor::new(1);
        let gate = Arc::new(Mutex::new(()));
        let held = gate.lock().unwrap();
        let inside = Arc::clone(&gate);
        let first = executor.submit(second(0), move || drop(inside.lock()));
        let others: Vec<Ticket> = (1..50)
            .map(|n| {
                executor.submit(second(n), || {
                    BEGUN.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        for ticket in &others[..48] {
            executor.cancel(*ticket);
        }
        drop(held);
        executor.take(first);
        executor.take(others[48]);
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_panic_of_a_job_reaches_who_takes_it() {
        let mut executor: Executor<()> = Executor::new(1);
        let ticket = executor.submit(second(0), || panic!("the job's own words"));
        let panic = catch_unwind(AssertUnwindSafe(|| executor.take(ticket))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the job's own words"));
        let next = executor.submit(second(1), || ());
        executor.take(next);
    }
}
