//! Who may mask: a certificate of our authority that is valid now, under a key that the roster has.

use std::sync::Arc;

use somnus_protocol::credentials::AuthorityRoll;
use somnus_protocol::fault::Fault;
use somnus_protocol::secagg::{Claim, Roll, Violation};

use crate::ca::Presented;
use crate::clock::WallClock;
use crate::registry::Registry;

/// The registry, asked anew each time: a revoked hub signs nothing any more.
pub struct EnrolledNow {
    registry: Arc<Registry>,
    clock: WallClock,
}

impl EnrolledNow {
    /// Who `registry` has, by `clock`.
    pub fn new(registry: Arc<Registry>, clock: WallClock) -> Self {
        Self { registry, clock }
    }
}

impl Roll for EnrolledNow {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        let Claim { client, certificate, .. } = claim;
        let stranger = || Violation::NotEnrolled { client: client.clone() };
        let now = self.clock.now();
        let roll = AuthorityRoll::new(self.registry.authority().certificate(), now).ok_or_else(stranger)?;
        roll.verify(claim)?;
        let seen = Presented::read(certificate).ok_or_else(stranger)?;
        let member = self.registry.enrolled(&seen).map_err(|_| stranger())?;
        let good = member.name() == client && self.registry.admits(&member, now).is_ok();
        if good { Ok(()) } else { Err(stranger().into()) }
    }
}
