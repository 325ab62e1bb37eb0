//! A person's own level and spread, from a whole night or from what has passed of it.

/// Normalised values are held within this many spreads.
const LIMIT: f32 = 5.0;

/// What to subtract and what to divide by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    centre: f32,
    spread: f32,
}

impl Scale {
    /// Median, and 90th percentile of the absolute deviation from it, at least `floor`: a night as steady as a
    /// metronome is not divided by zero. `None` without values.
    pub(super) fn of(values: impl Iterator<Item = f32>, floor: f32) -> Option<Self> {
        let mut sorted: Vec<f32> = values.collect();
        sorted.sort_unstable_by(f32::total_cmp);
        Self::of_sorted(&sorted, floor)
    }

    fn of_sorted(sorted: &[f32], floor: f32) -> Option<Self> {
        let last = sorted.len().checked_sub(1)?;
        let middle = (last as f64 * 0.5) as usize;
        let centre = sorted[middle];
        // Deviations in rising order, without sorting them: outward from the middle, the nearer end first.
        let (mut low, mut high) = (middle, middle);
        for _ in 0..(last as f64 * 0.9) as usize {
            let below = low.checked_sub(1).map(|i| centre - sorted[i]);
            let above = sorted.get(high + 1).map(|v| v - centre);
            match (below, above) {
                (Some(b), Some(a)) if b <= a => low -= 1,
                (Some(_), None) => low -= 1,
                _ => high += 1,
            }
        }
        let spread = (centre - sorted[low]).max(sorted[high] - centre);
        Some(Self { centre, spread: spread.max(floor) })
    }

    /// `(value − centre) / spread`, within ±5.
    pub(super) fn apply(self, value: f32) -> f32 {
        ((value - self.centre) / self.spread).clamp(-LIMIT, LIMIT)
    }
}

/// The scale of what has been seen so far.
#[derive(Debug)]
pub(super) struct Running {
    sorted: Vec<f32>,
    floor: f32,
    warm_up: usize,
}

impl Running {
    /// Silent until `warm_up` values have been seen.
    pub(super) fn new(floor: f32, warm_up: usize) -> Self {
        Self { sorted: Vec::new(), floor, warm_up }
    }

    pub(super) fn push(&mut self, value: f32) {
        let place = self.sorted.partition_point(|v| *v < value);
        self.sorted.insert(place, value);
    }

    /// `None` during the warm-up.
    pub(super) fn scale(&self) -> Option<Scale> {
        if self.sorted.len() < self.warm_up { None } else { Scale::of_sorted(&self.sorted, self.floor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn running_ends_where_the_whole_stands(values in prop::collection::vec(40.0..90.0f32, 1..200)) {
            let mut running = Running::new(1.0, 1);
            values.iter().for_each(|v| running.push(*v));
            prop_assert_eq!(running.scale(), Scale::of(values.iter().copied(), 1.0));
        }

        #[test]
        fn the_spread_is_the_percentile_of_deviations(values in prop::collection::vec(40.0..90.0f32, 1..200)) {
            let mut sorted = values.clone();
            sorted.sort_by(f32::total_cmp);
            let centre = sorted[((sorted.len() - 1) as f64 * 0.5) as usize];
            let mut deviations: Vec<f32> = sorted.iter().map(|v| (v - centre).abs()).collect();
            deviations.sort_by(f32::total_cmp);
            let spread = deviations[((sorted.len() - 1) as f64 * 0.9) as usize];
            prop_assert_eq!(Scale::of(values.into_iter(), 1.0), Some(Scale { centre, spread: spread.max(1.0) }));
        }
    }

    #[test]
    fn it_is_silent_while_it_warms_up() {
        let mut running = Running::new(1.0, 2);
        running.push(60.0);
        assert_eq!(running.scale(), None);
        running.push(60.0);
        assert_eq!(running.scale().map(|s| s.apply(100.0)), Some(5.0));
        assert_eq!(Scale::of(std::iter::empty(), 1.0), None);
    }
}
