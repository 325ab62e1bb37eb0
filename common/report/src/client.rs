//! What one client's evaluation found: its nights, hypnograms, confusion matrix and night statistics.

use crate::night::{NightOptions, NightStatistics};
use crate::staging::{Hypnogram, Staging};
use crate::{Confusion, ConfusionError, Metrics};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// One client, that is one person, evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientResult {
    /// The client's id.
    pub id: String,
    /// Its part in the run: `held-out`, `trained`, ...
    pub role: String,
    /// Scores of all of its nights together.
    pub metrics: Metrics,
    /// Counts of all of its nights together.
    pub confusion: Confusion,
    /// Its nights in order.
    pub nights: Vec<NightResult>,
    /// Coverage and quality: what was missing, what was left out.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One night of one client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NightResult {
    /// The night's id or date.
    pub id: String,
    /// True class of each epoch; all `null`, or empty, where nobody scored the night.
    pub truth: Hypnogram,
    /// Predicted class of each epoch.
    pub predicted: Hypnogram,
    /// Statistics of the truth over the epochs scored in both; `None` without a scored epoch.
    pub truth_statistics: Option<NightStatistics>,
    /// Statistics of the prediction, over the same epochs when there is a truth, else over the whole night or its
    /// judged part.
    pub predicted_statistics: NightStatistics,
    /// Probability that the model gives the predicted class of each epoch; empty where it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confidence: Vec<Option<f32>>,
    /// Share of the epochs that each stream of the recording is there for, where it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub coverage: BTreeMap<String, f64>,
    /// Coverage and quality of this night.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl NightResult {
    /// A night from its hypnograms. Where the truth is shorter or empty, the missing epochs are unscored.
    #[must_use]
    pub fn new(
        id: &str,
        mut truth: Hypnogram,
        mut predicted: Hypnogram,
        staging: &Staging,
        options: NightOptions,
    ) -> Self {
        let length = truth.len().max(predicted.len());
        truth.resize(length, None);
        predicted.resize(length, None);
        let (truth_statistics, predicted_statistics) = statistics(&truth, &predicted, staging, options);
        Self {
            id: id.to_owned(),
            truth,
            predicted,
            truth_statistics,
            predicted_statistics,
            confidence: Vec::new(),
            coverage: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The same night with the probability of each predicted class, to three digits; one that is not a number is not known.
    #[must_use]
    pub fn with_confidence(mut self, confidence: impl IntoIterator<Item = f32>) -> Self {
        let rounded = |p: f32| p.is_finite().then(|| (1000.0 * p.clamp(0.0, 1.0)).round() / 1000.0);
        self.confidence = confidence.into_iter().map(rounded).collect();
        self.confidence.resize(self.epochs(), None);
        self
    }

    /// The same night with the share of its epochs that each stream is there for, to four digits.
    #[must_use]
    pub fn with_coverage<N: ToString>(mut self, coverage: impl IntoIterator<Item = (N, f64)>) -> Self {
        self.coverage = coverage
            .into_iter()
            .map(|(stream, share)| (stream.to_string(), (1e4 * share).round() / 1e4))
            .collect();
        self
    }

    /// A night of which only the epochs in `judged` are judged, the rest having been learned from: the prediction
    /// is kept whole, the truth outside is dropped, and the statistics are those of a part of a night.
    #[must_use]
    pub fn part(
        id: &str,
        truth: Hypnogram,
        predicted: Hypnogram,
        judged: Range<usize>,
        staging: &Staging,
        options: NightOptions,
    ) -> Self {
        let truth = truth.into_iter().enumerate().map(|(at, code)| code.filter(|_| judged.contains(&at)));
        let mut night = Self::new(id, truth.collect(), predicted, staging, options);
        let end = judged.end.min(night.epochs());
        let judged = judged.start.min(end)..end;
        (night.truth_statistics, night.predicted_statistics) =
            statistics(&night.truth[judged.clone()], &night.predicted[judged], staging, options.of_part());
        night
    }

    /// Epochs of the night.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.truth.len().max(self.predicted.len())
    }
}

/// Statistics of a truth, where there is one, and of a prediction.
fn statistics(
    truth: &[Option<u8>],
    predicted: &[Option<u8>],
    staging: &Staging,
    options: NightOptions,
) -> (Option<NightStatistics>, NightStatistics) {
    if truth.iter().any(Option::is_some) {
        let (truth, predicted) = NightStatistics::paired(truth, predicted, staging, options);
        (Some(truth), predicted)
    } else {
        (None, NightStatistics::of(predicted, staging, options))
    }
}

impl ClientResult {
    /// A client from its nights.
    ///
    /// # Errors
    /// [`ConfusionError`] when a hypnogram holds a code that is not a class of `staging`.
    pub fn from_nights(
        id: &str,
        role: &str,
        nights: Vec<NightResult>,
        staging: &Staging,
    ) -> Result<Self, ConfusionError> {
        let mut confusion = Confusion::new(staging.len())?;
        for night in &nights {
            confusion.merge(&Confusion::from_hypnograms(staging.len(), &night.truth, &night.predicted)?)?;
        }
        Ok(Self {
            id: id.to_owned(),
            role: role.to_owned(),
            metrics: Metrics::of(&confusion),
            confusion,
            nights,
            notes: Vec::new(),
        })
    }

    /// The same client with notes on its coverage and quality.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// (truth, prediction) statistics of the nights that have a truth.
    #[must_use]
    pub fn paired_nights(&self) -> Vec<(NightStatistics, NightStatistics)> {
        self.nights
            .iter()
            .filter_map(|night| Some((night.truth_statistics.clone()?, night.predicted_statistics.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extent;

    #[test]
    fn a_client_sums_its_nights() {
        let staging = Staging::four();
        let night = |truth: &[u8], predicted: &[u8]| {
            let codes = |codes: &[u8]| codes.iter().map(|&code| (code < 9).then_some(code)).collect();
            NightResult::new("n", codes(truth), codes(predicted), &staging, NightOptions::default())
        };
        let nights = vec![night(&[0, 1, 9, 2], &[0, 1, 1, 3]), night(&[3, 3], &[3, 0])];
        let client = ClientResult::from_nights("a", "held-out", nights, &staging).unwrap();
        assert_eq!((client.metrics.n, client.confusion.correct()), (5, 3));
        assert_eq!(client.nights[0].predicted_statistics.unscored, 0.5);
        assert_eq!(client.paired_nights().len(), 2);

        let bad = vec![night(&[0, 5], &[0, 1])];
        assert!(ClientResult::from_nights("a", "held-out", bad, &staging).is_err());
    }

    #[test]
    fn a_part_is_judged_on_its_epochs_and_has_no_latency() {
        let staging = Staging::four();
        let codes = |text: &str| -> Hypnogram {
            text.bytes().map(|code| (code != b'.').then(|| code - b'0')).collect()
        };
        let options = NightOptions::default();
        let (truth, predicted) = (codes(".0011111220033."), codes("000111122200333"));
        let night = NightResult::part("n", truth, predicted.clone(), 8..15, &staging, options);
        assert_eq!(night.truth, codes("........220033."));
        assert_eq!(night.predicted, predicted);
        let (own, reference) = (&night.predicted_statistics, night.truth_statistics.as_ref().unwrap());
        assert_eq!((own.extent, reference.extent), (Extent::Part, Extent::Part));
        assert_eq!((own.tib, own.tst, own.waso, own.sol, own.rem_latency), (3.0, 2.0, Some(1.0), None, None));
        assert_eq!((reference.tib, reference.waso, reference.sol), (3.0, Some(1.0), None));
        let client = ClientResult::from_nights("a", "trained", vec![night], &staging).unwrap();
        assert_eq!(client.metrics.n, 6);

        // Nothing scored in the part: what is predicted there.
        let blank = NightResult::part("n", codes("0011"), codes("00111133"), 4..99, &staging, options);
        assert_eq!(blank.truth_statistics, None);
        assert_eq!((blank.predicted_statistics.tst, blank.predicted_statistics.sol), (2.0, None));
    }

    #[test]
    fn a_night_nobody_scored_still_has_predicted_statistics() {
        let staging = Staging::sleep_wake();
        let night = NightResult::new(
            "n",
            Vec::new(),
            vec![Some(0), Some(1), Some(1)],
            &staging,
            NightOptions::default(),
        );
        assert_eq!((night.truth.len(), night.truth_statistics.is_none()), (3, true));
        assert_eq!(night.predicted_statistics.tst, 1.0);
        let client = ClientResult::from_nights("a", "hub", vec![night], &staging).unwrap();
        assert_eq!((client.metrics.n, client.metrics.accuracy), (0, None));
    }
}
