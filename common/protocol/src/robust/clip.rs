//! Norm clipping (Sun et al. 2019, "Can You Really Backdoor Federated Learning?"), to a length that the clients set themselves.

use super::{Combined, RobustRule, Verdict, Weighted, by_client, vector};

/// The weighted mean of `d_k min(1, M / |d_k|)`, `M` being `factor` times the median of the round's norms.
///
/// The median is the round's own: lengths shrink as training cools down, fewer liars than honest clients cannot move it beyond
/// an honest length, and nothing has to be remembered for a round that is resumed. It stops boosting, not an update
/// of ordinary length that points the wrong way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormClip {
    /// Times the median norm.
    pub factor: f64,
}

impl RobustRule for NormClip {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let updates = by_client(updates);
        let Some(first) = updates.first() else { return Combined::default() };
        let norms: Vec<f64> = updates.iter().map(|one| vector::norm(one.update)).collect();
        let limit = self.factor * vector::median(&norms);
        let total = updates.iter().map(|one| f64::from(one.weight)).sum();
        let terms = updates.iter().zip(&norms).map(|(one, norm)| {
            let shortened = if *norm > limit { limit / norm } else { 1.0 };
            (f64::from(one.weight) * shortened, one.update)
        });
        let long = updates.iter().zip(&norms).filter(|(_, norm)| **norm > limit);
        let verdict = |(one, norm): (&Weighted<'_>, &f64)| {
            (one.client.clone(), Verdict::Clipped { norm: *norm, limit })
        };
        Combined {
            update: vector::weighted(first.update.len(), terms, total),
            verdicts: long.map(verdict).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::{name, round};

    #[test]
    fn who_is_longer_than_the_median_is_shortened_to_it() {
        // Norms 1, 5 and 50; the last keeps its direction and a tenth of its length.
        let round = round(&[(1, &[1.0, 0.0]), (1, &[3.0, 4.0]), (2, &[0.0, -50.0])]);
        let Combined { update, verdicts } = NormClip { factor: 1.0 }.combine(&round.updates());
        assert_eq!(update, [1.0, -1.5]);
        assert_eq!(verdicts, [(name(2), Verdict::Clipped { norm: 50.0, limit: 5.0 })]);
        let twice = NormClip { factor: 2.0 }.combine(&round.updates());
        assert_eq!(twice.update, [1.0, -4.0]);
        assert_eq!(NormClip { factor: 1.0 }.combine(&[]), Combined::default());
    }

    #[test]
    fn nothing_is_divided_by_a_length_of_zero() {
        let round = round(&[(1, &[0.0]), (1, &[0.0]), (1, &[7.0])]);
        let Combined { update, verdicts } = NormClip { factor: 1.0 }.combine(&round.updates());
        assert_eq!((update, verdicts.len()), (vec![0.0], 1));
    }
}
