//! One person's night as it came from the sensors.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::{PersonId, Stage, Stream, StreamKind};

/// Seconds in an epoch, the unit sleep is scored in.
pub const EPOCH_SECONDS: f64 = 30.0;

/// The name of a night that needs none, because it is its person's only or first one.
pub const DEFAULT_NIGHT: &str = "night";

/// No recording is longer, seconds. A later time is a broken clock, and must not decide how much memory is taken.
pub(crate) const WEEK_SECONDS: f64 = 7.0 * 86_400.0;

/// One person's night: raw streams, and a stage per epoch where a human scored it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Whose night it is.
    pub person: PersonId,
    /// Tells the nights of one person apart; see [`crate::sleep_accel`] for how it appears in file names.
    pub name: String,
    /// The streams that were recorded; a missing one is normal.
    pub streams: BTreeMap<StreamKind, Stream>,
    /// One per 30-s epoch from time 0; its length is the night's length. All `None` for an unlabelled night.
    pub labels: Vec<Option<Stage>>,
}

impl Recording {
    /// A recording that nobody scored: as many epochs without a stage as fit before the last sample of any stream.
    #[must_use]
    pub fn unscored(person: PersonId, name: &str, streams: impl IntoIterator<Item = Stream>) -> Self {
        let streams: BTreeMap<_, _> = streams.into_iter().map(|s| (s.kind(), s)).collect();
        let end = streams.values().filter_map(|s| s.times().last()).copied().fold(0.0, f64::max);
        let labels = vec![None; (end / EPOCH_SECONDS) as usize];
        Self { person, name: name.to_owned(), streams, labels }
    }

    /// How the night is called in reports and exclusions: the person's id, or `PERSON/NAME` unless the
    /// name is [`DEFAULT_NIGHT`].
    #[must_use]
    pub fn id(&self) -> String {
        night_id(&self.person, &self.name)
    }

    /// The number of 30-s epochs.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.labels.len()
    }
}

/// The order of a person's nights by name: [`DEFAULT_NIGHT`] first, then names by [`natural_order`]. Numbered nights are
/// in the order of their numbers (`night-2` before `night-10`), nights named by ISO dates in the order of time.
#[must_use]
pub fn night_order(a: &str, b: &str) -> Ordering {
    let named = |name: &str| name != DEFAULT_NIGHT;
    named(a).cmp(&named(b)).then_with(|| natural_order(a, b))
}

/// The order in which people count: runs of digits compare as numbers, everything else byte by byte. Numbers of any
/// length; texts that differ in leading zeros alone are equal only if they are the same text.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let mut left = a.as_bytes();
    let mut right = b.as_bytes();
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (number(&mut left), number(&mut right));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the digits at the front; returns them without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|c| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

pub(crate) fn night_id(person: &PersonId, name: &str) -> String {
    if name == DEFAULT_NIGHT { person.to_string() } else { format!("{person}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nights_are_in_the_order_they_are_counted() {
        let ordered = [
            "night",
            "2026-03-09",
            "2026-03-10",
            "2026-11-01",
            "a",
            "n09",
            "n9",
            "n10",
            "n10a",
            "night-2",
            "night-9",
            "night-10",
            "night-99999999999999999999998",
            "night-99999999999999999999999",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(night_order(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        assert_eq!(natural_order("", "0"), Ordering::Less);
    }
}
