//! The confusion matrix: counts of epochs, rows the truth, columns the prediction.

use serde::{Deserialize, Serialize};

/// Most classes a matrix may have. Sleep staging needs at most five; the bound keeps a matrix read from a
/// peer or a file small.
pub const MAX_CLASSES: usize = 64;

/// Most epochs a matrix may count: 2^53, so that every count is exact as an `f64`.
pub const MAX_EPOCHS: u64 = 1 << 53;

/// Why counts are not a confusion matrix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfusionError {
    /// No class at all, or more than [`MAX_CLASSES`].
    #[error("a confusion matrix needs 1 to {MAX_CLASSES} classes, not {0}")]
    Classes(usize),
    /// A row whose length is not the number of rows.
    #[error("row {row} of the confusion matrix has {found} columns, not {classes}")]
    NotSquare {
        /// The row, from 0.
        row: usize,
        /// Its columns.
        found: usize,
        /// The number of rows.
        classes: usize,
    },
    /// A class code outside the matrix.
    #[error("class {code} is outside a confusion matrix of {classes} classes")]
    OutOfRange {
        /// The offending code.
        code: u8,
        /// The number of classes.
        classes: usize,
    },
    /// Two matrices of different size.
    #[error("a confusion matrix of {left} classes cannot be merged with one of {right}")]
    Mismatch {
        /// Classes of the receiving matrix.
        left: usize,
        /// Classes of the other one.
        right: usize,
    },
    /// Two hypnograms of different length.
    #[error("{truth} true epochs stand against {predicted} predicted ones")]
    Length {
        /// Epochs of the truth.
        truth: usize,
        /// Epochs of the prediction.
        predicted: usize,
    },
    /// More epochs than [`MAX_EPOCHS`].
    #[error("a confusion matrix counts at most {MAX_EPOCHS} epochs")]
    TooMany,
}

/// A k×k matrix of epoch counts: entry (i, j) is the number of epochs of true class i predicted as class j.
///
/// As JSON it is the nested array, row by row. Reading one checks its shape and bounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct Confusion {
    classes: usize,
    /// Row-major, `classes * classes` long.
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix of `classes` classes.
    ///
    /// # Errors
    /// [`ConfusionError::Classes`] when `classes` is 0 or above [`MAX_CLASSES`].
    pub fn new(classes: usize) -> Result<Self, ConfusionError> {
        if classes == 0 || classes > MAX_CLASSES {
            return Err(ConfusionError::Classes(classes));
        }
        Ok(Self { classes, counts: vec![0; classes * classes] })
    }

    /// Counts (truth, predicted) pairs.
    ///
    /// # Errors
    /// As [`Confusion::new`] and [`Confusion::add`].
    pub fn from_pairs<I>(classes: usize, pairs: I) -> Result<Self, ConfusionError>
    where
        I: IntoIterator<Item = (u8, u8)>,
    {
        let mut confusion = Self::new(classes)?;
        for (truth, predicted) in pairs {
            confusion.add(truth, predicted)?;
        }
        Ok(confusion)
    }

    /// Counts the epochs that are scored in both hypnograms; an epoch unscored (`None`) in either is left out.
    ///
    /// # Errors
    /// [`ConfusionError::Length`] when they differ in length, else as [`Confusion::from_pairs`].
    pub fn from_hypnograms(
        classes: usize,
        truth: &[Option<u8>],
        predicted: &[Option<u8>],
    ) -> Result<Self, ConfusionError> {
        if truth.len() != predicted.len() {
            return Err(ConfusionError::Length { truth: truth.len(), predicted: predicted.len() });
        }
        Self::from_pairs(classes, truth.iter().zip(predicted).filter_map(|(t, p)| Some(((*t)?, (*p)?))))
    }

    /// Counts one epoch.
    ///
    /// # Errors
    /// [`ConfusionError::OutOfRange`] for a code outside the matrix, [`ConfusionError::TooMany`] at the bound.
    pub fn add(&mut self, truth: u8, predicted: u8) -> Result<(), ConfusionError> {
        for code in [truth, predicted] {
            if usize::from(code) >= self.classes {
                return Err(ConfusionError::OutOfRange { code, classes: self.classes });
            }
        }
        // Each cell is bounded here and the total by `merge` and `try_from`; counting epochs one by one
        // cannot reach 2^53 in a lifetime, so the total is not summed at every epoch.
        let cell = &mut self.counts[usize::from(truth) * self.classes + usize::from(predicted)];
        if *cell >= MAX_EPOCHS {
            return Err(ConfusionError::TooMany);
        }
        *cell += 1;
        Ok(())
    }

    /// Adds the counts of another matrix.
    ///
    /// # Errors
    /// [`ConfusionError::Mismatch`] or [`ConfusionError::TooMany`]; the matrix is then unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), ConfusionError> {
        if self.classes != other.classes {
            return Err(ConfusionError::Mismatch { left: self.classes, right: other.classes });
        }
        if self.total().saturating_add(other.total()) > MAX_EPOCHS {
            return Err(ConfusionError::TooMany);
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        Ok(())
    }

    /// The sum of several matrices; `None` when there is none.
    ///
    /// # Errors
    /// As [`Confusion::merge`].
    pub fn sum<'a, I>(matrices: I) -> Result<Option<Self>, ConfusionError>
    where
        I: IntoIterator<Item = &'a Self>,
    {
        let mut total: Option<Self> = None;
        for matrix in matrices {
            match &mut total {
                Some(total) => total.merge(matrix)?,
                None => total = Some(matrix.clone()),
            }
        }
        Ok(total)
    }

    /// The same epochs with classes merged: class i becomes `map[i]` of `classes` classes. Four stages to
    /// sleep/wake, for instance, is `merged(2, &[0, 1, 1, 1])`.
    ///
    /// # Errors
    /// [`ConfusionError::NotSquare`] when `map` does not name every class; [`ConfusionError::OutOfRange`]
    /// when it names one that is not there.
    pub fn merged(&self, classes: usize, map: &[u8]) -> Result<Self, ConfusionError> {
        if map.len() != self.classes {
            return Err(ConfusionError::NotSquare { row: 0, found: map.len(), classes: self.classes });
        }
        let mut out = Self::new(classes)?;
        if let Some(&code) = map.iter().find(|&&code| usize::from(code) >= classes) {
            return Err(ConfusionError::OutOfRange { code, classes });
        }
        for (truth, &row) in map.iter().enumerate() {
            for (predicted, &column) in map.iter().enumerate() {
                out.counts[usize::from(row) * classes + usize::from(column)] += self.count(truth, predicted);
            }
        }
        Ok(out)
    }

    /// Number of classes k.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Epochs of true class `truth` predicted as class `predicted`; 0 outside the matrix.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        if truth < self.classes && predicted < self.classes {
            self.counts[truth * self.classes + predicted]
        } else {
            0
        }
    }

    /// Epochs counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Epochs predicted rightly: the trace.
    #[must_use]
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|class| self.count(class, class)).sum()
    }

    /// Epochs whose true class is `class`.
    #[must_use]
    pub fn truth_total(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    /// Epochs predicted as `class`.
    #[must_use]
    pub fn predicted_total(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    /// Share of the epochs of true class `truth` that were predicted as `predicted`; `None` when there are none.
    #[must_use]
    pub fn share(&self, truth: usize, predicted: usize) -> Option<f64> {
        let row = self.truth_total(truth);
        (row > 0).then(|| self.count(truth, predicted) as f64 / row as f64)
    }

    /// The counts row by row.
    #[must_use]
    pub fn to_rows(&self) -> Vec<Vec<u64>> {
        self.counts.chunks(self.classes).map(<[u64]>::to_vec).collect()
    }

    /// Row-major counts, for sums over many matrices without an allocation each.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Rebuilds from row-major counts that are known to be square.
    pub(crate) fn from_counts(classes: usize, counts: Vec<u64>) -> Self {
        debug_assert_eq!(counts.len(), classes * classes);
        Self { classes, counts }
    }
}

impl TryFrom<Vec<Vec<u64>>> for Confusion {
    type Error = ConfusionError;

    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, ConfusionError> {
        let mut confusion = Self::new(rows.len())?;
        let mut total = 0_u64;
        for (index, row) in rows.iter().enumerate() {
            if row.len() != rows.len() {
                return Err(ConfusionError::NotSquare { row: index, found: row.len(), classes: rows.len() });
            }
            for &count in row {
                total = total.saturating_add(count);
            }
        }
        if total > MAX_EPOCHS {
            return Err(ConfusionError::TooMany);
        }
        confusion.counts = rows.concat();
        Ok(confusion)
    }
}

impl From<Confusion> for Vec<Vec<u64>> {
    fn from(confusion: Confusion) -> Self {
        confusion.to_rows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_pairs_by_truth_then_prediction() {
        let c = Confusion::from_pairs(3, [(0, 0), (0, 2), (1, 1), (0, 2)]).unwrap();
        assert_eq!(c.to_rows(), vec![vec![1, 0, 2], vec![0, 1, 0], vec![0, 0, 0]]);
        assert_eq!((c.total(), c.correct(), c.truth_total(0), c.predicted_total(2)), (4, 2, 3, 2));
        assert_eq!(c.share(0, 2), Some(2.0 / 3.0));
        assert_eq!(c.share(2, 2), None);
    }

    #[test]
    fn unscored_epochs_are_left_out() {
        let truth = [Some(0), None, Some(1), Some(1)];
        let predicted = [Some(0), Some(1), None, Some(0)];
        let c = Confusion::from_hypnograms(2, &truth, &predicted).unwrap();
        assert_eq!(c.to_rows(), vec![vec![1, 0], vec![1, 0]]);
        assert!(matches!(
            Confusion::from_hypnograms(2, &truth, &predicted[..3]),
            Err(ConfusionError::Length { truth: 4, predicted: 3 })
        ));
    }

    #[test]
    fn refuses_codes_and_shapes_out_of_bounds() {
        assert_eq!(Confusion::new(0), Err(ConfusionError::Classes(0)));
        assert_eq!(Confusion::new(MAX_CLASSES + 1), Err(ConfusionError::Classes(MAX_CLASSES + 1)));
        let out = Confusion::from_pairs(2, [(0, 2)]);
        assert_eq!(out, Err(ConfusionError::OutOfRange { code: 2, classes: 2 }));
        for bad in ["[]", "[[1,2],[3]]", "[[1,2],[3,-4]]", "[[9007199254740992,1],[0,0]]", "7"] {
            assert!(serde_json::from_str::<Confusion>(bad).is_err(), "{bad} was read as a matrix");
        }
        let mut full = Confusion::try_from(vec![vec![MAX_EPOCHS]]).unwrap();
        assert_eq!(full.merge(&full.clone()), Err(ConfusionError::TooMany));
        assert_eq!(full.total(), MAX_EPOCHS);
    }

    #[test]
    fn merging_classes_keeps_every_epoch() {
        let four =
            Confusion::try_from(vec![vec![5, 1, 0, 2], vec![1, 9, 3, 1], vec![0, 4, 6, 0], vec![2, 2, 0, 8]]);
        let two = four.unwrap().merged(2, &[0, 1, 1, 1]).unwrap();
        assert_eq!(two.to_rows(), vec![vec![5, 3], vec![3, 33]]);
    }

    fn matrix() -> impl Strategy<Value = Confusion> {
        proptest::collection::vec(proptest::collection::vec(0_u64..1000, 3), 3)
            .prop_map(|rows| Confusion::try_from(rows).unwrap())
    }

    proptest! {
        #[test]
        fn merge_is_associative_and_commutative(a in matrix(), b in matrix(), c in matrix()) {
            let left = Confusion::sum([&a, &b, &c]).unwrap();
            let mut bc = b.clone();
            bc.merge(&c).unwrap();
            let right = Confusion::sum([&a, &bc]).unwrap();
            let turned = Confusion::sum([&c, &b, &a]).unwrap();
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(&left, &turned);
        }

        #[test]
        fn json_round_trips(a in matrix()) {
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Confusion>(&text).unwrap(), a);
        }
    }
}
