//! Night statistics: what a sleep laboratory reads off a hypnogram.
//!
//! Definitions after Iber et al. (AASM 2007) and Menghini et al. (2021), in minutes unless named otherwise. The standards
//! read a night from lights off to lights on. A label file does not say when that was: it begins with the recorder, and the
//! scorer with the night. So **the clock starts with the first scored epoch and stops with the last**: unscored epochs
//! before and after are no time in bed and no sleep latency. On a night scored from end to end this is the standard.
//!
//! | name | definition |
//! |---|---|
//! | TIB | time in bed: from the first scored epoch to the last, unscored ones between them included |
//! | SOL | sleep onset latency: the first scored epoch to the first epoch of sleep by the [`Onset`] rule |
//! | TST | total sleep time: all sleep epochs |
//! | WASO | wake epochs after sleep onset, the last awakening included |
//! | SE | sleep efficiency, percent: 100 TST / (TIB - unscored), which is TST / TIB on a fully scored night |
//! | REM latency | sleep onset to the first REM epoch at or after it |
//! | awakenings | changes from a sleep epoch to a wake epoch next to it, at or after onset |
//! | stage shifts | changes of class between two neighbouring scored epochs, at or after onset |
//!
//! An unscored epoch is neither sleep nor wake. On a night without sleep SOL, WASO and REM latency are undefined (`None`).
//! In a part of a night ([`Extent::Part`]) SOL and REM latency are undefined, and everything else counts within it.

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

/// How much of the night a hypnogram holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// All of it.
    #[default]
    WholeNight,
    /// A stretch whose beginning is cut off. Sleep began at an unknown time before it, so there is no latency to
    /// read, and wake, awakenings and stage shifts count from its first scored epoch.
    Part,
}

/// How a hypnogram is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NightOptions {
    /// Length of an epoch in seconds.
    pub epoch_seconds: f64,
    /// The rule for sleep onset.
    pub onset: Onset,
    /// How much of the night is read. Differs from night to night, so a report's options do not keep it:
    /// [`NightStatistics::extent`] does.
    #[serde(skip)]
    pub extent: Extent,
}

impl NightOptions {
    /// The same reading of a part of a night.
    #[must_use]
    pub fn of_part(self) -> Self {
        Self { extent: Extent::Part, ..self }
    }
}

impl Default for NightOptions {
    /// 30-s epochs, onset at the first epoch of sleep, a whole night.
    fn default() -> Self {
        Self { epoch_seconds: 30.0, onset: Onset::FirstEpoch, extent: Extent::WholeNight }
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
    /// Whether this is the night or a part of it.
    #[serde(default)]
    pub extent: Extent,
    /// Time in bed: from the first scored epoch to the last.
    pub tib: f64,
    /// Minutes of it that are not scored.
    pub unscored: f64,
    /// Total sleep time.
    pub tst: f64,
    /// Sleep efficiency in percent; `None` when nothing is scored.
    pub se: Option<f64>,
    /// Sleep onset latency; `None` without sleep and in a part of a night.
    pub sol: Option<f64>,
    /// Wake after sleep onset; `None` without sleep; all wake in a part of a night.
    pub waso: Option<f64>,
    /// Sleep onset to first REM; `None` without REM, where the task has no REM class and in a part of a night.
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
        let all: Hypnogram =
            hypnogram.iter().map(|code| code.filter(|&code| usize::from(code) < staging.len())).collect();
        let scored = first_to_last_scored(&all);
        let is_sleep = |code: &Option<u8>| code.is_some_and(|code| code != staging.wake);
        let count =
            |class: usize| scored.iter().filter(|c| c.is_some_and(|c| usize::from(c) == class)).count();

        let asleep = scored.iter().filter(|code| is_sleep(code)).count();
        let unscored = scored.iter().filter(|code| code.is_none()).count();
        let tst = minutes(asleep);
        let whole = options.extent == Extent::WholeNight;
        let onset = match options.extent {
            Extent::WholeNight => onset_epoch(scored, is_sleep, options.onset),
            Extent::Part => (asleep > 0).then_some(0),
        };
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
            extent: options.extent,
            tib: minutes(scored.len()),
            unscored: minutes(unscored),
            tst,
            se: percent(tst, minutes(scored.len() - unscored)),
            sol: onset.filter(|_| whole).map(minutes),
            waso: onset.map(|_| minutes(after.iter().filter(|&&code| code == Some(staging.wake)).count())),
            rem_latency: first_rem.filter(|_| whole).map(minutes),
            awakenings: u32::try_from(awakenings).unwrap_or(u32::MAX),
            stage_shifts: u32::try_from(stage_shifts).unwrap_or(u32::MAX),
            shifts_per_hour: (tst > 0.0).then(|| stage_shifts as f64 / (tst / 60.0)),
            stages,
        }
    }

    /// The statistics of a true and a predicted hypnogram over the epochs **both** score, so that neither is
    /// credited with time the other has no word on. Both clocks start with the first such epoch. Epochs beyond the
    /// shorter one count as unscored.
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

/// Lights off to lights on, as far as the scores tell: without the unscored epochs at both ends.
fn first_to_last_scored(hypnogram: &[Option<u8>]) -> &[Option<u8>] {
    let first = hypnogram.iter().position(Option::is_some);
    let last = hypnogram.iter().rposition(Option::is_some);
    first.zip(last).map_or(&[], |(first, last)| &hypnogram[first..=last])
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
        NightStatistics::of(
            &night(codes),
            &Staging::four(),
            NightOptions { onset, ..NightOptions::default() },
        )
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
        assert_eq!((blank.tib, blank.unscored, blank.se, blank.sol), (0.0, 0.0, None, None));
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
        assert_eq!((truth.tst, predicted.tst, truth.tib, truth.unscored), (1.0, 1.0, 2.0, 0.5));
    }

    #[test]
    fn the_clock_starts_with_the_first_scored_epoch_and_stops_with_the_last() {
        for onset in [Onset::FirstEpoch, Onset::Consecutive(3)] {
            let scored = of("0010112233011000", onset);
            for (lead, tail) in [(44, 0), (0, 9), (5, 2)] {
                let padded = format!("{}0010112233011000{}", ".".repeat(lead), ".".repeat(tail));
                assert_eq!(of(&padded, onset), scored, "{lead} unscored epochs before, {tail} after");
            }
        }
        // A prediction that covers the lead-in is read from where the truth begins.
        let (truth, predicted) = NightStatistics::paired(
            &night("....001122"),
            &night("1100011122"),
            &Staging::four(),
            NightOptions::default(),
        );
        assert_eq!((truth.tib, truth.sol, predicted.sol), (3.0, Some(1.0), Some(0.5)));
    }

    #[test]
    fn a_part_of_a_night_has_no_latencies() {
        let codes = night("......0.1130331.");
        let part = NightStatistics::of(&codes, &Staging::four(), NightOptions::default().of_part());
        assert_eq!(part.extent, Extent::Part);
        assert_eq!((part.sol, part.rem_latency), (None, None));
        // Wake in it is wake after the onset that lies before it.
        assert_eq!((part.tib, part.unscored, part.tst, part.waso), (4.5, 0.5, 3.0, Some(1.0)));
        assert_eq!((part.awakenings, part.stage_shifts), (1, 4));
        let measures = part.measures(&Staging::four());
        let value = |name: &str| measures.iter().find(|(own, ..)| own == name).map(|(.., value)| *value);
        assert_eq!(
            (value("SOL"), value("REM latency"), value("TST")),
            (Some(None), Some(None), Some(Some(3.0)))
        );
        let whole = NightStatistics::of(&codes, &Staging::four(), NightOptions::default());
        assert_eq!((whole.sol, whole.rem_latency), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn unknown_codes_count_as_unscored() {
        assert_eq!(of("01991", Onset::FirstEpoch).unscored, 1.0);
    }
}
