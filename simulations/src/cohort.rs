//! Whose nights a scenario is about, and who is held out when.

use std::path::Path;
use std::sync::Arc;

use somnus_signals::split::{Fold, by_person};
use somnus_signals::{
    Cohort, DataError, Excluded, Layout, Night, NightRules, PersonId, derive, sleep_accel, slpdb, synthetic,
};

use crate::scenario::{DataConfig, Scenario};

/// The people of a study: labelled nights that passed the rules, and how they are split.
pub struct People {
    nights: Vec<Arc<Night>>,
    /// Who was left out, and why.
    pub excluded: Vec<Excluded>,
    /// Who trains and who is held out, fold by fold.
    pub folds: Vec<Fold>,
}

/// Why there is nobody to study.
#[derive(Debug, thiserror::Error)]
pub enum CohortError {
    /// The scenario reads a folder and none was given.
    #[error("scenario `{0}` reads recordings: give their folder with --data DIR")]
    NoData(String),
    /// A folder was given and the scenario makes its own people.
    #[error("scenario `{0}` makes its own people: --data does not apply")]
    NeedlessData(String),
    /// A file or folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Not enough people passed the rules.
    #[error("{usable} people with a usable night, at least {needed} are needed{}", first(excluded))]
    TooFew {
        /// People.
        usable: usize,
        /// Needed.
        needed: usize,
        /// Left out.
        excluded: Vec<Excluded>,
    },
}

fn first(excluded: &[Excluded]) -> String {
    excluded.first().map_or(String::new(), |one| {
        format!("; {} nights were left out, the first {}: {}", excluded.len(), one.id, one.reason)
    })
}

/// The nights of a folder, whatever its layout.
///
/// # Errors
/// [`DataError`] naming the folder, or the file and line.
pub fn in_folder(folder: &Path, rules: &NightRules) -> Result<Cohort, DataError> {
    match Layout::detect(folder)? {
        // Night by night: raw movement of all of them would be much to hold.
        Layout::SleepAccel => sleep_accel::cohort(folder, rules),
        layout => Ok(Cohort::from_recordings(&layout.load(folder)?, rules)),
    }
}

impl People {
    /// The people of a scenario.
    ///
    /// # Errors
    /// [`CohortError`] naming the folder, the file and line, or the rule that nobody passes.
    pub fn of(scenario: &Scenario, data: Option<&Path>) -> Result<Self, CohortError> {
        // Scores need labels; nights without are listed as left out.
        let rules = NightRules { require_labels: true, ..scenario.nights.clone() };
        let cohort = match (&scenario.data, data) {
            (DataConfig::Synthetic(config), None) => synthetic::cohort(config, &rules),
            (DataConfig::Synthetic(_), Some(_)) => {
                return Err(CohortError::NeedlessData(scenario.name.clone()));
            }
            (DataConfig::SleepAccel {}, Some(folder)) => sleep_accel::cohort(folder, &rules)?,
            (DataConfig::Slpdb {}, Some(folder)) => {
                let recordings: Vec<_> = slpdb::load(folder)?.into_iter().map(derive).collect();
                Cohort::from_recordings(&recordings, &rules)
            }
            (DataConfig::Recordings {}, Some(folder)) => in_folder(folder, &rules)?,
            (DataConfig::SleepAccel {} | DataConfig::Slpdb {} | DataConfig::Recordings {}, None) => {
                return Err(CohortError::NoData(scenario.name.clone()));
            }
        };
        Self::new(cohort, scenario.folds, scenario.fold_seed)
    }

    /// A cohort, dealt into folds; with 0 folds nobody is held out.
    ///
    /// # Errors
    /// [`CohortError::TooFew`] if some fold would have nobody to train on.
    pub fn new(cohort: Cohort, folds: usize, seed: u64) -> Result<Self, CohortError> {
        let people = cohort.people();
        let Cohort { nights, excluded } = cohort;
        // Every fold then has at least one person to train on and one to hold out.
        let needed = if folds == 0 { 1 } else { 2 };
        if people.len() < needed {
            return Err(CohortError::TooFew { usable: people.len(), needed, excluded });
        }
        let folds = if folds == 0 { Vec::new() } else { by_person(&people, folds, seed) };
        Ok(Self { nights: nights.into_iter().map(Arc::new).collect(), excluded, folds })
    }

    /// Everybody, each once.
    #[must_use]
    pub fn people(&self) -> Vec<PersonId> {
        let mut people: Vec<_> = self.nights.iter().map(|night| night.person.clone()).collect();
        people.dedup();
        people
    }

    /// The nights of one person.
    pub fn nights_of<'a>(&'a self, person: &'a PersonId) -> impl Iterator<Item = &'a Arc<Night>> {
        self.nights.iter().filter(move |night| night.person == *person)
    }

    /// The nights of several.
    #[must_use]
    pub fn nights_of_all(&self, people: &[PersonId]) -> Vec<Arc<Night>> {
        people.iter().flat_map(|person| self.nights_of(person)).cloned().collect()
    }

    /// All nights.
    #[must_use]
    pub fn nights(&self) -> &[Arc<Night>] {
        &self.nights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_held_out_once_and_never_trains_for_the_own_fold() {
        let people = People::of(&Scenario::demo(), None).unwrap();
        let mut held_out: Vec<_> = people.folds.iter().flat_map(|fold| fold.test.clone()).collect();
        held_out.sort();
        let mut everyone: Vec<_> = people.nights().iter().map(|night| night.person.clone()).collect();
        everyone.dedup();
        assert_eq!(held_out, everyone);
        assert!(people.folds.iter().all(|fold| fold.test.iter().all(|p| !fold.train.contains(p))));
    }

    #[test]
    fn with_more_folds_than_people_each_is_held_out_alone() {
        let few = synthetic::SyntheticConfig { people: 5, ..Default::default() };
        let scenario = Scenario { data: DataConfig::Synthetic(few), folds: 1000, ..Scenario::demo() };
        let folds = People::of(&scenario, None).unwrap().folds;
        assert_eq!(folds.len(), 5);
        assert!(folds.iter().all(|fold| (fold.train.len(), fold.test.len()) == (4, 1)));
    }

    #[test]
    fn a_folder_is_read_in_whatever_layout_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let few = synthetic::SyntheticConfig { people: 3, ..Default::default() };
        for recording in (0..few.people).flat_map(|index| synthetic::recordings_of(&few, index)) {
            sleep_accel::write(folder.path(), &recording).unwrap();
        }
        let of = |data| {
            let scenario = Scenario { data, ..Scenario::demo() };
            People::of(&scenario, Some(folder.path())).unwrap()
        };
        let (any, named) = (of(DataConfig::Recordings {}), of(DataConfig::SleepAccel {}));
        assert_eq!((any.nights(), any.people().len()), (named.nights(), 3));
    }

    #[test]
    fn a_cohort_of_one_says_so() {
        let mut scenario = Scenario::demo();
        scenario.data = DataConfig::Synthetic(synthetic::SyntheticConfig { people: 1, ..Default::default() });
        let error = People::of(&scenario, None).map(drop).unwrap_err().to_string();
        assert_eq!(error, "1 people with a usable night, at least 2 are needed");
        scenario.nights.min_epochs = 5000;
        let error = People::of(&scenario, None).map(drop).unwrap_err().to_string();
        assert!(
            error.starts_with("0 people with a usable night, at least 2 are needed; 1 nights"),
            "{error}"
        );
    }

    #[test]
    fn data_and_scenario_have_to_agree() {
        let mut scenario = Scenario::demo();
        let error = People::of(&scenario, Some(Path::new("x"))).map(drop).unwrap_err().to_string();
        assert_eq!(error, "scenario `demo` makes its own people: --data does not apply");
        scenario.data = DataConfig::SleepAccel {};
        let error = People::of(&scenario, None).map(drop).unwrap_err().to_string();
        assert!(error.ends_with("give their folder with --data DIR"), "{error}");
        let error =
            People::of(&scenario, Some(Path::new("/no/such/folder"))).map(drop).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
    }
}
