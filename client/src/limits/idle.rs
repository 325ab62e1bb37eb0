//! What other programs use of the processors, from `/proc/stat` and `/proc/self/stat` (Linux, proc(5)).
//!
//! Load averages would count the hub's own training, so it counts ticks: those in which any processor was busy, less its own, between
//! two looks. A machine without these files has no limit.

use std::path::{Path, PathBuf};

use super::guard::{Guard, Latch, Look, sensor};
use super::reason::Reason;

/// Percent of one processor: above the first others are at work, up to the second they are not.
const BUSY: f64 = 50.0;
const QUIET: f64 = 25.0;
/// Ticks of one processor, mostly of 10 ms, below which two looks are too close to tell anything.
const LEAST: f64 = 25.0;

/// Works while others do not.
pub(super) struct Idle {
    proc: PathBuf,
    /// At the last look; zeros at first, so that the first tells of the time since the machine was started.
    last: Ticks,
    percent: f64,
    latch: Latch,
}

/// Since the machine was started.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Ticks {
    /// Of one processor.
    all: f64,
    /// In which somebody else was at work, summed over processors.
    others: f64,
}

impl Idle {
    pub(super) fn new(proc: PathBuf) -> Self {
        Self { proc, last: Ticks::default(), percent: 0.0, latch: Latch::default() }
    }
}

impl Ticks {
    fn read(proc: &Path) -> Option<Self> {
        let text = sensor(&proc.join("stat"))?;
        let mut lines = text.lines();
        let fields: Vec<f64> =
            lines.next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|n| n.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in user already.
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *fields.first_chunk()?;
        let processors = lines.filter(|line| line.starts_with("cpu")).count().max(1) as f64;
        let own = sensor(&proc.join("self/stat"))?;
        // The name, in parentheses, may have anything in it; utime and stime are 12 and 13 fields behind it.
        let (_, behind) = own.rsplit_once(')')?;
        let own: Vec<f64> =
            behind.split_whitespace().skip(11).take(2).map_while(|n| n.parse().ok()).collect();
        let busy = user + nice + system + irq + softirq;
        let all = busy + idle + iowait + steal;
        Some(Self { all: all / processors, others: busy - own.iter().sum::<f64>() })
    }
}

impl Guard for Idle {
    fn limit(&self) -> (&'static str, String) {
        ("when_idle", "true".into())
    }

    fn look(&mut self, _: u64) -> Look {
        let Some(ticks) = Ticks::read(&self.proc) else {
            return Look { reading: "not known: no limit".into(), verdict: Ok(()) };
        };
        let passed = ticks.all - self.last.all;
        if passed >= LEAST {
            self.percent = (100.0 * (ticks.others - self.last.others) / passed).max(0.0);
            self.last = ticks;
        }
        let percent = self.percent;
        let busy = self.latch.binds(percent > BUSY, percent <= QUIET);
        let verdict = if busy { Err(Reason::Busy { percent }) } else { Ok(()) };
        Look { reading: format!("others use {percent:.0} % of a processor"), verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::put;
    use super::*;

    /// Two processors: ticks that others and this program used, of so many each.
    fn write(root: &Path, each: u64, others: u64, own: u64) {
        let idle = 2 * each - others - own;
        let stat = format!("cpu  {others} 0 {own} {idle} 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 7");
        put(
            root,
            &[("stat", &stat), ("self/stat", &format!("9 (a) b) S 1 1 1 0 -1 0 0 0 0 0 {own} 0 0 0 20"))],
        );
    }

    #[test]
    fn ones_own_work_is_not_somebody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let mut idle = Idle::new(dir.path().into());
        assert_eq!(idle.look(0), Look { reading: "not known: no limit".into(), verdict: Ok(()) });
        let (mut each, mut others, mut own) = (0, 0, 0);
        let mut look = |by_others: u64, by_own: u64| {
            (each, others, own) = (each + 1000, others + by_others, own + by_own);
            write(dir.path(), each, others, own);
            idle.look(0)
        };
        // A processor of our own all the time, and nobody else.
        assert_eq!(look(0, 1000), Look { reading: "others use 0 % of a processor".into(), verdict: Ok(()) });
        assert_eq!(look(900, 1000).verdict, Err(Reason::Busy { percent: 90.0 }));
        // They rest a little, which is not enough, then for good.
        let verdicts = [400, 300, 250, 400].map(|others| look(others, 0).verdict.is_ok());
        assert_eq!(verdicts, [false, false, true, true]);
    }

    #[test]
    fn two_looks_in_a_row_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut idle = Idle::new(dir.path().into());
        write(dir.path(), 1000, 900, 0);
        let first = idle.look(0);
        write(dir.path(), 1010, 900, 0);
        assert_eq!(idle.look(0), first);
        assert!(first.verdict.is_err());
    }

    #[test]
    fn this_machine_can_be_read() {
        if !Path::new("/proc/self/stat").exists() {
            println!("SKIPPED this_machine_can_be_read: /proc/self/stat is absent");
            return;
        }
        let ticks = Ticks::read(Path::new("/proc")).unwrap();
        assert!(ticks.all > 0.0 && ticks.others.is_finite(), "{ticks:?}");
    }
}
