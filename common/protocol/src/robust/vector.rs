//! Arithmetic on whole updates. Sums are taken in f64 and in one fixed order, so results do not depend on who calls.

/// Independent partial sums: enough for the compiler to keep vector registers busy.
const LANES: usize = 8;

/// The sum of `term(a[i], b[i])`.
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(f64::from(*a), f64::from(*b));
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum();
    sums.iter().sum::<f64>() + rest
}

pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum_of(a, b, |a, b| (a - b) * (a - b))
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum_of(a, b, |a, b| a * b)
}

pub(super) fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

/// The sum of `factor * update` over all, divided by `total`; zeros if `total` is not positive.
pub(super) fn weighted<'a>(
    len: usize,
    terms: impl IntoIterator<Item = (f64, &'a [f32])>,
    total: f64,
) -> Vec<f32> {
    let mut sums = vec![0.0f64; len];
    for (factor, update) in terms {
        for (sum, value) in sums.iter_mut().zip(update) {
            *sum += factor * f64::from(*value);
        }
    }
    let unit = if total > 0.0 { total.recip() } else { 0.0 };
    sums.iter().map(|sum| (sum * unit) as f32).collect()
}

/// The median; of an even number of values the mean of the middle two, 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (len, half) if len % 2 == 1 => sorted[half],
        (_, half) => sorted[half - 1] / 2.0 + sorted[half] / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_reach_beyond_the_lanes() {
        let a: Vec<f32> = (1..=11).map(|i| i as f32).collect();
        let b = vec![1.0; 11];
        assert_eq!(dot(&a, &b), 66.0);
        assert_eq!(norm(&b), 11f64.sqrt());
        assert_eq!(squared_distance(&a, &b), 385.0);
        assert_eq!(squared_distance(&[f32::MAX], &[f32::MIN]), (2.0 * f64::from(f32::MAX)).powi(2));
    }

    #[test]
    fn medians_of_even_and_odd_many() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_weighted_sum_of_nothing_is_zero() {
        assert_eq!(weighted(2, [(1.0, &[2.0f32, 4.0][..]), (3.0, &[6.0, 0.0])], 4.0), [5.0, 1.0]);
        assert_eq!(weighted(2, [], 0.0), [0.0, 0.0]);
    }
}
