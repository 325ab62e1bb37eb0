//! Some coordinates, the same for all clients, so that their sum is exact.
//!
//! Which ones the last release changed most is found once, by the server, and travels beside the release as one bit a
//! weight: a thirty-second of the release itself, and also there for a client that does not hold the release before.

use bytes::Bytes;
use rand::RngCore;

use crate::seed::Seed;

/// Of the coordinates, how many are drawn by lot: what was never sent never changes a release and would never be chosen by
/// its change.
const BY_LOT: f64 = 0.25;

/// The coordinates that travel this round.
pub(super) struct TopK {
    len: usize,
    /// Ascending.
    chosen: Vec<u32>,
}

/// How many coordinates of `len` travel, and how many of those are the favourites.
fn counts(len: usize, fraction: f64) -> (usize, usize) {
    let all = ((len as f64 * fraction).round() as usize).clamp(1.min(len), len);
    (all, all - (all as f64 * BY_LOT) as usize)
}

/// The coordinates at which `change` is largest, ties to the lower index: one bit each, the lowest first.
pub(super) fn favourites(change: &[f32], fraction: f64) -> Bytes {
    let mut bits = vec![0u8; change.len().div_ceil(8)];
    for i in largest(change, counts(change.len(), fraction).1) {
        bits[i as usize / 8] |= 1 << (i % 8);
    }
    bits.into()
}

impl TopK {
    /// The favourites, and some by lot; all by lot without favourites, or with those of another length or fraction.
    pub(super) fn new(len: usize, fraction: f64, favourites: Option<&[u8]>, seed: &Seed) -> Self {
        let (k, favoured) = counts(len, fraction);
        let is_set = |bits: &[u8], i: u32| bits[i as usize / 8] >> (i % 8) & 1 == 1;
        let indices = |bits: &[u8]| (0..len as u32).filter(|i| is_set(bits, *i)).collect::<Vec<u32>>();
        let favourites = favourites.filter(|bits| bits.len() == len.div_ceil(8)).map(indices);
        let largest = favourites.filter(|largest| largest.len() == favoured).unwrap_or_default();
        let by_lot = k - largest.len();
        let mut free = vec![true; len];
        largest.iter().for_each(|i| free[*i as usize] = false);
        let mut rest: Vec<u32> = (0..len as u32).filter(|i| free[*i as usize]).collect();
        let mut rng = seed.rng();
        for i in 0..by_lot {
            let left = (rest.len() - i) as u64;
            let pick = i + ((u128::from(rng.next_u64()) * u128::from(left)) >> 64) as usize;
            rest.swap(i, pick);
        }
        rest.truncate(by_lot);
        let mut chosen = [largest, rest].concat();
        chosen.sort_unstable();
        Self { len, chosen }
    }

    pub(super) fn len(&self) -> usize {
        self.chosen.len()
    }

    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        self.chosen.iter().map(|i| x[*i as usize]).collect()
    }

    pub(super) fn back(&self, y: &[f32]) -> Vec<f32> {
        let mut x = vec![0.0; self.len];
        self.chosen.iter().zip(y).for_each(|(i, y)| x[*i as usize] = *y);
        x
    }
}

/// The indices of the `k` numbers of largest magnitude, ties to the lower index; in no order.
fn largest(x: &[f32], k: usize) -> Vec<u32> {
    // Magnitudes order like their bits, and below them stands what decides ties.
    let key = |(i, x): (usize, &f32)| u64::from(x.abs().to_bits()) << 32 | u64::from(!(i as u32));
    let mut keys: Vec<u64> = x.iter().enumerate().map(key).collect();
    let from = keys.len() - k.min(keys.len());
    if from > 0 && from < keys.len() {
        keys.select_nth_unstable(from);
    }
    keys[from..].iter().map(|key| !(*key as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_in_and_the_others_get_their_turn() {
        let last: Vec<f32> = (0..1000).map(|i| if i % 10 == 3 { -1.0 } else { 1e-3 }).collect();
        let favoured = favourites(&last, 0.12);
        let mut seen = vec![false; 1000];
        for round in 0..200 {
            let map = TopK::new(1000, 0.12, Some(&favoured), &Seed::from_number(round));
            assert_eq!(map.len(), 120);
            assert!(map.chosen.is_sorted_by(|a, b| a < b));
            let large = map.chosen.iter().filter(|i| **i % 10 == 3).count();
            assert!((90..=100).contains(&large), "{large}");
            map.chosen.iter().for_each(|i| seen[*i as usize] = true);
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        let sorted = |k| {
            let mut chosen = largest(&[1.0, -2.0, 2.0, -1.0, 0.0], k);
            chosen.sort_unstable();
            chosen
        };
        assert_eq!((sorted(0), sorted(1), sorted(3)), (vec![], vec![1], vec![0, 1, 2]));
        assert_eq!(sorted(5), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn without_a_release_all_are_by_lot() {
        let chosen = |seed| TopK::new(100, 0.1, None, &Seed::from_number(seed)).chosen;
        assert_eq!(chosen(1).len(), 10);
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }

    #[test]
    fn favourites_of_another_plan_are_none() {
        let last: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let chosen = |bits: Option<&[u8]>| TopK::new(100, 0.1, bits, &Seed::from_number(1)).chosen;
        let (right, wide) = (favourites(&last, 0.1), favourites(&last, 0.2));
        assert!((92..100).all(|i| chosen(Some(&right)).contains(&i)));
        assert_eq!(chosen(Some(&wide)), chosen(None));
        assert_eq!(chosen(Some(&right[1..])), chosen(None));
    }
}
