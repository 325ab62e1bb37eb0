//! The coordinate-wise median (Yin et al. 2018, "Byzantine-Robust Distributed Learning").

use super::{Combined, RobustRule, Weighted, by_client, columns};

/// The median of each coordinate; everybody has one vote, whatever the weight. With fewer lying clients than honest ones each
/// coordinate stays within what honest clients sent.
///
/// Honest people differ, and the median of a skewed spread is not its mean: expect to pay for it when nobody lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Median;

impl RobustRule for Median {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        Combined { update: median(&by_client(updates)), verdicts: Vec::new() }
    }
}

/// The median of each coordinate; of an even number the mean of the middle two.
pub(super) fn median(updates: &[Weighted<'_>]) -> Vec<f32> {
    let rows: Vec<&[f32]> = updates.iter().map(|one| one.update).collect();
    let mut out = Vec::with_capacity(rows.first().map_or(0, |row| row.len()));
    columns::sorted(&rows, |_, block| {
        let (low, high) = (block[(block.len() - 1) / 2], block[block.len() / 2]);
        // Halves first: the sum of two large numbers may be infinite.
        out.extend(low.iter().zip(high).map(|(low, high)| low / 2.0 + high / 2.0));
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::round;

    #[test]
    fn each_coordinate_has_its_own_median_and_weights_are_no_votes() {
        let odd = round(&[(1, &[1.0, -5.0]), (1, &[2.0, 7.0]), (4096, &[1e9, 0.0])]);
        assert_eq!(Median.combine(&odd.updates()).update, [2.0, 0.0]);
        let even = round(&[(1, &[1.0]), (1, &[2.0]), (1, &[4.0]), (1, &[9.0])]);
        assert_eq!(Median.combine(&even.updates()).update, [3.0]);
        let huge = round(&[(1, &[f32::MAX]), (1, &[f32::MAX])]);
        assert_eq!(Median.combine(&huge.updates()).update, [f32::MAX]);
        assert_eq!(Median.combine(&[]), Combined::default());
    }
}
