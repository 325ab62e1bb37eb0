//! The normal distribution far out in its tails.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

/// P(X > x) of a standard normal X, to full relative precision until it underflows near x = 38.
pub(super) fn tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * FRAC_1_SQRT_2)
}

/// ln P(X > x), also where [`tail`] underflows.
pub(super) fn ln_tail(x: f64) -> f64 {
    if x < 30.0 {
        return tail(x).ln();
    }
    // Mills' ratio; the first term left out is below 2e-7 of the result's relative error at x = 30.
    let r = 1.0 / (x * x);
    -0.5 * x * x - 0.5 * TAU.ln() - x.ln() + (-r * (1.0 - 3.0 * r * (1.0 - 5.0 * r))).ln_1p()
}

/// ln(e^a + e^b).
pub(super) fn ln_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_where_both_are_known() {
        // Abramowitz and Stegun, table 26.1.
        assert!((tail(1.0) - 0.158_655_253_931_457).abs() < 1e-14);
        assert!((tail(-1.0) - 0.841_344_746_068_543).abs() < 1e-14);
        for x in [30.0, 33.3, 37.0] {
            assert!((ln_tail(x) / tail(x).ln() - 1.0).abs() < 1e-12, "{x}");
        }
        assert!((ln_tail(1e6) + 5e11).abs() < 20.0);
    }

    #[test]
    fn logarithms_add() {
        assert!((ln_add(2f64.ln(), 3f64.ln()) - 5f64.ln()).abs() < 1e-15);
        assert_eq!(ln_add(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(ln_add(1e4, f64::NEG_INFINITY), 1e4);
    }
}
