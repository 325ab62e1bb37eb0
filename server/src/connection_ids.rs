//! Connection ids that the next life of this server still knows for its own (RFC 9000 section 10.3), and that never meet by chance.
//!
//! quinn's keyed ids hold 24 bits of chance. Ids of connections are compared when they are made, but the one in a Retry packet is
//! not: beside a thousand hubs that were connected, one of some thousand newcomers was given the id of another's
//! connection, and whatever it said went there.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator};
use ring::hmac;

/// Bytes of chance.
const NONCE: usize = 8;
/// Bytes that tell our ids from garbage, which then gets no answer.
const TAG: usize = 4;

/// Makes and recognizes ids under one key.
pub struct ConnectionIds {
    key: hmac::Key,
    nonces: RandomConnectionIdGenerator,
}

impl ConnectionIds {
    /// Ids that whoever has the same key recognizes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), nonces: RandomConnectionIdGenerator::new(NONCE) }
    }

    fn sign(&self, nonce: &[u8]) -> ConnectionId {
        let tag = hmac::sign(&self.key, nonce);
        ConnectionId::new(&[nonce, &tag.as_ref()[..TAG]].concat())
    }
}

impl ConnectionIdGenerator for ConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = self.nonces.generate_cid();
        self.sign(&nonce)
    }

    fn validate(&self, cid: &ConnectionId) -> Result<(), InvalidCid> {
        match cid.split_at_checked(NONCE) {
            Some((nonce, _)) if self.sign(nonce) == *cid => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        NONCE + TAG
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_next_life_knows_them_and_nobody_else_makes_them() {
        let (mut ours, next, other) =
            (ConnectionIds::new(&[7; 32]), ConnectionIds::new(&[7; 32]), ConnectionIds::new(&[8; 32]));
        let id = ours.generate_cid();
        assert_eq!(id.len(), ours.cid_len());
        assert!(next.validate(&id).is_ok() && other.validate(&id).is_err());
        for bit in 0..8 * id.len() {
            let mut changed = id.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(next.validate(&ConnectionId::new(&changed)).is_err(), "bit {bit}");
        }
        assert!(next.validate(&ConnectionId::new(&id[..NONCE - 1])).is_err());
    }

    #[test]
    fn of_many_ids_no_two_are_the_same() {
        let mut ids = ConnectionIds::new(&[7; 32]);
        let many: HashSet<ConnectionId> = (0..100_000).map(|_| ids.generate_cid()).collect();
        assert_eq!(many.len(), 100_000);
    }
}
