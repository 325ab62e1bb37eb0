//! The coordinate-wise trimmed mean (Yin et al. 2018).

use super::config::lying;
use super::{Combined, RobustRule, Weighted, by_client, columns};

/// The mean of each coordinate without its largest and smallest values; everybody counts alike.
///
/// Of `n` updates `ceil(fraction n)` are dropped on either side. While no more than that many lie, each coordinate stays
/// within what honest clients sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TrimmedMean {
    /// Dropped on either side, 0 to below 1/2.
    pub fraction: f64,
}

impl RobustRule for TrimmedMean {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let updates = by_client(updates);
        let rows: Vec<&[f32]> = updates.iter().map(|one| one.update).collect();
        let dropped = lying(self.fraction, rows.len()).min(rows.len().saturating_sub(1) / 2);
        let kept = dropped..rows.len() - dropped;
        let mut update = Vec::with_capacity(rows.first().map_or(0, |row| row.len()));
        let mut sums = Vec::new();
        columns::sorted(&rows, |range, block| {
            sums.clear();
            sums.resize(range.len(), 0.0f64);
            for row in &block[kept.clone()] {
                sums.iter_mut().zip(*row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            update.extend(sums.iter().map(|sum| (sum / kept.len() as f64) as f32));
        });
        Combined { update, verdicts: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::round;

    #[test]
    fn the_ends_of_each_coordinate_go() {
        let five = round(&[
            (1, &[1.0, 0.0]),
            (1, &[2.0, 0.0]),
            (1, &[3.0, 9.0]),
            (1, &[7.0, 0.0]),
            (9, &[-1e9, 3.0]),
        ]);
        let trim = |fraction| TrimmedMean { fraction }.combine(&five.updates()).update;
        assert_eq!(trim(0.2), [2.0, 1.0]);
        // A fifth of five is one, a little more is two.
        assert_eq!(trim(0.21), [2.0, 0.0]);
        assert_eq!(TrimmedMean { fraction: 0.4 }.combine(&[]), Combined::default());
    }

    #[test]
    fn something_is_always_left() {
        let two = round(&[(1, &[1.0]), (1, &[3.0])]);
        assert_eq!(TrimmedMean { fraction: 0.49 }.combine(&two.updates()).update, [2.0]);
    }
}
