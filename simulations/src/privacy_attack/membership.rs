//! Membership: was this person in the training of that release?
//!
//! The attacker has the person's labelled nights, the release, and the foundation. Three ways, from plain to well-informed:
//! how small the loss is (Yeom et al. 2018); how much smaller than the foundation's (Watson et al. 2022); and how much likelier it is
//! among releases that the person was in than among those that the person was not in (LiRA, Carlini et al. 2022), which
//! takes federations of the attacker's own, of the same people.

use std::collections::{BTreeMap, BTreeSet};

use somnus_model::{ModelError, Stager};
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::plan::{TrainPlan, TrainableSet};
use somnus_protocol::privacy::mechanism::Mechanism;
use somnus_report::{Leak, Row};
use somnus_signals::PersonId;
use somnus_signals::split::Fold;

use super::defence::{median_norm, private};
use super::judge::{Guess, Trials, auc, found_at};
use super::lesson::update;
use super::{AttackError, Lab};
use crate::attack::crew;
use crate::baselines::{Scores, score};
use crate::cohort::People;
use crate::federate::{FEDERATED, StudyError, released, run_one};
use crate::recipe::recipe;
use crate::scenario::Scenario;
use crate::study::BOOTSTRAP;

const ATTACK: &str = "membership: was a person in the training?";

/// What part of the people who were not there may be taken for members.
const FALSE_ALARMS: f64 = 0.05;

/// One kind of federation.
struct Arm {
    name: String,
    scenario: Scenario,
}

/// A release, and everybody's losses under it and under what it started from.
struct Trained {
    members: BTreeSet<PersonId>,
    losses: BTreeMap<PersonId, f64>,
    before: BTreeMap<PersonId, f64>,
}

/// All lines of the table, and what each release is worth to those who were not in it.
pub(super) fn run(lab: &Lab) -> Result<(Vec<Leak>, Vec<Row>), AttackError> {
    let (mut leaks, mut rows) = (Vec::new(), Vec::new());
    for Arm { name, scenario } in arms(lab)? {
        let [mut loss, mut calibrated, mut ratio]: [Trials<Guess>; 3] = Default::default();
        let mut utility = Vec::new();
        for seed in scenario.seeds.iter().copied() {
            let mut trained = Vec::new();
            let mut scores = Scores::new();
            for (number, fold) in halves(&lab.everyone, lab.config.references, seed).into_iter().enumerate() {
                let place = format!("{name}, half {}/{}, seed {seed}", number + 1, lab.config.references);
                let own = lab.seed(seed, "half", number).number();
                trained.push(train(lab, &scenario, &fold, own, number, place, &mut scores)?);
            }
            utility.push(scores);
            for (at, target) in trained.iter().enumerate() {
                // Without its other half, so that everybody is in as many of the rest as not.
                let rest = trained.iter().enumerate().filter(|(other, _)| other / 2 != at / 2);
                let others: Vec<&Trained> = rest.map(|(_, one)| one).collect();
                let likelihood = Likelihood::of(&others);
                for (person, own) in &target.losses {
                    let truth = target.members.contains(person);
                    let guess =
                        |trials: &mut Trials<Guess>, score| trials.add(person, seed, Guess { score, truth });
                    guess(&mut loss, -own);
                    guess(&mut calibrated, target.before[person] - own);
                    guess(&mut ratio, likelihood.score(person, *own));
                }
            }
        }
        let scores = vec![
            loss.score("loss, AUC", 0.5, auc),
            calibrated.score("loss beside the foundation's, AUC", 0.5, auc),
            ratio.score("likelihood ratio, AUC", 0.5, auc),
            ratio.score("likelihood ratio, found at 5 % false alarms", FALSE_ALARMS, found_at(FALSE_ALARMS)),
        ];
        rows.push(Row::from_seeds(&name, &utility, BOOTSTRAP).map_err(StudyError::from)?);
        leaks.push(Leak { attack: ATTACK.into(), against: name, people: loss.people(), scores });
    }
    Ok((leaks, rows))
}

/// Training steps of it all.
pub(super) fn steps(lab: &Lab) -> u64 {
    let federation = &lab.scenario.federation;
    let arms = 1 + lab.config.sets.len() * (1 + lab.config.epsilons.len());
    let each = federation.rounds * u64::from(federation.plan.steps_over(1)) * lab.everyone.len() as u64;
    each * (arms * lab.config.references * lab.scenario.seeds.len()) as u64 / 2
}

fn arms(lab: &Lab) -> Result<Vec<Arm>, AttackError> {
    let mut arms = Vec::new();
    for set in lab.config.sets.iter().copied() {
        let mut scenario = lab.scenario.clone();
        scenario.federation.plan.trainable = set;
        let name = set_name(set);
        if arms.is_empty() {
            let mut plain = scenario.clone();
            plain.federation.danger_plain_aggregation = true;
            arms.push(Arm { name: format!("release, {name}, plain rounds"), scenario: plain });
        }
        arms.push(Arm { name: format!("release, {name}, masked rounds"), scenario: scenario.clone() });
        let norm = usual_norm(lab, &scenario.federation.plan)?;
        for epsilon in &lab.config.epsilons {
            let mut noisy = scenario.clone();
            let population = lab.everyone.len() as u64;
            noisy.federation.privacy = Some(private(*epsilon, Mechanism::Gaussian, population, norm));
            arms.push(Arm { name: format!("release, {name}, masked, epsilon {epsilon}"), scenario: noisy });
        }
    }
    Ok(arms)
}

fn set_name(set: TrainableSet) -> &'static str {
    match set {
        TrainableSet::Head => "head",
        TrainableSet::Adapters => "adapters",
        TrainableSet::Full => "full",
    }
}

/// The median norm of the first updates.
fn usual_norm(lab: &Lab, plan: &TrainPlan) -> Result<f64, ModelError> {
    let stager = &lab.foundation;
    let updates: Vec<Vec<f32>> = lab
        .everyone
        .iter()
        .map(|person| {
            let nights = lab.people.nights_of(person).map(|night| stager.prepare(night));
            let nights: Vec<_> = nights.collect::<Result<_, _>>()?;
            update(stager, &nights.iter().collect::<Vec<_>>(), plan, 1)
        })
        .collect::<Result<_, ModelError>>()?;
    Ok(median_norm(updates.iter().map(Vec::as_slice)))
}

/// Everybody in half of the folds: each second fold trains those whom the one before did not.
fn halves(people: &[PersonId], number: usize, seed: u64) -> Vec<Fold> {
    let mut folds = Vec::new();
    for pair in 0..number / 2 {
        let order = crew::order(people, seed.wrapping_add((pair as u64) << 32));
        let (one, other) = order.split_at(order.len() / 2);
        let sorted = |part: &[PersonId]| {
            let mut part = part.to_vec();
            part.sort();
            part
        };
        folds.push(Fold { train: sorted(one), test: sorted(other) });
        folds.push(Fold { train: sorted(other), test: sorted(one) });
    }
    folds
}

fn train(
    lab: &Lab,
    scenario: &Scenario,
    fold: &Fold,
    seed: u64,
    number: usize,
    place: String,
    utility: &mut Scores,
) -> Result<Trained, AttackError> {
    let recipe = recipe(scenario, &lab.origin, &lab.people, fold, seed).map_err(StudyError::from)?;
    let (outcome, _) = run_one(&recipe, scenario, number, place, lab.means, &lab.progress)?;
    let stager = released(&recipe, &outcome, scenario)?;
    let scored = score(&lab.people, &fold.test, scenario.task, |night| Ok(stager.predict(night)?.argmax()));
    let scored = scored.map_err(|source| StudyError::Baseline { row: FEDERATED, source })?;
    for (person, counts) in scored {
        match utility.get_mut(&person) {
            Some(sum) => sum.merge(&counts).map_err(StudyError::from)?,
            None => drop(utility.insert(person, counts)),
        }
    }
    let foundation = Checkpoint::from_bytes(&recipe.federation.start.foundation).map_err(StudyError::from)?;
    let before = Stager::from_checkpoint(&foundation, scenario.device)?;
    Ok(Trained {
        members: fold.train.iter().cloned().collect(),
        losses: losses(&stager, &lab.people, &lab.everyone)?,
        before: losses(&before, &lab.people, &lab.everyone)?,
    })
}

/// Each person's mean cross-entropy over the scored epochs of all nights.
fn losses(
    stager: &Stager,
    people: &People,
    everyone: &[PersonId],
) -> Result<BTreeMap<PersonId, f64>, ModelError> {
    let mut losses = BTreeMap::new();
    for person in everyone {
        let (mut sum, mut scored) = (0.0, 0u32);
        for night in people.nights_of(person) {
            let posterior = stager.predict(night)?;
            let rows = posterior.values.chunks_exact(posterior.classes);
            for (class, row) in night.classes(stager.task()).into_iter().zip(rows) {
                let Some(class) = class else { continue };
                sum -= f64::from(row[class].max(f32::MIN_POSITIVE)).ln();
                scored += 1;
            }
        }
        losses.insert(person.clone(), sum / f64::from(scored.max(1)));
    }
    Ok(losses)
}

/// What a person's loss is like in releases with and without the person; normal, with one spread for all, since there are few.
struct Likelihood {
    /// Means without and with.
    means: BTreeMap<PersonId, [f64; 2]>,
    variance: f64,
}

impl Likelihood {
    fn of(references: &[&Trained]) -> Self {
        let mut means: BTreeMap<PersonId, [f64; 2]> = BTreeMap::new();
        let (mut squares, mut freedom) = (0.0, 0.0);
        let people: BTreeSet<&PersonId> = references.iter().flat_map(|one| one.losses.keys()).collect();
        for person in people {
            let side = |member: bool| -> Vec<f64> {
                let of = references.iter().filter(|one| one.members.contains(person) == member);
                of.filter_map(|one| one.losses.get(person).copied()).collect()
            };
            let sides = [side(false), side(true)];
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
            let own = [mean(&sides[0]), mean(&sides[1])];
            for (values, mean) in sides.iter().zip(own) {
                squares += values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
                freedom += values.len().saturating_sub(1) as f64;
            }
            means.insert(person.clone(), own);
        }
        Self { means, variance: (squares / f64::max(freedom, 1.0)).max(1e-12) }
    }

    /// The logarithm of the ratio: larger where the person was there.
    fn score(&self, person: &PersonId, loss: f64) -> f64 {
        let [without, with] = self.means[person];
        ((loss - without).powi(2) - (loss - with).powi(2)) / (2.0 * self.variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(number: usize) -> Vec<PersonId> {
        (0..number).map(|n| PersonId::new(format!("p{n:02}")).unwrap()).collect()
    }

    #[test]
    fn privacy_halves_have_everybody_in_half_of_them() {
        let people = people(9);
        let folds = halves(&people, 6, 1);
        assert_eq!(folds.len(), 6);
        for person in &people {
            assert_eq!(folds.iter().filter(|fold| fold.train.contains(person)).count(), 3);
            assert!(folds.iter().all(|fold| fold.train.contains(person) != fold.test.contains(person)));
        }
        assert_ne!(folds[0].train, folds[2].train);
        assert_eq!(halves(&people, 6, 1), folds);
    }

    /// Losses that fall by a little for members, beneath differences between people ten times as large.
    #[test]
    fn privacy_likelihood_ratios_find_what_thresholds_miss() {
        let people = people(40);
        let trained: Vec<Trained> = halves(&people, 8, 2)
            .into_iter()
            .enumerate()
            .map(|(number, fold)| {
                let members: BTreeSet<PersonId> = fold.train.into_iter().collect();
                let loss = |(at, person): (usize, &PersonId)| {
                    let chance = ((at * 7 + number * 13) as f64).sin() * 0.02;
                    let gain = if members.contains(person) { 0.1 } else { 0.0 };
                    (person.clone(), (at % 10) as f64 / 10.0 + chance - gain)
                };
                let losses: BTreeMap<_, _> = people.iter().enumerate().map(loss).collect();
                Trained { before: losses.clone(), members, losses }
            })
            .collect();
        let likelihood = Likelihood::of(&trained[2..].iter().collect::<Vec<_>>());
        let guesses = |score: &dyn Fn(&PersonId, f64) -> f64| -> Vec<Guess> {
            let of = |(person, loss): (&PersonId, &f64)| Guess {
                score: score(person, *loss),
                truth: trained[0].members.contains(person),
            };
            trained[0].losses.iter().map(of).collect()
        };
        let ratio = guesses(&|person, loss| likelihood.score(person, loss));
        let threshold = guesses(&|_, loss| -loss);
        let of = |guesses: &[Guess]| auc(&guesses.iter().collect::<Vec<_>>()).unwrap();
        assert!(of(&ratio) > 0.99, "{}", of(&ratio));
        assert!(of(&threshold) < 0.8, "{}", of(&threshold));
    }
}
