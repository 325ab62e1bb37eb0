//! The study of poisoning: what lying clients cost the people who are held out, under each rule that bears liars.
//!
//! One row for each rule without liars, then one for each attack and strength. Everything else is the same: people, folds,
//! seeds, plan. Of a backdoor it is also told how often its pattern works.

mod backdoor;
mod config;
mod table;

use std::time::Instant as Clock;

use serde::Serialize;
use somnus_report::{Comparison, Row, Spread, Summary};

use backdoor::Opened;
pub use config::{Defence, PoisoningConfig};
use config::{attacked, defended};

use crate::attack::{Attack, crew};
use crate::baselines::{Scores, score};
use crate::cohort::People;
use crate::federate::{FEDERATED, Means, ReleaseId, StudyError, released, run_one};
use crate::progress::Progress;
use crate::recipe::{client_id, recipe};
use crate::scenario::Scenario;
use crate::start::Start;
use crate::study::BOOTSTRAP;
use crate::summary;

/// One rule against one attack at one strength.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Cell {
    /// The rule, with its groups.
    pub rule: String,
    /// The attack; none without liars.
    pub attack: Option<&'static str>,
    /// The part of the training people that lies.
    pub fraction: f64,
    /// Pooled kappa of held-out people over seeds.
    pub kappa: Spread,
    /// Each held-out person's kappa.
    pub people: Spread,
    /// The part of held-out wake that is called REM once the backdoor's pattern is in it, over seeds; without liars, and of
    /// backdoors.
    pub success: Option<Spread>,
}

/// What the study found.
pub struct Findings {
    /// For `summary.json` and the reports.
    pub summary: Summary,
    /// The table's numbers, also in the summary's configuration as `poisoning`.
    pub cells: Vec<Cell>,
    /// The last release of each federation.
    pub releases: Vec<ReleaseId>,
}

/// Everything that all rows share.
struct Lab {
    origin: Start,
    people: People,
    means: Means,
    progress: Progress,
    /// Whether backdoors are tried, and so looked for.
    backdoors: bool,
}

/// Runs the study on its people. `start` is when the work began, loading included.
///
/// # Errors
/// [`StudyError`] naming the row, or the fold and seed.
pub fn run(
    scenario: &Scenario,
    config: &PoisoningConfig,
    origin: &Start,
    people: People,
    means: Means,
    start: Clock,
    progress: impl FnOnce(u64) -> Progress,
) -> Result<Findings, StudyError> {
    let progress = progress(steps(scenario, config, &people));
    let backdoors = config.attacks.iter().any(|attack| matches!(attack, Attack::Backdoor { .. }));
    let lab = Lab { origin: origin.clone(), people, means, progress, backdoors };
    let (mut rows, mut cells, mut releases, mut comparisons) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut undefended: Option<Row> = None;
    for defence in &config.rules {
        let with_rule = defended(scenario, defence);
        let (row, cell) = lab.cell(&with_rule, defence, &mut releases)?;
        if let Some(first) = &undefended {
            comparisons.push(Comparison::between(&row, first, BOOTSTRAP)?);
        }
        let honest = row.clone();
        undefended.get_or_insert_with(|| row.clone());
        rows.push(row);
        cells.push(cell);
        for attack in &config.attacks {
            for fraction in &config.fractions {
                let (row, cell) =
                    lab.cell(&attacked(&with_rule, *attack, *fraction), defence, &mut releases)?;
                comparisons.push(Comparison::between(&row, &honest, BOOTSTRAP)?);
                rows.push(row);
                cells.push(cell);
            }
        }
    }
    lab.progress.finish();

    let mut summary = summary::begun(scenario, &means, &lab.people);
    summary.config["releases"] = serde_json::json!(releases);
    summary.config["poisoning"] = serde_json::json!(cells);
    summary.rows = rows;
    summary.grids = table::grids(&cells);
    summary.comparisons = comparisons;
    summary.notes = vec![
        "Everybody who is judged was held out and is honest; liars are among those who train, the same ones under every rule \
         and attack of a seed and fold. Liars know their own nights only, and keep to what the server checks."
            .into(),
    ];
    summary.notes.extend(scenario.notes.iter().cloned());
    Ok(Findings { summary: summary::ended(summary, start), cells, releases })
}

impl Lab {
    /// One row of the table: a federation for every seed and fold.
    fn cell(
        &self,
        scenario: &Scenario,
        defence: &Defence,
        releases: &mut Vec<ReleaseId>,
    ) -> Result<(Row, Cell), StudyError> {
        let (rule, attack) = (defence.name(), scenario.attack.as_ref());
        let name = match attack {
            Some(config) => format!("{rule}, {} {:.0} %", config.attack.name(), 100.0 * config.fraction),
            None => format!("{rule}, honest"),
        };
        let looked_for =
            self.backdoors && attack.is_none_or(|config| matches!(config.attack, Attack::Backdoor { .. }));
        let (mut seeds, mut opened) = (Vec::new(), Vec::new());
        for seed in scenario.seeds.iter().copied() {
            let (mut scores, mut found) = (Scores::new(), Opened::default());
            for (index, fold) in self.people.folds.iter().enumerate() {
                let mut scenario = scenario.clone();
                // Who would be the last to lie never does: at most half of them are asked to.
                if let Some(honest) = crew::order(&fold.train, seed).last() {
                    scenario.federation.robust = scenario.federation.robust.trusting(client_id(honest));
                }
                let recipe = recipe(&scenario, &self.origin, &self.people, fold, seed)?;
                let place = format!("{name}, fold {}/{}, seed {seed}", index + 1, self.people.folds.len());
                let (outcome, id) = run_one(&recipe, &scenario, index, place, self.means, &self.progress)?;
                releases.push(id);
                let stager = released(&recipe, &outcome, &scenario)?;
                let scored = score(&self.people, &fold.test, scenario.task, |night| {
                    Ok(stager.predict(night)?.argmax())
                });
                scores.extend(scored.map_err(|source| StudyError::Baseline { row: FEDERATED, source })?);
                if looked_for {
                    found.look(&stager, &self.people.nights_of_all(&fold.test))?;
                }
            }
            seeds.push(scores);
            opened.push(found.rate());
        }
        let row = Row::from_seeds(&name, &seeds, BOOTSTRAP)?;
        let success = looked_for.then(|| Spread::of(opened));
        let note = success.and_then(|success| success.mean);
        let note =
            note.map(|part| format!("the backdoor's pattern makes REM of {:.0} % of wake", 100.0 * part));
        let cell = Cell {
            rule,
            attack: attack.map(|config| config.attack.name()),
            fraction: attack.map_or(0.0, |config| config.fraction),
            kappa: row.seeds.spread,
            people: row.per_subject.kappa,
            success,
        };
        Ok((
            match note {
                Some(note) => row.with_note(&note),
                None => row,
            },
            cell,
        ))
    }
}

/// Training steps of the whole study, without those that colluding liars take to know what is usual.
fn steps(scenario: &Scenario, config: &PoisoningConfig, people: &People) -> u64 {
    let federation = &scenario.federation;
    let of_fold = |training: usize| {
        let cohort = u64::from(scenario.federation_of(training).cohort).min(training as u64);
        federation.rounds * u64::from(federation.plan.steps_over(1)) * cohort
    };
    let rows = config.rules.len() * (1 + config.attacks.len() * config.fractions.len());
    let all: u64 = people.folds.iter().map(|fold| of_fold(fold.train.len())).sum();
    rows as u64 * scenario.seeds.len() as u64 * all
}
