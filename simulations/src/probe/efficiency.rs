//! Label efficiency: what a score is when only some of the people are labelled.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A point of the curve.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// The share of people that was asked for.
    pub fraction: f64,
    /// The people that this is.
    pub people: usize,
    /// What they were enough for.
    pub score: Option<f64>,
}

/// The score with a part of `people` for each of `fractions`, at least one of them. Smaller parts are within larger ones, so
/// that a step of the curve is what more people bring; the seed says who comes first.
pub fn label_efficiency<P: Clone>(
    people: &[P],
    fractions: &[f64],
    seed: u64,
    mut score: impl FnMut(&[P]) -> Option<f64>,
) -> Vec<Point> {
    let mut order = people.to_vec();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut point = |fraction: &f64| {
        let wanted = (fraction * order.len() as f64).round().max(1.0) as usize;
        let some = &order[..wanted.min(order.len())];
        let score = if some.is_empty() { None } else { score(some) };
        Point { fraction: *fraction, people: some.len(), score }
    };
    fractions.iter().map(&mut point).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn smaller_parts_are_within_larger_ones() {
        let everybody: Vec<usize> = (0..20).collect();
        let curve = |seed| {
            let mut parts: Vec<BTreeSet<usize>> = Vec::new();
            let points = label_efficiency(&everybody, &[0.01, 0.1, 0.5, 1.0], seed, |people| {
                parts.push(people.iter().copied().collect());
                Some(people.len() as f64)
            });
            (points, parts)
        };
        let (points, parts) = curve(1);
        assert_eq!(
            points.iter().map(|p| (p.people, p.score.unwrap())).collect::<Vec<_>>(),
            [(1, 1.0), (2, 2.0), (10, 10.0), (20, 20.0)]
        );
        assert!(parts.windows(2).all(|pair| pair[0].is_subset(&pair[1])));
        assert_eq!(curve(1), (points, parts.clone()));
        assert_ne!(curve(2).1, parts);
    }

    #[test]
    fn nobody_has_no_score() {
        let none = label_efficiency::<usize>(&[], &[1.0], 1, |_| unreachable!("nobody is scored"));
        assert_eq!(none, [Point { fraction: 1.0, people: 0, score: None }]);
    }
}
