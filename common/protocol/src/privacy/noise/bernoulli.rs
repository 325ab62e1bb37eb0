//! Exact coins: every probability is a ratio of whole numbers, or e to the minus such a ratio, and no floating-point
//! number enters.

use rand::RngCore;
use rand_chacha::ChaCha20Rng;

/// True with probability `numerator / denominator`, which is at most 1; `denominator` is at most 2^95.
///
/// Compares 32 digits of a uniform number with those of the ratio, and draws more only while they are equal.
pub(super) fn ratio(rng: &mut ChaCha20Rng, mut numerator: u128, denominator: u128) -> bool {
    loop {
        let target = numerator << 32;
        let drawn = u128::from(rng.next_u32()) * denominator;
        if drawn + denominator <= target {
            return true;
        }
        if drawn >= target {
            return false;
        }
        numerator = target - drawn;
    }
}

/// The same for a denominator of at most 2^31.
pub(super) fn small_ratio(rng: &mut ChaCha20Rng, mut numerator: u64, denominator: u64) -> bool {
    loop {
        let target = numerator << 32;
        let drawn = u64::from(rng.next_u32()) * denominator;
        if drawn + denominator <= target {
            return true;
        }
        if drawn >= target {
            return false;
        }
        numerator = target - drawn;
    }
}

/// The first 128 binary digits of e^-1.
const INVERSE_E: u128 = 0x5e2d58d8_b3bcdf1a_badec782_9054f90d;

/// True with probability e^-1, to within 2^-128.
pub(super) fn inverse_e(rng: &mut ChaCha20Rng) -> bool {
    for digits in [96, 64, 32, 0].map(|shift| (INVERSE_E >> shift) as u32) {
        let drawn = rng.next_u32();
        if drawn != digits {
            return drawn < digits;
        }
    }
    false
}

/// True with probability e^(-numerator / denominator), for a ratio of at most 1 and a denominator of at most 2^20.
pub(super) fn small_exponential(rng: &mut ChaCha20Rng, numerator: u64, denominator: u64) -> bool {
    let mut k = 1;
    // 2^11 heads in a row have a probability of one over the factorial of that.
    while k < 1 << 11 && small_ratio(rng, numerator, denominator * k) {
        k += 1;
    }
    k & 1 == 1
}

/// True with probability e^(-numerator / denominator), for a denominator of at most 2^84.
pub(super) fn exponential(rng: &mut ChaCha20Rng, mut numerator: u128, denominator: u128) -> bool {
    while numerator > denominator {
        if !inverse_e(rng) {
            return false;
        }
        numerator -= denominator;
    }
    let mut k = 1;
    while k < 1 << 11 && ratio(rng, numerator, denominator * k) {
        k += 1;
    }
    k & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn coins_fall_as_often_as_they_should() {
        let mut rng = Seed::from_number(11).rng();
        let mut check = |probability: f64, coin: &dyn Fn(&mut ChaCha20Rng) -> bool| {
            let n = 40_000;
            let heads = (0..n).filter(|_| coin(&mut rng)).count();
            let error = (probability * (1.0 - probability) / f64::from(n)).sqrt();
            assert!(
                (heads as f64 / f64::from(n) - probability).abs() <= 3.3 * error,
                "{probability}: {heads}"
            );
        };
        check(3.0 / 7.0, &|rng| ratio(rng, 3 << 90, 7 << 90));
        check(5.0 / 9.0, &|rng| small_ratio(rng, 5, 9));
        check(1.0, &|rng| ratio(rng, 9, 9));
        check(0.0, &|rng| small_ratio(rng, 0, 9));
        check((-1.0f64).exp(), &inverse_e);
        check((-0.3f64).exp(), &|rng| small_exponential(rng, 3, 10));
        check((-2.4f64).exp(), &|rng| exponential(rng, 24, 10));
        check((-1.0f64).exp(), &|rng| exponential(rng, 1, 1));
    }
}
