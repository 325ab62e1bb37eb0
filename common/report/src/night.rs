//! Night statistics: what a sleep laboratory reads off a hypnogram.
//!
//! The hypnogram runs from lights off to lights on. Definitions after Iber et al. (AASM 2007) and Menghini et al. (2021),
//! in minutes unless named otherwise:
//!
//! | name | definition |
//! |---|---|
//! | TIB | time in bed: every epoch, scored or not |
//! | SOL | sleep onset latency: lights off to the first epoch of sleep by the [`Onset`] rule |
//! | TST | total sleep time: all sleep epochs |
//! | WASO | wake epochs after sleep onset, the last awakening included |
//! | SE | sleep efficiency, percent: 100 TST / (TIB - unscored), which is TST / TIB on a fully scored night |
//! | REM latency | sleep onset to the first REM epoch at or after it |
//! | awakenings | changes from a sleep epoch to a wake epoch next to it, at or after onset |
//! | stage shifts | changes of class between two neighbouring scored epochs, at or after onset |
//!
//! An unscored epoch is neither sleep nor wake. On a night without sleep SOL, WASO and REM latency are undefined (`None`).

use crate::staging::{Hypnogram, Staging};
use serde::{Deserialize, Serialize};

/// When sleep begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Onset {
    /// At the first epoch of any sleep stage (AASM; the rule of Menghini's pipeline).
    #[default]
    FirstEpoch,
    /// At the first of this many sleep epochs in a row (three is common).
    Consecutive(u8),
}

/// How a hypnogram is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NightOptions {
    /// Length of an epoch in seconds.
    pub epoch_seconds: f64,
    /// The rule for sleep onset.
    pub onset: Onset,
}

impl Default for NightOptions {
    /// 30-s epochs, onset at the first epoch of sleep.
    fn default() -> Self {
        Self { epoch_seconds: 30.0, onset: Onset::FirstEpoch }
    }
}

/// Time spent in one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The class's name.
    pub stage: String,
    /// Minutes in it.
    pub minutes: f64,
    /// Percent of TST; `None` for wake and on a night without sleep.
    pub percent_of_tst: Option<f64>,
}

/// The statistics of one night; times in minutes, SE in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightStatistics {
    /// Time in bed.
    pub tib: f64,
    /// Minutes of it that are not scored.
    pub unscored: f64,
    /// Total sleep time.
    pub tst: f64,
    /// Sleep efficiency in percent; `None` when nothing is scored.
    pub se: Option<f64>,
    /// Sleep onset latency; `None` without sleep.
    pub sol: Option<f64>,
    /// Wake after sleep onset; `None` without sleep.
    pub waso: Option<f64>,
    /// Sleep onset to first REM; `None` without REM or where the task has no REM class.
    pub rem_latency: Option<f64>,
    /// Awakenings after onset.
    pub awakenings: u32,
    /// Stage shifts after onset.
    pub stage_shifts: u32,
    /// Stage shifts per hour of sleep; `None` without sleep.
    pub shifts_per_hour: Option<f64>,
    /// Time in each class, by class code.
    pub stages: Vec<StageTime>,
}

impl NightStatistics {
    /// Reads a hypnogram. A code that is not a class of `staging` counts as unscored.
    #[must_use]
    pub fn of(hypnogram: &[Option<u8>], staging: &Staging, options: NightOptions) -> Self {
        let minute = options.epoch_seconds / 60.0;
        let minutes = |epochs: usize| epochs as f64 * minute;
        let scored: Hypnogram =
            hypnogram.iter().map(|code| code.filter(|&code| usize::from(code) < staging.len())).collect();
        let is_sleep = |code: &Option<u8>| code.is_some_and(|code| code != staging.wake);
        let count =
            |class: usize| scored.iter().filter(|c| c.is_some_and(|c| usize::from(c) == class)).count();

        let asleep = scored.iter().filter(|code| is_sleep(code)).count();
        let unscored = scored.iter().filter(|code| code.is_none()).count();
        let tst = minutes(asleep);
        let onset = onset_epoch(&scored, is_sleep, options.onset);
        let after = onset.map_or(&[][..], |onset| &scored[onset..]);
        let neighbours = || after.windows(2).filter_map(|pair| Some((pair[0]?, pair[1]?)));

        let awakenings = neighbours().filter(|&(a, b)| a != staging.wake && b == staging.wake).count();
        let stage_shifts = neighbours().filter(|(a, b)| a != b).count();
        let first_rem = staging.rem.and_then(|rem| after.iter().position(|&code| code == Some(rem)));
        let percent = |part: f64, whole: f64| (whole > 0.0).then(|| 100.0 * part / whole);
        let stages = (0..staging.len())
            .map(|class| {
                let time = minutes(count(class));
                let share = if class == usize::from(staging.wake) { None } else { percent(time, tst) };
                StageTime { stage: staging.name(class), minutes: time, percent_of_tst: share }
            })
            .collect();
        Self {
            tib: minutes(scored.len()),
            unscored: minutes(unscored),
            tst,
            se: percent(tst, minutes(scored.len() - unscored)),
            sol: onset.map(minutes),
            waso: onset.map(|_| minutes(after.iter().filter(|&&code| code == Some(staging.wake)).count())),
            rem_latency: first_rem.map(minutes),
            awakenings: u32::try_from(awakenings).unwrap_or(u32::MAX),
            stage_shifts: u32::try_from(stage_shifts).unwrap_or(u32::MAX),
            shifts_per_hour: (tst > 0.0).then(|| stage_shifts as f64 / (tst / 60.0)),
            stages,
        }
    }

    /// The statistics of a true and a predicted hypnogram over the epochs **both** score, so that neither is
    /// credited with time the other has no word on. Epochs beyond the shorter one count as unscored.
    #[must_use]
    pub fn paired(
        truth: &[Option<u8>],
        predicted: &[Option<u8>],
        staging: &Staging,
        options: NightOptions,
    ) -> (Self, Self) {
        let length = truth.len().max(predicted.len());
        let at = |hypnogram: &[Option<u8>], epoch: usize| hypnogram.get(epoch).copied().flatten();
        let masked = |mine: &[Option<u8>], other: &[Option<u8>]| -> Hypnogram {
            (0..length).map(|epoch| at(other, epoch).and(at(mine, epoch))).collect()
        };
        (
            Self::of(&masked(truth, predicted), staging, options),
            Self::of(&masked(predicted, truth), staging, options),
        )
    }

    /// The measures of a discrepancy analysis, in reporting order: (name, unit, value). Names and units do not
    /// depend on the night; an undefined value is `None`.
    #[must_use]
    pub fn measures(&self, staging: &Staging) -> Vec<(String, &'static str, Option<f64>)> {
        let mut out = vec![
            ("TST".to_owned(), "min", Some(self.tst)),
            ("SE".to_owned(), "%", self.se),
            ("SOL".to_owned(), "min", self.sol),
            ("WASO".to_owned(), "min", self.waso),
        ];
        if staging.rem.is_some() {
            out.push(("REM latency".to_owned(), "min", self.rem_latency));
        }
        out.push(("Awakenings".to_owned(), "per night", Some(f64::from(self.awakenings))));
        // With one sleep class its time is TST again.
        if staging.len() > 2 {
            let sleep =
                || self.stages.iter().enumerate().filter(|(class, _)| *class != usize::from(staging.wake));
            for (_, stage) in sleep() {
                out.push((stage.stage.clone(), "min", Some(stage.minutes)));
            }
            for (_, stage) in sleep() {
                out.push((format!("{} % of TST", stage.stage), "%", stage.percent_of_tst));
            }
        }
        out
    }
}

/// The epoch at which sleep begins.
fn onset_epoch(
    hypnogram: &[Option<u8>],
    is_sleep: impl Fn(&Option<u8>) -> bool,
    rule: Onset,
) -> Option<usize> {
    let run = match rule {
        Onset::FirstEpoch => 1,
        Onset::Consecutive(run) => usize::from(run.max(1)),
    };
    hypnogram.windows(run).position(|window| window.iter().all(&is_sleep))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(codes: &str) -> Hypnogram {
        codes.bytes().map(|code| (code != b'.').then(|| code - b'0')).collect()
    }

    fn of(codes: &str, onset: Onset) -> NightStatistics {
        NightStatistics::of(&night(codes), &Staging::four(), NightOptions { epoch_seconds: 30.0, onset })
    }

    #[test]
    fn a_short_night_by_hand() {
        let s = of("0010112233011000", Onset::FirstEpoch);
        assert_eq!((s.tib, s.tst, s.sol, s.waso), (8.0, 4.5, Some(1.0), Some(2.5)));
        assert_eq!(s.se, Some(56.25));
        assert_eq!(s.rem_latency, Some(3.0));
        assert_eq!((s.awakenings, s.stage_shifts), (3, 7));
        assert_eq!(s.stages[1].minutes, 2.5);
        assert!((s.stages[2].percent_of_tst.unwrap() - 100.0 * 2.0 / 9.0).abs() < 1e-12);
        assert_eq!(s.stages[0].percent_of_tst, None);
        assert_eq!(s.sol.unwrap() + s.tst + s.waso.unwrap(), s.tib);
    }

    #[test]
    fn three_in_a_row_moves_the_onset() {
        let s = of("0010112233011000", Onset::Consecutive(3));
        assert_eq!((s.sol, s.waso, s.rem_latency), (Some(2.0), Some(2.0), Some(2.0)));
        assert_eq!(of("0101010", Onset::Consecutive(3)).sol, None);
    }

    #[test]
    fn nights_without_sleep_or_scores_have_no_onset() {
        let awake = of("0000", Onset::FirstEpoch);
        assert_eq!((awake.sol, awake.waso, awake.rem_latency), (None, None, None));
        assert_eq!((awake.tst, awake.se, awake.shifts_per_hour), (0.0, Some(0.0), None));
        let blank = of("....", Onset::FirstEpoch);
        assert_eq!((blank.tib, blank.unscored, blank.se), (2.0, 2.0, None));
        assert_eq!(of("", Onset::Consecutive(3)).tib, 0.0);
    }

    #[test]
    fn unscored_epochs_are_neither_sleep_nor_wake() {
        let s = of("01.1.0", Onset::FirstEpoch);
        assert_eq!((s.unscored, s.tst, s.waso, s.se), (1.0, 1.0, Some(0.5), Some(50.0)));
        assert_eq!((s.awakenings, s.stage_shifts), (0, 0));
        let (truth, predicted) = NightStatistics::paired(
            &night("01.11"),
            &night("0111."),
            &Staging::four(),
            NightOptions::default(),
        );
        assert_eq!((truth.tst, predicted.tst, truth.unscored), (1.0, 1.0, 1.0));
    }

    #[test]
    fn unknown_codes_count_as_unscored() {
        assert_eq!(of("0199", Onset::FirstEpoch).unscored, 1.0);
    }
}
