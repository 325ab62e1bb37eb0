//! People beside each other: one person among the cohort, and how evenly a model serves it.

use crate::stats::quantile;
use crate::{ClientResult, Row, Spread};
use serde::{Deserialize, Serialize};

/// How people's kappa is spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    /// People with a kappa.
    pub n: u64,
    /// The lowest.
    pub min: f64,
    /// A quarter of people are below.
    pub q1: f64,
    /// Half of them.
    pub median: f64,
    /// Three quarters.
    pub q3: f64,
    /// The highest.
    pub max: f64,
}

impl Quartiles {
    /// Of the values that are finite; `None` without one.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let sorted = sorted(values);
        let at = |p| quantile(&sorted, p);
        let n = sorted.len() as u64;
        Some(Self { n, min: at(0.0)?, q1: at(0.25)?, median: at(0.5)?, q3: at(0.75)?, max: at(1.0)? })
    }
}

/// One person's kappa under one way of making a model, and everybody's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// As in [`Row::name`].
    pub row: String,
    /// This person's own; `None` where it is undefined.
    pub kappa: Option<f64>,
    /// Everybody's, this person's included.
    pub cohort: Quartiles,
}

impl Standing {
    /// Where a person stands in each row that the person is in.
    #[must_use]
    pub fn of(id: &str, rows: &[Row]) -> Vec<Self> {
        let standing = |row: &Row| {
            let kappa = row.subjects.get(id)?.kappa();
            let cohort = Quartiles::of(kappas(row))?;
            Some(Self { row: row.name.clone(), kappa, cohort })
        };
        rows.iter().filter_map(standing).collect()
    }
}

/// How evenly a row serves its people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// As in [`Row::name`].
    pub row: String,
    /// The spread of people's kappa.
    pub people: Quartiles,
    /// Mean kappa of the tenth of people that it serves worst, at least one.
    pub worst_decile: f64,
    /// The same of the tenth that it serves best.
    pub best_decile: f64,
}

impl Fairness {
    /// Of a row; `None` when nobody has a kappa.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let sorted = sorted(kappas(row));
        let tenth = sorted.len().div_ceil(10);
        let mean = |part: &[f64]| crate::stats::mean(part);
        Some(Self {
            row: row.name.clone(),
            people: Quartiles::of(sorted.iter().copied())?,
            worst_decile: mean(&sorted[..tenth])?,
            best_decile: mean(&sorted[sorted.len() - tenth..])?,
        })
    }
}

/// Scores of the people of whom a stream was there for so much of their nights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ByCoverage {
    /// The stream.
    pub stream: String,
    /// From this share of epochs.
    pub from: f64,
    /// To below this share; 1 belongs to the last group.
    pub to: f64,
    /// Their kappa.
    pub kappa: Spread,
}

impl ByCoverage {
    /// Below 80 %, below 95 % and the rest, for each stream whose coverage is known; groups without anybody are left out.
    #[must_use]
    pub fn of(clients: &[ClientResult]) -> Vec<Self> {
        const GROUPS: [(f64, f64); 3] = [(0.0, 0.8), (0.8, 0.95), (0.95, 1.0)];
        let streams: std::collections::BTreeSet<&String> = clients
            .iter()
            .flat_map(|client| &client.nights)
            .flat_map(|night| night.coverage.keys())
            .collect();
        let mut out = Vec::new();
        for stream in streams {
            for (from, to) in GROUPS {
                let inside = |share: f64| share >= from && (share < to || to == 1.0);
                let own = clients.iter().filter(|client| coverage(client, stream).is_some_and(inside));
                let kappa = Spread::of(own.map(|client| client.metrics.kappa));
                if kappa.n > 0 {
                    out.push(Self { stream: stream.clone(), from, to, kappa });
                }
            }
        }
        out
    }
}

/// Mean over a person's nights, each by its length.
fn coverage(client: &ClientResult, stream: &str) -> Option<f64> {
    let nights =
        client.nights.iter().filter_map(|night| Some((*night.coverage.get(stream)?, night.epochs() as f64)));
    let (sum, epochs) =
        nights.fold((0.0, 0.0), |(sum, all), (share, epochs)| (sum + share * epochs, all + epochs));
    // Rounded as shares are: the edge of a group belongs to it.
    (epochs > 0.0).then(|| (1e4 * sum / epochs).round() / 1e4)
}

fn kappas(row: &Row) -> impl Iterator<Item = f64> {
    row.subjects.values().filter_map(crate::Confusion::kappa)
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_tenth_of_twenty_five_is_three_and_the_worst_are_the_lowest() {
        let summary = testing::summary(25, 1);
        let row = &summary.rows[4];
        let fairness = Fairness::of(row).unwrap();
        let mut own: Vec<f64> = row.subjects.values().map(|counts| counts.kappa().unwrap()).collect();
        own.sort_by(f64::total_cmp);
        assert!((fairness.worst_decile - (own[0] + own[1] + own[2]) / 3.0).abs() < 1e-12);
        assert_eq!((fairness.people.n, fairness.people.min, fairness.people.max), (25, own[0], own[24]));
        assert_eq!(fairness.people.median, own[12]);
        assert!(fairness.worst_decile < fairness.people.q1 && fairness.people.q3 < fairness.best_decile);
    }

    #[test]
    fn a_person_stands_in_the_rows_it_is_in() {
        let mut summary = testing::summary(5, 1);
        let id = summary.clients[2].id.clone();
        summary.rows[1].subjects.remove(&id);
        let standing = Standing::of(&id, &summary.rows);
        let rows: Vec<&str> = standing.iter().map(|one| one.row.as_str()).collect();
        assert_eq!(rows, ["majority", "local only", "central", "federated"]);
        assert_eq!(standing[3].kappa, summary.rows[4].subjects[&id].kappa());
        assert!(Standing::of("nobody", &summary.rows).is_empty());
    }

    #[test]
    fn people_are_grouped_by_what_was_there_of_their_nights() {
        let mut summary = testing::summary(4, 1);
        for (client, share) in summary.clients.iter_mut().zip([0.5, 0.94, 0.95, 1.0]) {
            client.nights[0].coverage.insert("hr".into(), share);
        }
        let mut groups = ByCoverage::of(&summary.clients);
        groups.retain(|group| group.stream == "hr");
        let seen: Vec<(f64, u64)> = groups.iter().map(|group| (group.from, group.kappa.n)).collect();
        assert_eq!(seen, [(0.0, 1), (0.8, 1), (0.95, 2)]);
        assert_eq!(groups[0].kappa.mean, summary.clients[0].metrics.kappa);
    }
}
