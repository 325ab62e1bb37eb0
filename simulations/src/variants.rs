//! The same study under several settings: one row for each variant of the federation, everything else the same.
//!
//! What a guarantee of privacy costs, or an encoding, is such a study. Beside kappa it tells what a client sent in a round
//! and what the rounds spent of a privacy budget; of a timed study, how soon it comes to what the first variant ends with.

use std::sync::Arc;
use std::time::Instant as Clock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use somnus_model::ModelError;
use somnus_protocol::fault::ConfigError;
use somnus_report::{Comparison, Grid, GridLine, Row, Spread};

use crate::cohort::People;
use crate::course::Course;
use crate::federate::{Means, ReleaseId, StudyError, federate};
use crate::progress::Progress;
use crate::scenario::Scenario;
use crate::start::Start;
use crate::study::{BOOTSTRAP, Findings, baseline_rows, baseline_steps};
use crate::summary;

/// Tables of a scenario whose keys a variant changes one by one. Any other value replaces the one that was there.
const SECTIONS: [&str; 6] = [
    "federation",
    "federation.plan",
    "federation.plan.augmentation",
    "federation.privacy",
    "federation.secure",
    "federation.secure.encoding",
];

/// What a variant may change: never who trains, who is judged, or from which seeds.
const CHANGEABLE: [&str; 2] = ["federation", "adapters"];

/// One setting: a name and what differs from the scenario, written as in the scenario.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// What the row is called.
    pub name: String,
    /// Keys of the scenario, `federation` and `adapters` only, with other values.
    #[serde(flatten)]
    pub changes: Map<String, Value>,
}

/// What a variant came to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome {
    /// The variant.
    pub name: String,
    /// Pooled kappa of held-out people over seeds.
    pub kappa: Spread,
    /// Each held-out person's kappa.
    pub people: Spread,
    /// Bytes that the server received in a round for each update that it counted, over the rounds of the first seed.
    pub bytes_up: f64,
    /// The same for each weight that travels.
    pub bytes_a_weight: f64,
    /// The epsilon that all rounds together spent of each federation's budget, the largest; none without a guarantee.
    pub epsilon: Option<f64>,
    /// Rounds that released nothing, of the first seed.
    pub aborted: u64,
    /// How soon, if the scenario asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

/// When releases were made, and how good they were.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Timing {
    /// Virtual seconds to the kappa that the first variant ends with under the same seed, over the seeds that come there.
    pub seconds_to_kappa: Spread,
    /// Seconds of the first variant to its own final kappa for each second of this one, over the seeds that come there.
    pub times_as_fast: Spread,
    /// Virtual seconds to the last release, over seeds.
    pub seconds: Spread,
    /// For each seed, every release.
    pub courses: Vec<Course>,
}

/// What a variant has to come to: for each seed the first variant's last kappa, and when that was there.
struct Goal(Vec<(Option<f64>, Option<f64>)>);

impl Goal {
    fn of(kappas: &[Option<f64>], courses: &[Course]) -> Self {
        let when = |(kappa, course): (&Option<f64>, &Course)| {
            (*kappa, kappa.and_then(|kappa| course.reaches(kappa)))
        };
        Self(kappas.iter().zip(courses).map(when).collect())
    }

    fn timing(&self, courses: Vec<Course>) -> Timing {
        let both = self.0.iter().zip(&courses);
        let to_kappa: Vec<Option<f64>> = both.map(|((kappa, _), course)| course.reaches((*kappa)?)).collect();
        let faster = self.0.iter().zip(&to_kappa).map(|((_, first), own)| Some((*first)? / (*own)?));
        Timing {
            times_as_fast: Spread::of(faster),
            seconds: Spread::of(courses.iter().map(Course::seconds)),
            seconds_to_kappa: Spread::of(to_kappa),
            courses,
        }
    }
}

/// The scenario with each variant's changes.
///
/// # Errors
/// [`ConfigError::Value`] naming the variant.
pub fn all_of(scenario: &Scenario) -> Result<Vec<(String, Scenario)>, ConfigError> {
    let mut all: Vec<(String, Scenario)> = Vec::new();
    for variant in &scenario.variants {
        let refuse = |why: String| ConfigError::Value { key: format!("variants.{}", variant.name), why };
        if all.iter().any(|(name, _)| *name == variant.name) {
            return Err(refuse("there are two of this name".into()));
        }
        if let Some(key) = variant.changes.keys().find(|key| !CHANGEABLE.contains(&key.as_str())) {
            return Err(refuse(format!("`{key}`: only `federation` and `adapters` differ among variants")));
        }
        let base = Scenario { variants: Vec::new(), ..scenario.clone() };
        let mut value = serde_json::to_value(base).map_err(|error| refuse(error.to_string()))?;
        change(&mut value, Value::Object(variant.changes.clone()), "");
        let changed: Scenario = serde_json::from_value(value).map_err(|error| refuse(error.to_string()))?;
        changed.check().map_err(|error| refuse(error.to_string()))?;
        all.push((variant.name.clone(), changed));
    }
    Ok(all)
}

fn change(value: &mut Value, by: Value, path: &str) {
    match (value, by) {
        (Value::Object(old), Value::Object(new)) if path.is_empty() || SECTIONS.contains(&path) => {
            for (key, by) in new {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                change(old.entry(key).or_insert(Value::Null), by, &path);
            }
        }
        (value, by) => *value = by,
    }
}

/// Runs the study on its people. `start` is when the work began, loading included.
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
) -> Result<(Findings, Vec<Outcome>), StudyError> {
    let variants = all_of(&scenario).map_err(StudyError::Variants)?;
    let (scenario, people) = (Arc::new(scenario), Arc::new(people));
    let of_variants: u64 = variants.iter().map(|(_, variant)| federated_steps(variant, &people)).sum();
    let progress = progress(baseline_steps(&scenario, &people) + of_variants);
    let mut rows = baseline_rows(&scenario, origin, &people, means.jobs, &progress)?;
    let (mut comparisons, mut outcomes): (Vec<Comparison>, Vec<Outcome>) = (Vec::new(), Vec::new());
    let mut releases: Vec<ReleaseId> = Vec::new();
    let (mut first, mut goal): (Option<Row>, Option<Goal>) = (None, None);
    for (name, variant) in &variants {
        let federated = federate(variant, origin, &people, None, means, &progress)?;
        let row = Row::from_seeds(name, &federated.scores, BOOTSTRAP)?;
        let reports: u64 = federated.rounds.iter().map(|round| u64::from(round.reported)).sum();
        let sent: u64 = federated.rounds.iter().map(|round| round.bytes_up).sum();
        let bytes_up = sent as f64 / reports.max(1) as f64;
        let set = variant.federation.plan.trainable;
        let weights =
            federated.stager.as_ref().map_or(Ok(0), |net| Ok::<_, ModelError>(net.trainable(set)?.len()))?;
        let timing = scenario.timed.then(|| {
            let goal = goal.get_or_insert_with(|| Goal::of(&row.seeds.kappa, &federated.courses));
            goal.timing(federated.courses.clone())
        });
        outcomes.push(Outcome {
            name: name.clone(),
            kappa: row.seeds.spread,
            people: row.per_subject.kappa,
            bytes_up,
            bytes_a_weight: bytes_up / weights as f64,
            epsilon: federated.epsilon,
            aborted: federated.rounds.iter().filter(|round| round.aborted.is_some()).count() as u64,
            timing,
        });
        if let Some(first) = &first {
            comparisons.push(Comparison::between(&row, first, BOOTSTRAP)?);
        }
        first.get_or_insert_with(|| row.clone());
        rows.push(row);
        releases.extend(federated.releases);
    }
    progress.finish();

    let mut summary = summary::begun(&scenario, &means, &people);
    summary.config["releases"] = serde_json::json!(releases);
    summary.config["variants"] = serde_json::json!(outcomes);
    summary.rows = rows;
    summary.grids = vec![grid(&outcomes)];
    summary.grids.extend(scenario.timed.then(|| timings(&outcomes)));
    summary.comparisons = comparisons;
    summary.notes = vec![
        "Every row is judged on people whom its federations never saw, the same ones for all rows; only what a row's name \
         says differs."
            .into(),
    ];
    summary.notes.extend(scenario.notes.iter().cloned());
    Ok((Findings { summary: summary::ended(summary, start), releases }, outcomes))
}

/// Training steps of one variant.
fn federated_steps(scenario: &Scenario, people: &People) -> u64 {
    let federation = &scenario.federation;
    let of_fold = |training: usize| {
        let cohort = u64::from(scenario.federation_of(training).cohort).min(training as u64);
        federation.rounds * u64::from(federation.plan.steps_over(1)) * cohort
    };
    let folds: u64 = people.folds.iter().map(|fold| of_fold(fold.train.len())).sum();
    scenario.seeds.len() as u64 * folds
}

/// What each variant cost, beside its kappa.
fn grid(outcomes: &[Outcome]) -> Grid {
    let one = |value: Option<f64>| Spread::of([value]);
    let line = |outcome: &Outcome| GridLine {
        name: outcome.name.clone(),
        cells: vec![
            outcome.kappa,
            outcome.people,
            one(Some(outcome.bytes_up / 1e3)),
            one(Some(outcome.bytes_a_weight)),
            one(outcome.epsilon),
            one(Some(outcome.aborted as f64)),
        ],
    };
    let columns = [
        "kappa over seeds",
        "kappa over people",
        "kB up a client and round",
        "bytes a weight",
        "epsilon spent",
        "aborted rounds",
    ];
    Grid {
        title: "What each variant costs".into(),
        lines_are: "variant".into(),
        columns: columns.map(str::to_owned).into(),
        lines: outcomes.iter().map(line).collect(),
    }
}

/// How soon each variant came to the first one's final kappa.
fn timings(outcomes: &[Outcome]) -> Grid {
    let line = |outcome: &Outcome| {
        let timing = outcome.timing.as_ref();
        let cell = |of: fn(&Timing) -> Spread| timing.map_or_else(|| Spread::of([]), of);
        GridLine {
            name: outcome.name.clone(),
            cells: vec![
                cell(|timing| timing.seconds_to_kappa),
                cell(|timing| timing.times_as_fast),
                cell(|timing| Spread::of([Some(timing.seconds_to_kappa.n as f64)])),
                cell(|timing| timing.seconds),
            ],
        }
    };
    let columns = [
        "virtual seconds to the first line's final kappa",
        "times as fast as the first line",
        "seeds that come there",
        "virtual seconds in all",
    ];
    Grid {
        title: "How soon each variant gets there".into(),
        lines_are: "variant".into(),
        columns: columns.map(str::to_owned).into(),
        lines: outcomes.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "name = 'x'\n[data]\nkind = 'synthetic'\n[federation]\nrounds = 3\nplan.steps = 2\n";

    fn scenario(variants: &str) -> Result<Scenario, ConfigError> {
        Scenario::from_text(&format!("{BASE}{variants}"))
    }

    #[test]
    fn variants_change_what_they_name_and_nothing_else() {
        let text = "[[variants]]\nname = 'more'\nfederation.plan.steps = 7\n\
                    [[variants]]\nname = 'sgd'\nfederation.plan.optimiser = { sgd = { momentum = 0.0 } }\n";
        let scenario = scenario(text).unwrap();
        let all = all_of(&scenario).unwrap();
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["more", "sgd"]);
        let mut expected = Scenario { variants: Vec::new(), ..scenario.clone() };
        expected.federation.plan.steps = 7;
        assert_eq!(all[0].1, expected);
        assert_eq!(all[1].1.federation.plan.steps, 2);
        assert_ne!(all[1].1.federation.plan.optimiser, scenario.federation.plan.optimiser);
    }

    #[test]
    fn variants_mistakes_name_the_variant() {
        let cases = [
            ("name = 'a'\nseeds = [4]", "`variants.a`: `seeds`: only"),
            ("name = 'a'\nfederation.plan.step = 1", "`variants.a`: unknown field `step`"),
            ("name = 'a'\nfederation.rounds = 0", "`variants.a`: "),
            ("name = 'a'\n[[variants]]\nname = 'a'", "`variants.a`: there are two"),
        ];
        for (text, expected) in cases {
            let error = scenario(&format!("[[variants]]\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
