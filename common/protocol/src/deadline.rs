//! How long a round waits for its clients: a fixed time, or what earlier rounds took.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;
use crate::ids::Round;
use crate::record::RoundRecord;

/// When a round goes on without those who have not trained yet.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deadline {
    /// After `training_seconds`.
    #[default]
    Fixed,
    /// After what clients took in the last rounds, at most after `training_seconds`.
    Learned(Learned),
}

/// A deadline from the times of clients in the last [`REMEMBERED`] rounds, or in the last one alone if they were longer there.
/// Those who were late, or not waited for, count with the time that they were given, so that a deadline which is too short
/// for many grows from round to round.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Learned {
    /// The part of clients that should be done in time. Default .9.
    pub quantile: f64,
    /// What their time is multiplied by. More than 1: a deadline that only just fits could never grow. Default 1.5.
    pub slack: f64,
    /// The shortest deadline, seconds. Default 60.
    pub least_seconds: f64,
}

impl Default for Learned {
    fn default() -> Self {
        Self { quantile: 0.9, slack: 1.5, least_seconds: 60.0 }
    }
}

/// Rounds whose times count.
pub const REMEMBERED: usize = 8;

/// What clients took in the last rounds that trained, the latest last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pace(VecDeque<(Round, Vec<u64>)>);

impl Deadline {
    pub(crate) fn is_learned(&self) -> bool {
        matches!(self, Self::Learned(_))
    }

    /// Refuses numbers that no deadline can be learnt with.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(crate) fn check(&self, training_seconds: f64) -> Result<(), ConfigError> {
        let Self::Learned(Learned { quantile, slack, least_seconds }) = *self else { return Ok(()) };
        let rules = [
            ("quantile", quantile, 0.1, 1.0),
            ("slack", slack, 1.01, 100.0),
            ("least_seconds", least_seconds, 0.1, training_seconds),
        ];
        for (key, value, low, high) in rules {
            if !(low..=high).contains(&value) {
                let why = format!("{value} is not within {low} to {high}");
                return Err(ConfigError::value(format!("deadline.learned.{key}"), why));
            }
        }
        Ok(())
    }

    /// How long the next round waits, `most` at most.
    pub(crate) fn after(&self, pace: &Pace, most: Duration) -> Duration {
        let Self::Learned(Learned { quantile, slack, least_seconds }) = *self else { return most };
        let Some(usual) = pace.quantile(quantile) else { return most };
        let least = Duration::from_secs_f64(least_seconds).min(most);
        Duration::from_secs_f64(usual.as_secs_f64() * slack).clamp(least, most)
    }
}

impl Pace {
    /// A round has ended; said twice, it counts once.
    pub(crate) fn learn(&mut self, record: &RoundRecord) {
        self.add(record.round, &record.durations);
    }

    fn add(&mut self, round: Round, durations: &[u64]) {
        if durations.is_empty() || self.0.back().is_some_and(|(last, _)| *last == round) {
            return;
        }
        self.0.push_back((round, durations.to_vec()));
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
    }

    /// The least time within which such a part of clients was done; none if there were none.
    fn quantile(&self, part: f64) -> Option<Duration> {
        let last = self.0.back().and_then(|(_, round)| quantile(round.clone(), part));
        let all = quantile(self.0.iter().flat_map(|(_, round)| round).copied().collect(), part);
        last.max(all).map(Duration::from_millis)
    }
}

fn quantile(mut times: Vec<u64>, part: f64) -> Option<u64> {
    times.sort_unstable();
    let rank = (part * times.len() as f64).ceil() as usize;
    times.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(rounds: &[Vec<u64>]) -> Pace {
        let mut pace = Pace::default();
        (1..).zip(rounds).for_each(|(number, round)| pace.add(Round(number), round));
        pace
    }

    const MOST: Duration = Duration::from_secs(3600);

    proptest! {
        #[test]
        fn a_deadline_is_never_too_short_or_too_long(
            rounds in prop::collection::vec(prop::collection::vec(0u64..100_000_000, 0..20), 0..8),
            quantile in 0.1..=1.0f64,
            slack in 1.01..100.0f64,
            least_seconds in 0.1..3600.0f64,
        ) {
            let learned = Deadline::Learned(Learned { quantile, slack, least_seconds });
            prop_assert!(learned.check(3600.0).is_ok());
            let deadline = learned.after(&pace(&rounds), MOST);
            prop_assert!(deadline <= MOST && deadline >= Duration::from_secs_f64(least_seconds));
            prop_assert_eq!(Deadline::Fixed.after(&pace(&rounds), MOST), MOST);
        }

        /// Virtual rounds of clients that always take the same: whoever is late counts with the deadline.
        #[test]
        fn deadlines_grow_until_the_wanted_part_is_in_time_and_shrink_to_it(
            mut clients in prop::collection::vec(1_000u64..3_000_000, 1..20),
            quantile in 0.2..1.0f64,
            first in 1_000u64..3_600_000,
        ) {
            clients.sort_unstable();
            let learned = Deadline::Learned(Learned { quantile, slack: 1.5, least_seconds: 1.0 });
            let (mut pace, mut deadline) = (Pace::default(), Duration::from_millis(first));
            for round in 0..60 {
                let given = deadline.as_millis() as u64;
                let took: Vec<u64> = clients.iter().map(|takes| (*takes).min(given)).collect();
                pace.add(Round(round), &took);
                deadline = learned.after(&pace, MOST);
            }
            let rank = (quantile * clients.len() as f64).ceil() as usize;
            let usual = Duration::from_millis(clients[rank.max(1) - 1]).as_secs_f64();
            let expected = (1.5 * usual).clamp(1.0, MOST.as_secs_f64());
            prop_assert!((deadline.as_secs_f64() - expected).abs() < 0.01, "{deadline:?}, expected {expected}");
        }
    }

    #[test]
    fn numbers_that_make_no_deadline_name_their_key() {
        let learned = Learned::default();
        let cases = [
            ("quantile", Learned { quantile: 0.0, ..learned }),
            ("slack", Learned { slack: 1.0, ..learned }),
            ("slack", Learned { slack: f64::NAN, ..learned }),
            ("least_seconds", Learned { least_seconds: 3601.0, ..learned }),
        ];
        for (key, learned) in cases {
            let error = Deadline::Learned(learned).check(3600.0).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`deadline.learned.{key}`")), "{error}");
        }
    }
}
