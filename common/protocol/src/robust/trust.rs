//! FLTrust (Cao et al. 2021): updates count by how much they point the way of one that the operator trusts.

use super::{Combined, RobustRule, Verdict, Weighted, by_client, vector};
use crate::ids::ClientId;

/// `sum t_k (|g| / |d_k|) d_k / sum t_k` with `t_k = max(0, cos(d_k, g))`; `g` is the update of a trusted client.
///
/// In the paper the server trains `g` on a clean set of its own. Here the server knows no training, so the clean set sits
/// behind a client of the operator, whose update it is. Everybody is brought to the length of `g`, so the result is never
/// longer than it; any number of liars can at most take part of it away. Without `g` nothing is learned: zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlTrust {
    /// The trusted client.
    pub reference: ClientId,
}

impl RobustRule for FlTrust {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let updates = by_client(updates);
        let Some(first) = updates.first() else { return Combined::default() };
        let len = first.update.len();
        let trusted = updates.iter().find(|one| *one.client == self.reference);
        let trusted = trusted.map(|one| (one.update, vector::norm(one.update)));
        let Some((trusted, length)) = trusted.filter(|(_, length)| *length > 0.0) else {
            let verdicts = updates.iter().map(|one| (one.client.clone(), Verdict::NoReference)).collect();
            return Combined { update: vec![0.0; len], verdicts };
        };
        let mut terms = Vec::with_capacity(updates.len());
        let (mut total, mut verdicts) = (0.0, Vec::new());
        for one in &updates {
            let norm = vector::norm(one.update);
            let cosine = if norm > 0.0 { vector::dot(one.update, trusted) / (norm * length) } else { 0.0 };
            if cosine > 0.0 {
                total += cosine;
                terms.push((cosine * length / norm, one.update));
            } else {
                verdicts.push((one.client.clone(), Verdict::AgainstReference { cosine }));
            }
        }
        Combined { update: vector::weighted(len, terms, total), verdicts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::{name, round};

    #[test]
    fn updates_count_by_their_cosine_and_have_one_length() {
        // Cosines to (2, 0): 1, 0.6 and -1; lengths become 2.
        let round = round(&[(1, &[2.0, 0.0]), (1, &[3.0, 4.0]), (4096, &[-9.0, 0.0]), (1, &[0.0, 0.0])]);
        let Combined { update, verdicts } = FlTrust { reference: name(0) }.combine(&round.updates());
        // (1 * (2, 0) + .6 * (1.2, 1.6)) / 1.6
        assert!((update[0] - 1.7).abs() < 1e-6 && (update[1] - 0.6).abs() < 1e-6, "{update:?}");
        let expected = [(name(2), -1.0), (name(3), 0.0)];
        let expected = expected.map(|(client, cosine)| (client, Verdict::AgainstReference { cosine }));
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn without_the_reference_nothing_is_learned() {
        for reference in [name(7), name(1)] {
            let round = round(&[(1, &[2.0]), (1, &[0.0])]);
            let Combined { update, verdicts } = FlTrust { reference }.combine(&round.updates());
            assert_eq!(update, [0.0]);
            assert!(verdicts.len() == 2 && verdicts.iter().all(|(_, why)| *why == Verdict::NoReference));
        }
    }
}
