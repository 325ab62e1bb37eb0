//! Sleep stages, and the classification tasks made of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A sleep stage scored by a human on polysomnography (AASM names).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Awake.
    Wake,
    /// NREM stage 1, the lightest sleep.
    N1,
    /// NREM stage 2.
    N2,
    /// NREM stage 3: deep sleep. Rechtschaffen and Kales' stage 4 is counted here, as AASM does.
    N3,
    /// Rapid-eye-movement sleep.
    Rem,
}

impl Stage {
    /// Every stage, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Wake, Self::N1, Self::N2, Self::N3, Self::Rem];

    /// The code of the sleep-accel label files: 0 W, 1 N1, 2 N2, 3 N3, 5 REM.
    #[must_use]
    pub fn code(self) -> i8 {
        match self {
            Self::Wake => 0,
            Self::N1 => 1,
            Self::N2 => 2,
            Self::N3 => 3,
            Self::Rem => 5,
        }
    }

    /// The stage of a label code; `Some(None)` for -1 (unscored), `None` for an unknown code.
    /// Stage 4 becomes [`Stage::N3`].
    #[must_use]
    pub fn from_code(code: i64) -> Option<Option<Self>> {
        match code {
            -1 => Some(None),
            0 => Some(Some(Self::Wake)),
            1 => Some(Some(Self::N1)),
            2 => Some(Some(Self::N2)),
            3 | 4 => Some(Some(Self::N3)),
            5 => Some(Some(Self::Rem)),
            _ => None,
        }
    }

    /// The usual short name: `W`, `N1`, `N2`, `N3`, `REM`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wake => "W",
            Self::N1 => "N1",
            Self::N2 => "N2",
            Self::N3 => "N3",
            Self::Rem => "REM",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is to be told apart: stages merged into classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Wake against sleep.
    SleepWake,
    /// Wake, NREM, REM.
    Three,
    /// Wake, Core (N1 and N2), Deep (N3), REM.
    Four,
}

impl Task {
    /// Every task.
    pub const ALL: [Self; 3] = [Self::SleepWake, Self::Three, Self::Four];

    /// The number of classes.
    #[must_use]
    pub fn classes(self) -> usize {
        self.class_names().len()
    }

    /// The classes' names, by class index. Class 0 is always wake.
    #[must_use]
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::SleepWake => &["Wake", "Sleep"],
            Self::Three => &["Wake", "NREM", "REM"],
            Self::Four => &["Wake", "Core", "Deep", "REM"],
        }
    }

    /// The class index of a stage, below [`Task::classes`].
    #[must_use]
    pub fn class_of(self, stage: Stage) -> usize {
        match (self, stage) {
            (_, Stage::Wake) => 0,
            (Self::SleepWake, _) => 1,
            (Self::Three, Stage::Rem) => 2,
            (Self::Three, _) => 1,
            (Self::Four, Stage::N1 | Stage::N2) => 1,
            (Self::Four, Stage::N3) => 2,
            (Self::Four, Stage::Rem) => 3,
        }
    }

    /// The name used in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SleepWake => "sleep-wake",
            Self::Three => "three",
            Self::Four => "four",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no [`Task`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown task {0:?}: one of sleep-wake, three, four")]
pub struct UnknownTask(String);

impl FromStr for Task {
    type Err = UnknownTask;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|t| t.name() == s);
        found.ok_or_else(|| UnknownTask(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_four_is_deep() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_code(stage.code().into()), Some(Some(stage)));
        }
        assert_eq!(Stage::from_code(4), Some(Some(Stage::N3)));
        assert_eq!(Stage::from_code(-1), Some(None));
        for unknown in [-2, 6, 9, i64::MAX] {
            assert_eq!(Stage::from_code(unknown), None);
        }
    }

    #[test]
    fn every_class_is_reached() {
        for task in Task::ALL {
            let mut seen: Vec<usize> = Stage::ALL.map(|s| task.class_of(s)).to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, (0..task.classes()).collect::<Vec<_>>(), "{task}");
            assert_eq!(task.name().parse::<Task>().unwrap(), task);
            let json = serde_json::to_string(&task).unwrap();
            assert_eq!(json, format!("\"{}\"", task.name()));
        }
        assert_eq!(Task::Four.class_of(Stage::N1), Task::Four.class_of(Stage::N2));
    }
}
