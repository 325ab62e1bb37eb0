//! Which people, or which part of a night, may be learned from and which must stay unseen.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::PersonId;

/// One fold of a cross-validation: people to learn from, and people never seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Sorted.
    pub train: Vec<PersonId>,
    /// Sorted; disjoint from `train`.
    pub test: Vec<PersonId>,
}

/// Cross-validation over people: every person is tested in exactly one fold, with all their nights.
///
/// Folds differ by at most one person in size. Order and repetitions in `people` do not matter. With more
/// folds than people there is one fold per person (leave one out).
///
/// # Panics
/// When `folds` is 0.
#[must_use]
pub fn by_person(people: &[PersonId], folds: usize, seed: u64) -> Vec<Fold> {
    assert!(folds > 0, "a cross-validation has at least one fold");
    let mut everyone = people.to_vec();
    everyone.sort();
    everyone.dedup();
    let mut shuffled = everyone.clone();
    shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    (0..folds.min(everyone.len()))
        .map(|fold| {
            let mut test: Vec<_> = shuffled.iter().skip(fold).step_by(folds).cloned().collect();
            test.sort();
            let unseen = |p: &&PersonId| test.binary_search(p).is_err();
            Fold { train: everyone.iter().filter(unseen).cloned().collect(), test }
        })
        .collect()
}

/// The honest split inside one night: learn from the beginning, test on the end.
///
/// The `gap_epochs` between the two belong to neither: neighbouring epochs are nearly copies of each other. Labels never
/// cross the cut. Measurements do, in two ways. Heart rate is normalised by its median and spread over the
/// whole night ([`crate::Normalisation::WholeNight`]), so both parts know the level of both. And who stages the
/// whole night before judging its end gives the model the beginning as context, windows wider than the gap included.
/// Both are what a reading of the whole night the morning after has as well; a staging while the night goes on has neither.
/// Either range may be empty when the night is too short for the gap.
#[must_use]
pub fn chronological(epochs: usize, train_fraction: f32, gap_epochs: usize) -> (Range<usize>, Range<usize>) {
    let cut = (epochs as f64 * f64::from(train_fraction.clamp(0.0, 1.0))).round() as usize;
    let cut = cut.min(epochs);
    (0..cut, cut.saturating_add(gap_epochs).min(epochs)..epochs)
}

/// **A leak, kept as a negative control**: epochs of one night dealt out at random.
///
/// Neighbouring epochs look alike, so a model that memorises the night scores kappa .59 here and
/// .04 with [`chronological`] (measured on four smoothed features). A result from this split says nothing
/// about staging; reports show it only beside the honest one, to show the size of the leak.
/// Returns sorted epoch indices: to learn from, to test on.
#[must_use]
pub fn random_epochs_leaky(epochs: usize, train_fraction: f32, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..epochs).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut test = order.split_off(chronological(epochs, train_fraction, 0).0.end);
    order.sort_unstable();
    test.sort_unstable();
    (order, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(n: usize) -> Vec<PersonId> {
        (0..n).map(|i| PersonId::new(format!("p{i:03}")).unwrap()).collect()
    }

    #[test]
    fn everyone_is_tested_once_and_never_trained_on() {
        for (n, folds) in [(23, 6), (24, 4), (5, 5), (3, 10), (1, 2)] {
            let everyone = people(n);
            let split = by_person(&everyone, folds, 7);
            assert_eq!(split.len(), folds.min(n));
            let mut tested: Vec<_> = split.iter().flat_map(|f| f.test.clone()).collect();
            tested.sort();
            assert_eq!(tested, everyone);
            for fold in &split {
                assert!(fold.test.iter().all(|p| !fold.train.contains(p)));
                assert_eq!(fold.train.len() + fold.test.len(), n);
                assert!(fold.test.len().abs_diff(n / folds.min(n)) <= 1);
            }
        }
    }

    #[test]
    fn folds_follow_the_seed_and_not_the_order() {
        let everyone = people(23);
        let mut backwards = everyone.clone();
        backwards.reverse();
        backwards.extend(everyone.clone());
        assert_eq!(by_person(&everyone, 6, 1), by_person(&backwards, 6, 1));
        assert_ne!(by_person(&everyone, 6, 1), by_person(&everyone, 6, 2));
    }

    #[test]
    fn chronological_keeps_the_gap() {
        assert_eq!(chronological(100, 0.7, 10), (0..70, 80..100));
        assert_eq!(chronological(100, 1.0, 10), (0..100, 100..100));
        assert_eq!(chronological(10, 0.9, 20), (0..9, 10..10));
        assert_eq!(chronological(0, 0.5, 3), (0..0, 0..0));
    }

    #[test]
    fn the_leaky_split_is_a_partition_and_mixes_time() {
        let (train, test) = random_epochs_leaky(900, 0.7, 3);
        assert_eq!((train.len(), test.len()), (630, 270));
        let mut all = [train.clone(), test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..900).collect::<Vec<_>>());
        assert!(test[0] < 30 && train[629] > 870);
        assert_eq!(random_epochs_leaky(900, 0.7, 3), (train, test));
    }
}
