//! How far an attack gets, over people: what it guessed, against what is true.

use std::collections::BTreeMap;

use somnus_report::{Bootstrap, LeakScore, Spread};
use somnus_signals::PersonId;

use crate::study::BOOTSTRAP;

/// Outcomes of one attack against one defence, by person and seed.
pub struct Trials<T> {
    of: BTreeMap<PersonId, Vec<(u64, T)>>,
}

impl<T> Default for Trials<T> {
    fn default() -> Self {
        Self { of: BTreeMap::new() }
    }
}

impl<T> Trials<T> {
    /// One more outcome about a person.
    pub fn add(&mut self, person: &PersonId, seed: u64, outcome: T) {
        self.of.entry(person.clone()).or_default().push((seed, outcome));
    }

    /// People with an outcome.
    #[must_use]
    pub fn people(&self) -> u64 {
        self.of.len() as u64
    }

    /// `statistic` of all outcomes, of each seed's, and of people who are drawn anew, each with all the own outcomes.
    pub fn score(&self, measure: &str, chance: f64, statistic: impl Fn(&[&T]) -> Option<f64>) -> LeakScore {
        let people: Vec<&Vec<(u64, T)>> = self.of.values().collect();
        let drawn = |drawn: &[usize]| {
            let outcomes = drawn.iter().flat_map(|person| people[*person]).map(|(_, outcome)| outcome);
            statistic(&outcomes.collect::<Vec<_>>())
        };
        let everybody: Vec<usize> = (0..people.len()).collect();
        let mut seeds: BTreeMap<u64, Vec<&T>> = BTreeMap::new();
        for (seed, outcome) in self.of.values().flatten() {
            seeds.entry(*seed).or_default().push(outcome);
        }
        LeakScore {
            measure: measure.to_owned(),
            value: drawn(&everybody),
            interval: Bootstrap::new(BOOTSTRAP).percentile(people.len(), drawn),
            chance,
            seeds: Spread::of(seeds.values().map(|outcomes| statistic(outcomes))),
        }
    }
}

/// Of yes-or-no questions: how sure the attacker is of yes, and the truth.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Guess {
    /// Larger for yes.
    pub score: f64,
    /// Yes.
    pub truth: bool,
}

/// The mean; of hits counted as 1 and misses as 0, their rate.
#[must_use]
pub fn mean(outcomes: &[&f64]) -> Option<f64> {
    (!outcomes.is_empty()).then(|| outcomes.iter().copied().sum::<f64>() / outcomes.len() as f64)
}

/// The probability that a true case has the higher score than a false one, ties counted half: the area under the ROC curve.
#[must_use]
pub fn auc(guesses: &[&Guess]) -> Option<f64> {
    let mut sorted: Vec<Guess> = guesses.iter().map(|guess| **guess).collect();
    sorted.sort_by(|a, b| a.score.total_cmp(&b.score));
    let (mut below, mut won, mut yes) = (0.0, 0.0, 0.0);
    for equal in sorted.chunk_by(|a, b| a.score == b.score) {
        let here = equal.iter().filter(|guess| guess.truth).count() as f64;
        let no = equal.len() as f64 - here;
        won += here * (below + no / 2.0);
        below += no;
        yes += here;
    }
    (yes > 0.0 && below > 0.0).then(|| won / (yes * below))
}

/// The share of true cases that are found when at most this share of the false ones is taken for true.
pub fn found_at(false_alarms: f64) -> impl Fn(&[&Guess]) -> Option<f64> {
    move |guesses| {
        let of =
            |truth: bool| guesses.iter().filter(move |guess| guess.truth == truth).map(|guess| guess.score);
        let mut no: Vec<f64> = of(false).collect();
        no.sort_by(|a, b| b.total_cmp(a));
        let limit = *no.get((false_alarms * no.len() as f64) as usize)?;
        let (found, yes) = of(true)
            .fold((0.0, 0.0), |(found, yes), score| (found + f64::from(u8::from(score > limit)), yes + 1.0));
        (yes > 0.0).then(|| found / yes)
    }
}

/// The cosine of the angle between two vectors; 0 if one of them is zero.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(scores: &[(f64, bool)]) -> Vec<Guess> {
        scores.iter().map(|(score, truth)| Guess { score: *score, truth: *truth }).collect()
    }

    #[test]
    fn privacy_scores_are_those_of_the_definition() {
        let mixed = guesses(&[(3.0, true), (2.0, false), (2.0, true), (1.0, false), (0.0, true)]);
        let mixed: Vec<&Guess> = mixed.iter().collect();
        // Pairs: 3 beats both; 2 ties one and beats one; 0 loses both.
        assert_eq!(auc(&mixed), Some((2.0 + 1.5) / 6.0));
        assert_eq!(found_at(0.0)(&mixed), Some(1.0 / 3.0));
        assert_eq!(found_at(0.5)(&mixed), Some(2.0 / 3.0));
        assert_eq!(auc(&mixed[..1]), None);
        assert_eq!(found_at(0.1)(&mixed[..1]), None);
        assert_eq!(cosine(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]), 0.0);
    }

    #[test]
    fn privacy_intervals_are_over_people_and_spread_is_over_seeds() {
        let mut trials = Trials::default();
        for number in 0..20 {
            let person = PersonId::new(format!("p{number:02}")).unwrap();
            // The same for a person in each trial: more trials are no more people.
            for trial in 0..50 {
                trials.add(&person, trial % 2, f64::from(number % 2));
            }
        }
        let score = trials.score("hits", 0.5, mean);
        let interval = score.interval.unwrap();
        assert_eq!((trials.people(), score.value, score.seeds.sd), (20, Some(0.5), Some(0.0)));
        assert!(interval.low < 0.4 && interval.high > 0.6, "{interval:?}");
    }
}
