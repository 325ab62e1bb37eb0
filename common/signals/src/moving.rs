//! Moving averages and medians.

use std::ops::Range;

/// Running sums of a series, from which the mean of any stretch is one subtraction.
#[derive(Debug)]
pub(crate) struct Sums(Vec<f64>);

impl Sums {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let running = values.scan(0.0, |sum, v| {
            *sum += v;
            Some(*sum)
        });
        Self(std::iter::once(0.0).chain(running).collect())
    }

    /// Sum of a stretch; 0 for an empty one.
    pub(crate) fn sum(&self, range: Range<usize>) -> f64 {
        if range.is_empty() { 0.0 } else { self.0[range.end] - self.0[range.start] }
    }

    /// Mean of a stretch; 0 for an empty one.
    pub(crate) fn mean(&self, range: Range<usize>) -> f64 {
        self.sum(range.clone()) / range.len().max(1) as f64
    }

    /// Mean of the `width` values around `i`, fewer at the ends.
    pub(crate) fn around(&self, i: usize, width: usize) -> f64 {
        let from = i.saturating_sub(width / 2);
        self.mean(from..(i + width - width / 2).min(self.0.len() - 1))
    }
}

/// The median of the values at most `reach` places from `i`.
pub(crate) fn median_of(values: &[f64], i: usize, reach: usize) -> f64 {
    let range = i.saturating_sub(reach)..(i + reach + 1).min(values.len());
    median(&mut values[range].to_vec()).unwrap_or(0.0)
}

/// The middle value, the mean of the two middle ones for an even number; sorts in place.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_medians() {
        let sums = Sums::of([1.0, 2.0, 3.0, 4.0].into_iter());
        assert_eq!((sums.mean(0..4), sums.mean(1..2), sums.mean(2..2)), (2.5, 2.0, 0.0));
        assert_eq!((sums.around(0, 3), sums.around(2, 3), sums.around(3, 4)), (1.5, 3.0, 3.0));
        assert_eq!(median(&mut [3.0, 1.0, 10.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
        assert_eq!(median_of(&[9.0, 1.0, 2.0, 3.0], 3, 1), 2.5);
    }
}
