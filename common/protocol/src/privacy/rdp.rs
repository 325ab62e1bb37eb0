//! Accounting by Rényi divergences (Mironov 2017): they add over rounds at each order, and one order gives the best epsilon.

use std::f64::consts::TAU;

use super::cost::{Cost, Noise, Spend};
use super::normal::ln_add;
use super::{discrete, skellam};

/// The orders that are tried: fine where few rounds with little delta have their best one, then coarse. Fewer orders
/// could only make the bound larger.
pub fn orders() -> impl Iterator<Item = f64> {
    let fine = (11..110).map(|tenths| f64::from(tenths) / 10.0);
    fine.chain((11..64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0])
}

/// Below this multiplier, quadrature would need too many points, and epsilon is in the hundreds anyway.
const SHARP: f64 = 0.1;

/// An upper bound on epsilon at `delta`, in 0 to infinity.
///
/// eps = min over a of rdp(a) + ln((a-1)/a) - (ln delta + ln a)/(a-1) (Canonne, Kamath and Steinke 2020, proposition 12).
pub fn epsilon(cost: &Cost, delta: f64) -> f64 {
    epsilon_over(orders(), cost, delta)
}

/// The same over other orders, all above 1.
pub fn epsilon_over(orders: impl Iterator<Item = f64>, cost: &Cost, delta: f64) -> f64 {
    if delta >= 1.0 {
        return 0.0;
    }
    let sound = cost.spends().iter().all(|(spend, _)| spend.is_sound());
    if !sound || delta.is_nan() || delta <= 0.0 {
        return f64::INFINITY;
    }
    let folded = cost.folded();
    if folded.is_empty() {
        return 0.0;
    }
    let at = |a: f64| {
        let spent: f64 =
            folded.spends().iter().map(|(spend, times)| *times as f64 * divergence(spend, a)).sum();
        spent + (-a.recip()).ln_1p() - (delta.ln() + a.ln()) / (a - 1.0)
    };
    let best = orders.map(at).filter(|epsilon| !epsilon.is_nan()).fold(f64::INFINITY, f64::min);
    best.max(0.0)
}

/// An upper bound on the Rényi divergence of order `a` > 1 between sums with and without one person.
///
/// Over a Poisson sample this is the direction that removes the person, which is the larger one for any noise that is
/// symmetric about zero (Mironov, Talwar and Zhang 2019, theorem 5).
pub fn divergence(spend: &Spend, a: f64) -> f64 {
    match spend.noise {
        // Trees are folded before they come here; a leaf alone costs no less than this.
        Noise::Gaussian { multiplier } | Noise::Tree { multiplier, .. } => {
            let alone = |a: f64| a / (2.0 * multiplier * multiplier);
            match spend.rate {
                1.0 => alone(a),
                rate if a.fract() != 0.0 && a < 11.0 && multiplier >= SHARP => {
                    ln_moment(rate, multiplier, a).max(0.0) / (a - 1.0)
                }
                rate => between_integers(a, |n| sampled(rate, n, alone)),
            }
        }
        Noise::DiscreteGaussian { l2, variance, clients, weights } => {
            let alone = |a: f64| discrete::divergence(a, l2, variance, clients, weights);
            match spend.rate {
                1.0 => alone(a),
                rate => between_integers(a, |n| sampled(rate, n, alone)),
            }
        }
        Noise::Skellam { l1, l2, variance } => {
            let alone = |a: f64| skellam::divergence(a, l1, l2, variance);
            between_integers(a, |n| sampled(spend.rate, n, alone))
        }
    }
}

/// A bound at order `a` from bounds at the integers beside it: (a-1) D_a is convex in a, and 0 at a = 1.
fn between_integers(a: f64, at: impl Fn(u32) -> f64) -> f64 {
    let below = a.floor();
    let part = a - below;
    let left = if below > 1.0 { (below - 1.0) * at(below as u32) } else { 0.0 };
    if part == 0.0 {
        return left / (a - 1.0);
    }
    ((1.0 - part) * left + part * below * at(below as u32 + 1)) / (a - 1.0)
}

/// The divergence of integer order over a Poisson sample, from that without sampling (Mironov, Talwar and Zhang 2019):
/// 1/(n-1) ln sum_j C(n,j) (1-q)^(n-j) q^j e^((j-1) D_j).
fn sampled(rate: f64, n: u32, alone: impl Fn(f64) -> f64) -> f64 {
    if rate == 1.0 {
        return alone(f64::from(n));
    }
    let (inside, outside) = (rate.ln(), (-rate).ln_1p());
    let mut choose = 0.0;
    let mut sum = f64::NEG_INFINITY;
    for j in 0..=n {
        let moment = if j < 2 { 0.0 } else { f64::from(j - 1) * alone(f64::from(j)) };
        sum = ln_add(sum, choose + f64::from(n - j) * outside + f64::from(j) * inside + moment);
        choose += (f64::from(n - j) / f64::from(j + 1)).ln();
    }
    sum.max(0.0) / f64::from(n - 1)
}

/// ln E[(1 - q + q e^((2x-1)/(2z²)))^a] over x ~ N(0, z²), for orders that are no integers.
///
/// The trapezoid rule on the whole line, whose error falls exponentially with the step: the integrand is analytic in a
/// strip of half-width pi z², so that this step leaves a relative error below 1e-15.
fn ln_moment(rate: f64, z: f64, a: f64) -> f64 {
    let step = 0.5 * z.min(z * z);
    let (from, to) = (-12.0 * z, a + 12.0 * z);
    let points = ((to - from) / step).ceil() as u32;
    let (inside, outside) = (rate.ln(), (-rate).ln_1p());
    let mut sum = f64::NEG_INFINITY;
    for i in 0..=points {
        let x = from + f64::from(i) * step;
        let ratio = ln_add(outside, inside + (2.0 * x - 1.0) / (2.0 * z * z));
        sum = ln_add(sum, a * ratio - x * x / (2.0 * z * z));
    }
    sum + step.ln() - z.ln() - 0.5 * TAU.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(multiplier: f64, rate: f64) -> Spend {
        Spend { noise: Noise::Gaussian { multiplier }, rate }
    }

    #[test]
    fn quadrature_meets_the_binomial_sum_at_integers() {
        for (rate, z) in [(0.01, 0.55), (0.33, 2.6), (0.9, 0.2), (1e-4, 40.0), (0.5, 0.1)] {
            for n in 2..=10 {
                let exact = sampled(rate, n, |a| a / (2.0 * z * z));
                let integral = ln_moment(rate, z, f64::from(n)) / f64::from(n - 1);
                assert!(
                    (integral - exact).abs() <= 1e-10 * exact + 1e-13,
                    "q {rate} z {z} order {n}: {integral} against {exact}"
                );
            }
        }
    }

    #[test]
    fn bounds_between_integers_are_above_the_truth_and_meet_it_there() {
        let alone = |a: f64| a / 8.0;
        for a in [1.1, 1.5, 2.0, 2.3, 7.7, 9.0] {
            let bound = between_integers(a, |n| alone(f64::from(n)));
            assert!(bound >= alone(a) - 1e-15, "{a}");
            assert!(a.fract() != 0.0 || (bound - alone(a)).abs() < 1e-15, "{a}");
        }
    }

    #[test]
    fn divergences_grow_with_order_and_rate_and_shrink_with_noise() {
        for window in orders().collect::<Vec<_>>().windows(2) {
            for (rate, z) in [(0.05, 0.8), (0.3, 3.0), (1.0, 1.0), (1e-3, 0.05)] {
                let (low, high) =
                    (divergence(&gaussian(z, rate), window[0]), divergence(&gaussian(z, rate), window[1]));
                assert!(low <= high * (1.0 + 1e-9), "q {rate} z {z}: {low} > {high} at {window:?}");
            }
        }
        assert!(divergence(&gaussian(1.0, 0.1), 3.5) < divergence(&gaussian(1.0, 0.2), 3.5));
        assert!(divergence(&gaussian(1.1, 0.1), 3.5) < divergence(&gaussian(1.0, 0.1), 3.5));
    }

    #[test]
    fn extremes_are_numbers() {
        for z in [1e-300, 1e-9, 1e-3, 1.0, 1e3, 1e9, 1e300] {
            for rate in [0.0, 1e-300, 1e-9, 0.5, 1.0 - 1e-16, 1.0] {
                for delta in [1e-300, 1e-12, 0.1, 0.999_999] {
                    for times in [1, 100_000, u64::MAX] {
                        let epsilon = epsilon(&Cost::of(gaussian(z, rate), times), delta);
                        assert!(epsilon >= 0.0, "z {z} q {rate} delta {delta} times {times}: {epsilon}");
                    }
                }
            }
        }
        assert_eq!(epsilon(&Cost::default(), 1e-5), 0.0);
        assert_eq!(epsilon(&Cost::of(gaussian(1.0, 1.0), 1), 0.0), f64::INFINITY);
    }
}
