//! Temperature, from `/sys/class/thermal` (Linux, `Documentation/ABI/testing/sysfs-class-thermal`). The hottest zone decides; a machine
//! that has none, or whose zones do not answer, has no limit.

use std::path::{Path, PathBuf};

use super::guard::{Guard, Latch, Look, folders, sensor};
use super::reason::Reason;

/// Degrees below the limit at which it is cool enough again.
const SLACK: f64 = 5.0;

/// Works while the machine is cool.
pub(super) struct Heat {
    sys: PathBuf,
    most: f64,
    latch: Latch,
}

impl Heat {
    pub(super) fn new(sys: PathBuf, most: f64) -> Self {
        Self { sys, most, latch: Latch::default() }
    }
}

/// The hottest zone, in degrees Celsius.
fn hottest(sys: &Path) -> Option<f64> {
    let zones = folders(&sys.join("class/thermal")).into_iter();
    let millidegrees = zones.filter_map(|zone| sensor(&zone.join("temp"))?.parse::<f64>().ok());
    // A sensor that is off or broken says something absurd.
    millidegrees
        .map(|value| value / 1000.0)
        .filter(|celsius| (-40.0..=150.0).contains(celsius))
        .reduce(f64::max)
}

impl Guard for Heat {
    fn limit(&self) -> (&'static str, String) {
        ("celsius", self.most.to_string())
    }

    fn look(&mut self, _: u64) -> Look {
        let most = self.most;
        let Some(celsius) = hottest(&self.sys) else {
            return Look { reading: "no sensor: no limit".into(), verdict: Ok(()) };
        };
        let hot = self.latch.binds(celsius > most, celsius <= most - SLACK);
        let verdict = if hot { Err(Reason::Hot { celsius, most }) } else { Ok(()) };
        Look { reading: format!("{celsius:.1} C"), verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::tests::put;
    use super::*;

    #[test]
    fn the_hottest_zone_that_makes_sense_decides() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(hottest(dir.path()), None);
        let zones = dir.path().join("class/thermal");
        put(
            &zones,
            &[("thermal_zone0/temp", "-274000"), ("cooling_device0/type", "fan"), ("thermal_zone1/temp", "")],
        );
        assert_eq!(hottest(dir.path()), None);
        put(
            &zones,
            &[
                ("thermal_zone2/temp", "51234"),
                ("thermal_zone3/temp", "48000"),
                ("thermal_zone4/temp", "999000"),
            ],
        );
        assert_eq!(hottest(dir.path()), Some(51.234));
    }

    #[test]
    fn heat_binds_until_it_is_well_below() {
        let dir = tempfile::tempdir().unwrap();
        let mut heat = Heat::new(dir.path().into(), 75.0);
        assert_eq!(heat.look(0), Look { reading: "no sensor: no limit".into(), verdict: Ok(()) });
        let mut works = |celsius: u32| {
            put(dir.path(), &[("class/thermal/thermal_zone0/temp", &format!("{}", celsius * 1000))]);
            heat.look(0).verdict.is_ok()
        };
        assert_eq!(
            [74, 75, 76, 74, 71, 70, 75].map(&mut works),
            [true, true, false, false, false, true, true]
        );
    }
}
