//! Skellam noise: the difference of two Poisson numbers, closed under sums, so that what many clients add is again Skellam
//! (Agarwal, Kairouz and Liu 2021).

/// An upper bound on the Rényi divergence of whole order `a` between a sum with Skellam noise and its neighbour.
///
/// `l1` and `l2` bound one update in lane units, `variance` is that of the noise in the whole sum, of those who cannot
/// subtract their own. a l2²/(2 M) + min{((2a-1) l2² + 6 l1)/(4 M²), 3 l1/(2 M)}.
pub fn divergence(a: f64, l1: f64, l2: f64, variance: f64) -> f64 {
    let square = l2 * l2;
    let coarse = 3.0 * l1 / (2.0 * variance);
    let fine = ((2.0 * a - 1.0) * square + 6.0 * l1) / (4.0 * variance * variance);
    a * square / (2.0 * variance) + coarse.min(fine)
}

/// The distance from zero that none of `coordinates` Skellam numbers of this variance passes, but with probability
/// `failure`: the headroom that a lane needs on either side.
///
/// Bernstein's bound: the cumulants of Skellam noise, M (cosh t - 1), are below M t²/(2 (1 - t/3)).
pub fn headroom(variance: f64, coordinates: u64, failure: f64) -> f64 {
    let ln = (2.0 * coordinates as f64 / failure).ln().max(0.0);
    ln / 3.0 + (ln * ln / 9.0 + 2.0 * variance * ln).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(Sk = k) for |k| <= reach, by summing products of Poisson probabilities.
    fn probabilities(variance: f64, reach: i64) -> Vec<f64> {
        let mean = variance / 2.0;
        let ln_poisson = |k: i64| k as f64 * mean.ln() - mean - libm::lgamma(k as f64 + 1.0);
        let poisson: Vec<f64> = (0..4 * reach).map(|k| ln_poisson(k).exp()).collect();
        let at = |k: i64| (0..3 * reach).map(|j| poisson[j as usize] * poisson[(j + k.abs()) as usize]).sum();
        (-reach..=reach).map(at).collect()
    }

    #[test]
    fn the_bound_is_above_the_divergence_that_was_summed_up() {
        for (variance, shift) in [(8.0, 1), (20.0, 3), (60.0, 5), (200.0, 9)] {
            let reach = 12 * f64::sqrt(variance) as i64 + 20;
            let p = probabilities(variance, reach);
            for order in [2, 3, 5, 8] {
                let terms = (shift..p.len()).map(|i| p[i - shift].powi(order) * p[i].powi(1 - order));
                let truth = terms.filter(|term| term.is_finite()).sum::<f64>().ln() / f64::from(order - 1);
                let shift = shift as f64;
                let bound = divergence(f64::from(order), shift, shift, variance);
                assert!(bound >= truth * (1.0 - 1e-9), "M {variance} order {order}: {bound} below {truth}");
                assert!(bound <= 1.5 * truth, "M {variance} order {order}: {bound} far above {truth}");
            }
        }
    }

    #[test]
    fn with_much_noise_it_is_a_gaussian() {
        let (units, z) = (1e4, 2.0);
        let gaussian = 3.0 / (2.0 * z * z);
        let skellam = divergence(3.0, 1e8, units, z * z * units * units);
        assert!(skellam > gaussian && skellam < 1.001 * gaussian + 1e-3, "{skellam} {gaussian}");
    }

    #[test]
    fn lanes_have_room_for_the_tail_and_not_for_much_more() {
        let variance = 20.0;
        let p = probabilities(variance, 80);
        for failure in [1e-2, 1e-6] {
            let room = headroom(variance, 1, failure);
            let outside: f64 =
                p.iter().zip(-80i64..).filter(|(_, k)| k.abs() as f64 > room).map(|(p, _)| p).sum();
            assert!(outside <= failure, "{outside} beyond {room}");
            let half: f64 =
                p.iter().zip(-80i64..).filter(|(_, k)| k.abs() as f64 > room / 2.0).map(|(p, _)| p).sum();
            assert!(half > failure);
        }
    }
}
