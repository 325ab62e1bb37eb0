//! Linkage: whose update is it, and is a person in a sum?
//!
//! Everybody takes part with the first part of a night. The attacker knows what a person's update looked like in another round, or
//! has another part of the person's labelled night, from which it makes an update of its own. It names the person whose known
//! update is the most alike, after taking away what all have in common.

use std::collections::BTreeMap;

use somnus_model::{ModelError, Prepared};
use somnus_report::Leak;
use somnus_signals::PersonId;
use somnus_signals::split::chronological;

use super::defence::{Defence, Sums, median_norm, norm};
use super::judge::{Guess, Trials, auc, cosine, mean};
use super::lesson::update;
use super::releases::{Halted, Shares, releases};
use super::{AttackError, Lab, with_noise};
use crate::attack::crew;

const WHOSE: &str = "linkage: whose update is it?";
const PRESENT: &str = "presence: is a person in the sum?";

/// The part of a night that a person takes part with, and the epochs between it and what the attacker has.
const CUT: (f32, usize) = (0.6, 20);

/// Cohorts that are drawn for each seed.
const COHORTS: usize = 20;

/// One vector of each person, in the order of names.
type Vectors = Vec<Vec<f32>>;

/// One seed's updates.
struct Known {
    seed: u64,
    people: Vec<PersonId>,
    /// Of the attacked round, and once more with other chance.
    round: Vectors,
    again: Vectors,
    /// What the attacker has to compare with, each less what all have in common: of another round, and made from what the attacker
    /// has of a night.
    other_round: Vectors,
    other_night: Vectors,
}

/// Both tables.
pub(super) fn run(lab: &Lab) -> Result<Vec<Leak>, AttackError> {
    let all: Vec<Known> =
        lab.scenario.seeds.iter().map(|seed| Known::of(lab, *seed)).collect::<Result<_, _>>()?;
    lab.progress.tell("linkage".into());
    let mut leaks = whose(lab, &all)?;
    leaks.extend(present(lab, &all)?);
    Ok(leaks)
}

impl Known {
    fn of(lab: &Lab, seed: u64) -> Result<Self, AttackError> {
        let cut = |person: &PersonId| {
            let night = lab.people.nights_of(person).next()?;
            let (own, other) = chronological(night.epochs, CUT.0, CUT.1);
            let scored =
                |part: &std::ops::Range<usize>| night.stages[part.clone()].iter().flatten().count() > 0;
            (scored(&own) && scored(&other))
                .then(|| (person.clone(), Shares { night: night.clone(), own, other }))
        };
        let shares: BTreeMap<PersonId, Shares> = lab.everyone.iter().filter_map(cut).collect();
        let [early, late] = releases(lab, &shares, seed)?;
        let people: Vec<PersonId> = shares.keys().cloned().collect();
        let updates = |halted: &Halted, own: bool, chance: &str| -> Result<Vectors, ModelError> {
            let of = |(number, share): (usize, &Shares)| {
                let range = if own { share.own.clone() } else { share.other.clone() };
                let part: Prepared = halted.release.prepare_part(&share.night, range)?;
                update(&halted.release, &[&part], &halted.plan, lab.seed(seed, chance, number).number())
            };
            shares.values().enumerate().map(of).collect()
        };
        Ok(Self {
            round: updates(&early, true, "update")?,
            again: updates(&early, true, "update again")?,
            other_round: centred(updates(&late, true, "later update")?),
            other_night: centred(updates(&early, false, "attacker's update")?),
            people,
            seed,
        })
    }

    fn weights(&self) -> usize {
        self.round.first().map_or(0, Vec::len)
    }

    /// A drawn cohort with `first` in it.
    fn cohort(&self, people: usize, first: Option<usize>, chance: u64) -> Vec<usize> {
        let order = crew::order(&self.people, chance);
        let place = |person: &PersonId| self.people.iter().position(|own| own == person);
        let others = order.iter().filter_map(place).filter(|at| Some(*at) != first);
        first.into_iter().chain(others).take(people).collect()
    }

    /// What defends this seed's sums. Masks shorten nobody.
    fn sums(&self, lab: &Lab, defence: Defence, cohort: usize, least: usize) -> Result<Sums, AttackError> {
        let updates = || self.round.iter().chain(&self.again).map(Vec::as_slice);
        let norm = match defence {
            Defence::Masks => 1.01 * updates().map(norm).fold(1e-6, f64::max),
            _ => median_norm(updates()),
        };
        let setting = super::defence::Setting { norm, ..lab.setting(self.weights()) };
        Ok(Sums::new(defence, &setting, cohort, least)?)
    }
}

/// How an attacker comes to look at one person's update.
#[derive(Clone, Copy)]
enum Way {
    /// It is there to be seen.
    Plain,
    /// Everybody else's is known, and noise is left.
    Alone(Defence),
    /// Two sums that differ by the person; the others do the same work twice, or draw other chance for the second.
    Difference(Defence, bool),
}

fn whose(lab: &Lab, all: &[Known]) -> Result<Vec<Leak>, AttackError> {
    let largest = lab.cohorts().into_iter().max().unwrap_or(2);
    let mut ways = vec![("an update".to_owned(), Way::Plain)];
    for defence in lab.noises() {
        ways.push((format!("an update, {}, the others known", with_noise(defence)), Way::Alone(defence)));
    }
    let differences = format!("two masked sums, {largest} people and {} of them", largest - 1);
    ways.push((format!("{differences}, the same work twice"), Way::Difference(Defence::Masks, true)));
    ways.push((format!("{differences}, other chance"), Way::Difference(Defence::Masks, false)));
    for defence in lab.noises().into_iter().filter(|one| matches!(one, Defence::Distributed(_))) {
        let name = format!("{differences}, the same work twice, {}", with_noise(defence));
        ways.push((name, Way::Difference(defence, true)));
    }
    let line = |(against, way): (String, Way)| {
        let [mut round, mut night]: [Trials<f64>; 2] = Default::default();
        let mut chance = Vec::new();
        for known in all {
            for (target, person) in known.people.iter().enumerate() {
                let seen = look(lab, known, way, target, largest, &against)?;
                let hit = |gallery: &Vectors| f64::from(u8::from(nearest(gallery, &seen) == Some(target)));
                round.add(person, known.seed, hit(&known.other_round));
                night.add(person, known.seed, hit(&known.other_night));
                chance.push(1.0 / known.people.len() as f64);
            }
        }
        let chance = super::chance_of(&chance);
        let scores = vec![
            round.score("by another round, top-1", chance, mean),
            night.score("by another part of the night, top-1", chance, mean),
        ];
        Ok(Leak { attack: WHOSE.into(), against, people: round.people(), scores })
    };
    ways.into_iter().map(line).collect()
}

/// What is seen of the target's update, less what all have in common.
fn look(
    lab: &Lab,
    known: &Known,
    way: Way,
    target: usize,
    people: usize,
    against: &str,
) -> Result<Vec<f32>, AttackError> {
    let seed = lab.seed(known.seed, against, target);
    let common = average(&known.round.iter().map(Vec::as_slice).collect::<Vec<_>>());
    Ok(match way {
        Way::Plain => less(&known.round[target], &common, 1.0),
        Way::Alone(defence) => {
            let sums = known.sums(lab, defence, people, people)?;
            less(&sums.alone(&known.round[target], &seed)?, &common, 1.0)
        }
        Way::Difference(defence, same) => {
            let cohort = known.cohort(people, Some(target), seed.number());
            let sums = known.sums(lab, defence, people, people - 1)?;
            let second = if same { &known.round } else { &known.again };
            let of = |vectors: &Vectors, members: &[usize], what: &str| {
                let updates: Vec<&[f32]> = members.iter().map(|at| vectors[*at].as_slice()).collect();
                sums.of(&updates, &lab.seed(known.seed, &format!("{against} {what}"), target))
            };
            let (all, rest) = (of(&known.round, &cohort, "all")?, of(second, &cohort[1..], "but one")?);
            let difference = less(&all, &rest, 1.0);
            less(&difference, &rest, 1.0 / (people - 1) as f32)
        }
    })
}

fn present(lab: &Lab, all: &[Known]) -> Result<Vec<Leak>, AttackError> {
    let cohorts = lab.cohorts();
    let largest = cohorts.iter().copied().max().unwrap_or(2);
    let mut sights: Vec<(String, usize, Defence)> =
        cohorts.iter().map(|people| (format!("masked sum of {people}"), *people, Defence::Masks)).collect();
    for defence in lab.noises() {
        sights.push((format!("sum of {largest}, {}", with_noise(defence)), largest, defence));
    }
    let line = |(against, people, defence): (String, usize, Defence)| {
        let [mut round, mut night]: [Trials<Guess>; 2] = Default::default();
        for known in all {
            let sums = known.sums(lab, defence, people, people)?;
            let drawn: Vec<Vec<usize>> = (0..COHORTS)
                .map(|number| known.cohort(people, None, lab.seed(known.seed, &against, number).number()))
                .collect();
            let sum = |(number, cohort): (usize, &Vec<usize>)| {
                let updates: Vec<&[f32]> = cohort.iter().map(|at| known.round[*at].as_slice()).collect();
                sums.of(&updates, &lab.seed(known.seed, &against, COHORTS + number))
            };
            let seen: Vectors = drawn.iter().enumerate().map(sum).collect::<Result<_, _>>()?;
            for (sum, cohort) in centred(seen).iter().zip(&drawn) {
                for (at, person) in known.people.iter().enumerate() {
                    let truth = cohort.contains(&at);
                    let guess = |gallery: &Vectors| Guess { score: cosine(&gallery[at], sum), truth };
                    round.add(person, known.seed, guess(&known.other_round));
                    night.add(person, known.seed, guess(&known.other_night));
                }
            }
        }
        let scores = vec![
            round.score("by another round, AUC", 0.5, auc),
            night.score("by another part of the night, AUC", 0.5, auc),
        ];
        Ok(Leak { attack: PRESENT.into(), against, people: round.people(), scores })
    };
    sights.into_iter().map(line).collect()
}

/// The most alike; the first of equals.
fn nearest(gallery: &Vectors, seen: &[f32]) -> Option<usize> {
    let alike: Vec<f64> = gallery.iter().map(|one| cosine(one, seen)).collect();
    (0..alike.len()).rev().max_by(|a, b| alike[*a].total_cmp(&alike[*b]))
}

fn average(vectors: &[&[f32]]) -> Vec<f32> {
    let mut mean = vec![0.0; vectors.first().map_or(0, |vector| vector.len())];
    for vector in vectors {
        mean.iter_mut().zip(*vector).for_each(|(sum, value)| *sum += value / vectors.len() as f32);
    }
    mean
}

fn less(vector: &[f32], by: &[f32], times: f32) -> Vec<f32> {
    vector.iter().zip(by).map(|(value, by)| value - times * by).collect()
}

fn centred(vectors: Vectors) -> Vectors {
    let common = average(&vectors.iter().map(Vec::as_slice).collect::<Vec<_>>());
    vectors.into_iter().map(|vector| less(&vector, &common, 1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privacy_the_nearest_is_told_by_direction_after_what_all_share() {
        let gallery = centred(vec![vec![9.0, 1.0], vec![9.0, -1.0], vec![10.0, 0.0]]);
        let seen = less(&[18.1, 0.2], &[18.0, 0.0], 1.0);
        assert_eq!(nearest(&gallery, &seen), Some(0));
        assert_eq!(nearest(&Vec::new(), &seen), None);
        assert!(
            average(&gallery.iter().map(Vec::as_slice).collect::<Vec<_>>()).iter().all(|x| x.abs() < 1e-6)
        );
    }
}
