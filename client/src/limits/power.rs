//! Mains and battery, from `/sys/class/power_supply` (Linux, `Documentation/ABI/testing/sysfs-class-power`).
//!
//! A machine without a battery, such as a Raspberry Pi, runs on mains whatever else it says or does not say.

use std::path::{Path, PathBuf};

use super::guard::{Guard, Latch, Look, folders, sensor};
use super::reason::Reason;

/// Percent above the limit at which a battery is full enough again.
const SLACK: u8 = 5;

/// Where the power comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Power {
    /// There is no battery.
    Wall,
    /// There is one, which rests or charges.
    Plugged { percent: Option<u8> },
    /// There is one, and it is being used up.
    Unplugged { percent: Option<u8> },
}

/// Works on mains only.
pub(super) struct Mains {
    pub(super) sys: PathBuf,
}

/// Leaves something in a battery that is being used up.
pub(super) struct Battery {
    sys: PathBuf,
    least: u8,
    latch: Latch,
}

impl Power {
    fn read(sys: &Path) -> Self {
        let (mut cable, mut states, mut charges) = (None, Vec::new(), Vec::new());
        for supply in folders(&sys.join("class/power_supply")) {
            let file = |name: &str| sensor(&supply.join(name));
            let kind = file("type").unwrap_or_default();
            // A mouse has a battery too.
            if file("scope").is_some_and(|scope| scope == "Device")
                || file("present").is_some_and(|p| p == "0")
            {
                continue;
            }
            match kind.as_str() {
                "Battery" | "UPS" => {
                    states.push(file("status").unwrap_or_default());
                    charges.extend(file("capacity").and_then(|percent| percent.parse::<u8>().ok()));
                }
                "Mains" | "USB" | "Wireless" => {
                    let online = file("online").is_some_and(|online| online != "0");
                    cable = Some(cable.unwrap_or(false) | online);
                }
                _ => {}
            }
        }
        // The fullest of several: one is used up after the other.
        let percent = charges.into_iter().max().map(|percent| percent.min(100));
        let used_up = states.iter().any(|state| state == "Discharging");
        // A battery that does not know is believed if a cable is seen.
        let knows = states.iter().all(|state| ["Charging", "Full", "Not charging"].contains(&state.as_str()));
        match cable {
            _ if states.is_empty() => Self::Wall,
            Some(true) => Self::Plugged { percent },
            None if knows && !used_up => Self::Plugged { percent },
            _ => Self::Unplugged { percent },
        }
    }

    fn reading(self) -> String {
        let (from, percent) = match self {
            Self::Wall => return "no battery: mains".into(),
            Self::Plugged { percent } => ("mains", percent),
            Self::Unplugged { percent } => ("battery", percent),
        };
        percent.map_or_else(|| from.into(), |percent| format!("{from}, {percent} %"))
    }
}

impl Guard for Mains {
    fn limit(&self) -> (&'static str, String) {
        ("on_mains", "true".into())
    }

    fn look(&mut self, _: u64) -> Look {
        let power = Power::read(&self.sys);
        let verdict = if let Power::Unplugged { .. } = power { Err(Reason::OnBattery) } else { Ok(()) };
        Look { reading: power.reading(), verdict }
    }
}

impl Battery {
    pub(super) fn new(sys: PathBuf, least: u8) -> Self {
        Self { sys, least, latch: Latch::default() }
    }
}

impl Guard for Battery {
    fn limit(&self) -> (&'static str, String) {
        ("battery_percent", self.least.to_string())
    }

    fn look(&mut self, _: u64) -> Look {
        let (power, least) = (Power::read(&self.sys), self.least);
        let verdict = match power {
            Power::Unplugged { percent: Some(percent) } => {
                let low = self.latch.binds(percent < least, percent >= least.saturating_add(SLACK).min(100));
                if low { Err(Reason::Battery { percent, least }) } else { Ok(()) }
            }
            // One that charges is full enough, and one that does not tell how full it is cannot be guarded.
            _ => {
                self.latch = Latch::default();
                Ok(())
            }
        };
        Look { reading: power.reading(), verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::put;
    use super::*;

    fn power(files: &[(&str, &str)]) -> Power {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("class/power_supply"), files);
        Power::read(dir.path())
    }

    #[test]
    fn power_comes_from_where_the_machine_says() {
        let battery = [("BAT0/type", "Battery"), ("BAT0/status", "Discharging"), ("BAT0/capacity", "40")];
        let with = |more: &[(&'static str, &'static str)]| power(&[&battery, more].concat());
        let (plugged, unplugged) =
            (Power::Plugged { percent: Some(40) }, Power::Unplugged { percent: Some(40) });
        assert_eq!(power(&[]), Power::Wall);
        assert_eq!(power(&[("AC/type", "Mains"), ("AC/online", "0")]), Power::Wall);
        assert_eq!(with(&[]), unplugged);
        assert_eq!(with(&[("AC/type", "Mains"), ("AC/online", "0")]), unplugged);
        // A load above what the cable gives: still plugged in.
        assert_eq!(with(&[("AC/type", "Mains"), ("AC/online", "1")]), plugged);
        assert_eq!(
            with(&[("AC/type", "Mains"), ("AC/online", "0"), ("C/type", "USB"), ("C/online", "2")]),
            plugged
        );
        assert_eq!(with(&[("BAT0/status", "Charging")]), plugged);
        assert_eq!(with(&[("BAT0/status", "Unknown")]), unplugged);
        // Two batteries, one empty; and a mouse's, which is nobody's power.
        let second = [("BAT1/type", "Battery"), ("BAT1/status", "Full"), ("BAT1/capacity", "98")];
        assert_eq!(with(&second), Power::Unplugged { percent: Some(98) });
        let mouse =
            [("m/type", "Battery"), ("m/scope", "Device"), ("m/status", "Discharging"), ("m/capacity", "3")];
        assert_eq!(power(&mouse), Power::Wall);
        assert_eq!(power(&[("BAT0/type", "Battery"), ("BAT0/present", "0")]), Power::Wall);
    }

    #[test]
    fn mains_only_means_no_battery_or_a_cable() {
        let dir = tempfile::tempdir().unwrap();
        let mut mains = Mains { sys: dir.path().into() };
        assert_eq!(mains.look(0), Look { reading: "no battery: mains".into(), verdict: Ok(()) });
        let supply = dir.path().join("class/power_supply/BAT0");
        put(&supply, &[("type", "Battery"), ("status", "Discharging"), ("capacity", "77")]);
        assert_eq!(mains.look(0), Look { reading: "battery, 77 %".into(), verdict: Err(Reason::OnBattery) });
        put(&supply, &[("status", "Charging")]);
        assert!(mains.look(0).verdict.is_ok());
    }

    #[test]
    fn a_low_battery_binds_until_it_is_well_above_or_charges() {
        let dir = tempfile::tempdir().unwrap();
        let supply = dir.path().join("class/power_supply/BAT0");
        put(&supply, &[("type", "Battery"), ("status", "Discharging")]);
        let mut battery = Battery::new(dir.path().into(), 30);
        assert!(battery.look(0).verdict.is_ok(), "one that does not tell its charge");
        let mut works = |percent: &str, status: &str| {
            put(&supply, &[("capacity", percent), ("status", status)]);
            battery.look(0).verdict.is_ok()
        };
        let falling = ["31", "30", "29", "31", "34", "35", "30"].map(|percent| works(percent, "Discharging"));
        assert_eq!(falling, [true, true, false, false, false, true, true]);
        assert!(!works("20", "Discharging") && works("20", "Charging") && !works("20", "Discharging"));
    }
}
