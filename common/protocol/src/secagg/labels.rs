//! Every label under which secure aggregation derives, signs or commits. No two are alike, so no value that is made for
//! one use can serve another.

use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

/// A purpose of 32 derived bytes.
#[derive(Clone, Copy)]
pub(super) enum Derive {
    /// Round seed -> x25519 key of the pairwise masks.
    MaskKey,
    /// Round seed -> x25519 key under which shares are sealed.
    SealKey,
    /// Round seed -> the seed b of the self-mask.
    SelfMask,
    /// Round seed -> coefficients of the polynomial through the mask key.
    MaskKeyShares,
    /// Round seed -> coefficients of the polynomial through b.
    SelfMaskShares,
    /// b -> keystream of the self-mask.
    SelfStream,
    /// Agreement of two mask keys -> keystream of the pair's mask.
    PairStream,
    /// Agreement of two sealing keys -> key for one direction.
    Sealing,
    /// Roster digest -> order of the members on the ring.
    Graph,
}

impl Derive {
    const fn text(self) -> &'static [u8] {
        match self {
            Derive::MaskKey => b"somnus/1 secagg mask key",
            Derive::SealKey => b"somnus/1 secagg seal key",
            Derive::SelfMask => b"somnus/1 secagg self mask",
            Derive::MaskKeyShares => b"somnus/1 secagg mask key shares",
            Derive::SelfMaskShares => b"somnus/1 secagg self mask shares",
            Derive::SelfStream => b"somnus/1 secagg self stream",
            Derive::PairStream => b"somnus/1 secagg pair stream",
            Derive::Sealing => b"somnus/1 secagg sealing",
            Derive::Graph => b"somnus/1 secagg graph",
        }
    }

    /// HKDF-SHA256 (RFC 5869) of `secret` for this purpose and `context`.
    pub(super) fn from(self, secret: &[u8], context: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, self.text())
            .extract(secret)
            .expand(context, HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *out))
            .expect("32 bytes are within the limit of HKDF");
        out
    }
}

/// Starts what an identity signs about its round keys.
pub(super) const ADVERTISEMENT: &[u8] = b"somnus/1 secagg advertisement";
/// Starts what an identity signs about the survivors.
pub(super) const CONFIRMATION: &[u8] = b"somnus/1 secagg confirmation";
/// Starts what is hashed to commit to a self-mask seed.
pub(super) const COMMITMENT: &[u8] = b"somnus/1 secagg commitment";
/// Starts what a simulated authority signs to enrol a client.
pub(super) const ENROLMENT: &[u8] = b"somnus/1 secagg simulated enrolment";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_labels_are_alike_and_none_starts_a_signed_statement_like_another() {
        let derive = [
            Derive::MaskKey,
            Derive::SealKey,
            Derive::SelfMask,
            Derive::MaskKeyShares,
            Derive::SelfMaskShares,
            Derive::SelfStream,
            Derive::PairStream,
            Derive::Sealing,
            Derive::Graph,
        ];
        let all: BTreeSet<[u8; 32]> = derive.iter().map(|label| *label.from(b"one secret", &[])).collect();
        assert_eq!(all.len(), derive.len());
        let statements = [ADVERTISEMENT, CONFIRMATION, COMMITMENT, ENROLMENT];
        for (i, a) in statements.iter().enumerate() {
            for b in &statements[i + 1..] {
                assert!(!a.starts_with(b) && !b.starts_with(a));
            }
        }
    }
}
