//! A scenario from beginning to end: every fold, every seed, every row of the table, one summary.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use somnus_protocol::time::Instant;
use somnus_report::{Comparison, Row, Summary};
use somnus_signals::split::Fold;

use crate::baselines::{Baseline, Bench, Scores};
use crate::cohort::People;
use crate::executor::Executor;
use crate::federate::{FEDERATED, LEVELLED, Means, ReleaseId, StudyError, federate};
use crate::merge;
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::start::Start;
use crate::summary;

/// Seed of the bootstrap: intervals of equal results are equal.
pub(crate) const BOOTSTRAP: u64 = 0;

/// The same federation without its foundation.
const SCRATCH: &str = "federated, from scratch";

/// What a study found.
pub struct Findings {
    /// For `summary.json` and the reports.
    pub summary: Summary,
    /// The last release of each federation.
    pub releases: Vec<ReleaseId>,
}

/// Runs a scenario on its people. `start` is when the work began, loading included.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: Scenario,
    origin: &Start,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Findings, StudyError> {
    let (scenario, people) = (Arc::new(scenario), Arc::new(people));
    let progress = progress(steps(&scenario, &people));
    let mut rows = baseline_rows(&scenario, origin, &people, means.jobs, &progress)?;
    let fewer = fewer_rows(&scenario, origin, &people, means, &progress)?;
    if scenario.baselines.scratch {
        let scores = federate(&scenario, &Start::Random, &people, None, means, &progress)?.scores;
        rows.push(Row::from_seeds(SCRATCH, &scores, BOOTSTRAP)?);
    }
    let federated = federate(&scenario, origin, &people, None, means, &progress)?;
    if scenario.baselines.levelled {
        let row = Row::from_seeds(LEVELLED, &federated.levelled, BOOTSTRAP)?;
        rows.push(row.with_note("wake at the level that is usual for people of other folds, no label used"));
    }
    rows.push(Row::from_seeds(FEDERATED, &federated.scores, BOOTSTRAP)?);
    progress.finish();

    let mut summary = summary::begun(&scenario, &means, &people);
    summary.config["releases"] = serde_json::json!(federated.releases);
    let last = rows.last().expect("the federated row was pushed");
    summary.merged = merge::merged(last, scenario.task)?;
    summary.comparisons = rows[..rows.len() - 1]
        .iter()
        .filter(|row| !row.name.starts_with("own night"))
        .map(|row| Comparison::between(last, row, BOOTSTRAP))
        .collect::<Result<_, _>>()?;
    for Fewer { few, scratch } in fewer {
        if let Some(scratch) = scratch {
            summary.comparisons.push(Comparison::between(&few, &scratch, BOOTSTRAP)?);
            rows.insert(rows.len() - 1, scratch);
        }
        rows.insert(rows.len() - 1, few);
    }
    summary.rows = rows;
    summary.clients = federated.clients;
    summary.rounds = federated.rounds;
    summary.notes = notes(&scenario, &people);
    summary.analyse();
    Ok(Findings { summary: summary::ended(summary, start), releases: federated.releases })
}

/// Two points of the label-efficiency curve.
struct Fewer {
    few: Row,
    scratch: Option<Row>,
}

/// The federation with fewer people, from the foundation and, where that is asked for, from scratch.
fn fewer_rows(
    scenario: &Scenario,
    origin: &Start,
    people: &People,
    means: Means,
    progress: &Progress,
) -> Result<Vec<Fewer>, StudyError> {
    let row = |name: &str, start: &Start, number: usize| -> Result<Row, StudyError> {
        let scores = federate(scenario, start, people, Some(number), means, progress)?.scores;
        Ok(Row::from_seeds(&format!("{name}, {number} people"), &scores, BOOTSTRAP)?)
    };
    let point = |number: &usize| {
        let scratch =
            scenario.baselines.scratch.then(|| row(SCRATCH, &Start::Random, *number)).transpose()?;
        Ok(Fewer { few: row(FEDERATED, origin, *number)?, scratch })
    };
    scenario.curve.iter().map(point).collect()
}

/// Training steps of the whole study.
fn steps(scenario: &Scenario, people: &People) -> u64 {
    let federation = &scenario.federation;
    let times = if scenario.baselines.scratch { 2 } else { 1 };
    let of_people = |number: usize| {
        let cohort = scenario.federation_of(number).cohort.min(u32::try_from(number).unwrap_or(u32::MAX));
        times * federation.rounds * u64::from(federation.plan.steps_over(1)) * u64::from(cohort)
    };
    let of_fold = |fold: &Fold| {
        let all = fold.train.len();
        of_people(all) + scenario.curve.iter().map(|few| of_people(all.min(*few))).sum::<u64>()
    };
    let once: u64 = people.folds.iter().map(of_fold).sum();
    scenario.seeds.len() as u64 * once + baseline_steps(scenario, people)
}

/// Training steps of the rows that need no federation.
pub(crate) fn baseline_steps(scenario: &Scenario, people: &People) -> u64 {
    let rows = Baseline::asked_for(scenario);
    let of_fold = |fold: &Fold, first: bool| {
        let nights = people.nights_of_all(&fold.train).len();
        let shown = rows.iter().filter(|row| first || !first_seed_only(**row));
        shown.map(|row| row.steps(scenario, nights, fold.test.len())).sum::<u64>()
    };
    (0..scenario.seeds.len())
        .map(|seed| people.folds.iter().map(|fold| of_fold(fold, seed == 0)).sum::<u64>())
        .sum()
}

/// Negative controls need no spread; what does not train has none.
fn first_seed_only(row: Baseline) -> bool {
    matches!(row, Baseline::Foundation | Baseline::Shuffled | Baseline::OwnLater | Baseline::OwnLeak)
}

/// The rows that need no federation, all folds and seeds side by side on the pool.
pub(crate) fn baseline_rows(
    scenario: &Arc<Scenario>,
    origin: &Start,
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
                    start: origin.clone(),
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
