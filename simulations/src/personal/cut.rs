//! What of a person's nights may be learned from, and what the person is judged on.

use std::collections::BTreeMap;
use std::sync::Arc;

use somnus_model::{ModelError, NightPart, Prepared, Stager};
use somnus_report::{Confusion, ConfusionError};
use somnus_signals::split::{chronological, random_epochs_leaky};
use somnus_signals::{Excluded, Night, PersonId, Task};

use super::config::PersonalConfig;
use crate::cohort::People;

/// How nights are divided.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Split {
    /// In time: an only night with a gap, several nights before the last.
    Later,
    /// **A leak**: epochs of each night dealt out at random.
    RandomEpochs,
}

impl Split {
    /// A row's name under this split.
    pub(super) fn row(self, name: &str) -> String {
        match self {
            Self::Later => name.to_owned(),
            Self::RandomEpochs => format!("{name}, random epochs"),
        }
    }
}

/// One person's nights, divided.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// What a model may know of the person.
    pub(super) learn: Vec<NightPart>,
    /// What the person is judged on.
    pub(super) judge: NightPart,
}

/// Divides everybody's nights; who has no scored epoch on one side is left out, for a reason.
pub(super) fn cut(
    people: &People,
    config: &PersonalConfig,
    split: Split,
    seed: u64,
) -> (BTreeMap<PersonId, Cut>, Vec<Excluded>) {
    let (mut cuts, mut excluded) = (BTreeMap::new(), Vec::new());
    for person in people.people() {
        let nights: Vec<Arc<Night>> = people.nights_of(&person).cloned().collect();
        let cut = match split {
            Split::Later => later(&nights, config),
            Split::RandomEpochs => leaky(&nights, config.train_part, seed),
        };
        let (learn, judge): (usize, usize) = (cut.learn.iter().map(scored).sum(), scored(&cut.judge));
        if learn == 0 || judge == 0 {
            let side = if learn == 0 { "to learn from" } else { "to be judged on" };
            excluded.push(Excluded { id: person.to_string(), reason: format!("no scored epoch {side}") });
            continue;
        }
        cuts.insert(person, cut);
    }
    (cuts, excluded)
}

fn scored(part: &NightPart) -> usize {
    part.night.stages[part.epochs.clone()].iter().flatten().count()
}

fn later(nights: &[Arc<Night>], config: &PersonalConfig) -> Cut {
    let (last, before) = nights.split_last().expect("a person of a cohort has a night");
    if !before.is_empty() {
        let learn = before.iter().cloned().map(NightPart::whole).collect();
        return Cut { learn, judge: NightPart::whole(Arc::clone(last)) };
    }
    let (beginning, end) = chronological(last.epochs, config.train_part, config.gap);
    Cut {
        learn: vec![NightPart::part(Arc::clone(last), beginning)],
        judge: NightPart::part(Arc::clone(last), end),
    }
}

/// The labels of a random part of every night; judged on the other labels of the last.
fn leaky(nights: &[Arc<Night>], train_part: f32, seed: u64) -> Cut {
    let without = |night: &Night, hidden: &[usize]| {
        let mut night = night.clone();
        hidden.iter().for_each(|epoch| night.stages[*epoch] = None);
        NightPart::whole(night)
    };
    let parts = nights.iter().map(|night| (night, random_epochs_leaky(night.epochs, train_part, seed)));
    let (learn, judge): (Vec<_>, Vec<_>) =
        parts.map(|(night, (learn, judge))| (without(night, &judge), without(night, &learn))).unzip();
    Cut { learn, judge: judge.into_iter().next_back().expect("a person of a cohort has a night") }
}

impl Cut {
    /// What may be learned from, laid out for a network.
    ///
    /// # Errors
    /// Those of [`Stager::prepare_part`].
    pub(super) fn lessons(&self, stager: &Stager) -> Result<Vec<Prepared>, ModelError> {
        self.learn.iter().map(|part| stager.prepare_part(&part.night, part.epochs.clone())).collect()
    }

    /// The true and the predicted class of each epoch of the judged night; no truth outside what is judged.
    ///
    /// # Errors
    /// Those of [`Stager::predict`].
    pub(super) fn stage(&self, stager: &Stager) -> Result<(Vec<Option<u8>>, Vec<u8>), ModelError> {
        let NightPart { night, epochs } = &self.judge;
        let predicted = stager.predict(night)?.argmax().into_iter().map(|class| class as u8).collect();
        let truth = night.classes(stager.task()).into_iter().enumerate();
        let judged = truth.map(|(epoch, class)| class.filter(|_| epochs.contains(&epoch)).map(|c| c as u8));
        Ok((judged.collect(), predicted))
    }
}

/// Counts of what [`Cut::stage`] gives.
///
/// # Errors
/// A class that the task does not have.
pub(super) fn count(
    task: Task,
    (truth, predicted): &(Vec<Option<u8>>, Vec<u8>),
) -> Result<Confusion, ConfusionError> {
    let pairs = truth.iter().zip(predicted).filter_map(|(truth, predicted)| Some(((*truth)?, *predicted)));
    Confusion::from_pairs(task.classes(), pairs)
}

#[cfg(test)]
mod tests {
    use somnus_signals::NightRules;
    use somnus_signals::synthetic::{self, SyntheticConfig};

    use super::*;

    fn people(nights_per_person: usize) -> People {
        let config = SyntheticConfig { people: 2, nights_per_person, ..SyntheticConfig::default() };
        People::new(synthetic::cohort(&config, &NightRules::default()), 2, 0).unwrap()
    }

    #[test]
    fn an_only_night_is_cut_in_time_and_of_several_the_last_is_judged() {
        let config = PersonalConfig::default();
        let (cuts, excluded) = cut(&people(1), &config, Split::Later, 0);
        assert_eq!((cuts.len(), excluded.len()), (2, 0));
        for Cut { learn, judge } in cuts.values() {
            assert_eq!((learn.len(), learn[0].epochs.start), (1, 0));
            assert_eq!(learn[0].epochs.end + 20, judge.epochs.start);
            assert_eq!(judge.epochs.end, judge.night.epochs);
        }
        for Cut { learn, judge } in cut(&people(3), &config, Split::Later, 0).0.values() {
            let names: Vec<&str> = learn.iter().map(|part| part.night.name.as_str()).collect();
            assert_eq!(
                (names.as_slice(), judge.night.name.as_str()),
                (["night", "night-2"].as_slice(), "night-3")
            );
            assert!(learn.iter().chain([judge]).all(|part| part.epochs == (0..part.night.epochs)));
        }
    }

    #[test]
    fn even_the_leak_shows_no_label_twice() {
        for nights in [1, 2] {
            let people = people(nights);
            for (person, cut) in cut(&people, &PersonalConfig::default(), Split::RandomEpochs, 5).0 {
                let night = people.nights_of(&person).last().unwrap();
                let learn = &cut.learn.last().unwrap().night.stages;
                assert_eq!((cut.learn.len(), learn.len()), (nights, night.epochs));
                for ((whole, learn), judge) in night.stages.iter().zip(learn).zip(&cut.judge.night.stages) {
                    assert_eq!(whole.is_some(), learn.is_some() != judge.is_some());
                    assert!(!(learn.is_some() && judge.is_some()));
                }
            }
        }
    }

    #[test]
    fn who_cannot_be_judged_is_left_out_by_name() {
        let config = PersonalConfig { gap: 100_000, ..PersonalConfig::default() };
        let (cuts, excluded) = cut(&people(1), &config, Split::Later, 0);
        assert!(cuts.is_empty());
        assert_eq!(excluded[0].id, "synthetic-0000");
        assert_eq!(excluded[0].reason, "no scored epoch to be judged on");
    }
}
