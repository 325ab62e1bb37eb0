//! Guards: each looks at one thing of this machine, and says whether the hub may work now.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::Limits;
use super::heat::Heat;
use super::idle::Idle;
use super::power::{Battery, Mains};
use super::reason::Reason;
use super::window::{Hours, Window, Zone};

/// One limit on when the hub works.
pub trait Guard: Send + Sync {
    /// The key of `[limits]`, and what it is set to.
    fn limit(&self) -> (&'static str, String);

    /// Looks, at `now` in seconds since 1970 UTC. It may remember what it saw, so that a value at its limit does not switch
    /// at every look.
    fn look(&mut self, now: u64) -> Look;
}

/// What a guard saw.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// In words.
    pub reading: String,
    /// Whether the hub may work.
    pub verdict: Result<(), Reason>,
}

/// Where this machine tells of itself.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// The clock on its wall.
    pub zone: Zone,
}

impl Default for Machine {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), zone: Zone::System }
    }
}

/// The guards that the limits ask for.
pub(super) fn guards(limits: &Limits, machine: &Machine) -> Vec<Box<dyn Guard>> {
    let mut guards: Vec<Box<dyn Guard>> = Vec::new();
    let Machine { sys, proc, zone } = machine.clone();
    if limits.window != Window::ALWAYS {
        guards.push(Box::new(Hours { window: limits.window, zone }));
    }
    if limits.on_mains {
        guards.push(Box::new(Mains { sys: sys.clone() }));
    }
    if let Some(least) = limits.battery {
        guards.push(Box::new(Battery::new(sys.clone(), least)));
    }
    if let Some(most) = limits.celsius {
        guards.push(Box::new(Heat::new(sys, most)));
    }
    if limits.when_idle {
        guards.push(Box::new(Idle::new(proc)));
    }
    guards
}

/// A limit with some slack: once it binds, it lets go only when the value is well clear of it.
#[derive(Default)]
pub(super) struct Latch {
    binds: bool,
}

impl Latch {
    /// Whether it binds, of a value that is beyond the limit, or clear of it, or in between.
    pub(super) fn binds(&mut self, beyond: bool, clear: bool) -> bool {
        self.binds = if self.binds { !clear } else { beyond };
        self.binds
    }
}

/// A sensor's file, trimmed; none if it is not there or does not answer.
pub(super) fn sensor(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The folders in `folder` by name, in order.
pub(super) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Writes files below a folder that plays the machine.
    pub(crate) fn put(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn a_latch_holds_until_the_value_is_well_clear() {
        let mut latch = Latch::default();
        let values = [70, 76, 74, 71, 69, 74, 76];
        let binds: Vec<bool> = values.iter().map(|v| latch.binds(*v > 75, *v <= 70)).collect();
        assert_eq!(binds, [false, true, true, true, false, false, true]);
    }

    #[test]
    fn only_limits_that_are_set_have_a_guard() {
        assert!(guards(&Limits::default(), &Machine::default()).is_empty());
        let limits = Limits {
            window: "22:00-07:00".parse().unwrap(),
            on_mains: true,
            when_idle: true,
            battery: Some(30),
            celsius: Some(70.0),
            ..Limits::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine { sys: dir.path().into(), proc: dir.path().into(), zone: Zone::System };
        let limits: Vec<_> = guards(&limits, &machine).iter().map(|guard| guard.limit()).collect();
        let keys = ["train_between", "on_mains", "battery_percent", "celsius", "when_idle"];
        assert_eq!(limits.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
    }
}
