//! Where the nights of an export are, and which source speaks for each.

use super::when::When;
use super::xml::{Export, Heart, Sleep, State};
use super::{Estimate, Night};
use crate::calendar::Date;
use crate::recording::EPOCH_SECONDS;
use crate::{PersonId, Recording, Stream, StreamKind};

/// Who gets up for less is still in the same night, seconds.
const UP: i64 = 2 * 3600;
/// Heart rates this long before and after a night help to read its ends, seconds.
const MARGIN: i64 = 60;
/// Heart rates of a day that make it worth asking where its night is.
const WORN: usize = 60;

impl Export {
    /// Every night that it has sleep of.
    pub(crate) fn nights(&self, person: &PersonId) -> Vec<Night> {
        let mut nights: Vec<Night> = Vec::new();
        for sleeps in evenings(&self.sleeps) {
            let Some(source) = sleep_source(self, sleeps) else { continue };
            let own: Vec<Sleep> = sleeps.iter().filter(|sleep| sleep.source == source).copied().collect();
            let Some((from, to)) = longest(&own) else { continue };
            let name = name(from, &nights);
            nights.push(night(self, person, &name, (from, to), &own, source));
        }
        nights
    }

    /// Days, noon to noon, on which heart rate was measured and nothing says when the night was.
    pub(crate) fn sleepless(&self) -> usize {
        let mut nights: Vec<i64> = self.sleeps.iter().map(|sleep| sleep.from.evening()).collect();
        nights.sort_unstable();
        let days = self.hearts.chunk_by(|a, b| a.at.evening() == b.at.evening());
        days.filter(|day| day.len() >= WORN && nights.binary_search(&day[0].at.evening()).is_err()).count()
    }
}

/// Sleep of one night after the other. A night ends at the noon of the clocks where it began, wherever it ends.
fn evenings(sleeps: &[Sleep]) -> Vec<&[Sleep]> {
    let mut found = Vec::new();
    let mut rest = sleeps;
    while let Some(first) = rest.first() {
        let noon = first.from.next_noon();
        let (own, later) = rest.split_at(rest.partition_point(|sleep| sleep.from.second < noon));
        found.push(own);
        rest = later;
    }
    found
}

/// A watch that tells stages before another that does, and that before one that only knows of a bed; then who tells most.
fn sleep_source(export: &Export, sleeps: &[Sleep]) -> Option<u16> {
    let rank = |source: u16| {
        let own = || sleeps.iter().filter(move |sleep| sleep.source == source);
        let asleep = |sleep: &&Sleep| matches!(sleep.state, State::Known(state) if state != Estimate::Awake);
        let seconds: i64 = own().filter(asleep).map(|sleep| sleep.to.second - sleep.from.second).sum();
        (seconds > 0, export.sources[usize::from(source)].watch, seconds, std::cmp::Reverse(source))
    };
    sleeps.iter().map(|sleep| sleep.source).max_by_key(|source| rank(*source))
}

/// The longest stretch that nobody interrupted for [`UP`]: naps are other stretches.
fn longest(sleeps: &[Sleep]) -> Option<(When, When)> {
    let mut stretches: Vec<(When, When)> = Vec::new();
    for sleep in sleeps {
        match stretches.last_mut() {
            Some((_, to)) if sleep.from.second - to.second <= UP => {
                if sleep.to.second > to.second {
                    *to = sleep.to;
                }
            }
            _ => stretches.push((sleep.from, sleep.to)),
        }
    }
    stretches.into_iter().rev().max_by_key(|(from, to)| to.second - from.second)
}

/// The evening's date; who flies against the sun has it twice.
fn name(from: When, nights: &[Night]) -> String {
    let date = Date::of_number(from.evening()).map_or_else(|| "night".to_owned(), |date| date.to_string());
    let same = nights.iter().filter(|night| night.recording.name.starts_with(&date)).count();
    if same == 0 { date } else { format!("{date}-{}", same + 1) }
}

fn night(
    export: &Export,
    person: &PersonId,
    name: &str,
    (from, to): (When, When),
    sleeps: &[Sleep],
    source: u16,
) -> Night {
    let epochs = ((to.second - from.second) as f64 / EPOCH_SECONDS) as usize;
    let second = |heart: &Heart| heart.at.second;
    let first = export.hearts.partition_point(|heart| second(heart) < from.second - MARGIN);
    let end = export.hearts.partition_point(|heart| second(heart) <= to.second + MARGIN);
    let hearts = &export.hearts[first..end];
    let heart = heart_source(export, hearts);
    let own = || hearts.iter().filter(|one| Some(one.source) == heart);
    let times = own().map(|heart| (second(heart) - from.second) as f64).collect();
    let hr = heart.map(|_| Stream::new(StreamKind::Hr, times, own().map(|heart| heart.bpm).collect()));
    let mut recording = Recording::unscored(person.clone(), name, hr);
    recording.labels = vec![None; epochs];
    let named = |source: u16| export.sources[usize::from(source)].name.clone();
    Night {
        recording,
        start: from.second,
        utc_offset: i32::from(from.offset) * 60,
        estimates: estimates(sleeps, from.second, epochs),
        sleep_source: named(source),
        heart_source: heart.map(named),
    }
}

/// Who measured in most epochs, a watch if that is equal: of two that were worn, the mean of both is neither.
fn heart_source(export: &Export, hearts: &[Heart]) -> Option<u16> {
    let rank = |source: u16| {
        let mut epochs: Vec<i64> = hearts
            .iter()
            .filter(|heart| heart.source == source)
            .map(|heart| heart.at.second / EPOCH_SECONDS as i64)
            .collect();
        epochs.dedup();
        (epochs.len(), export.sources[usize::from(source)].watch, std::cmp::Reverse(source))
    };
    let mut sources: Vec<u16> = hearts.iter().map(|heart| heart.source).collect();
    sources.sort_unstable();
    sources.dedup();
    sources.into_iter().max_by_key(|source| rank(*source))
}

/// What the device said of the middle of each epoch; where it said two things, the one that it began to say later.
fn estimates(sleeps: &[Sleep], start: i64, epochs: usize) -> Vec<Option<Estimate>> {
    let mut estimates = vec![None; epochs];
    let epoch = |second: i64| {
        let middle = (second - start) as f64 / EPOCH_SECONDS - 0.5;
        middle.ceil().clamp(0.0, epochs as f64) as usize
    };
    for sleep in sleeps {
        if let State::Known(state) = sleep.state
            && sleep.to.second > start
        {
            let (from, to) = (epoch(sleep.from.second), epoch(sleep.to.second));
            estimates[from..to.max(from)].fill(Some(state));
        }
    }
    estimates
}
