//! `[limits]` of `client.toml`: what is written, and what it means once it is checked.

use serde::Deserialize;
use somnus_protocol::fault::ConfigError;

use super::MIB;
use super::cpu::Share;
use super::memory::PROGRAM;
use super::window::Window;

/// The table as it is written. Zero, and a window of all day, are no limit.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Raw {
    train_between: String,
    when_idle: bool,
    on_mains: bool,
    battery_percent: u32,
    celsius: f64,
    memory_mib: u64,
    disk_mib: u64,
    cpu_percent: u32,
    nice: i32,
}

/// Limits that can be kept. The default has none.
#[derive(Clone, PartialEq, Debug)]
pub struct Limits {
    /// Local times between which the hub works.
    pub window: Window,
    /// Whether only while other programs do not.
    pub when_idle: bool,
    /// Whether only on mains.
    pub on_mains: bool,
    /// Percent to leave in a battery that is being used up.
    pub battery: Option<u8>,
    /// Hottest that this machine may be, in degrees Celsius.
    pub celsius: Option<f64>,
    /// Most memory of the process, in bytes.
    pub memory: Option<u64>,
    /// Most bytes in the hub's folder.
    pub disk: Option<u64>,
    /// Of one processor.
    pub cpu: Share,
    /// Priority, 0 to 19, the lowest.
    pub nice: i32,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            train_between: Window::ALWAYS.to_string(),
            when_idle: false,
            on_mains: false,
            battery_percent: 0,
            celsius: 0.0,
            memory_mib: 0,
            disk_mib: 0,
            cpu_percent: 100,
            nice: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: Window::ALWAYS,
            when_idle: false,
            on_mains: false,
            battery: None,
            celsius: None,
            memory: None,
            disk: None,
            cpu: Share::ALL,
            nice: 0,
        }
    }
}

impl Raw {
    /// Refuses what cannot be kept.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(crate) fn check(self) -> Result<Limits, ConfigError> {
        let error = |key: &str, why: String| ConfigError::Value { key: format!("limits.{key}"), why };
        let need = |ok: bool, key: &str, why: &str| if ok { Ok(()) } else { Err(error(key, why.into())) };
        let Self {
            when_idle,
            on_mains,
            battery_percent,
            celsius,
            memory_mib,
            disk_mib,
            cpu_percent,
            nice,
            ..
        } = self;
        let window = self.train_between.parse().map_err(|why: &str| error("train_between", why.into()))?;
        need(battery_percent <= 95, "battery_percent", "more than 95 %")?;
        need(
            celsius == 0.0 || (20.0..=120.0).contains(&celsius),
            "celsius",
            "neither 0, no limit, nor within 20 to 120 degrees",
        )?;
        let least = PROGRAM / MIB;
        if memory_mib != 0 && !(least..=1 << 20).contains(&memory_mib) {
            let why =
                format!("neither 0, no limit, nor the {least} MiB or more that this program takes by itself");
            return Err(error("memory_mib", why));
        }
        need(disk_mib <= 1 << 30, "disk_mib", "more than 1073741824 MiB")?;
        let cpu =
            Share::new(cpu_percent).ok_or_else(|| error("cpu_percent", "not within 1 to 100".into()))?;
        need((0..=19).contains(&nice), "nice", "not within 0 to 19")?;
        let bytes = |mib: u64| (mib > 0).then_some(mib * MIB);
        Ok(Limits {
            window,
            when_idle,
            on_mains,
            battery: u8::try_from(battery_percent).ok().filter(|percent| *percent > 0),
            celsius: (celsius > 0.0).then_some(celsius),
            memory: bytes(memory_mib),
            disk: bytes(disk_mib),
            cpu,
            nice,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::ClientConfig;

    use super::*;

    fn limits(text: &str) -> Result<Limits, String> {
        let config = ClientConfig::parse(&format!("[limits]\n{text}\n"));
        config.map(|config| config.limits).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_limited_unless_it_says_so() {
        assert_eq!(limits("").unwrap(), Limits::default());
        let all = "train_between = \"22:00-07:00\"\nwhen_idle = true\non_mains = true\nbattery_percent = 30\n\
                   celsius = 75\nmemory_mib = 96\ndisk_mib = 64\ncpu_percent = 50\nnice = 10";
        let expected = Limits {
            window: "22:00-07:00".parse().unwrap(),
            when_idle: true,
            on_mains: true,
            battery: Some(30),
            celsius: Some(75.0),
            memory: Some(96 * MIB),
            disk: Some(64 * MIB),
            cpu: Share::new(50).unwrap(),
            nice: 10,
        };
        assert_eq!(limits(all).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_kept_names_its_key() {
        let cases = [
            ("train_between = \"late\"", "`limits.train_between`: not two times of the day"),
            ("battery_percent = 96", "`limits.battery_percent`: more than 95 %"),
            ("celsius = 5", "`limits.celsius`: neither 0"),
            ("celsius = nan", "`limits.celsius`: neither 0"),
            ("memory_mib = 1", "`limits.memory_mib`: neither 0"),
            ("cpu_percent = 0", "`limits.cpu_percent`: not within 1 to 100"),
            ("nice = -5", "`limits.nice`: not within 0 to 19"),
            ("cpu = 3", "unknown key `cpu`"),
        ];
        for (text, error) in cases {
            let got = limits(text).unwrap_err();
            assert!(got.contains(error), "{text}: {got}");
        }
    }
}
