//! The weighted mean: the best that can be done while nobody lies.

use super::{Combined, RobustRule, Weighted, by_client, vector};

/// `sum n_k d_k / sum n_k`. One client can move it anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mean;

impl RobustRule for Mean {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let updates = by_client(updates);
        Combined { update: mean(&updates), verdicts: Vec::new() }
    }
}

/// The weighted mean of sorted updates.
pub(super) fn mean(updates: &[Weighted<'_>]) -> Vec<f32> {
    let len = updates.first().map_or(0, |one| one.update.len());
    let total = updates.iter().map(|one| f64::from(one.weight)).sum();
    vector::weighted(len, updates.iter().map(|one| (f64::from(one.weight), one.update)), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::round;

    #[test]
    fn updates_weigh_what_they_say() {
        let round = round(&[(1, &[0.0, 4.0]), (3, &[4.0, 0.0])]);
        assert_eq!(Mean.combine(&round.updates()).update, [3.0, 1.0]);
        assert_eq!(Mean.combine(&[]), Combined::default());
    }
}
