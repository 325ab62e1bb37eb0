//! Why a hub does not work now: one sentence for its owner, its log and the server's operator.

use super::MIB;
use super::window::{TimeOfDay, Window};

/// A limit that binds. It names the key of `[limits]` that says so.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Reason {
    /// Outside of the window.
    #[error("it is {now} here, and `train_between = \"{window}\"`")]
    Hour {
        /// Local time.
        now: TimeOfDay,
        /// When it may work.
        window: Window,
    },
    /// No mains.
    #[error("this machine runs on its battery, and `on_mains = true`")]
    OnBattery,
    /// A battery that is running low.
    #[error("the battery is down to {percent} %, and `battery_percent = {least}`")]
    Battery {
        /// What it has.
        percent: u8,
        /// What it is to keep.
        least: u8,
    },
    /// Too warm.
    #[error("this machine is at {celsius:.0} C, and `celsius = {most}`")]
    Hot {
        /// The hottest zone.
        celsius: f64,
        /// The limit.
        most: f64,
    },
    /// Other programs are at work.
    #[error("other programs use {percent:.0} % of a processor, and `when_idle = true`")]
    Busy {
        /// Of one processor.
        percent: f64,
    },
    /// More memory than allowed.
    #[error("{what} takes about {} MiB, and `memory_mib = {}`", need.div_ceil(MIB), most / MIB)]
    Memory {
        /// The work.
        what: &'static str,
        /// Bytes of the whole process.
        need: u64,
        /// Bytes.
        most: u64,
    },
    /// More disk than allowed.
    #[error("the model needs {} MiB beside {} MiB of other files, and `disk_mib = {}`", need.div_ceil(MIB), others.div_ceil(MIB), most / MIB)]
    Disk {
        /// Bytes of the model, and of what a round of it leaves behind.
        need: u64,
        /// Bytes in the hub's folder that are no models.
        others: u64,
        /// Bytes.
        most: u64,
    },
}

impl Reason {
    /// The key of `[limits]` that says so.
    pub fn limit(&self) -> &'static str {
        match self {
            Self::Hour { .. } => "train_between",
            Self::OnBattery => "on_mains",
            Self::Battery { .. } => "battery_percent",
            Self::Hot { .. } => "celsius",
            Self::Busy { .. } => "when_idle",
            Self::Memory { .. } => "memory_mib",
            Self::Disk { .. } => "disk_mib",
        }
    }

    /// Whether it passes by itself within minutes: worth waiting for in the middle of a training.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Hot { .. } | Self::Busy { .. })
    }
}

#[cfg(test)]
mod tests {
    use somnus_protocol::message::REASON;

    use super::*;

    #[test]
    fn reasons_name_their_key_and_reach_the_server_whole() {
        let window: Window = "22:00-07:00".parse().unwrap();
        let reasons = [
            (
                Reason::Hour { now: window.to(), window },
                "it is 07:00 here, and `train_between = \"22:00-07:00\"`",
            ),
            (Reason::OnBattery, "this machine runs on its battery, and `on_mains = true`"),
            (
                Reason::Battery { percent: 29, least: 30 },
                "the battery is down to 29 %, and `battery_percent = 30`",
            ),
            (Reason::Hot { celsius: 81.4, most: 75.0 }, "this machine is at 81 C, and `celsius = 75`"),
            (
                Reason::Busy { percent: 93.2 },
                "other programs use 93 % of a processor, and `when_idle = true`",
            ),
            (
                Reason::Memory { what: "this training", need: 70 * MIB + 1, most: 64 * MIB },
                "this training takes about 71 MiB, and `memory_mib = 64`",
            ),
            (
                Reason::Disk { need: 9 * MIB, others: 1, most: 8 * MIB },
                "the model needs 9 MiB beside 1 MiB of other files, and `disk_mib = 8`",
            ),
        ];
        for (reason, text) in reasons {
            assert_eq!(reason.to_string(), text);
            assert!(text.contains(&format!("`{} = ", reason.limit())), "{text}");
            assert!(text.len() <= REASON, "{text}");
        }
    }
}
