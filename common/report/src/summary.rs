//! The schema of `summary.json`: everything a run found, one file, versioned.
//!
//! ```text
//! schema        1; a reader refuses a larger number
//! name          the scenario's name
//! task          sleep-wake | three | four | ...
//! staging       { classes[], wake, rem }: what class codes mean
//! options       { epoch_seconds, onset }: how night statistics were read
//! seeds[]       the seeds of the run, in the order of rows[].seeds.kappa
//! config        the resolved configuration, as JSON
//! rows[]        { name, pooled { accuracy, kappa, macro_f1, n }, per_subject { kappa { n, mean, sd }, ... },
//!                 interval { kappa { low, high, level }, ... }, seeds { kappa[], n, mean, sd }, note, confusion, subjects }
//! comparisons[] { row, baseline, subjects, kappa_difference, interval, wilcoxon { n, positive_ranks, p } }
//! identification[] { row, who, chance, epoch { n, mean, sd }, night { n, mean, sd } }: how well a probe tells people apart
//! leaks[]       { attack, against, people, scores[] { measure, value, interval, chance, seeds } }: what attacks on privacy get
//! grids[]       { title, lines_are, columns[], lines[] { name, cells[] { n, mean, sd } } }: tables of a study's own
//! merged        { task: metrics }: the last row's predictions with fewer classes
//! clients[]     { id, role, metrics, confusion, nights[] { id, truth[], predicted[], ..statistics { extent, .. },
//!                 confidence[], coverage { stream: share }, notes[] }, notes[] }
//! discrepancies[] { measure, unit, reference, device, bias, sd, lower, upper, ... }
//! calibration   { n, ece, bins[] { low, high, n, confidence, accuracy } }
//! fairness[]    { row, people { n, min, q1, median, q3, max }, worst_decile, best_decile }: kappa of people under each row
//! coverage[]    { stream, from, to, kappa { n, mean, sd } }: kappa of people by what was there of a stream
//! rounds[]      { round, version, cohort, reported, mean_loss, examples, evaluation, seconds, bytes_up, bytes_down, epsilon, aborted }
//! excluded[]    { id, reason }
//! notes[]       warnings that a reader of the numbers needs
//! seconds       wall-clock of the run
//! peak_rss_mib  largest resident size of the process, MiB
//! ```
//!
//! Scores are fractions (kappa .47), night statistics minutes and percent. An undefined number is `null`. Fields may be
//! added within a schema; a field that changes its meaning or goes away raises the number.

use crate::agreement::{Discrepancy, Size, discrepancies};
use crate::grid::ROWS_BESIDE;
use crate::night::{NightOptions, NightStatistics};
use crate::{
    ByCoverage, Calibration, ClientResult, Comparison, Fairness, Grid, Identification, Leak, Metrics, Row,
    Staging,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The schema this version of the crate writes.
pub const SCHEMA: u32 = 1;

/// Why a text is not a summary or report this version can read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Not JSON, or not of this shape.
    #[error("not a Somnus report: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a later version.
    #[error("schema {0} is newer than this version reads ({SCHEMA}); update the program")]
    Newer(u32),
}

/// Everything a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub name: String,
    /// The task.
    pub task: String,
    /// What class codes mean.
    pub staging: Staging,
    /// How night statistics were read.
    #[serde(default)]
    pub options: NightOptions,
    /// The seeds of the run.
    pub seeds: Vec<u64>,
    /// The resolved configuration.
    pub config: serde_json::Value,
    /// One row per way of making a model, on the same people.
    pub rows: Vec<Row>,
    /// Rows against rows.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// What a fresh probe knows of whose an epoch is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identification: Vec<Identification>,
    /// What attacks on people's privacy get, with and without defences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaks: Vec<Leak>,
    /// Tables of the study's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grids: Vec<Grid>,
    /// Pooled scores of the last row's predictions with the classes of coarser tasks, by the task's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub merged: BTreeMap<String, Metrics>,
    /// One entry per client evaluated.
    pub clients: Vec<ClientResult>,
    /// Discrepancy of each night measure over the clients.
    #[serde(default)]
    pub discrepancies: Vec<Discrepancy>,
    /// Whether the model is as often right as it says; `None` where its confidence is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// How evenly each row serves people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fairness: Vec<Fairness>,
    /// People by what was there of each stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coverage: Vec<ByCoverage>,
    /// One entry per round of the federation.
    pub rounds: Vec<RoundResult>,
    /// Who was left out, and why.
    pub excluded: Vec<Excluded>,
    /// Warnings that a reader of the numbers needs.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Wall-clock seconds of the run.
    pub seconds: f64,
    /// Largest resident size of the process in MiB.
    pub peak_rss_mib: f64,
}

/// One round of the federation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RoundResult {
    /// Its number, from 1.
    pub round: u64,
    /// The release it published; the previous one's when it aborted.
    pub version: u64,
    /// Clients selected.
    pub cohort: u32,
    /// Clients whose update entered the sum.
    pub reported: u32,
    /// Mean training loss, weighted by examples; `None` when nobody reported or the loss was not finite.
    pub mean_loss: Option<f64>,
    /// Training examples behind the sum.
    pub examples: u64,
    /// Federated evaluation of the release, when there was one.
    pub evaluation: Option<Metrics>,
    /// Wall-clock (deployed) or virtual (simulated) seconds.
    pub seconds: f64,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
    /// Bytes from the server to clients.
    pub bytes_down: u64,
    /// What all rounds so far have told of one person's presence at most, where there is a promise about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// Why it published nothing.
    pub aborted: Option<String>,
}

/// A person or night left out by rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// Its id.
    pub id: String,
    /// The rule it failed, with the number.
    pub reason: String,
}

impl Summary {
    /// Whether pages show its rows one by one.
    pub(crate) fn shows_rows(&self) -> bool {
        !self.rows.is_empty() && (self.grids.is_empty() || self.rows.len() <= ROWS_BESIDE)
    }

    /// What it is about, in a few words: the stages, or the task of a study without any.
    pub(crate) fn subject(&self) -> String {
        match self.staging.classes.as_slice() {
            [] => self.task.clone(),
            classes => format!("{} stages", classes.join("/")),
        }
    }

    /// An empty summary; fill in the rest.
    #[must_use]
    pub fn new(name: &str, task: &str, staging: Staging) -> Self {
        Self {
            schema: SCHEMA,
            name: name.to_owned(),
            task: task.to_owned(),
            staging,
            options: NightOptions::default(),
            seeds: Vec::new(),
            config: serde_json::Value::Null,
            rows: Vec::new(),
            comparisons: Vec::new(),
            identification: Vec::new(),
            leaks: Vec::new(),
            grids: Vec::new(),
            merged: BTreeMap::new(),
            clients: Vec::new(),
            discrepancies: Vec::new(),
            calibration: None,
            fairness: Vec::new(),
            coverage: Vec::new(),
            rounds: Vec::new(),
            excluded: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
            peak_rss_mib: 0.0,
        }
    }

    /// Fills what follows from rows and clients: [`Summary::discrepancies`], [`Summary::calibration`],
    /// [`Summary::fairness`] and [`Summary::coverage`].
    pub fn analyse(&mut self) {
        let people: Vec<Vec<(NightStatistics, NightStatistics)>> =
            self.clients.iter().map(ClientResult::paired_nights).collect();
        self.discrepancies = discrepancies(&people, &self.staging, Size::Reference);
        self.calibration = Calibration::of(self.clients.iter().flat_map(|client| &client.nights));
        self.fairness = self.rows.iter().filter_map(Fairness::of).collect();
        self.coverage = ByCoverage::of(&self.clients);
    }

    /// Pretty JSON with a final newline.
    ///
    /// # Errors
    /// Only if [`Summary::config`] holds something JSON cannot, which `serde_json::Value` does not.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        to_json(self)
    }

    /// Reads a `summary.json`.
    ///
    /// # Errors
    /// [`SchemaError::Newer`] for a later schema, else [`SchemaError::Json`] with line and column.
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        check_schema(text)?;
        Ok(serde_json::from_str(text)?)
    }

    /// The numbers alone, without what a rerun may change (wall-clock, memory): equal for equal seeds.
    #[must_use]
    pub fn reproducible(&self) -> Self {
        let mut numbers = self.clone();
        numbers.seconds = 0.0;
        numbers.peak_rss_mib = 0.0;
        for round in &mut numbers.rounds {
            round.seconds = 0.0;
        }
        numbers
    }
}

/// Pretty JSON with a final newline.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = number_lists_on_one_line(&serde_json::to_string_pretty(value)?);
    text.push('\n');
    Ok(text)
}

/// A hypnogram has a thousand entries; a line for each would bury the rest of the file.
fn number_lists_on_one_line(pretty: &str) -> String {
    let mut out = String::with_capacity(pretty.len());
    let mut rest = pretty;
    let mut in_string = false;
    while let Some(at) = rest.find(['"', '\\', '[']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(head);
        rest = tail;
        match &head[at..] {
            "\"" => in_string = !in_string,
            // Only inside strings: the escaped character follows and must not end it.
            "\\" => {
                let next = rest.chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..next]);
                rest = &rest[next..];
            }
            _ if in_string => {}
            _ => {
                let Some(end) = rest.find(['[', '{', '"', ']']).filter(|&end| rest[end..].starts_with(']'))
                else {
                    continue;
                };
                let items: Vec<&str> = rest[..end].split(',').map(str::trim).collect();
                out.push_str(&items.join(", "));
                rest = &rest[end..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Refuses a later schema before anything else of it is looked at.
pub(crate) fn check_schema(text: &str) -> Result<(), SchemaError> {
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema } = serde_json::from_str(text)?;
    if schema > SCHEMA { Err(SchemaError::Newer(schema)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn json_round_trips_bit_for_bit() {
        let summary = testing::summary(6, 3);
        let text = summary.to_json().unwrap();
        let read = Summary::from_json(&text).unwrap();
        assert!(read == summary, "the summary changed on its way through JSON");
        assert!(read.to_json().unwrap() == text, "the text changed");
    }

    #[test]
    fn number_lists_take_one_line_and_strings_are_left_alone() {
        let value = serde_json::json!({
            "a": [1, null, 2.5], "b": [[0, 1], []], "c": "[ 1,\n \"2\" \\", "d": ["x", 1], "e": [{}],
        });
        let text = to_json(&value).unwrap();
        assert!(text.contains("\"a\": [1, null, 2.5],\n"), "{text}");
        assert!(text.contains("    [0, 1],\n    []\n"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_issue_s_fields_are_there() {
        let text = testing::summary(4, 1).to_json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row = &json["rows"][0];
        for number in ["accuracy", "kappa", "macro_f1", "n"] {
            assert!(row["pooled"][number].is_number(), "rows[0].pooled.{number}");
        }
        assert!(row["per_subject"]["kappa"]["sd"].is_number());
        assert!(row["interval"]["kappa"]["low"].is_number());
        assert!(json["clients"][0]["confusion"][0][0].is_u64());
        assert!(json["clients"][0]["metrics"]["kappa"].is_number());
        assert!(json["rounds"][0]["round"].is_u64() && json["excluded"][0]["reason"].is_string());
        assert!(json["seconds"].is_number() && json["peak_rss_mib"].is_number());
    }

    #[test]
    fn a_later_schema_and_rubbish_are_refused() {
        let later = testing::summary(2, 1).to_json().unwrap().replacen("\"schema\": 1", "\"schema\": 2", 1);
        assert!(matches!(Summary::from_json(&later), Err(SchemaError::Newer(2))));
        for rubbish in ["", "[]", "{}", "{\"schema\": 1}", "{\"schema\": \"1\"}"] {
            assert!(matches!(Summary::from_json(rubbish), Err(SchemaError::Json(_))), "{rubbish}");
        }
    }

    #[test]
    fn only_the_clock_and_memory_may_differ_between_reruns() {
        let (mut a, b) = (testing::summary(3, 2), testing::summary(3, 2));
        a.seconds += 1.0;
        a.peak_rss_mib += 9.0;
        a.rounds[0].seconds += 0.5;
        assert!(a != b);
        assert!(a.reproducible() == b.reproducible());
        a.rounds[0].examples += 1;
        assert!(a.reproducible() != b.reproducible());
    }
}
