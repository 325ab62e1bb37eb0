//! People and nights from a seed, as hard to stage as real ones.
//!
//! The streams and rates are those of the sleep-accel set: heart rate about every 5 s in whole bpm, activity
//! counts per 15 s, posture per 30 s, a stage per 30 s. Levels, spreads between people and rates of movement were
//! fitted to its 23 usable people, and the difficulty to what small classifiers reach on *new* people. Four classes,
//! kappa on people left out, real against synthetic cohorts of several seeds: softmax regression .35 / .41-.43,
//! a hidden layer of 32 on hand features .42 / .44-.50, a dilated whole-night net trained on 16 people .31-.35 / .38-.46.
//! It is a stand-in for demonstrations and tests, no model of sleep: nothing measured on it says anything
//! about real people.

mod chance;
mod heart;
mod hypnogram;
mod movement;
mod person;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::recording::DEFAULT_NIGHT;
use crate::{Cohort, NightRules, PersonId, Recording};

use chance::Chance;
use person::Person;

/// Which synthetic people to make. Person `i` depends on `seed` and `i` alone, so a larger
/// cohort begins with the same people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// How many people.
    pub people: usize,
    /// Nights of each.
    pub nights_per_person: usize,
    /// The same seed gives the same bytes on one kind of machine.
    pub seed: u64,
    /// The part of nights, 0 to 1, on which the heart-rate sensor fails after an hour or two, so
    /// that the default rules exclude them. One of the 24 real nights is like that; none here by default.
    pub failures: f64,
    /// How much more these people differ from each other than the people of the sleep-accel set do: 0 for as much,
    /// 1 for twice as much in every constant, and with habits of lying awake of their own. A wide prior, to pretrain on.
    pub diversity: f64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self { people: 24, nights_per_person: 1, seed: 0, failures: 0.0, diversity: 0.0 }
    }
}

/// Every night of every person, in the order of person and night. People are `synthetic-0000` and on;
/// nights `night`, `night-2`, `night-3`.
#[must_use]
pub fn recordings(config: &SyntheticConfig) -> Vec<Recording> {
    (0..config.people).flat_map(|person| recordings_of(config, person)).collect()
}

/// The nights of person `index` alone, without making the others.
#[must_use]
pub fn recordings_of(config: &SyntheticConfig, index: usize) -> Vec<Recording> {
    let mut habits = Chance::new(config.seed, stream(index, HABITS_STREAM));
    let person = Person::new(config.diversity, &mut Chance::new(config.seed, stream(index, 0)), &mut habits);
    (0..config.nights_per_person).map(|n| night(config, &person, index, n)).collect()
}

/// The nights prepared under `rules`.
#[must_use]
pub fn cohort(config: &SyntheticConfig, rules: &NightRules) -> Cohort {
    let mut cohort = Cohort::default();
    for person in 0..config.people {
        for recording in recordings_of(config, person) {
            cohort.push(&recording, rules);
        }
    }
    cohort
}

/// Stream 0 of a person is who they are; the following ones are their nights, and from
/// [`FAILURE_STREAMS`] on whether the sensor fails in each; the last one is how the person lies awake.
fn stream(person: usize, part: usize) -> u64 {
    ((person as u64) << 20) | part as u64
}

const FAILURE_STREAMS: usize = 1 << 19;
const HABITS_STREAM: usize = (1 << 20) - 1;

/// When the heart-rate sensor is silent. Drawn apart from the night, so that a failing sensor changes
/// nothing else about it.
fn failure(config: &SyntheticConfig, index: usize, n: usize) -> Range<f64> {
    let mut chance = Chance::new(config.seed, stream(index, FAILURE_STREAMS + n));
    if chance.happens(config.failures) { chance.uniform(2400.0, 7200.0)..f64::INFINITY } else { 0.0..0.0 }
}

fn night(config: &SyntheticConfig, person: &Person, index: usize, n: usize) -> Recording {
    let mut chance = Chance::new(config.seed, stream(index, 1 + n));
    // A sixth of the lab nights was cut short.
    let epochs = if chance.happens(0.17) {
        chance.uniform(420.0, 760.0)
    } else {
        chance.normal(968.0, 14.0).clamp(920.0, 1000.0)
    } as usize;
    let stages = hypnogram::stages(person, epochs, &mut chance);
    let movement = movement::movement(person, &stages, &mut chance);
    let failure = failure(config, index, n);
    let heart = heart::heart(person, &stages, &movement.moments, failure, &mut chance);

    let mut labels: Vec<_> = stages.into_iter().map(Some).collect();
    // Technicians start scoring a little after the recorder.
    let unscored = chance.exponential(14.0).min(60.0) as usize;
    labels[..unscored.min(epochs)].fill(None);
    Recording {
        person: synthetic_id(index),
        name: match n {
            0 => DEFAULT_NIGHT.to_owned(),
            n => format!("{DEFAULT_NIGHT}-{}", n + 1),
        },
        streams: [heart, movement.activity, movement.posture]
            .into_iter()
            .map(|s| (s.kind(), s))
            .collect::<BTreeMap<_, _>>(),
        labels,
    }
}

fn synthetic_id(index: usize) -> PersonId {
    // The alphabet and the length are within the rules for every index.
    PersonId::new(format!("synthetic-{index:04}")).unwrap_or_else(|e| unreachable!("{e}"))
}
