//! Krum and multi-Krum (Blanchard et al. 2017, "Machine Learning with Adversaries").
//!
//! Of `n` updates, `f` of which may lie, each is scored by the sum of squared distances to the `n - f - 2` nearest others.
//! An honest update has that many honest neighbours; one that lies far out has not. Proven for `n >= 2 f + 3`, which
//! [`RobustConfig::check`](super::RobustConfig::check) demands.

use super::config::lying;
use super::{Combined, RobustRule, Verdict, Weighted, by_client, vector};

/// Coordinates whose pairwise distances are taken together: a block of 30 updates stays in a second-level cache.
const BLOCK: usize = 4096;

/// The one update with the closest neighbours; everybody else is left out. Everybody counts alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Krum {
    /// The part of clients that may lie, 0 to below 1/2.
    pub fraction: f64,
}

/// The mean of the `n - f` updates with the closest neighbours; everybody counts alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MultiKrum {
    /// The part of clients that may lie, 0 to below 1/2.
    pub fraction: f64,
}

impl RobustRule for Krum {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        closest(&by_client(updates), lying(self.fraction, updates.len()), 1)
    }
}

impl RobustRule for MultiKrum {
    fn combine(&self, updates: &[Weighted<'_>]) -> Combined {
        let lying = lying(self.fraction, updates.len());
        closest(&by_client(updates), lying, updates.len() - lying)
    }
}

/// The mean of the `wanted` sorted updates with the smallest scores.
fn closest(updates: &[Weighted<'_>], lying: usize, wanted: usize) -> Combined {
    let Some(first) = updates.first() else { return Combined::default() };
    let neighbours = updates.len().saturating_sub(lying + 2).max(1);
    let scores = scores(updates, neighbours);
    let mut order: Vec<usize> = (0..updates.len()).collect();
    // A stable sort: among equals the first client wins.
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (chosen, left_out) = order.split_at_mut(wanted.clamp(1, updates.len()));
    // Sums are taken in the order of clients, not in that of scores.
    chosen.sort_unstable();
    left_out.sort_unstable();
    let terms = chosen.iter().map(|one| (1.0, updates[*one].update));
    let verdict = |one: &usize| {
        let distance = (scores[*one] / neighbours as f64).sqrt();
        (updates[*one].client.clone(), Verdict::FarFromNeighbours { distance })
    };
    Combined {
        update: vector::weighted(first.update.len(), terms, chosen.len() as f64),
        verdicts: left_out.iter().map(verdict).collect(),
    }
}

/// For each update the sum of squared distances to its nearest `neighbours`.
fn scores(updates: &[Weighted<'_>], neighbours: usize) -> Vec<f64> {
    let count = updates.len();
    let len = updates.first().map_or(0, |one| one.update.len());
    let mut squares = vec![0.0; count * count];
    for start in (0..len).step_by(BLOCK) {
        let range = start..len.min(start + BLOCK);
        for a in 0..count {
            for b in a + 1..count {
                let (one, other) = (&updates[a].update[range.clone()], &updates[b].update[range.clone()]);
                squares[a * count + b] += vector::squared_distance(one, other);
            }
        }
    }
    let of = |one: usize| {
        let others = (0..count).filter(|other| *other != one);
        let mut near: Vec<f64> =
            others.map(|other| squares[one.min(other) * count + one.max(other)]).collect();
        near.sort_by(f64::total_cmp);
        near.iter().take(neighbours).sum()
    };
    (0..count).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::robust::properties::{name, round};

    /// Five clients on a line, one of them far out; `f = 1` leaves two neighbours. Scores: 1+4, 1+1, 1+4, 4+9 and
    /// 94^2+96^2.
    const LINE: [(u32, &[f32]); 5] =
        [(1, &[1.0, 0.0]), (1, &[2.0, 0.0]), (1, &[3.0, 0.0]), (1, &[5.0, 0.0]), (4096, &[99.0, 0.0])];

    #[test]
    fn krum_takes_the_one_with_the_closest_neighbours() {
        let round = round(&LINE);
        let Combined { update, verdicts } = Krum { fraction: 0.2 }.combine(&round.updates());
        assert_eq!(update, [2.0, 0.0]);
        let out: Vec<_> = verdicts.iter().map(|(client, _)| client.clone()).collect();
        assert_eq!(out, [0, 2, 3, 4].map(name));
        // 5 = 1^2 + 2^2 over two neighbours.
        assert_eq!(verdicts[0].1, Verdict::FarFromNeighbours { distance: 2.5f64.sqrt() });
    }

    #[test]
    fn multi_krum_leaves_out_as_many_as_may_lie() {
        let round = round(&LINE);
        let Combined { update, verdicts } = MultiKrum { fraction: 0.2 }.combine(&round.updates());
        assert_eq!(update, [2.75, 0.0]);
        assert_eq!(verdicts.len(), 1);
        assert_eq!(verdicts[0].0, name(4));
    }

    #[test]
    fn among_equals_the_first_client_wins() {
        let round = round(&[(1, &[0.0]), (1, &[1.0]), (1, &[0.0]), (1, &[1.0]), (1, &[0.0])]);
        let combined = Krum { fraction: 0.2 }.combine(&round.updates());
        assert_eq!(combined.update, [0.0]);
        assert!(combined.verdicts.iter().all(|(client, _)| *client != name(0)));
        assert_eq!(Krum { fraction: 0.2 }.combine(&[]), Combined::default());
    }

    #[test]
    fn distances_are_the_same_in_blocks() {
        let long: Vec<Vec<f32>> =
            (0..4).map(|k| (0..BLOCK + 7).map(|i| ((i + 3 * k) % 5) as f32).collect()).collect();
        let parts: Vec<(u32, &[f32])> = long.iter().map(|one| (1, one.as_slice())).collect();
        let round = round(&parts);
        let expected: f64 = vector::squared_distance(&long[0], &long[1])
            .min(vector::squared_distance(&long[0], &long[2]))
            .min(vector::squared_distance(&long[0], &long[3]));
        assert_eq!(scores(&round.updates(), 1)[0], expected);
    }
}
