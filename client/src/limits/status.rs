//! Limits for people: what is set, what there is now, and what would be refused.

use std::fmt::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde::Serialize;

use super::config::Limits;
use super::cpu::Share;
use super::guard::{Machine, guards};
use super::misfit::Misfit;
use super::{MIB, disk};

/// One limit that is set.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Standing {
    /// The key of `[limits]`.
    pub limit: &'static str,
    /// Its value.
    pub set: String,
    /// What there is of it now, where that can be seen from outside.
    pub now: Option<String>,
    /// Why the hub does not work now, if it is this that keeps it from it.
    pub refuses: Option<String>,
}

/// How long two looks at what other programs do are apart.
const APART: Duration = Duration::from_millis(500);

/// All limits that are set, of the hub in `folder`, at `now` in seconds since 1970 UTC.
pub fn standing(limits: &Limits, machine: &Machine, folder: &Path, now: u64) -> Vec<Standing> {
    let mut guards = guards(limits, machine);
    if limits.when_idle {
        // The first look tells of all the time since the machine was started.
        guards.iter_mut().for_each(|guard| drop(guard.look(now)));
        sleep(APART);
    }
    let mut all = Vec::new();
    for mut guard in guards {
        let ((limit, set), look) = (guard.limit(), guard.look(now));
        let refuses = look.verdict.err().map(|reason| reason.to_string());
        all.push(Standing { limit, set, now: Some(look.reading), refuses });
    }
    let misfit = Misfit::load(folder, now);
    let mut add = |limit, set: String, now| {
        let refuses = misfit.as_ref().filter(|misfit| misfit.limit == limit).map(|misfit| misfit.why.clone());
        all.push(Standing { limit, set, now, refuses });
    };
    if let Some(bytes) = limits.memory {
        add("memory_mib", (bytes / MIB).to_string(), None);
    }
    if let Some(bytes) = limits.disk {
        let used = disk::used(folder, None);
        add("disk_mib", (bytes / MIB).to_string(), Some(format!("{} MiB used", used.div_ceil(MIB))));
    }
    if limits.cpu != Share::ALL {
        add("cpu_percent", limits.cpu.percent().to_string(), None);
    }
    if limits.nice != 0 {
        add("nice", limits.nice.to_string(), None);
    }
    all
}

/// The same as lines.
pub fn describe(all: &[Standing]) -> String {
    let refuses = all.iter().find_map(|standing| standing.refuses.as_ref());
    let mut text = match refuses {
        Some(reason) => format!("no work now: {reason}"),
        None if all.is_empty() => "works whenever the server asks".into(),
        None => "works now".into(),
    };
    for Standing { limit, set, now, .. } in all {
        let _ = write!(text, "\n  {limit} = {set}");
        if let Some(now) = now {
            let _ = write!(text, "  ({now})");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::guard::tests::put;
    use super::super::window::Zone;
    use super::*;

    #[test]
    fn what_is_set_is_shown_with_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &[("class/thermal/thermal_zone0/temp", "51000"), ("hub/memory", "seven")]);
        let zone = Zone::Fixed(TimeZone::UTC);
        let machine = Machine { sys: dir.path().into(), proc: dir.path().into(), zone };
        let show = |limits: &Limits| {
            let noon = 1_780_315_200; // 2026-06-01T12:00:00Z
            describe(&standing(limits, &machine, &dir.path().join("hub"), noon))
        };
        assert_eq!(show(&Limits::default()), "works whenever the server asks");
        let mut limits = Limits {
            celsius: Some(70.0),
            on_mains: true,
            memory: Some(96 * MIB),
            disk: Some(64 * MIB),
            cpu: Share::new(50).unwrap(),
            nice: 10,
            ..Limits::default()
        };
        let rest = "\n  on_mains = true  (no battery: mains)\n  celsius = 70  (51.0 C)\n  memory_mib = 96\n  \
                    disk_mib = 64  (1 MiB used)\n  cpu_percent = 50\n  nice = 10";
        assert_eq!(show(&limits), format!("works now{rest}"));
        limits.window = "22:00-07:00".parse().unwrap();
        let why = "no work now: it is 12:00 here, and `train_between = \"22:00-07:00\"`";
        assert_eq!(show(&limits), format!("{why}\n  train_between = 22:00-07:00  (12:00){rest}"));
    }
}
