//! How a federation comes along: each release on people whom it never saw, and when it was made, in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use somnus_protocol::record;
use somnus_protocol::time::Instant;
use somnus_report::Confusion;
use somnus_signals::PersonId;

use crate::baselines::{Scores, score};
use crate::cohort::People;
use crate::federate::{FEDERATED, StudyError, network};
use crate::recipe::Recipe;
use crate::scenario::Scenario;

/// The releases of one federation, as they were made.
#[derive(Default)]
pub(crate) struct Releases {
    written: Option<Bytes>,
    made: Vec<(Duration, Bytes)>,
}

/// A release of one federation and its counts of each held-out person.
pub(crate) struct Release {
    at: Duration,
    scores: Scores,
}

/// The federations of all folds of one seed side by side: their people together, each by the latest release of its fold.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Course {
    /// In order of time.
    pub points: Vec<Point>,
}

/// A moment at which a fold had a new release.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Virtual seconds since the federations began.
    pub seconds: f64,
    /// Pooled kappa of held-out people.
    pub kappa: f64,
}

impl Releases {
    /// A release is on the disk.
    pub(crate) fn written(&mut self, release: &record::Release) {
        self.written = Some(release.weights.clone());
    }

    /// It is made, now.
    pub(crate) fn made(&mut self, now: Instant) {
        self.made.extend(self.written.take().map(|weights| (now.elapsed(), weights)));
    }

    /// Each of them on held-out people.
    pub(crate) fn score(
        self,
        recipe: &Recipe,
        scenario: &Scenario,
        people: &People,
        held_out: &[PersonId],
    ) -> Result<Vec<Release>, StudyError> {
        let one = |(at, weights): (Duration, Bytes)| {
            let stager = network(recipe, &weights, scenario)?;
            let scores = score(people, held_out, scenario.task, |night| Ok(stager.predict(night)?.argmax()));
            let scores = scores.map_err(|source| StudyError::Baseline { row: FEDERATED, source })?;
            Ok(Release { at, scores })
        };
        self.made.into_iter().map(one).collect()
    }
}

impl Course {
    /// From the releases of every fold; it begins when each fold has one.
    pub(crate) fn of(folds: &[Vec<Release>]) -> Result<Self, StudyError> {
        let mut moments: BTreeMap<Duration, Vec<(usize, &Scores)>> = BTreeMap::new();
        for (fold, releases) in folds.iter().enumerate() {
            for release in releases {
                moments.entry(release.at).or_default().push((fold, &release.scores));
            }
        }
        let mut latest: BTreeMap<usize, &Scores> = BTreeMap::new();
        let mut points = Vec::new();
        for (at, news) in moments {
            latest.extend(news);
            let all = latest.values().flat_map(|scores| scores.values());
            let kappa = Confusion::sum(all)?.and_then(|sum| sum.kappa());
            if let (true, Some(kappa)) = (latest.len() == folds.len(), kappa) {
                points.push(Point { seconds: at.as_secs_f64(), kappa });
            }
        }
        Ok(Self { points })
    }

    /// When it came to `kappa`: the first time that it was there and not gone again at the next release.
    #[must_use]
    pub fn reaches(&self, kappa: f64) -> Option<f64> {
        let there = |at: usize| self.points.get(at).is_none_or(|point| point.kappa >= kappa);
        (0..self.points.len()).find(|at| there(*at) && there(at + 1)).map(|at| self.points[at].seconds)
    }

    /// When the last release was made.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        self.points.last().map(|point| point.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kappa_is_reached_when_it_stays_for_more_than_a_release() {
        let point = |(seconds, kappa): (f64, f64)| Point { seconds, kappa };
        let points = [(1.0, 0.1), (2.0, 0.5), (3.0, 0.4), (4.0, 0.5), (5.0, 0.6), (6.0, 0.7)].map(point);
        let course = Course { points: points.into() };
        assert_eq!(
            [0.05, 0.5, 0.7, 0.8].map(|kappa| course.reaches(kappa)),
            [Some(1.0), Some(4.0), Some(6.0), None]
        );
        assert_eq!(course.seconds(), Some(6.0));
    }

    #[test]
    fn folds_are_one_curve_of_all_their_people() {
        let counts = |right: u64| Confusion::try_from(vec![vec![right, 10 - right], vec![10 - right, right]]);
        let release = |at: u64, person: &str, right: u64| Release {
            at: Duration::from_secs(at),
            scores: Scores::from([(person.to_owned(), counts(right).unwrap())]),
        };
        let folds =
            [vec![release(1, "a", 5), release(4, "a", 10)], vec![release(2, "b", 5), release(6, "b", 10)]];
        let course = Course::of(&folds).unwrap();
        let points: Vec<(f64, f64)> =
            course.points.iter().map(|point| (point.seconds, point.kappa)).collect();
        assert_eq!(points, [(2.0, 0.0), (4.0, 0.5), (6.0, 1.0)]);
    }
}
