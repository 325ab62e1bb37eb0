//! An authority that enrols clients from a seed: for simulations and tests, where no X.509 is wanted.

use bytes::Bytes;
use rand::RngCore;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::keys::{Claim, Identity, Roll};
use super::labels::ENROLMENT;
use super::violation::Violation;
use crate::fault::Fault;
use crate::ids::ClientId;
use crate::seed::{Label, Seed};

/// Bytes of an Ed25519 public key; a simulated certificate is one and the authority's signature under it.
const PUBLIC: usize = 32;

/// Signs pairs of a client's name and its public key. Whoever knows its seed knows every key: never deploy it.
pub struct SimulatedAuthority {
    seed: Seed,
    key: Ed25519KeyPair,
}

fn key_pair(seed: &Seed, context: &[u8]) -> Ed25519KeyPair {
    let mut bytes = [0; 32];
    seed.derive(Label::Authority, context).rng().fill_bytes(&mut bytes);
    Ed25519KeyPair::from_seed_unchecked(&bytes).expect("any 32 bytes are an Ed25519 seed")
}

fn enrolment(client: &ClientId, public: &[u8]) -> Vec<u8> {
    [ENROLMENT, public, client.as_str().as_bytes()].concat()
}

fn signature(key: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    key.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
}

impl SimulatedAuthority {
    /// The authority of a seed.
    pub fn new(seed: Seed) -> Self {
        let key = key_pair(&seed, b"");
        Self { seed, key }
    }

    /// Enrols a client; the same client gets the same identity again.
    pub fn enrol(&self, client: &ClientId) -> Enrolled {
        let key = key_pair(&self.seed, client.as_str().as_bytes());
        let public = key.public_key().as_ref();
        let signed = signature(&self.key, &enrolment(client, public));
        let certificate = [public, &signed].concat().into();
        Enrolled { key, certificate }
    }

    /// What everybody knows of the authority.
    pub fn roll(&self) -> SimulatedRoll {
        SimulatedRoll { authority: self.key.public_key().as_ref().to_vec() }
    }
}

/// The identity of a simulated client.
pub struct Enrolled {
    key: Ed25519KeyPair,
    certificate: Bytes,
}

impl Identity for Enrolled {
    fn certificate(&self) -> &Bytes {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        signature(&self.key, message)
    }
}

/// Knows the public key of a [`SimulatedAuthority`].
#[derive(Clone)]
pub struct SimulatedRoll {
    authority: Vec<u8>,
}

impl Roll for SimulatedRoll {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        let Claim { client, certificate, message, signature } = claim;
        let (public, issued) =
            certificate.split_at_checked(PUBLIC).ok_or(Violation::NotEnrolled { client: client.clone() })?;
        UnparsedPublicKey::new(&ED25519, &self.authority)
            .verify(&enrolment(client, public), issued)
            .map_err(|_| Violation::NotEnrolled { client: client.clone() })?;
        UnparsedPublicKey::new(&ED25519, public)
            .verify(message, signature)
            .map_err(|_| Violation::NotSigned { client: client.clone() })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_enrolled_key_of_that_client_signs_for_it() {
        let authority = SimulatedAuthority::new(Seed::from_number(1));
        let roll = authority.roll();
        let (a, b): (ClientId, ClientId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (alice, bob) = (authority.enrol(&a), authority.enrol(&b));
        let signed = alice.sign(b"message");
        let not_signed: Fault = Violation::NotSigned { client: a.clone() }.into();
        let not_enrolled: Fault = Violation::NotEnrolled { client: a.clone() }.into();
        let check = |certificate: &[u8], message: &[u8], signature: &[u8]| {
            roll.verify(Claim { client: &a, certificate, message, signature })
        };
        check(alice.certificate(), b"message", &signed).unwrap();
        let verify = |certificate: &[u8], message: &[u8], signature: &[u8]| {
            check(certificate, message, signature).unwrap_err()
        };
        assert_eq!(verify(alice.certificate(), b"another", &signed), not_signed);
        assert_eq!(verify(alice.certificate(), b"message", &bob.sign(b"message")), not_signed);
        assert_eq!(verify(bob.certificate(), b"message", &bob.sign(b"message")), not_enrolled);
        assert_eq!(verify(b"short", b"message", &signed), not_enrolled);
        let foreign = SimulatedAuthority::new(Seed::from_number(2)).enrol(&a);
        assert_eq!(verify(foreign.certificate(), b"message", &foreign.sign(b"message")), not_enrolled);
    }
}
