//! The geometric median by a smoothed Weiszfeld iteration (RFA: Pillutla, Kakade and Harchaoui 2022, "Robust Aggregation
//! for Federated Learning").

use super::median::median;
use super::{Combined, RobustRule, Verdict, Weighted, by_client, vector};

/// The point whose weighted sum of distances to all updates is smallest; while less than half of the weight lies, it stays near
/// the honest updates.
///
/// `v <- sum b_k d_k / sum b_k` with `b_k = n_k / max(smoothing, |v - d_k|)`. The paper starts from a mean and needs many
/// steps to come back from a huge lie; here every update is visible, so it starts from the coordinate-wise median, which
/// no minority can move far, and each step only shortens the sum of distances.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GeometricMedian {
    /// Most steps.
    pub iterations: u32,
    /// Distances below it count as this, so that nothing is divided by zero.
    pub smoothing: f64,
}

/// Stops when a step moves less than this part of the mean distance.
const STILL: f64 = 1e-7;

/// Who counts for less than this part of what the usual update does is named.
const NAMED: f64 = 0.5;

impl RobustRule for GeometricMedian {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let updates = by_client(updates);
        let mut centre = median(&updates);
        for _ in 0..self.iterations {
            let pull = self.pull(&updates, &centre);
            let terms = pull.iter().zip(&updates).map(|(pull, one)| (*pull, one.update));
            let next = vector::weighted(centre.len(), terms, pull.iter().sum());
            let moved = vector::squared_distance(&next, &centre).sqrt();
            centre = next;
            if moved * pull.iter().sum::<f64>() <= STILL * total(&updates) {
                break;
            }
        }
        let distances: Vec<f64> = updates.iter().map(|one| self.distance(one, &centre)).collect();
        let usual = vector::median(&distances);
        let verdict = |(one, distance): (&Weighted<'_>, &f64)| {
            let share = usual / distance;
            (share < NAMED).then(|| (one.client.clone(), Verdict::FarFromCentre { share }))
        };
        let verdicts = updates.iter().zip(&distances).filter_map(verdict).collect();
        Combined { update: centre, verdicts }
    }
}

fn total(updates: &[Weighted<'_>]) -> f64 {
    updates.iter().map(|one| f64::from(one.weight)).sum()
}

impl GeometricMedian {
    fn distance(&self, one: &Weighted<'_>, centre: &[f32]) -> f64 {
        vector::squared_distance(one.update, centre).sqrt().max(self.smoothing)
    }

    fn pull(&self, updates: &[Weighted<'_>], centre: &[f32]) -> Vec<f64> {
        updates.iter().map(|one| f64::from(one.weight) / self.distance(one, centre)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::{name, round};

    const RULE: GeometricMedian = GeometricMedian { iterations: 200, smoothing: 1e-6 };

    #[test]
    fn of_a_triangle_it_is_the_point_that_sees_each_side_under_the_same_angle() {
        // Fermat's point of an isosceles triangle with base (-1, 0), (1, 0) is 1 / sqrt 3 above the base.
        let round = round(&[(1, &[-1.0, 0.0]), (1, &[1.0, 0.0]), (1, &[0.0, 2.0])]);
        let found = RULE.combine(&round.updates()).update;
        assert!(found[0].abs() < 1e-6, "{found:?}");
        assert!((found[1] - 3f32.sqrt().recip()).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn one_step_by_hand() {
        // From the medians (0, 0): distances 1, 1 and 2, pulls 1, 1 and 1/2.
        let round = round(&[(1, &[-1.0, 0.0]), (1, &[1.0, 0.0]), (1, &[0.0, 2.0])]);
        let found = GeometricMedian { iterations: 1, ..RULE }.combine(&round.updates()).update;
        assert_eq!(found, [0.0, 0.4]);
    }

    #[test]
    fn a_far_update_is_named_and_weight_counts() {
        let three = round(&[(1, &[0.0]), (1, &[1.0]), (1, &[1e6])]);
        let Combined { update, verdicts } = RULE.combine(&three.updates());
        assert!((update[0] - 1.0).abs() < 1e-3, "{update:?}");
        assert!(matches!(&verdicts[..], [(client, Verdict::FarFromCentre { .. })] if *client == name(2)));
        let heavy = round(&[(1, &[0.0]), (1, &[1.0]), (3, &[5.0])]);
        let heavy = RULE.combine(&heavy.updates()).update;
        assert!((heavy[0] - 5.0).abs() < 1e-3, "{heavy:?}");
        assert_eq!(RULE.combine(&[]), Combined::default());
    }
}
