//! The Wilcoxon signed-rank test: do paired differences over subjects centre on zero?

use crate::special::normal_cdf;
use serde::{Deserialize, Serialize};

/// Most pairs the exact distribution is computed for; beyond, the normal approximation is used.
pub const EXACT_PAIRS: usize = 50;

/// A two-sided Wilcoxon signed-rank test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wilcoxon {
    /// Pairs that differ (zero differences are dropped, Wilcoxon's own rule).
    pub n: u64,
    /// Sum of the ranks of the positive differences.
    pub positive_ranks: f64,
    /// Two-sided p value.
    pub p: f64,
}

impl Wilcoxon {
    /// Tests paired differences. Ties share their mean rank. Up to [`EXACT_PAIRS`] pairs the permutation distribution
    /// (given the ties) is exact; above, normal with tie and continuity correction.
    ///
    /// `None` when no difference is left.
    #[must_use]
    pub fn of(differences: &[f64]) -> Option<Self> {
        let mut kept: Vec<f64> = differences.iter().copied().filter(|d| d.is_finite() && *d != 0.0).collect();
        if kept.is_empty() {
            return None;
        }
        kept.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let (doubled, tie_term) = doubled_ranks(&kept);
        let positive: usize =
            kept.iter().zip(&doubled).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
        let total: usize = doubled.iter().sum();
        let p = if kept.len() <= EXACT_PAIRS {
            exact(&doubled, positive.min(total - positive))
        } else {
            approximate(kept.len() as f64, positive as f64 / 2.0, tie_term)
        };
        Some(Self { n: kept.len() as u64, positive_ranks: positive as f64 / 2.0, p: p.min(1.0) })
    }
}

/// Twice the mid-rank of each value (whole numbers even with ties), and the sum of t^3 - t over tied groups.
fn doubled_ranks(sorted: &[f64]) -> (Vec<usize>, f64) {
    let mut ranks = vec![0; sorted.len()];
    let mut tie_term = 0.0;
    let mut start = 0;
    while start < sorted.len() {
        let end = start + sorted[start..].iter().take_while(|d| d.abs() == sorted[start].abs()).count();
        // Ranks start+1 ..= end share their mean; twice that is start + 1 + end.
        ranks[start..end].fill(start + 1 + end);
        let tied = (end - start) as f64;
        tie_term += tied.powi(3) - tied;
        start = end;
    }
    (ranks, tie_term)
}

/// 2 P(W <= smaller) under random signs, by counting subsets of ranks.
fn exact(doubled: &[usize], smaller: usize) -> f64 {
    let total: usize = doubled.iter().sum();
    let mut ways = vec![0.0_f64; total + 1];
    ways[0] = 1.0;
    let mut reached = 0;
    for &rank in doubled {
        reached += rank;
        for sum in (rank..=reached).rev() {
            ways[sum] = f64::midpoint(ways[sum], ways[sum - rank]);
        }
        for way in &mut ways[..rank] {
            *way /= 2.0;
        }
    }
    2.0 * ways[..=smaller].iter().sum::<f64>()
}

fn approximate(n: f64, positive: f64, tie_term: f64) -> f64 {
    let mean = n * (n + 1.0) / 4.0;
    let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - tie_term / 48.0;
    let away = ((positive - mean).abs() - 0.5).max(0.0);
    2.0 * normal_cdf(-away / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_published_exact_values() {
        // All n differences positive: p = 2 / 2^n.
        for n in [5_u32, 10, 20] {
            let all: Vec<f64> = (1..=n).map(f64::from).collect();
            let test = Wilcoxon::of(&all).unwrap();
            assert!((test.p - 2.0 * 0.5_f64.powi(n as i32)).abs() < 1e-15, "n = {n}: {}", test.p);
        }
        // SciPy's documented example (plant heights): W+ = 96, p = 0.041259765625.
        let d = [6., 8., 14., 16., 23., 24., 28., 29., 41., -48., 49., 56., 60., -67., 75.];
        let test = Wilcoxon::of(&d).unwrap();
        assert_eq!(test.positive_ranks, 96.0);
        assert!((test.p - 0.041_259_765_625).abs() < 1e-12);
    }

    #[test]
    fn is_symmetric_and_drops_zeros() {
        let d = [0.1, -0.2, 0.2, 0.0, 0.5, -0.05, 0.3];
        let negated: Vec<f64> = d.iter().map(|x| -x).collect();
        let (a, b) = (Wilcoxon::of(&d).unwrap(), Wilcoxon::of(&negated).unwrap());
        assert_eq!((a.n, a.p), (6, b.p));
        assert_eq!(Wilcoxon::of(&[0.0, 0.0]), None);
        assert_eq!(Wilcoxon::of(&[1.0]).unwrap().p, 1.0);
    }

    #[test]
    fn the_approximation_meets_the_exact_test() {
        let d: Vec<f64> =
            (1..=EXACT_PAIRS as i32).map(|i| f64::from(if i % 3 == 0 { -i } else { i })).collect();
        let exact = Wilcoxon::of(&d).unwrap();
        let near = approximate(EXACT_PAIRS as f64, exact.positive_ranks, 0.0);
        assert!((exact.p - near).abs() < 0.002, "{} against {near}", exact.p);
    }
}
