//! Scores of a confusion matrix: how well a prediction agrees with the truth, overall and per class.
//!
//! With C the matrix (rows truth), n its total, r_i and c_i its row and column sums:
//!
//! * accuracy = tr C / n;
//! * kappa = (accuracy - p_e) / (1 - p_e), p_e = sum r_i c_i / n^2 (Cohen 1960);
//! * F1_i = 2 C_ii / (r_i + c_i), and **macro-F1 is the mean over the classes present in the truth or in the
//!   prediction** (scikit-learn's default labels): a class that is merely predicted counts as 0, a class that
//!   appears in neither does not count at all;
//! * balanced accuracy = the mean recall over the classes present in the truth;
//! * MCC is Gorodkin's R_K (2004), 0 where one margin is concentrated in one class, as in scikit-learn.
//!
//! Each class is also scored one-vs-rest with the measures of Menghini et al. (2021, Sleep 44:zsaa170):
//! sensitivity, specificity, PPV, NPV, kappa, PABAK = 2 accuracy - 1, prevalence index (TP - TN) / n and
//! bias index (FP - FN) / n, all as fractions, not percent.
//!
//! A score whose denominator is zero is `None`, `null` in JSON: never NaN, never a made-up 0.

use crate::Confusion;
use serde::{Deserialize, Serialize};

/// Every score of one confusion matrix.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// Epochs scored.
    pub n: u64,
    /// Share of epochs predicted rightly.
    pub accuracy: Option<f64>,
    /// Cohen's kappa; `None` where chance alone agrees perfectly (one class on both sides) or nothing is scored.
    pub kappa: Option<f64>,
    /// Mean F1 over the classes present in truth or prediction.
    pub macro_f1: Option<f64>,
    /// Mean recall over the classes present in the truth.
    pub balanced_accuracy: Option<f64>,
    /// Matthews correlation for k classes.
    pub mcc: Option<f64>,
    /// One entry per class, by class index.
    pub per_class: Vec<ClassMetrics>,
}

/// One class against all others.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Epochs of this class in the truth.
    pub support: u64,
    /// Epochs predicted as this class.
    pub predicted: u64,
    /// Share of the epochs predicted as this class that are of it: positive predictive value.
    pub precision: Option<f64>,
    /// Share of the epochs of this class that were found: sensitivity.
    pub recall: Option<f64>,
    /// Harmonic mean of the two: 2 TP / (support + predicted).
    pub f1: Option<f64>,
    /// One-vs-rest accuracy.
    pub accuracy: Option<f64>,
    /// Share of the epochs of other classes that were not predicted as this one.
    pub specificity: Option<f64>,
    /// Negative predictive value.
    pub npv: Option<f64>,
    /// One-vs-rest Cohen's kappa.
    pub kappa: Option<f64>,
    /// Prevalence- and bias-adjusted kappa: 2 accuracy - 1.
    pub pabak: Option<f64>,
    /// (TP - TN) / n: near -1 for a rare class, near 1 for a dominant one.
    pub prevalence_index: Option<f64>,
    /// (FP - FN) / n: above 0 when the class is predicted too often.
    pub bias_index: Option<f64>,
}

impl Metrics {
    /// Scores a matrix.
    #[must_use]
    pub fn of(confusion: &Confusion) -> Self {
        Self {
            n: confusion.total(),
            accuracy: confusion.accuracy(),
            kappa: confusion.kappa(),
            macro_f1: confusion.macro_f1(),
            balanced_accuracy: confusion.balanced_accuracy(),
            mcc: confusion.mcc(),
            per_class: (0..confusion.classes()).map(|class| ClassMetrics::of(confusion, class)).collect(),
        }
    }
}

impl ClassMetrics {
    /// Scores class `class` of a matrix against all the others.
    #[must_use]
    pub fn of(confusion: &Confusion, class: usize) -> Self {
        let n = confusion.total();
        let tp = confusion.count(class, class);
        let support = confusion.truth_total(class);
        let predicted = confusion.predicted_total(class);
        // Ordered so that no difference goes below zero: n >= |truth or predicted| >= support.
        let tn = n + tp - support - predicted;
        let two = Confusion::from_counts(2, vec![tp, support - tp, predicted - tp, tn]);
        let signed = |plus: u64, minus: u64| (n > 0).then(|| (plus as f64 - minus as f64) / n as f64);
        Self {
            support,
            predicted,
            precision: ratio(tp, predicted),
            recall: ratio(tp, support),
            f1: confusion.f1(class),
            accuracy: two.accuracy(),
            specificity: ratio(tn, n - support),
            npv: ratio(tn, n - predicted),
            kappa: two.kappa(),
            pabak: two.accuracy().map(|accuracy| 2.0 * accuracy - 1.0),
            prevalence_index: signed(tp, tn),
            bias_index: signed(predicted, support),
        }
    }
}

impl Confusion {
    /// Share of epochs predicted rightly; `None` for an empty matrix.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.correct(), self.total())
    }

    /// Cohen's kappa; `None` for an empty matrix and where expected agreement is 1.
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        let n = self.total() as f64;
        let accuracy = self.accuracy()?;
        // Decided on integers: with one class on both sides p_e is exactly 1, and rounding must not hide it.
        if (0..self.classes()).any(|class| self.count(class, class) == self.total()) {
            return None;
        }
        let expected: f64 = (0..self.classes())
            .map(|class| (self.truth_total(class) as f64 / n) * (self.predicted_total(class) as f64 / n))
            .sum();
        Some((accuracy - expected) / (1.0 - expected))
    }

    /// F1 of one class; `None` when it is neither in the truth nor in the prediction.
    #[must_use]
    pub fn f1(&self, class: usize) -> Option<f64> {
        ratio(2 * self.count(class, class), self.truth_total(class) + self.predicted_total(class))
    }

    /// Mean F1 over the classes present in truth or prediction.
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        mean_defined((0..self.classes()).map(|class| self.f1(class)))
    }

    /// Mean recall over the classes present in the truth.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean_defined((0..self.classes()).map(|class| self.share(class, class)))
    }

    /// Matthews correlation coefficient for k classes; 0 where a margin holds one class only.
    #[must_use]
    pub fn mcc(&self) -> Option<f64> {
        let n = self.total() as f64;
        if self.total() == 0 {
            return None;
        }
        let (mut product, mut rows, mut columns) = (0.0, 0.0, 0.0);
        for class in 0..self.classes() {
            let r = self.truth_total(class) as f64;
            let c = self.predicted_total(class) as f64;
            product += r * c;
            rows += r * r;
            columns += c * c;
        }
        let spread = (n * n - rows) * (n * n - columns);
        if spread <= 0.0 {
            return Some(0.0);
        }
        Some((self.correct() as f64 * n - product) / spread.sqrt())
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean_defined(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, n) = values.flatten().fold((0.0, 0_u32), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[&[u64]]) -> Metrics {
        Metrics::of(&Confusion::try_from(rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>()).unwrap())
    }

    #[test]
    fn a_textbook_matrix_scores_as_in_the_textbook() {
        // Cohen's kappa of [[20, 5], [10, 15]]: accuracy .7, chance .5, kappa .4.
        let m = of(&[&[20, 5], &[10, 15]]);
        assert_eq!(m.accuracy, Some(0.7));
        assert!((m.kappa.unwrap() - 0.4).abs() < 1e-12);
        let first = &m.per_class[0];
        assert_eq!(first.recall, Some(0.8));
        assert_eq!(first.precision, Some(20.0 / 30.0));
        assert_eq!(first.specificity, Some(0.6));
        assert_eq!(first.npv, Some(0.75));
        assert_eq!(first.prevalence_index, Some(0.1));
        assert_eq!(first.bias_index, Some(0.1));
        assert!((first.pabak.unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn scores_are_none_where_they_are_undefined() {
        let nothing = of(&[&[0, 0], &[0, 0]]);
        assert_eq!(
            (nothing.accuracy, nothing.kappa, nothing.macro_f1, nothing.mcc),
            (None, None, None, None)
        );
        let one_class = of(&[&[7, 0], &[0, 0]]);
        assert_eq!((one_class.accuracy, one_class.kappa), (Some(1.0), None));
        assert_eq!(one_class.per_class[1].f1, None);
        assert_eq!(one_class.per_class[0].specificity, None);
    }

    #[test]
    fn a_class_only_predicted_counts_as_zero_in_macro_f1() {
        let m = of(&[&[8, 0, 2], &[0, 10, 0], &[0, 0, 0]]);
        let f1: f64 = 16.0 / 18.0;
        assert!((m.macro_f1.unwrap() - (f1 + 1.0) / 3.0).abs() < 1e-12);
        let absent = of(&[&[8, 2, 0], &[0, 10, 0], &[0, 0, 0]]);
        assert!((absent.macro_f1.unwrap() - (f1 + 20.0 / 22.0) / 2.0).abs() < 1e-12);
        assert!((absent.balanced_accuracy.unwrap() - 0.9).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn renaming_classes_changes_no_score(
            rows in proptest::collection::vec(proptest::collection::vec(0_u64..200, 4), 4),
            map in Just([0_u8, 1, 2, 3]).prop_shuffle(),
        ) {
            let matrix = Confusion::try_from(rows).unwrap();
            let renamed = matrix.merged(4, &map).unwrap();
            let (a, b) = (Metrics::of(&matrix), Metrics::of(&renamed));
            let near = |x: Option<f64>, y: Option<f64>| match (x, y) {
                (Some(x), Some(y)) => (x - y).abs() < 1e-9,
                (x, y) => x == y,
            };
            prop_assert!(near(a.kappa, b.kappa));
            prop_assert!(near(a.macro_f1, b.macro_f1));
            prop_assert!(near(a.mcc, b.mcc));
            prop_assert!(near(a.balanced_accuracy, b.balanced_accuracy));
            for (class, &to) in map.iter().enumerate() {
                prop_assert!(near(a.per_class[class].kappa, b.per_class[usize::from(to)].kappa));
            }
        }

        #[test]
        fn perfect_agreement_is_kappa_one_and_scores_stay_in_range(
            rows in proptest::collection::vec(proptest::collection::vec(0_u64..50, 3), 3),
        ) {
            let matrix = Confusion::try_from(rows.clone()).unwrap();
            let m = Metrics::of(&matrix);
            for score in [m.kappa, m.mcc] {
                prop_assert!(score.is_none_or(|s| (-1.0 - 1e-12..=1.0 + 1e-12).contains(&s)));
            }
            for score in [m.accuracy, m.macro_f1, m.balanced_accuracy] {
                prop_assert!(score.is_none_or(|s| (0.0..=1.0 + 1e-12).contains(&s)));
            }
            let diagonal: Vec<Vec<u64>> =
                (0..3).map(|i| (0..3).map(|j| if i == j { rows[i][j] + 1 } else { 0 }).collect()).collect();
            let perfect = Metrics::of(&Confusion::try_from(diagonal).unwrap());
            prop_assert!((perfect.kappa.unwrap() - 1.0).abs() < 1e-12);
            prop_assert!((perfect.mcc.unwrap() - 1.0).abs() < 1e-12);
        }
    }
}
