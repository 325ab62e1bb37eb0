//! Who this hub is to the other hubs of a masked round, and what it knows of them.

use std::sync::Arc;

use bytes::Bytes;
use somnus_protocol::credentials::{AuthorityRoll, HubIdentity};
use somnus_protocol::fault::Fault;
use somnus_protocol::participant;
use somnus_protocol::secagg::{Claim, Identity, Roll, Violation};
use somnus_protocol::trainer::Trainer;
use zeroize::Zeroizing;

use crate::identity::{HubKey, Membership};

/// The hub's key under its certificate, and the authority that all certificates come from.
pub(crate) struct Credentials {
    /// PKCS #8.
    key: Arc<Zeroizing<Vec<u8>>>,
    identity: HubIdentity,
    authority: Option<Bytes>,
}

/// Who is enrolled, at one moment.
pub(crate) struct Others(Option<AuthorityRoll>);

impl Credentials {
    /// Before the first connection: the authority is known by its digest only, and nobody can be checked.
    pub(crate) fn new(key: &HubKey, membership: &Membership) -> Self {
        Self::with(Arc::new(key.pkcs8()), membership, None)
    }

    fn with(key: Arc<Zeroizing<Vec<u8>>>, membership: &Membership, authority: Option<Bytes>) -> Self {
        let certificate = Bytes::copy_from_slice(&membership.certificate());
        let identity = HubIdentity::new(&key, certificate).expect("a hub's key is an Ed25519 key");
        Self { key, identity, authority }
    }

    /// The same with the authority's certificate, as a server under it has shown it.
    pub(crate) fn under(&self, authority: Option<Bytes>) -> Self {
        let identity =
            HubIdentity::new(&self.key, self.identity.certificate().clone()).expect("it was one before");
        Self { key: Arc::clone(&self.key), identity, authority: authority.or_else(|| self.authority.clone()) }
    }

    /// The same with a new certificate.
    pub(crate) fn renewed(&self, membership: &Membership) -> Self {
        Self::with(Arc::clone(&self.key), membership, self.authority.clone())
    }

    /// Those who are enrolled at `now`, in seconds since 1970 UTC.
    pub(crate) fn roll(&self, now: u64) -> Others {
        Others(self.authority.as_ref().and_then(|authority| AuthorityRoll::new(authority, now)))
    }

    /// What a job works with.
    pub(crate) fn hands<'a>(&'a self, trainer: &'a dyn Trainer, roll: &'a Others) -> participant::Hands<'a> {
        participant::Hands { trainer, identity: &self.identity, roll }
    }
}

impl Roll for Others {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        match &self.0 {
            Some(roll) => roll.verify(claim),
            None => Err(Violation::NotEnrolled { client: claim.client.clone() }.into()),
        }
    }
}
