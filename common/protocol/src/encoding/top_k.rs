//! Some coordinates, the same for all clients, so that their sum is exact.

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

impl TopK {
    /// The coordinates at which `last` is largest, ties to the lower index, and some by lot; all by lot without a `last`.
    pub(super) fn new(len: usize, fraction: f64, last: Option<&[f32]>, seed: &Seed) -> Self {
        let k = ((len as f64 * fraction).round() as usize).clamp(1.min(len), len);
        let mut order: Vec<u32> = (0..len as u32).collect();
        let largest = match last {
            Some(last) if k > 0 => {
                let magnitude = |i: &u32| last.get(*i as usize).map_or(0.0, |x| x.abs());
                let by = |a: &u32, b: &u32| magnitude(b).total_cmp(&magnitude(a)).then(a.cmp(b));
                let largest = k - (k as f64 * BY_LOT) as usize;
                order.select_nth_unstable_by(largest - 1, by);
                // The selection leaves both sides in an order of its own.
                order[largest..].sort_unstable();
                largest
            }
            _ => 0,
        };
        let mut rng = seed.rng();
        for i in largest..k {
            let left = (len - i) as u64;
            let pick = i + ((u128::from(rng.next_u64()) * u128::from(left)) >> 64) as usize;
            order.swap(i, pick);
        }
        order.truncate(k);
        order.sort_unstable();
        Self { len, chosen: order }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_in_and_the_others_get_their_turn() {
        let last: Vec<f32> = (0..1000).map(|i| if i % 10 == 3 { -1.0 } else { 1e-3 }).collect();
        let mut seen = vec![false; 1000];
        for round in 0..200 {
            let map = TopK::new(1000, 0.12, Some(&last), &Seed::from_number(round));
            assert_eq!(map.len(), 120);
            assert!(map.chosen.is_sorted_by(|a, b| a < b));
            let large = map.chosen.iter().filter(|i| **i % 10 == 3).count();
            assert!((90..=100).contains(&large), "{large}");
            map.chosen.iter().for_each(|i| seen[*i as usize] = true);
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn without_a_release_all_are_by_lot() {
        let chosen = |seed| TopK::new(100, 0.1, None, &Seed::from_number(seed)).chosen;
        assert_eq!(chosen(1).len(), 10);
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }
}
