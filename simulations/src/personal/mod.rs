//! The study of personal models: what is best for *this* person later, the own data, everybody's, or both.
//!
//! Every row judges the same epochs of the same people: the end of an only night, or the last of several. The rows differ in
//! what the model knows: the person's own earlier data, other people's, or both; `alone` are the models of who does not
//! take part, `together` those of who does. The same table under a random split of epochs shows how much of such tables
//! elsewhere is a leak.

mod alone;
mod config;
mod cut;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use somnus_model::{NightPart, Stager};
use somnus_protocol::plan::Personalisation;
use somnus_protocol::time::Instant;
use somnus_report::{ClientResult, Comparison, Confusion, NightOptions, NightResult, Row};
use somnus_signals::PersonId;

use alone::{Alone, Case};
pub use config::PersonalConfig;
use cut::{Cut, Split, count, cut};
use together::together;

use crate::baselines::{BaselineError, Scores};
use crate::cohort::People;
use crate::executor::Executor;
use crate::federate::{FEDERATED, Means, ReleaseId, StudyError, released, run_one, staging};
use crate::progress::Progress;
use crate::recipe::{client_id, recipe};
use crate::scenario::{DataConfig, Scenario};
use crate::start::Start;
use crate::study::{BOOTSTRAP, Findings};
use crate::summary;

/// The group of clients whose reports are written: people whom no training saw, judged on what comes later.
const LATER: &str = "held-out, later";

/// What a reader of the rows of the leak has to know.
const LEAK: &str = "negative control: a leak, says nothing about staging";

/// Everything that all rows share.
struct Lab {
    scenario: Arc<Scenario>,
    origin: Start,
    people: People,
    means: Means,
    progress: Progress,
}

/// Runs the study on its people. `start` is when the work began, loading included.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: Scenario,
    config: &PersonalConfig,
    origin: &Start,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Findings, StudyError> {
    let mut splits = vec![Split::Later];
    splits.extend(config.leak.then_some(Split::RandomEpochs));
    let cuts: Vec<_> = splits.iter().map(|split| cut(&people, config, *split, scenario.fold_seed)).collect();
    let progress = progress(steps(&scenario, config, origin, &people, splits.len()));
    let lab = Lab { scenario: Arc::new(scenario), origin: origin.clone(), people, means, progress };
    let (models, mut releases) = lab.releases()?;

    let (mut rows, mut clients) = (Vec::new(), Vec::new());
    for (split, (cuts, _)) in splits.iter().zip(&cuts) {
        rows.extend(lab.alone_rows(*split, cuts, &models)?);
        for method in &config.methods {
            let (row, made) = lab.together_row(*split, cuts, *method)?;
            rows.push(row);
            releases.extend(made);
        }
        if *split == Split::Later {
            clients = lab.clients(cuts, &models)?;
        }
    }
    lab.progress.finish();

    let scenario = &*lab.scenario;
    let mut summary = summary::begun(scenario, &lab.means, &lab.people);
    summary.config["releases"] = serde_json::json!(releases);
    summary.comparisons = comparisons(&rows, config.methods.contains(&Personalisation::None))?;
    summary.rows = rows;
    summary.clients = clients;
    for excluded in cuts.iter().flat_map(|(_, excluded)| summary::left_out(excluded)) {
        if !summary.excluded.contains(&excluded) {
            summary.excluded.push(excluded);
        }
    }
    summary.notes = notes(scenario, config);
    summary.analyse();
    Ok(Findings { summary: summary::ended(summary, start), releases })
}

impl Lab {
    /// The seeds of a split: a negative control needs no spread.
    fn seeds(&self, split: Split) -> &[u64] {
        match split {
            Split::Later => &self.scenario.seeds,
            Split::RandomEpochs => &self.scenario.seeds[..1],
        }
    }

    /// For each seed and person the release of the federation that never saw the person.
    fn releases(&self) -> Result<(Vec<Releases>, Vec<ReleaseId>), StudyError> {
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        for seed in self.scenario.seeds.iter().copied() {
            let mut releases = Releases::new();
            for (index, fold) in self.people.folds.iter().enumerate() {
                let recipe = recipe(&self.scenario, &self.origin, &self.people, fold, seed)?;
                let place = format!("fold {}/{}, seed {seed}", index + 1, self.people.folds.len());
                let (outcome, id) =
                    run_one(&recipe, &self.scenario, index, place, self.means, &self.progress)?;
                let stager = Arc::new(released(&recipe, &outcome, &self.scenario)?);
                releases.extend(fold.test.iter().map(|person| (person.clone(), Arc::clone(&stager))));
                ids.push(id);
            }
            all.push(releases);
        }
        Ok((all, ids))
    }

    /// The rows of who does not take part, all people and seeds side by side on the pool.
    fn alone_rows(
        &self,
        split: Split,
        cuts: &BTreeMap<PersonId, Cut>,
        models: &[Releases],
    ) -> Result<Vec<Row>, StudyError> {
        let mut rows = Vec::new();
        for alone in Alone::all(&self.origin) {
            self.progress.tell(split.row(alone.name()));
            let wrong = |source| StudyError::Baseline { row: alone.name(), source };
            let mut pool: Executor<Result<Confusion, BaselineError>> = Executor::new(self.means.jobs);
            let mut handed_in = Vec::new();
            for (number, seed) in self.seeds(split).iter().enumerate() {
                for (person, cut) in cuts {
                    let case = Case {
                        scenario: Arc::clone(&self.scenario),
                        origin: self.origin.clone(),
                        release: Arc::clone(&models[number][person]),
                        person: person.clone(),
                        cut: cut.clone(),
                        seed: *seed,
                        progress: self.progress.clone(),
                    };
                    let due = Instant::at(Duration::from_secs(handed_in.len() as u64));
                    let work = move || {
                        let staged = case.cut.stage(&alone.model(&case)?)?;
                        Ok(count(case.scenario.task, &staged)?)
                    };
                    handed_in.push((number, person, pool.submit(due, work)));
                }
            }
            let mut seeds = vec![Scores::new(); self.seeds(split).len()];
            for (number, person, ticket) in handed_in {
                seeds[number].insert(person.to_string(), pool.take(ticket).map_err(wrong)?);
            }
            rows.push(row(split, alone.name(), &seeds)?);
        }
        Ok(rows)
    }

    fn together_row(
        &self,
        split: Split,
        cuts: &BTreeMap<PersonId, Cut>,
        method: Personalisation,
    ) -> Result<(Row, Vec<ReleaseId>), StudyError> {
        let one = |seed: &u64| {
            together(&self.scenario, &self.origin, cuts, method, *seed, self.means, &self.progress)
        };
        let runs: Vec<(Scores, ReleaseId)> = self.seeds(split).iter().map(one).collect::<Result<_, _>>()?;
        let (seeds, ids): (Vec<Scores>, Vec<ReleaseId>) = runs.into_iter().unzip();
        Ok((row(split, &taking_part(method), &seeds)?, ids))
    }

    /// Everybody under the first seed's federation that never saw them, judged on what comes later.
    fn clients(
        &self,
        cuts: &BTreeMap<PersonId, Cut>,
        models: &[Releases],
    ) -> Result<Vec<ClientResult>, StudyError> {
        let staging = staging(self.scenario.task);
        let client = |(person, cut): (&PersonId, &Cut)| {
            let (truth, predicted) = cut.stage(&models[0][person])?;
            let predicted = predicted.into_iter().map(Some).collect();
            let NightPart { night, epochs } = &cut.judge;
            let options = NightOptions::default();
            let night = if *epochs == (0..night.epochs) {
                NightResult::new(&night.name, truth, predicted, &staging, options)
            } else {
                NightResult::part(&night.name, truth, predicted, epochs.clone(), &staging, options)
            };
            Ok(ClientResult::from_nights(client_id(person).as_str(), LATER, vec![night], &staging)?)
        };
        cuts.iter().map(client).collect()
    }
}

/// For each person the release of a federation that never saw the person.
type Releases = BTreeMap<PersonId, Arc<Stager>>;

fn taking_part(method: Personalisation) -> String {
    format!("taking part, {}", config::name(method))
}

fn row(split: Split, name: &str, seeds: &[Scores]) -> Result<Row, StudyError> {
    let row = Row::from_seeds(&split.row(name), seeds, BOOTSTRAP)?;
    Ok(if split == Split::RandomEpochs { row.with_note(LEAK) } else { row })
}

/// What each way of knowing the person is worth: beside the own data only, beside the release that never saw the person, and
/// of those who take part beside taking part without anything personal.
fn comparisons(rows: &[Row], has_plain: bool) -> Result<Vec<Comparison>, StudyError> {
    let find = |name: &str| rows.iter().find(|row| row.name == name);
    let plain = taking_part(Personalisation::None);
    let mut wanted = vec![Alone::Base.name(), FEDERATED];
    wanted.extend(has_plain.then_some(plain.as_str()));
    let mut comparisons = Vec::new();
    for (number, row) in rows.iter().filter(|row| row.note.is_none()).enumerate() {
        for baseline in wanted.iter().filter_map(|name| find(name)) {
            let later = rows.iter().position(|other| other.name == baseline.name) < Some(number);
            if later && (baseline.name != plain || row.name.starts_with("taking part")) {
                comparisons.push(Comparison::between(row, baseline, BOOTSTRAP)?);
            }
        }
    }
    Ok(comparisons)
}

/// Training steps of the whole study.
fn steps(
    scenario: &Scenario,
    config: &PersonalConfig,
    origin: &Start,
    people: &People,
    splits: usize,
) -> u64 {
    let federation = &scenario.federation;
    let of = |training: usize| {
        let cohort = u64::from(scenario.federation_of(training).cohort).min(training as u64);
        federation.rounds * u64::from(federation.plan.steps_over(1)) * cohort
    };
    let seeds = scenario.seeds.len() as u64;
    // The leak is of the first seed only.
    let times = seeds + splits as u64 - 1;
    let everyone = people.people();
    let releases: u64 = people.folds.iter().map(|fold| of(fold.train.len())).sum();
    let nights = (people.nights().len() / everyone.len().max(1)).saturating_sub(1).max(1);
    let alone: u64 = Alone::all(origin)
        .into_iter()
        .filter_map(|alone| alone.tuning(scenario, nights))
        .map(|tuning| u64::from(tuning.steps) * everyone.len() as u64)
        .sum();
    seeds * releases + times * (alone + config.methods.len() as u64 * of(everyone.len()))
}

fn notes(scenario: &Scenario, config: &PersonalConfig) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Every row is judged on the same later epochs of the same people: of an only night what follows its first {:.0} % and \
             {} epochs, of several nights the last. `federated` never saw the person ({} folds); who takes part does so with \
             the earlier part, like everybody else in that federation. The whole night is staged and the later part counted, \
             and heart rate is normalised over the night.",
            100.0 * config.train_part,
            config.gap,
            scenario.folds
        ),
        "`own data only` and `foundation, own head` take as many steps a night as a client of the federation does in all its rounds."
            .into(),
    ];
    if config.leak {
        notes.push(
            "Rows that end in `random epochs` are judged on epochs whose neighbours were learned from: a leak, on the first seed."
                .into(),
        );
    }
    notes.extend(scenario.notes.iter().cloned());
    if let DataConfig::Synthetic(_) = scenario.data {
        notes.push("These people are synthetic: nothing here says anything about real sleep.".into());
    }
    notes
}
