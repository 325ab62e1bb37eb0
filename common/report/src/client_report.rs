//! One person's report: the same content in a run's `clients/` folder and on the person's own hub.

use crate::agreement::{Discrepancy, Size, discrepancies};
use crate::night::NightOptions;
use crate::summary::{SCHEMA, SchemaError, check_schema, to_json};
use crate::{Calibration, ClientResult, Staging, Standing, Summary};
use serde::{Deserialize, Serialize};

/// One person's evaluation, with the model it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The federation, or the run.
    pub federation: String,
    /// The task.
    pub task: String,
    /// The release evaluated.
    pub model: ModelInfo,
    /// What class codes mean.
    pub staging: Staging,
    /// How night statistics were read.
    #[serde(default)]
    pub options: NightOptions,
    /// Metrics, confusion, nights, notes.
    pub client: ClientResult,
    /// Discrepancy of each measure over this person's **nights**; empty below two scored nights.
    #[serde(default)]
    pub discrepancies: Vec<Discrepancy>,
    /// Whether the model is as often right as it says; `None` where its confidence or the truth is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// This person among the people of a run, for each of its rows; empty on a hub, which knows nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standing: Vec<Standing>,
}

/// The release a report is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The model's name, e.g. its architecture.
    pub name: String,
    /// The release's version; 0 for a model that no federation has trained.
    pub version: u64,
    /// Hash of the release's bytes, where known.
    pub digest: Option<String>,
}

impl ClientReport {
    /// A report on one client.
    #[must_use]
    pub fn new(
        federation: &str,
        task: &str,
        model: ModelInfo,
        staging: Staging,
        options: NightOptions,
        client: ClientResult,
    ) -> Self {
        // Here the unit of analysis is the night: the question is how far this person's nights are off.
        let nights: Vec<_> = client.paired_nights().into_iter().map(|pair| vec![pair]).collect();
        let discrepancies = discrepancies(&nights, &staging, Size::Reference);
        Self {
            schema: SCHEMA,
            federation: federation.to_owned(),
            task: task.to_owned(),
            model,
            staging,
            options,
            calibration: Calibration::of(&client.nights),
            standing: Vec::new(),
            client,
            discrepancies,
        }
    }

    /// The report of one client of a run.
    #[must_use]
    pub fn of_run(summary: &Summary, client: &ClientResult) -> Self {
        let version = summary.rounds.last().map_or(0, |round| round.version);
        let model = ModelInfo { name: summary.name.clone(), version, digest: None };
        let (staging, options) = (summary.staging.clone(), summary.options);
        let report = Self::new(&summary.name, &summary.task, model, staging, options, client.clone());
        let standing =
            if summary.shows_rows() { Standing::of(&client.id, &summary.rows) } else { Vec::new() };
        Self { standing, ..report }
    }

    /// Pretty JSON with a final newline.
    ///
    /// # Errors
    /// None in practice: every field is JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        to_json(self)
    }

    /// Reads a report written by [`ClientReport::to_json`].
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn from_json(text: &str) -> Result<Self, SchemaError> {
        check_schema(text)?;
        Ok(serde_json::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn json_round_trips() {
        let summary = testing::summary(3, 1);
        let report = ClientReport::of_run(&summary, &summary.clients[0]);
        assert!(ClientReport::from_json(&report.to_json().unwrap()).unwrap() == report);
        assert_eq!(report.model.version, summary.rounds.last().unwrap().version);
    }

    #[test]
    fn one_night_has_no_spread_and_two_have() {
        let summary = testing::summary(1, 1);
        let mut client = summary.clients[0].clone();
        let report = ClientReport::of_run(&summary, &client);
        assert!(report.discrepancies.is_empty());
        client.nights.push(client.nights[0].clone());
        assert!(!ClientReport::of_run(&summary, &client).discrepancies.is_empty());
    }
}
