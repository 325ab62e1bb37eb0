//! Held-out nights at one level of wake, without a label of any of them.
//!
//! What is usual is known from others: the mean level of the people of the other folds, each staged by a federation that never
//! saw them. In a deployment such people are clients that only evaluate, and each gives one number.

use std::collections::{BTreeMap, BTreeSet};

use somnus_model::Posterior;
use somnus_signals::{Night, PersonId, Task};

use crate::baselines::{BaselineError, Scores, score};
use crate::cohort::People;

/// What the releases of one seed think of the people they never saw.
#[derive(Default)]
pub(crate) struct HeldOut {
    nights: BTreeMap<(PersonId, String), Posterior>,
    fold: BTreeMap<PersonId, usize>,
}

impl HeldOut {
    pub(crate) fn add(&mut self, fold: usize, night: &Night, posterior: Posterior) {
        self.fold.insert(night.person.clone(), fold);
        self.nights.insert((night.person.clone(), night.name.clone()), posterior);
    }

    /// The mean level of people of other folds than this one; none if there are none.
    fn usual(&self, fold: usize) -> Option<f64> {
        let mut of_person: BTreeMap<&PersonId, Vec<f64>> = BTreeMap::new();
        for ((person, _), posterior) in &self.nights {
            if self.fold[person] != fold {
                of_person.entry(person).or_default().extend(posterior.wake_level());
            }
        }
        let mean =
            |levels: &[f64]| (!levels.is_empty()).then(|| levels.iter().sum::<f64>() / levels.len() as f64);
        mean(&of_person.values().filter_map(|levels| mean(levels)).collect::<Vec<f64>>())
    }

    /// Counts of all these people.
    pub(crate) fn score(&self, people: &People, task: Task) -> Result<Scores, BaselineError> {
        let held_out: Vec<PersonId> = self.fold.keys().cloned().collect();
        let folds: BTreeSet<usize> = self.fold.values().copied().collect();
        let usual: BTreeMap<usize, Option<f64>> =
            folds.into_iter().map(|fold| (fold, self.usual(fold))).collect();
        score(people, &held_out, task, |night| {
            let posterior = &self.nights[&(night.person.clone(), night.name.clone())];
            Ok(match usual[&self.fold[&night.person]] {
                Some(usual) => posterior.at_wake_level(usual).argmax(),
                None => posterior.argmax(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    /// Two classes: every tenth epoch is `shift` away from a level that is the person's own.
    #[test]
    fn a_shift_of_a_whole_night_is_taken_out_and_own_folds_are_not_asked() {
        let text = "name = 'x'\ntask = 'sleep-wake'\n[data]\nkind = 'synthetic'\npeople = 4\n[federation]\n";
        let scenario = Scenario::from_text(text).unwrap();
        let people = People::of(&scenario, None).unwrap();
        let mut held_out = HeldOut::default();
        let mut levels = BTreeMap::new();
        for (at, night) in people.nights().iter().enumerate() {
            let shift = at as f64 - 1.5;
            let truth = night.classes(Task::SleepWake);
            let odds = |class: Option<usize>| if class == Some(0) { 3.0 + shift } else { -3.0 + shift };
            let wake = |odds: f64| (1.0 / (1.0 + (-odds).exp())) as f32;
            let values =
                truth.iter().flat_map(|class| [wake(odds(*class)), 1.0 - wake(odds(*class))]).collect();
            held_out.add(at % 2, night, Posterior { classes: 2, values });
            levels.insert(night.person.clone(), (at % 2, shift - 3.0));
        }
        for fold in 0..2 {
            let others: Vec<f64> =
                levels.values().filter(|(own, _)| *own != fold).map(|(_, level)| *level).collect();
            let expected = others.iter().sum::<f64>() / others.len() as f64;
            assert!((held_out.usual(fold).unwrap() - expected).abs() < 1e-3);
        }
        for (person, confusion) in held_out.score(&people, Task::SleepWake).unwrap() {
            assert_eq!(confusion.accuracy(), Some(1.0), "{person}");
        }
    }
}
