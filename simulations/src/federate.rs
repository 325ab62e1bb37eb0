//! The federations of a scenario, one for each seed and fold, and how their releases do on held-out people.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use somnus_model::{ModelError, Posterior, Stager};
use somnus_protocol::checkpoint::{Checkpoint, CheckpointError, floats};
use somnus_protocol::coordinator::Event;
use somnus_protocol::fault::ConfigError;
use somnus_protocol::ids::{ClientId, Digest, Round};
use somnus_protocol::participant;
use somnus_protocol::record::{Outcome as RoundOutcome, Record, RoundRecord};
use somnus_protocol::time::Instant;
use somnus_report::{
    ClientResult, Confusion, ConfusionError, Metrics, NightOptions, NightResult, RoundResult, RowError,
    Staging,
};
use somnus_signals::split::Fold;
use somnus_signals::{Night, PersonId, StreamKind, Task};

use crate::baselines::{BaselineError, Scores, score};
use crate::cohort::People;
use crate::course::{Course, Release, Releases};
use crate::federation::{Observer, Outcome};
use crate::levelled::HeldOut;
use crate::progress::Progress;
use crate::recipe::{Recipe, RecipeError, client_id, recipe};
use crate::scenario::Scenario;
use crate::start::Start;
use crate::transport::{Transport, TransportError};

/// The name of the row that everything is compared with.
pub(crate) const FEDERATED: &str = "federated";

/// The name of the row whose nights are at one level of wake.
pub(crate) const LEVELLED: &str = "federated, nights levelled";

/// The group of clients that no training sees.
pub(crate) const HELD_OUT: &str = "held-out";

/// How a study is run; none of it changes a number.
#[derive(Clone, Copy, Debug)]
pub struct Means {
    /// How messages travel.
    pub transport: Transport,
    /// Threads that train.
    pub jobs: usize,
}

/// A release, for comparing runs bit by bit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReleaseId {
    /// The federation's seed.
    pub seed: u64,
    /// Its fold, from 0.
    pub fold: usize,
    /// SHA-256 of the last release's weights.
    pub sha256: String,
}

/// Why a study came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The federation cannot be set up.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The federation cannot end.
    #[error("fold {fold}, seed {seed}: {source}")]
    Federation {
        /// The fold, from 0.
        fold: usize,
        /// The seed.
        seed: u64,
        /// Why.
        source: TransportError,
    },
    /// A row of the table.
    #[error("row `{row}`: {source}")]
    Baseline {
        /// Its name.
        row: &'static str,
        /// Why.
        source: BaselineError,
    },
    /// The release cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The foundation cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Scores that do not fit together.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Counts that do not fit together.
    #[error(transparent)]
    Count(#[from] ConfusionError),
    /// A variant that cannot be run.
    #[error(transparent)]
    Variants(ConfigError),
}

/// What the federations came to.
pub(crate) struct Federated {
    /// For each seed, the held-out people's counts.
    pub(crate) scores: Vec<Scores>,
    /// The same of nights at one level of wake, if the scenario asks for it.
    pub(crate) levelled: Vec<Scores>,
    /// For each seed, how its releases came along; empty unless the scenario is timed.
    pub(crate) courses: Vec<Course>,
    pub(crate) clients: Vec<ClientResult>,
    pub(crate) rounds: Vec<RoundResult>,
    pub(crate) releases: Vec<ReleaseId>,
    /// The most that one of the federations spent of its privacy budget; none without a guarantee.
    pub(crate) epsilon: Option<f64>,
    /// The network of the last federation's last release.
    pub(crate) stager: Option<Stager>,
}

/// Every fold and seed, with all training people or `number` of them.
pub(crate) fn federate(
    scenario: &Scenario,
    origin: &Start,
    people: &People,
    number: Option<usize>,
    means: Means,
    progress: &Progress,
) -> Result<Federated, StudyError> {
    let mut all = Federated {
        scores: Vec::new(),
        levelled: Vec::new(),
        courses: Vec::new(),
        clients: Vec::new(),
        rounds: Vec::new(),
        releases: Vec::new(),
        epsilon: None,
        stager: None,
    };
    for (at, seed) in scenario.seeds.iter().copied().enumerate() {
        let mut scores = Scores::new();
        let mut held_out = scenario.baselines.levelled.then(HeldOut::default);
        let mut histories = Vec::new();
        let mut courses: Vec<Vec<Release>> = Vec::new();
        for (index, fold) in people.folds.iter().enumerate() {
            let chosen = number.map(|number| fewer(fold, number, seed ^ ((index as u64) << 32)));
            let fold = chosen.as_ref().unwrap_or(fold);
            let recipe = recipe(scenario, origin, people, fold, seed)?;
            let some = number.map_or(String::new(), |number| format!("{number} people, "));
            let place = format!("{some}fold {}/{}, seed {seed}", index + 1, people.folds.len());
            let mut releases = scenario.timed.then(Releases::default);
            let (outcome, id) =
                run_watched(&recipe, scenario, index, place, means, progress, releases.as_mut())?;
            all.releases.push(id);
            let spent = outcome.rounds.iter().filter_map(|record| record.epsilon).reduce(f64::max);
            all.epsilon = all.epsilon.into_iter().chain(spent).reduce(f64::max);
            let stager = released(&recipe, &outcome, scenario)?;
            let course = releases.map(|releases| releases.score(&recipe, scenario, people, &fold.test));
            courses.extend(course.transpose()?);
            let scored = score(people, &fold.test, scenario.task, |night| {
                let posterior = stager.predict(night)?;
                let stages = posterior.argmax();
                if let Some(held_out) = &mut held_out {
                    held_out.add(index, night, posterior);
                }
                Ok(stages)
            });
            scores.extend(scored.map_err(|source| StudyError::Baseline { row: FEDERATED, source })?);
            if at == 0 {
                for person in &fold.test {
                    let nights: Vec<&Night> = people.nights_of(person).map(|night| &**night).collect();
                    all.clients.push(client_result(client_id(person).as_str(), HELD_OUT, &nights, &stager)?);
                }
                // Nothing else of a federation outlives it: trainers hold whole nights.
                histories.push((fold.test.clone(), outcome));
            }
            all.stager = Some(stager);
        }
        if at == 0 {
            all.rounds = merged_rounds(&histories)?;
        }
        all.scores.push(scores);
        if scenario.timed {
            all.courses.push(Course::of(&courses)?);
        }
        if let Some(held_out) = held_out {
            let levelled = held_out.score(people, scenario.task);
            all.levelled.push(levelled.map_err(|source| StudyError::Baseline { row: LEVELLED, source })?);
        }
    }
    all.clients.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// One federation to its end; `place` says which it is.
pub(crate) fn run_one(
    recipe: &Recipe,
    scenario: &Scenario,
    fold: usize,
    place: String,
    means: Means,
    progress: &Progress,
) -> Result<(Outcome, ReleaseId), StudyError> {
    run_watched(recipe, scenario, fold, place, means, progress, None)
}

/// The same, with its releases as they are made.
#[allow(clippy::too_many_arguments, reason = "where one federation of many is, and how it is run")]
fn run_watched(
    recipe: &Recipe,
    scenario: &Scenario,
    fold: usize,
    place: String,
    means: Means,
    progress: &Progress,
    releases: Option<&mut Releases>,
) -> Result<(Outcome, ReleaseId), StudyError> {
    let seed = recipe.seed;
    let steps = u64::from(recipe.rules.plan.steps_over(1));
    let mut watch = Watch { progress, steps, rounds: recipe.rules.rounds, place, releases };
    let outcome = means
        .transport
        .run(&recipe.federation, &scenario.world, means.jobs, &mut watch)
        .map_err(|source| StudyError::Federation { fold, seed, source })?;
    let sha256 = Digest::of(&outcome.weights).to_hex();
    Ok((outcome, ReleaseId { seed, fold, sha256 }))
}

/// The network of a federation's last release.
pub(crate) fn released(
    recipe: &Recipe,
    outcome: &Outcome,
    scenario: &Scenario,
) -> Result<Stager, StudyError> {
    network(recipe, &outcome.weights, scenario)
}

/// The network of a release.
pub(crate) fn network(recipe: &Recipe, weights: &[u8], scenario: &Scenario) -> Result<Stager, StudyError> {
    let foundation = Checkpoint::from_bytes(&recipe.federation.start.foundation)?;
    let mut stager = Stager::from_checkpoint(&foundation, scenario.device)?;
    stager.set_trainable(recipe.rules.plan.trainable, &floats(weights))?;
    Ok(stager)
}

/// One person's nights, staged.
pub(crate) fn client_result(
    id: &str,
    group: &str,
    nights: &[&Night],
    stager: &Stager,
) -> Result<ClientResult, StudyError> {
    client_result_by(id, group, nights, stager.task(), &|night| stager.predict(night))
}

/// One person's nights as `stage` has them.
pub(crate) fn client_result_by(
    id: &str,
    group: &str,
    nights: &[&Night],
    task: Task,
    stage: &dyn Fn(&Night) -> Result<Posterior, ModelError>,
) -> Result<ClientResult, StudyError> {
    let staging = staging(task);
    let mut results = Vec::new();
    for night in nights {
        let truth = night.classes(task).into_iter().map(|class| class.map(|c| c as u8)).collect();
        let posterior = stage(night)?;
        let predicted = posterior.argmax().into_iter().map(|c| Some(c as u8)).collect();
        let coverage = night.quality.coverage.iter().map(|(stream, share)| (stream, f64::from(*share)));
        let mut result = NightResult::new(&night.name, truth, predicted, &staging, NightOptions::default())
            .with_confidence(posterior.confidence())
            .with_coverage(coverage);
        result.notes = quality_notes(night);
        results.push(result);
    }
    Ok(ClientResult::from_nights(id, group, results, &staging)?)
}

fn quality_notes(night: &Night) -> Vec<String> {
    let mut notes = Vec::new();
    for (stream, coverage) in &night.quality.coverage {
        if *coverage < 0.99 {
            notes.push(format!("{stream} in {:.0} % of the epochs", coverage * 100.0));
        }
    }
    for stream in [StreamKind::Hr, StreamKind::Activity, StreamKind::Posture] {
        if !night.features.contains_key(&stream) {
            notes.push(format!("no {stream}"));
        }
    }
    notes
}

/// The people whom a federation never saw, and what became of it.
type History = (Vec<PersonId>, Outcome);

/// The rounds of the first seed, all folds together: every held-out person is scored by the federation that never
/// saw that person.
fn merged_rounds(histories: &[History]) -> Result<Vec<RoundResult>, ConfusionError> {
    let mut by_round: BTreeMap<Round, Vec<(&History, &RoundRecord)>> = BTreeMap::new();
    for history in histories {
        // What comes after the last release only counts, whether it came to anything or not: it has no row.
        let rounds = &history.1.rounds;
        let released = |record: &RoundRecord| matches!(record.outcome, RoundOutcome::Released(_));
        let end = rounds.iter().rposition(released).map_or(rounds.len(), |last| last + 1);
        for record in &rounds[..end] {
            by_round.entry(record.round).or_default().push((history, record));
        }
    }
    let merge = |(round, records): (Round, Vec<(&History, &RoundRecord)>)| {
        let mut result = RoundResult { round: round.0, ..RoundResult::default() };
        let (mut loss, mut held_out): (f64, Option<Confusion>) = (0.0, None);
        let mut aborted = 0;
        for ((people, outcome), record) in &records {
            result.cohort += record.cohort.len() as u32;
            result.reported += record.counted.len() as u32;
            result.examples += record.examples;
            loss += f64::from(record.loss) * record.examples as f64;
            result.seconds += record.millis as f64 / 1e3 / records.len() as f64;
            result.bytes_up += record.bytes_up;
            result.bytes_down += record.bytes_down;
            result.epsilon = result.epsilon.into_iter().chain(record.epsilon).reduce(f64::max);
            match &record.outcome {
                RoundOutcome::Released(version) => result.version = result.version.max(version.0),
                RoundOutcome::Evaluated(_) => {}
                RoundOutcome::Aborted(why) => {
                    aborted += 1;
                    result.aborted = Some(format!("{aborted} of {} folds: {why}", records.len()));
                }
            }
            let RoundOutcome::Released(version) = record.outcome else { continue };
            for person in people {
                let scored =
                    outcome.evaluations.get(&client_id(person)).and_then(|scored| scored.get(&version));
                let Some(evaluation) = scored else { continue };
                let classes = usize::from(evaluation.classes);
                let counts = evaluation.confusion.chunks_exact(classes);
                let rows: Vec<Vec<u64>> =
                    counts.map(|r| r.iter().copied().map(u64::from).collect()).collect();
                let confusion = Confusion::try_from(rows)?;
                match &mut held_out {
                    Some(sum) => sum.merge(&confusion)?,
                    None => held_out = Some(confusion),
                }
            }
        }
        result.mean_loss = (result.examples > 0).then(|| loss / result.examples as f64);
        result.evaluation = held_out.as_ref().map(Metrics::of);
        Ok(result)
    };
    by_round.into_iter().map(merge).collect()
}

/// The fold with `number` of its training people, others for every seed.
fn fewer(fold: &Fold, number: usize, seed: u64) -> Fold {
    let mut train = fold.train.clone();
    train.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    train.truncate(number);
    train.sort();
    Fold { train, test: fold.test.clone() }
}

/// What class codes mean in reports.
#[must_use]
pub fn staging(task: Task) -> Staging {
    Staging::new(task.class_names(), task != Task::SleepWake)
}

/// Tells the progress bar.
pub(crate) struct Watch<'a> {
    pub(crate) progress: &'a Progress,
    pub(crate) steps: u64,
    pub(crate) rounds: u64,
    pub(crate) place: String,
    /// What is released, if it is to be scored.
    pub(crate) releases: Option<&'a mut Releases>,
}

impl Observer for Watch<'_> {
    fn record(&mut self, record: &Record) {
        if let (Some(releases), Record::Release(release)) = (&mut self.releases, record) {
            releases.written(release);
        }
    }

    fn server(&mut self, now: Instant, event: &Event) {
        if let Event::Released(version, _) = event {
            self.releases.iter_mut().for_each(|releases| releases.made(now));
            self.progress.tell(format!("{}: release {version} of {}", self.place, self.rounds));
        }
    }

    fn client(&mut self, _: Instant, _: &ClientId, event: &participant::Event) {
        if let participant::Event::Trained { .. } = event {
            self.progress.steps(self.steps);
        }
    }
}
