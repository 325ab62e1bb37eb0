//! What a federation is compared with, on the same training and the same held-out people.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_model::{Alike, Likeness, ModelError, Prepared, Stager};
use somnus_protocol::checkpoint::Checkpoint;
use somnus_protocol::seed::{Label, Seed};
use somnus_report::{Confusion, ConfusionError};
use somnus_signals::split::{Fold, chronological, random_epochs_leaky};
use somnus_signals::{Night, PersonId, Task};

use crate::cohort::People;
use crate::progress::Progress;
use crate::recipe::RecipeError;
use crate::scenario::Scenario;
use crate::start::{Origin, Start};
use crate::time_only::TimeOnly;

/// Counts of each held-out person.
pub type Scores = BTreeMap<String, Confusion>;

/// Why a baseline came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// The network to start from.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// Training.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Counting.
    #[error(transparent)]
    Count(#[from] ConfusionError),
}

/// One fold and seed of a study, as baselines see it.
#[derive(Clone)]
pub struct Bench {
    /// The scenario.
    pub scenario: Arc<Scenario>,
    /// What training starts from.
    pub start: Start,
    /// The cohort.
    pub people: Arc<People>,
    /// Who trains and who is held out.
    pub fold: Fold,
    /// The seed.
    pub seed: u64,
    /// Where training steps are reported.
    pub progress: Progress,
}

/// A way of making a model without a federation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Baseline {
    /// The commonest class.
    Majority,
    /// Nothing but the time.
    TimeOnly,
    /// What training starts from, as it is.
    Foundation,
    /// Somebody else's own-night model.
    Local,
    /// All training nights together.
    Central,
    /// Central, on shuffled labels.
    Shuffled,
    /// One's own night cut in time.
    OwnLater,
    /// One's own night with epochs dealt out at random.
    OwnLeak,
}

/// Passes that show that shuffled labels teach nothing.
const SHUFFLED_PASSES: u32 = 15;

/// The part of the own night that is learned from, and the epochs between it and the rest.
const OWN: (f32, usize) = (0.7, 20);

impl Baseline {
    /// The row's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::TimeOnly => "time-of-night only",
            Self::Foundation => "foundation alone",
            Self::Local => "local-only",
            Self::Central => "central",
            Self::Shuffled => "shuffled labels",
            Self::OwnLater => "own night, last part",
            Self::OwnLeak => "own night, random epochs",
        }
    }

    /// What a reader of the row has to know.
    #[must_use]
    pub fn note(self, donors: usize) -> Option<String> {
        match self {
            Self::Majority | Self::TimeOnly | Self::Central => None,
            Self::Foundation => Some("no training on any of these people".into()),
            Self::Local => Some(format!("one other person's model, counts of {donors} together")),
            Self::Shuffled => Some(format!("negative control, at most {SHUFFLED_PASSES} passes")),
            Self::OwnLater => Some("other epochs than the rows above".into()),
            Self::OwnLeak => Some("negative control: a leak, says nothing about staging".into()),
        }
    }

    /// The rows that a scenario asks for, in the table's order.
    #[must_use]
    pub fn asked_for(scenario: &Scenario) -> Vec<Self> {
        let wanted = &scenario.baselines;
        let all = [
            (wanted.majority, Self::Majority),
            (wanted.time_only, Self::TimeOnly),
            (scenario.foundation != Origin::None, Self::Foundation),
            (wanted.donors > 0, Self::Local),
            (wanted.shuffled, Self::Shuffled),
            (wanted.leak, Self::OwnLater),
            (wanted.leak, Self::OwnLeak),
            (wanted.central, Self::Central),
        ];
        all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, baseline)| baseline).collect()
    }

    /// Training steps that one fold and seed take.
    #[must_use]
    pub fn steps(self, scenario: &Scenario, nights: usize, held_out: usize) -> u64 {
        let passes = u64::from(scenario.passes());
        match self {
            Self::Majority | Self::TimeOnly | Self::Foundation => 0,
            Self::Local => passes * scenario.baselines.donors as u64,
            Self::Central => passes * nights as u64,
            Self::Shuffled => u64::from(SHUFFLED_PASSES.min(scenario.passes())) * nights as u64,
            Self::OwnLater | Self::OwnLeak => passes * held_out as u64,
        }
    }

    /// Makes the model and scores it on the held-out people.
    ///
    /// # Errors
    /// [`BaselineError`] naming the key, the tensor or the night.
    pub fn run(self, bench: &Bench) -> Result<Scores, BaselineError> {
        match self {
            Self::Majority => bench.majority(),
            Self::TimeOnly => bench.time_only(),
            Self::Foundation => bench.foundation(),
            Self::Local => bench.local(),
            Self::Central => bench.central(false),
            Self::Shuffled => bench.central(true),
            Self::OwnLater => bench.own(false),
            Self::OwnLeak => bench.own(true),
        }
    }
}

impl Bench {
    fn task(&self) -> Task {
        self.scenario.task
    }

    fn majority(&self) -> Result<Scores, BaselineError> {
        let mut counts = vec![0u64; self.task().classes()];
        for night in self.people.nights_of_all(&self.fold.train) {
            night.classes(self.task()).into_iter().flatten().for_each(|class| counts[class] += 1);
        }
        let commonest = (0..counts.len()).rev().max_by_key(|class| counts[*class]).unwrap_or(0);
        score(&self.people, &self.fold.test, self.task(), |night| Ok(vec![commonest; night.epochs]))
    }

    fn time_only(&self) -> Result<Scores, BaselineError> {
        let nights = self.people.nights_of_all(&self.fold.train);
        let model = TimeOnly::fit(&nights, self.task(), self.seed);
        score(&self.people, &self.fold.test, self.task(), |night| Ok(model.predict(&night.time)))
    }

    fn foundation(&self) -> Result<Scores, BaselineError> {
        let stager = self.initial()?;
        score(&self.people, &self.fold.test, self.task(), |night| Ok(stager.predict(night)?.argmax()))
    }

    fn local(&self) -> Result<Scores, BaselineError> {
        let mut donors = self.fold.train.clone();
        donors.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        donors.truncate(self.scenario.baselines.donors);
        let mut total = Scores::new();
        for (number, donor) in donors.iter().enumerate() {
            let mut stager = self.initial()?;
            let nights = prepared(&stager, &self.people.nights_of_all(std::slice::from_ref(donor)))?;
            self.fit(&mut stager, &nights, self.scenario.passes(), 1 + number as u64, None)?;
            let scores = score(&self.people, &self.fold.test, self.task(), |night| {
                Ok(stager.predict(night)?.argmax())
            })?;
            for (person, confusion) in scores {
                match total.get_mut(&person) {
                    Some(sum) => sum.merge(&confusion)?,
                    None => drop(total.insert(person, confusion)),
                }
            }
        }
        Ok(total)
    }

    fn central(&self, shuffled: bool) -> Result<Scores, BaselineError> {
        let mut nights = self.people.nights_of_all(&self.fold.train);
        let mut passes = self.scenario.passes();
        if shuffled {
            passes = passes.min(SHUFFLED_PASSES);
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            for night in &mut nights {
                let night = Arc::make_mut(night);
                let mut stages: Vec<_> = night.stages.iter().flatten().copied().collect();
                stages.shuffle(&mut rng);
                let places = night.stages.iter_mut().filter(|stage| stage.is_some());
                places.zip(stages).for_each(|(place, stage)| *place = Some(stage));
            }
        }
        let mut stager = self.initial()?;
        let nights = prepared(&stager, &nights)?;
        self.fit(&mut stager, &nights, passes, 0, None)?;
        score(&self.people, &self.fold.test, self.task(), |night| Ok(stager.predict(night)?.argmax()))
    }

    /// Central training's network, with people made alike or as they are.
    pub(crate) fn network(&self, likeness: Option<Likeness>) -> Result<Stager, BaselineError> {
        let mut stager = self.initial()?;
        let mut nights = Vec::new();
        let mut whose = Vec::new();
        for (number, person) in self.fold.train.iter().enumerate() {
            nights.extend(self.people.nights_of(person).cloned());
            whose.resize(nights.len(), number);
        }
        let nights = prepared(&stager, &nights)?;
        let alike = likeness.map(|likeness| Alike { likeness, people: &whose });
        self.fit(&mut stager, &nights, self.scenario.passes(), 0, alike)?;
        Ok(stager)
    }

    /// Each held-out person's own first night: learned from in part, judged on the rest.
    fn own(&self, leak: bool) -> Result<Scores, BaselineError> {
        let mut scores = Scores::new();
        for person in &self.fold.test {
            let Some(night) = self.people.nights_of(person).next() else { continue };
            let (learn, judge): (Vec<usize>, Vec<usize>) = if leak {
                random_epochs_leaky(night.epochs, OWN.0, self.seed)
            } else {
                let (learn, judge): (Range<usize>, Range<usize>) = chronological(night.epochs, OWN.0, OWN.1);
                (learn.collect(), judge.collect())
            };
            let mut stager = self.initial()?;
            let part = if leak {
                let mut masked = Night::clone(night);
                judge.iter().for_each(|epoch| masked.stages[*epoch] = None);
                stager.prepare(&masked)?
            } else {
                stager.prepare_part(night, 0..learn.len())?
            };
            if part.scored() > 0 {
                self.fit(&mut stager, &[part], self.scenario.passes(), 100, None)?;
            }
            let (truth, predicted) = (night.classes(self.task()), stager.predict(night)?.argmax());
            let pairs = judge.iter().filter_map(|e| Some((truth[*e]? as u8, predicted[*e] as u8)));
            scores.insert(person.to_string(), Confusion::from_pairs(self.task().classes(), pairs)?);
        }
        Ok(scores)
    }

    fn initial(&self) -> Result<Stager, BaselineError> {
        let file = self.start.checkpoint(&self.scenario, self.seed)?;
        let checkpoint = Checkpoint::from_bytes(&file).map_err(RecipeError::from)?;
        Ok(Stager::from_checkpoint(&checkpoint, self.scenario.device)?)
    }

    /// The same plan as a client's, with one cycle of the rate over all passes, and late weights averaged as the server
    /// averages its late releases.
    fn fit(
        &self,
        stager: &mut Stager,
        nights: &[Prepared],
        passes: u32,
        number: u64,
        alike: Option<Alike<'_>>,
    ) -> Result<(), BaselineError> {
        let seed = Seed::from_number(self.seed).derive(Label::Training, &number.to_le_bytes()).number();
        let steps = passes * nights.len() as u32;
        let plan =
            somnus_protocol::plan::TrainPlan { steps, passes: 0, ..self.scenario.federation.plan.clone() };
        let nights: Vec<&Prepared> = nights.iter().collect();
        let rate = |step| {
            self.progress.steps(1);
            somnus_model::one_cycle(step, steps, plan.learning_rate)
        };
        let late = f64::from(steps) * self.scenario.federation.average_late;
        let from = steps - late.ceil() as u32;
        match alike {
            Some(alike) => stager.train_alike(&nights, &plan, seed, &rate, from, alike)?,
            None => stager.train_averaged(&nights, &plan, seed, &rate, from)?,
        };
        Ok(())
    }
}

fn prepared(stager: &Stager, nights: &[Arc<Night>]) -> Result<Vec<Prepared>, ModelError> {
    nights.iter().map(|night| stager.prepare(night)).collect()
}

/// Counts of each person under a way of predicting a night.
///
/// # Errors
/// The prediction's own.
pub fn score(
    people: &People,
    held_out: &[PersonId],
    task: Task,
    mut predict: impl FnMut(&Night) -> Result<Vec<usize>, BaselineError>,
) -> Result<Scores, BaselineError> {
    let mut scores = Scores::new();
    for person in held_out {
        let mut sum = Confusion::new(task.classes())?;
        for night in people.nights_of(person) {
            let predicted = predict(night)?;
            let truth = night.classes(task);
            let pairs = truth.iter().zip(&predicted).filter_map(|(t, p)| Some(((*t)? as u8, *p as u8)));
            sum.merge(&Confusion::from_pairs(task.classes(), pairs)?)?;
        }
        scores.insert(person.to_string(), sum);
    }
    Ok(scores)
}
