//! How far a run is and how long it will take: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Counts training steps; a clone counts for the same run, from any thread.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    bar: ProgressBar,
    total: u64,
    done: AtomicU64,
    start: Instant,
    /// Not a terminal: print a line now and then. Seconds at which the last one was printed.
    lines: Option<AtomicU64>,
}

/// Seconds between two lines.
const PAUSE: u64 = 10;

impl Progress {
    /// A run of `total` training steps, shown on standard error.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let target = if lines { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        Self::with(total, target, lines.then(AtomicU64::default))
    }

    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self::with(0, ProgressDrawTarget::hidden(), None)
    }

    fn with(total: u64, target: ProgressDrawTarget, lines: Option<AtomicU64>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {bar:30} {percent:>3} % of {human_len} training steps, {eta} left  {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(Arc::new(Inner { bar, total, done: AtomicU64::new(0), start: Instant::now(), lines }))
    }

    /// So many training steps are done.
    pub fn steps(&self, steps: u64) {
        let inner = &*self.0;
        inner.bar.inc(steps);
        let done = inner.done.fetch_add(steps, Ordering::Relaxed) + steps;
        let Some(last) = &inner.lines else { return };
        let seconds = inner.start.elapsed().as_secs_f64();
        let before = last.load(Ordering::Relaxed);
        let due = before + PAUSE <= seconds as u64;
        // Of threads that come at once, one prints.
        if due && last.compare_exchange(before, seconds as u64, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let left = seconds / done as f64 * inner.total.saturating_sub(done) as f64;
            // Nobody may be listening on standard error; that is no reason to stop.
            let _ = writeln!(
                std::io::stderr(),
                "{done} of {} training steps after {seconds:.0} s, about {left:.0} s left",
                inner.total
            );
        }
    }

    /// What is being done.
    pub fn tell(&self, what: String) {
        self.0.bar.set_message(what);
    }

    /// The run is over.
    pub fn finish(&self) {
        self.0.bar.finish_and_clear();
    }
}
