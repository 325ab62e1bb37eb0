//! Shamir's secret sharing (1979) of 32 bytes: `t` shares recover a secret, `t - 1` say nothing about it.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::field::{Lanes, bytes, inverse, lanes, mul, mul_add};

/// A polynomial's value at one member's point.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
pub struct Share(#[serde(with = "serde_bytes")] pub(crate) [u8; 32]);

impl Share {
    /// From what was sent.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Share {}

/// The point of a member: its index and one, as the secret itself lies at zero.
pub(super) fn point(member: u32) -> u16 {
    u16::try_from(member + 1).expect("a roster has at most 4096 members")
}

/// A random polynomial through a secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Polynomial(Vec<Lanes>);

impl Polynomial {
    /// A polynomial of degree `threshold - 1` through `secret`; its coefficients are the ChaCha20 stream under `coins`.
    ///
    /// # Panics
    /// If `threshold` is zero.
    pub fn new(secret: &[u8; 32], threshold: u32, coins: &[u8; 32]) -> Self {
        assert!(threshold > 0, "a threshold of zero would share a secret with everybody");
        let mut stream = ChaCha20::new(coins.into(), &[0; 12].into());
        let mut coefficient = Zeroizing::new([0; 32]);
        let mut coefficients = Vec::with_capacity(threshold as usize);
        coefficients.push(lanes(secret));
        for _ in 1..threshold {
            stream.write_keystream(&mut *coefficient);
            coefficients.push(lanes(&coefficient));
        }
        Self(coefficients)
    }

    /// The share of a member.
    pub fn share(&self, member: u32) -> Share {
        let point = point(member);
        let mut value = Zeroizing::new([0; 16]);
        for coefficient in self.0.iter().rev() {
            let lower = *value;
            *value = *coefficient;
            mul_add(&mut value, lower, point);
        }
        Share(bytes(&value))
    }
}

/// What the shares of some members weigh in the secret; the same for every secret that these members share.
pub struct Weights {
    members: Vec<u32>,
    weights: Vec<u16>,
}

impl Weights {
    /// Lagrange's weights at zero. The members have to differ.
    pub fn of(members: &[u32]) -> Self {
        let points: Vec<u16> = members.iter().map(|&member| point(member)).collect();
        let all = points.iter().fold(1, |product, &point| mul(product, point));
        let weights = points
            .iter()
            .map(|&own| {
                let others = points.iter().filter(|&&other| other != own);
                mul(all, inverse(others.fold(own, |product, &other| mul(product, own ^ other))))
            })
            .collect();
        Self { members: members.to_vec(), weights }
    }

    /// Whose shares these are for.
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// The secret, from the shares of [`Weights::members`] in that order. Fewer than the threshold, or a false one among
    /// them, give noise: compare with what was committed to.
    pub fn recover<'a>(&self, shares: impl IntoIterator<Item = &'a Share>) -> Zeroizing<[u8; 32]> {
        let mut secret = Zeroizing::new([0; 16]);
        for (weight, share) in self.weights.iter().zip(shares) {
            mul_add(&mut secret, lanes(&share.0), *weight);
        }
        Zeroizing::new(bytes(&secret))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn cohort() -> impl Strategy<Value = (u32, Vec<u32>)> {
        (1u32..40).prop_flat_map(|threshold| {
            let members = prop::collection::btree_set(0u32..4096, threshold as usize);
            (
                Just(threshold),
                members.prop_map(|set: BTreeSet<u32>| set.into_iter().collect::<Vec<_>>()).prop_shuffle(),
            )
        })
    }

    proptest! {
        #[test]
        fn any_threshold_of_shares_recover_the_secret(secret: [u8; 32], coins: [u8; 32], (threshold, members) in cohort()) {
            let polynomial = Polynomial::new(&secret, threshold, &coins);
            let shares: Vec<Share> = members.iter().map(|&member| polynomial.share(member)).collect();
            prop_assert_eq!(*Weights::of(&members).recover(&shares), secret);
        }

        #[test]
        fn one_share_less_fits_every_secret(secret: [u8; 32], other: [u8; 32], coins: [u8; 32], (threshold, members) in cohort()) {
            // For any other secret there is a polynomial through it and the t - 1 shares: they exclude nothing.
            let polynomial = Polynomial::new(&secret, threshold, &coins);
            let known: Vec<Share> = members[1..].iter().map(|&member| polynomial.share(member)).collect();
            let weights = Weights::of(&members);
            let missing = weights.weights[0];
            let mut rest = lanes(&other);
            for (weight, share) in weights.weights[1..].iter().zip(&known) {
                mul_add(&mut rest, lanes(&share.0), *weight);
            }
            let mut forged = [0; 16];
            mul_add(&mut forged, rest, inverse(missing));
            let shares: Vec<Share> = std::iter::once(Share(bytes(&forged))).chain(known).collect();
            prop_assert_eq!(*weights.recover(&shares), other);
        }
    }
}
