//! Discrete Gaussian noise (Canonne, Kamath and Steinke 2020), and sums of it from several clients (Kairouz, Liu and Steinke
//! 2021), which are very nearly discrete Gaussian again.

use std::f64::consts::PI;

/// An upper bound on the Rényi divergence of order `a` > 1 between a sum with such noise and its neighbour.
///
/// One client's discrete Gaussian of variance s² costs what the continuous one does, a l2²/(2 s²). The sum over n clients is
/// within a factor of e^(±tau/2) of one discrete Gaussian of variance n s² at every point of every coordinate, where
/// tau = 10 sum_{k=1}^{n-1} e^(-2 pi² s² k/(k+1)) for s >= 1/2. The a-th and (a-1)-th powers in the divergence carry
/// (2a-1) such factors per coordinate. Infinite for smaller s.
pub fn divergence(a: f64, l2: f64, variance: f64, clients: u32, weights: u64) -> f64 {
    let gaussian = a * l2 * l2 / (2.0 * variance * f64::from(clients));
    if clients == 1 {
        return gaussian;
    }
    if variance < 0.25 {
        return f64::INFINITY;
    }
    let excess = (2.0 * a - 1.0) / (a - 1.0) * 0.5 * tau(variance, clients) * weights as f64;
    gaussian + excess
}

fn tau(variance: f64, clients: u32) -> f64 {
    let rate = 2.0 * PI * PI * variance;
    // From the thousandth term on they hardly change: e^(-rate k/(k+1)) bounds them.
    let exact = (1..clients.min(1000)).map(|k| (-rate * f64::from(k) / f64::from(k + 1)).exp());
    let rest = f64::from(clients.saturating_sub(1000)) * (-rate * 0.999).exp();
    10.0 * (exact.sum::<f64>() + rest)
}

/// The distance from zero that none of `coordinates` sums of discrete Gaussians of this total variance passes, but with
/// probability `failure`: a discrete Gaussian is sub-Gaussian with its own variance.
pub fn headroom(variance: f64, coordinates: u64, failure: f64) -> f64 {
    (2.0 * variance * (2.0 * coordinates as f64 / failure).ln().max(0.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACH: i64 = 60;

    fn one(variance: f64) -> Vec<f64> {
        let weight = |k: i64| (-((k * k) as f64) / (2.0 * variance)).exp();
        let total: f64 = (-REACH..=REACH).map(weight).sum();
        (-REACH..=REACH).map(|k| weight(k) / total).collect()
    }

    fn convolved(a: &[f64], b: &[f64]) -> Vec<f64> {
        let at = |k: i64| {
            let pairs = (-REACH..=REACH).filter(|j| (k - j).abs() <= REACH);
            pairs.map(|j| a[(j + REACH) as usize] * b[(k - j + REACH) as usize]).sum()
        };
        (-REACH..=REACH).map(at).collect()
    }

    #[test]
    fn the_bound_is_above_the_divergence_that_was_summed_up() {
        for variance in [0.25, 0.36, 0.7, 2.0] {
            let mut sum = one(variance);
            for clients in 2..=5 {
                sum = convolved(&sum, &one(variance));
                for order in [2, 3, 6] {
                    let terms = (1..sum.len()).map(|i| sum[i - 1].powi(order) * sum[i].powi(1 - order));
                    let truth =
                        terms.filter(|term| term.is_finite()).sum::<f64>().ln() / f64::from(order - 1);
                    let bound = divergence(f64::from(order), 1.0, variance, clients, 1);
                    assert!(
                        bound >= truth * (1.0 - 1e-9),
                        "s² {variance}, {clients} clients, order {order}: {bound} below {truth}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_extra_term_is_tiny_for_ordinary_noise_and_prohibitive_for_next_to_none() {
        let gaussian = 2.0 * 100.0 / (2.0 * 9.0 * 30.0);
        let sum = divergence(2.0, 10.0, 9.0, 30, 1_000_000);
        assert!(sum >= gaussian && sum - gaussian < 1e-9, "{sum}");
        assert!(divergence(2.0, 10.0, 0.3, 30, 1_000_000) > 1e4);
        assert_eq!(divergence(2.0, 1.0, 0.2, 2, 1), f64::INFINITY);
        assert!(tau(1.0, u32::MAX) >= tau(1.0, 1_000_000));
    }
}
