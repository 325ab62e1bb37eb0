//! A scenario from beginning to end: every fold, every seed, every row of the table, one summary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use serde::Serialize;
use somnus_model::{ModelError, Stager};
use somnus_protocol::checkpoint::{Checkpoint, CheckpointError, floats};
use somnus_protocol::coordinator::Event;
use somnus_protocol::ids::{ClientId, Digest, Round};
use somnus_protocol::participant;
use somnus_protocol::record::{Outcome as RoundOutcome, RoundRecord};
use somnus_protocol::time::Instant;
use somnus_report::{
    ClientResult, Comparison, Confusion, ConfusionError, Excluded, Metrics, NightOptions, NightResult,
    RoundResult, Row, RowError, Staging, Summary,
};
use somnus_signals::{Night, PersonId, StreamKind, Task};

use crate::baselines::{Baseline, BaselineError, Bench, Scores, score};
use crate::cohort::People;
use crate::executor::Executor;
use crate::federation::{Observer, Outcome};
use crate::progress::Progress;
use crate::recipe::{Recipe, RecipeError, client_id, recipe};
use crate::rss;
use crate::scenario::Scenario;
use crate::transport::{Transport, TransportError};

/// Seed of the bootstrap: intervals of equal results are equal.
const BOOTSTRAP: u64 = 0;

/// The name of the row that everything is compared with.
const FEDERATED: &str = "federated";

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

/// What a study found.
pub struct Findings {
    /// For `summary.json` and the reports.
    pub summary: Summary,
    /// The last release of each federation.
    pub releases: Vec<ReleaseId>,
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
}

/// Runs a scenario on its people. `start` is when the work began, loading included.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: Scenario,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Findings, StudyError> {
    let (scenario, people) = (Arc::new(scenario), Arc::new(people));
    let progress = progress(steps(&scenario, &people));
    let mut rows = baseline_rows(&scenario, &people, means.jobs, &progress)?;
    let federated = federate(&scenario, &people, means, &progress)?;
    rows.push(Row::from_seeds(FEDERATED, &federated.scores, BOOTSTRAP)?);
    progress.finish();

    let mut summary = Summary::new(&scenario.name, scenario.task.name(), staging(scenario.task));
    summary.seeds = scenario.seeds.clone();
    summary.config = serde_json::json!({
        "scenario": *scenario,
        "transport": means.transport.name(),
        "releases": federated.releases,
    });
    let last = rows.last().expect("the federated row was pushed");
    summary.comparisons = rows[..rows.len() - 1]
        .iter()
        .filter(|row| !row.name.starts_with("own night"))
        .map(|row| Comparison::between(last, row, BOOTSTRAP))
        .collect::<Result<_, _>>()?;
    summary.rows = rows;
    summary.clients = federated.clients;
    summary.rounds = federated.rounds;
    summary.excluded =
        people.excluded.iter().map(|e| Excluded { id: e.id.clone(), reason: e.reason.clone() }).collect();
    summary.notes = notes(&scenario, &people);
    summary.analyse_discrepancies();
    summary.seconds = start.elapsed().as_secs_f64();
    summary.peak_rss_mib = rss::peak_mib();
    Ok(Findings { summary, releases: federated.releases })
}

/// Training steps of the whole study.
fn steps(scenario: &Scenario, people: &People) -> u64 {
    let rows = Baseline::asked_for(scenario);
    let federation = &scenario.federation;
    let of_fold = |fold: &somnus_signals::split::Fold, first: bool| {
        let nights = people.nights_of_all(&fold.train).len();
        let cohort = scenario.federation_of(fold.train.len()).cohort as u64;
        let federated = federation.rounds
            * u64::from(federation.plan.steps_over(1))
            * cohort.min(fold.train.len() as u64);
        let shown = rows.iter().filter(|row| first || !first_seed_only(**row));
        federated + shown.map(|row| row.steps(scenario, nights, fold.test.len())).sum::<u64>()
    };
    (0..scenario.seeds.len())
        .map(|seed| people.folds.iter().map(|fold| of_fold(fold, seed == 0)).sum::<u64>())
        .sum()
}

/// Negative controls need no spread.
fn first_seed_only(row: Baseline) -> bool {
    matches!(row, Baseline::Shuffled | Baseline::OwnLater | Baseline::OwnLeak)
}

/// The rows that need no federation, all folds and seeds side by side on the pool.
fn baseline_rows(
    scenario: &Arc<Scenario>,
    people: &Arc<People>,
    jobs: usize,
    progress: &Progress,
) -> Result<Vec<Row>, StudyError> {
    progress.tell("baselines".into());
    let mut pool = Executor::new(jobs);
    let mut handed_in = Vec::new();
    for baseline in Baseline::asked_for(scenario) {
        for (number, seed) in scenario.seeds.iter().enumerate() {
            if number > 0 && first_seed_only(baseline) {
                continue;
            }
            for fold in &people.folds {
                let bench = Bench {
                    scenario: Arc::clone(scenario),
                    people: Arc::clone(people),
                    fold: fold.clone(),
                    seed: *seed,
                    progress: progress.clone(),
                };
                let due = Instant::at(Duration::from_secs(handed_in.len() as u64));
                handed_in.push((baseline, number, pool.submit(due, move || baseline.run(&bench))));
            }
        }
    }
    let mut results: BTreeMap<Baseline, Vec<Scores>> = BTreeMap::new();
    for (baseline, number, ticket) in handed_in {
        let wrong = |source| StudyError::Baseline { row: baseline.name(), source };
        let scores = pool.take(ticket).map_err(wrong)?;
        let seeds = results.entry(baseline).or_default();
        seeds.resize(seeds.len().max(number + 1), Scores::new());
        seeds[number].extend(scores);
    }
    let donors = scenario.baselines.donors;
    let row = |baseline: Baseline| -> Result<Row, StudyError> {
        let mut row = Row::from_seeds(baseline.name(), &results[&baseline], BOOTSTRAP)?;
        if baseline == Baseline::Local {
            // Every donor scored every epoch.
            let used = people.folds.iter().map(|fold| fold.train.len()).min().unwrap_or(donors).min(donors);
            row.pooled.n /= used.max(1) as u64;
        }
        Ok(match baseline.note(donors) {
            Some(note) => row.with_note(&note),
            None => row,
        })
    };
    Baseline::asked_for(scenario).into_iter().map(row).collect()
}

/// What the federations came to.
struct Federated {
    /// For each seed, the held-out people's counts.
    scores: Vec<Scores>,
    clients: Vec<ClientResult>,
    rounds: Vec<RoundResult>,
    releases: Vec<ReleaseId>,
}

fn federate(
    scenario: &Scenario,
    people: &People,
    means: Means,
    progress: &Progress,
) -> Result<Federated, StudyError> {
    let mut all =
        Federated { scores: Vec::new(), clients: Vec::new(), rounds: Vec::new(), releases: Vec::new() };
    for (number, seed) in scenario.seeds.iter().copied().enumerate() {
        let mut scores = Scores::new();
        let mut histories = Vec::new();
        for (index, fold) in people.folds.iter().enumerate() {
            let recipe = recipe(scenario, people, fold, seed)?;
            let place = format!("fold {}/{}, seed {seed}", index + 1, people.folds.len());
            let mut watch = Watch {
                progress,
                steps: u64::from(recipe.rules.plan.steps_over(1)),
                rounds: recipe.rules.rounds,
                place,
            };
            let outcome = means
                .transport
                .run(&recipe.federation, &scenario.world, means.jobs, &mut watch)
                .map_err(|source| StudyError::Federation { fold: index, seed, source })?;
            let sha256 = Digest::of(&outcome.weights).to_hex();
            all.releases.push(ReleaseId { seed, fold: index, sha256 });
            let stager = released(&recipe, &outcome, scenario)?;
            let scored =
                score(people, &fold.test, scenario.task, |night| Ok(stager.predict(night)?.argmax()));
            scores.extend(scored.map_err(|source| StudyError::Baseline { row: FEDERATED, source })?);
            if number == 0 {
                for person in &fold.test {
                    let nights: Vec<&Night> = people.nights_of(person).map(|night| &**night).collect();
                    all.clients.push(client_result(client_id(person).as_str(), &nights, &stager)?);
                }
                // Nothing else of a federation outlives it: trainers hold whole nights.
                histories.push((fold.test.clone(), outcome.rounds));
            }
        }
        if number == 0 {
            all.rounds = merged_rounds(&histories)?;
        }
        all.scores.push(scores);
    }
    all.clients.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// The network of a federation's last release.
fn released(recipe: &Recipe, outcome: &Outcome, scenario: &Scenario) -> Result<Stager, StudyError> {
    let foundation = Checkpoint::from_bytes(&recipe.federation.start.foundation)?;
    let mut stager = Stager::from_checkpoint(&foundation, scenario.device)?;
    stager.set_trainable(recipe.rules.plan.trainable, &floats(&outcome.weights))?;
    Ok(stager)
}

fn client_result(id: &str, nights: &[&Night], stager: &Stager) -> Result<ClientResult, StudyError> {
    let task = stager.task();
    let staging = staging(task);
    let mut results = Vec::new();
    for night in nights {
        let truth = night.classes(task).into_iter().map(|class| class.map(|c| c as u8)).collect();
        let predicted = stager.predict(night)?.argmax().into_iter().map(|c| Some(c as u8)).collect();
        let mut result = NightResult::new(&night.name, truth, predicted, &staging, NightOptions::default());
        result.notes = quality_notes(night);
        results.push(result);
    }
    Ok(ClientResult::from_nights(id, "held-out", results, &staging)?)
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

/// The rounds of the first seed, all folds together: every held-out person is scored by the federation that never
/// saw that person.
fn merged_rounds(
    histories: &[(Vec<PersonId>, Vec<RoundRecord>)],
) -> Result<Vec<RoundResult>, ConfusionError> {
    let mut by_round: BTreeMap<Round, Vec<(&[PersonId], &RoundRecord)>> = BTreeMap::new();
    for (held_out, rounds) in histories {
        for record in rounds {
            by_round.entry(record.round).or_default().push((held_out, record));
        }
    }
    let merge = |(round, records): (Round, Vec<(&[PersonId], &RoundRecord)>)| {
        let mut result = RoundResult { round: round.0, ..RoundResult::default() };
        let (mut loss, mut held_out): (f64, Option<Confusion>) = (0.0, None);
        let mut aborted = 0;
        for (people, record) in &records {
            result.cohort += record.cohort.len() as u32;
            result.reported += record.counted.len() as u32;
            result.examples += record.examples;
            loss += f64::from(record.loss) * record.examples as f64;
            result.seconds += record.millis as f64 / 1e3 / records.len() as f64;
            result.bytes_up += record.bytes_up;
            result.bytes_down += record.bytes_down;
            match &record.outcome {
                RoundOutcome::Released(version) => result.version = result.version.max(version.0),
                RoundOutcome::Aborted(why) => {
                    aborted += 1;
                    result.aborted = Some(format!("{aborted} of {} folds: {why}", records.len()));
                }
            }
            for person in *people {
                let Some(evaluation) = record.evaluations.get(&client_id(person)) else { continue };
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

fn notes(scenario: &Scenario, people: &People) -> Vec<String> {
    let mut notes = vec![format!(
        "Every person is scored by the federation of the fold in which nobody trained on that person ({} folds). \
         Clients and rounds are those of seed {}; a round sums up the same round of all folds.",
        people.folds.len(),
        scenario.seeds[0]
    )];
    notes.push(format!(
        "Central and local-only training make {} passes over each of their nights with one cycle of the rate, and end with \
         the mean of the last {:.0} % of their steps, as the federation ends with the mean of its last releases.{}",
        scenario.passes(),
        100.0 * scenario.federation.average_late,
        if scenario.everyone { "" } else { " The federation makes fewer: not everybody takes part in every round." }
    ));
    notes.extend(scenario.notes.iter().cloned());
    if let crate::scenario::DataConfig::Synthetic(_) = scenario.data {
        notes.push("These people are synthetic: nothing here says anything about real sleep.".into());
    }
    notes
}

/// What class codes mean in reports.
#[must_use]
pub fn staging(task: Task) -> Staging {
    Staging::new(task.class_names(), task != Task::SleepWake)
}

/// Tells the progress bar.
struct Watch<'a> {
    progress: &'a Progress,
    steps: u64,
    rounds: u64,
    place: String,
}

impl Observer for Watch<'_> {
    fn server(&mut self, _: Instant, event: &Event) {
        if let Event::Released(version, _) = event {
            self.progress.tell(format!("{}: release {version} of {}", self.place, self.rounds));
        }
    }

    fn client(&mut self, _: Instant, _: &ClientId, event: &participant::Event) {
        if let participant::Event::Trained { .. } = event {
            self.progress.steps(self.steps);
        }
    }
}
