//! Which of many shares are false.
//!
//! Shares of one secret are a Reed-Solomon codeword: of `m` shares with threshold `t`, up to `(m - t) / 2` false ones
//! are found. The decoder is Gao's (*A new algorithm for decoding Reed-Solomon codes*, 2003): O(m^2) per element.

use super::field::{LANES, inverse, lanes, mul};
use super::shamir::{Share, point};

/// The places of false shares among `shares` (member, share), if at most `(m - t) / 2` are false.
///
/// Runs on secrets that the caller is about to know anyway: not in constant time.
pub fn false_shares(shares: &[(u32, &Share)], threshold: u32) -> Option<Vec<usize>> {
    let points: Vec<u16> = shares.iter().map(|(member, _)| point(*member)).collect();
    let all: Vec<_> = shares.iter().map(|(_, share)| lanes(&share.0)).collect();
    let mut wrong = vec![false; shares.len()];
    for lane in 0..LANES {
        let values: Vec<u16> = all.iter().map(|lanes| lanes[lane]).collect();
        let polynomial = decode(&points, &values, threshold as usize)?;
        for ((wrong, &point), &value) in wrong.iter_mut().zip(&points).zip(&values) {
            *wrong |= evaluate(&polynomial, point) != value;
        }
    }
    let places: Vec<usize> = (0..wrong.len()).filter(|&place| wrong[place]).collect();
    (2 * places.len() + threshold as usize <= shares.len()).then_some(places)
}

/// Coefficients, lowest first; the last one is not zero.
type Poly = Vec<u16>;

/// The polynomial with fewer than `threshold` coefficients that most points lie on.
fn decode(points: &[u16], values: &[u16], threshold: usize) -> Option<Poly> {
    let all = points.iter().fold(vec![1], |product, &point| times_linear(&product, point));
    let (mut r0, mut r1) = (all, interpolate(points, values));
    let (mut v0, mut v1): (Poly, Poly) = (vec![], vec![1]);
    // Until the degree of r1 is below (m + t) / 2.
    while !r1.is_empty() && 2 * (r1.len() - 1) >= points.len() + threshold {
        let (quotient, rest) = divide(&r0, &r1);
        let v2 = add(&v0, &product(&quotient, &v1));
        (r0, r1, v0, v1) = (r1, rest, v1, v2);
    }
    let (polynomial, rest) = divide(&r1, &v1);
    (rest.is_empty() && polynomial.len() <= threshold).then_some(polynomial)
}

/// Newton's interpolation.
fn interpolate(points: &[u16], values: &[u16]) -> Poly {
    let mut result: Poly = vec![];
    let mut basis: Poly = vec![1];
    for (&point, &value) in points.iter().zip(values) {
        let missing = value ^ evaluate(&result, point);
        let factor = mul(missing, inverse(evaluate(&basis, point)));
        result = add(&result, &basis.iter().map(|&c| mul(c, factor)).collect());
        basis = times_linear(&basis, point);
    }
    result
}

fn evaluate(polynomial: &[u16], point: u16) -> u16 {
    polynomial.iter().rev().fold(0, |value, &coefficient| mul(value, point) ^ coefficient)
}

fn trimmed(mut polynomial: Poly) -> Poly {
    while polynomial.last() == Some(&0) {
        polynomial.pop();
    }
    polynomial
}

fn add(a: &Poly, b: &Poly) -> Poly {
    let at = |p: &Poly, i: usize| p.get(i).copied().unwrap_or(0);
    trimmed((0..a.len().max(b.len())).map(|i| at(a, i) ^ at(b, i)).collect())
}

/// a (x + point).
fn times_linear(a: &Poly, point: u16) -> Poly {
    let shifted = std::iter::once(0).chain(a.iter().copied()).collect();
    add(&shifted, &a.iter().map(|&c| mul(c, point)).collect())
}

fn product(a: &Poly, b: &Poly) -> Poly {
    let mut out = vec![0; (a.len() + b.len()).saturating_sub(1)];
    for (i, &a) in a.iter().enumerate() {
        for (out, &b) in out[i..].iter_mut().zip(b) {
            *out ^= mul(a, b);
        }
    }
    trimmed(out)
}

/// Quotient and rest; `b` is not zero.
fn divide(a: &Poly, b: &Poly) -> (Poly, Poly) {
    let mut rest = a.clone();
    let mut quotient = vec![0; (a.len() + 1).saturating_sub(b.len())];
    let lead = inverse(*b.last().expect("division by a polynomial that is not zero"));
    for i in (0..quotient.len()).rev() {
        let factor = mul(rest[i + b.len() - 1], lead);
        quotient[i] = factor;
        for (rest, &b) in rest[i..].iter_mut().zip(b) {
            *rest ^= mul(b, factor);
        }
    }
    (trimmed(quotient), trimmed(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::secagg::shamir::Polynomial;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn as_many_liars_as_can_be_outvoted_are_named(
            secret: [u8; 32], coins: [u8; 32], threshold in 1u32..20, extra in 0u32..12, lies in prop::collection::vec(any::<(u32, u8, u8)>(), 0..6),
        ) {
            let m = threshold + extra;
            let polynomial = Polynomial::new(&secret, threshold, &coins);
            let mut shares: Vec<(u32, Share)> = (0..m).map(|i| (3 * i + 1, polynomial.share(3 * i + 1))).collect();
            let mut liars = std::collections::BTreeSet::new();
            for (who, byte, change) in lies {
                if liars.len() < extra as usize / 2 {
                    let who = who % m;
                    if liars.insert(who as usize) {
                        shares[who as usize].1.0[byte as usize % 32] ^= change | 1;
                    }
                }
            }
            let seen: Vec<(u32, &Share)> = shares.iter().map(|(member, share)| (*member, share)).collect();
            prop_assert_eq!(false_shares(&seen, threshold), Some(liars.into_iter().collect()));
        }

        #[test]
        fn shares_of_no_polynomial_have_no_majority(noise: [[u8; 32]; 12]) {
            let shares: Vec<Share> = noise.into_iter().map(Share).collect();
            let seen: Vec<(u32, &Share)> = (0..).zip(&shares).collect();
            prop_assert_eq!(false_shares(&seen, 6), None);
        }
    }
}
