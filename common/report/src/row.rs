//! One line of the comparison table: one way of making a model, scored on the same people as the others.

use crate::bootstrap::{Bootstrap, Interval, shared};
use crate::stats::Spread;
use crate::wilcoxon::Wilcoxon;
use crate::{Confusion, ConfusionError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why results are not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Nobody was evaluated.
    #[error("row {0:?} has no subjects")]
    NoSubjects(String),
    /// Matrices that do not fit together.
    #[error("row {row:?}")]
    Confusion {
        /// The row's name.
        row: String,
        /// What is wrong.
        #[source]
        source: ConfusionError,
    },
}

/// Scores of one way of making a model, pooled and per subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `federated`, `central`, `majority`, ...
    pub name: String,
    /// Scores of all epochs together.
    pub pooled: Pooled,
    /// Mean and standard deviation of each person's own score.
    pub per_subject: PerSubject,
    /// 95 % bootstrap intervals over subjects of the pooled scores.
    pub interval: Intervals,
    /// Pooled kappa of each seed, and its spread.
    pub seeds: SeedSpread,
    /// What to know when reading the row: `negative control`, ...
    pub note: Option<String>,
    /// Counts of all epochs, summed over subjects and seeds.
    pub confusion: Confusion,
    /// Counts of each person, summed over seeds, by id: what paired comparisons need.
    pub subjects: BTreeMap<String, Confusion>,
}

/// Scores of all epochs together; every seed weighs alike.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Pooled {
    /// Share of epochs predicted rightly.
    pub accuracy: Option<f64>,
    /// Cohen's kappa.
    pub kappa: Option<f64>,
    /// Mean F1 over the classes present in truth or prediction.
    pub macro_f1: Option<f64>,
    /// Epochs scored, each counted once however many seeds there are.
    pub n: u64,
}

/// Spread over people; a score that is undefined for somebody leaves that person out (see [`Spread::n`]).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PerSubject {
    /// Accuracy.
    pub accuracy: Spread,
    /// Kappa.
    pub kappa: Spread,
    /// Macro-F1.
    pub macro_f1: Spread,
}

/// 95 % percentile intervals, people resampled; `None` below two people.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Intervals {
    /// Of the pooled accuracy.
    pub accuracy: Option<Interval>,
    /// Of the pooled kappa.
    pub kappa: Option<Interval>,
    /// Of the pooled macro-F1.
    pub macro_f1: Option<Interval>,
}

/// Pooled kappa over seeds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SeedSpread {
    /// One value per seed, in the order of the seeds.
    pub kappa: Vec<Option<f64>>,
    /// Their mean and standard deviation.
    #[serde(flatten)]
    pub spread: Spread,
}

impl Row {
    /// A row from one run: the matrix of each person. `bootstrap_seed` seeds the intervals.
    ///
    /// # Errors
    /// [`RowError`] when nobody is there or matrices differ in size.
    pub fn from_subjects(
        name: &str,
        subjects: &BTreeMap<String, Confusion>,
        bootstrap_seed: u64,
    ) -> Result<Self, RowError> {
        Self::from_seeds(name, std::slice::from_ref(subjects), bootstrap_seed)
    }

    /// A row from several runs that differ in their seed: the matrices of each person in each.
    ///
    /// # Errors
    /// [`RowError`] when nobody is there or matrices differ in size.
    pub fn from_seeds(
        name: &str,
        seeds: &[BTreeMap<String, Confusion>],
        bootstrap_seed: u64,
    ) -> Result<Self, RowError> {
        let wrong = |source| RowError::Confusion { row: name.to_owned(), source };
        let mut subjects: BTreeMap<String, Confusion> = BTreeMap::new();
        let mut by_seed = Vec::with_capacity(seeds.len());
        for people in seeds {
            for (id, matrix) in people {
                match subjects.get_mut(id) {
                    Some(sum) => sum.merge(matrix).map_err(wrong)?,
                    None => {
                        subjects.insert(id.clone(), matrix.clone());
                    }
                }
            }
            by_seed.push(Confusion::sum(people.values()).map_err(wrong)?);
        }
        let Some(confusion) = Confusion::sum(subjects.values()).map_err(wrong)? else {
            return Err(RowError::NoSubjects(name.to_owned()));
        };
        let boot = Bootstrap::new(bootstrap_seed);
        let interval = |score: fn(&Confusion) -> Option<f64>| boot.pooled(&subjects, score).map_err(wrong);
        let spread = |score: fn(&Confusion) -> Option<f64>| Spread::of(subjects.values().map(score));
        let kappas: Vec<Option<f64>> = by_seed.iter().map(|sum| sum.as_ref()?.kappa()).collect();
        Ok(Self {
            name: name.to_owned(),
            pooled: Pooled {
                accuracy: confusion.accuracy(),
                kappa: confusion.kappa(),
                macro_f1: confusion.macro_f1(),
                n: by_seed.iter().flatten().map(Confusion::total).max().unwrap_or(0),
            },
            per_subject: PerSubject {
                accuracy: spread(Confusion::accuracy),
                kappa: spread(Confusion::kappa),
                macro_f1: spread(Confusion::macro_f1),
            },
            interval: Intervals {
                accuracy: interval(Confusion::accuracy)?,
                kappa: interval(Confusion::kappa)?,
                macro_f1: interval(Confusion::macro_f1)?,
            },
            seeds: SeedSpread { spread: Spread::of(kappas.iter().copied()), kappa: kappas },
            note: None,
            confusion,
            subjects,
        })
    }

    /// The same row with a note.
    #[must_use]
    pub fn with_note(mut self, note: &str) -> Self {
        self.note = Some(note.to_owned());
        self
    }
}

/// One row against another on the people they share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The row.
    pub row: String,
    /// The row it is compared with.
    pub baseline: String,
    /// People in both.
    pub subjects: u64,
    /// Pooled kappa of the row minus the baseline's, over the shared people.
    pub kappa_difference: Option<f64>,
    /// Its 95 % interval: the same people drawn on both sides.
    pub interval: Option<Interval>,
    /// Signed-rank test of the people's kappas.
    pub wilcoxon: Option<Wilcoxon>,
}

impl Comparison {
    /// Compares two rows.
    ///
    /// # Errors
    /// [`RowError`] when their matrices differ in size.
    pub fn between(row: &Row, baseline: &Row, bootstrap_seed: u64) -> Result<Self, RowError> {
        let wrong = |source| RowError::Confusion { row: row.name.clone(), source };
        let (left, right) = shared(&row.subjects, &baseline.subjects);
        let kappa = |people: &[&Confusion]| -> Result<Option<f64>, RowError> {
            let sum = Confusion::sum(people.iter().copied()).map_err(wrong)?;
            Ok(sum.and_then(|sum| sum.kappa()))
        };
        let differences: Vec<f64> =
            left.iter().zip(&right).filter_map(|(a, b)| Some(a.kappa()? - b.kappa()?)).collect();
        let boot = Bootstrap::new(bootstrap_seed);
        Ok(Self {
            row: row.name.clone(),
            baseline: baseline.name.clone(),
            subjects: left.len() as u64,
            kappa_difference: kappa(&left)?.zip(kappa(&right)?).map(|(a, b)| a - b),
            interval: boot
                .paired_difference(&row.subjects, &baseline.subjects, Confusion::kappa)
                .map_err(wrong)?,
            wilcoxon: Wilcoxon::of(&differences),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(offset: u64) -> BTreeMap<String, Confusion> {
        (0..8)
            .map(|i| {
                let right = 60 + 4 * i + offset;
                let rows = vec![vec![right, 100 - right], vec![100 - right, right]];
                (format!("p{i}"), Confusion::try_from(rows).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_row_pools_and_spreads() {
        let row = Row::from_subjects("federated", &people(0), 1).unwrap();
        // 74 of 100 right on both sides.
        assert!((row.pooled.kappa.unwrap() - 0.48).abs() < 1e-12);
        assert_eq!((row.pooled.n, row.per_subject.kappa.n), (1600, 8));
        assert!((row.per_subject.kappa.mean.unwrap() - 0.48).abs() < 1e-12);
        assert!(row.interval.kappa.unwrap().contains(0.48));
        assert_eq!(row.seeds.kappa.len(), 1);
        assert_eq!(row.seeds.spread.sd, None);
    }

    #[test]
    fn seeds_weigh_alike_and_do_not_multiply_epochs() {
        let row = Row::from_seeds("federated", &[people(0), people(4), people(8)], 1).unwrap();
        assert_eq!(row.pooled.n, 1600);
        assert_eq!(row.confusion.total(), 4800);
        assert!((row.pooled.kappa.unwrap() - 0.56).abs() < 1e-12);
        assert!((row.seeds.spread.sd.unwrap() - 0.08).abs() < 1e-9);
        let text = serde_json::to_string(&row).unwrap();
        assert!(serde_json::from_str::<Row>(&text).unwrap() == row);
    }

    #[test]
    fn an_empty_row_and_mixed_tasks_are_refused() {
        let nobody = Row::from_subjects("x", &BTreeMap::new(), 1);
        assert_eq!(nobody, Err(RowError::NoSubjects("x".into())));
        let mut mixed = people(0);
        mixed.insert("z".into(), Confusion::new(4).unwrap());
        assert!(matches!(Row::from_subjects("x", &mixed, 1), Err(RowError::Confusion { .. })));
    }

    #[test]
    fn a_uniform_gain_is_significant() {
        let (low, high) = (people(0), people(4));
        let a = Row::from_subjects("a", &high, 1).unwrap();
        let b = Row::from_subjects("b", &low, 1).unwrap();
        let c = Comparison::between(&a, &b, 1).unwrap();
        assert!((c.kappa_difference.unwrap() - 0.08).abs() < 1e-9);
        assert!(c.interval.unwrap().low > 0.07);
        assert!((c.wilcoxon.unwrap().p - 2.0 / 256.0).abs() < 1e-12);
        assert_eq!(Comparison::between(&a, &a, 1).unwrap().wilcoxon, None);
    }
}
