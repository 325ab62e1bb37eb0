//! Who the simulated clients are to one another: enrolled by one authority that is made from the scenario's seed.

use std::sync::Arc;

use somnus_protocol::ids::ClientId;
use somnus_protocol::message::Role;
use somnus_protocol::participant::{Hands, Kept, Participant, Policy};
use somnus_protocol::secagg::{Enrolled, Roll, SimulatedAuthority, SimulatedRoll};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::trainer::Trainer;

/// The authority of a simulated federation.
pub(crate) struct Members {
    seed: Seed,
    authority: SimulatedAuthority,
}

/// One client's name in the federation.
pub(crate) struct Member {
    identity: Enrolled,
    roll: SimulatedRoll,
}

impl Members {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self { seed: seed.clone(), authority: SimulatedAuthority::new(seed.clone()) }
    }

    /// Who is enrolled, for the server.
    pub(crate) fn roll(&self) -> Arc<dyn Roll + Send + Sync> {
        Arc::new(self.authority.roll())
    }

    pub(crate) fn enrol(&self, id: &ClientId) -> Member {
        Member { identity: self.authority.enrol(id), roll: self.authority.roll() }
    }

    /// A client's machine. The study sees everything, so its clients allow what the scenario asks for.
    pub(crate) fn participant(&self, id: &ClientId, role: Role, kept: &Kept) -> Participant {
        let policy = Policy { danger_plain_aggregation: true, ..Policy::default() };
        let seed = self.seed.derive(Label::RoundSecrets, id.as_str().as_bytes());
        Participant::new(id.clone(), role, policy, kept, seed)
    }
}

impl Member {
    /// What this client works with.
    pub(crate) fn hands<'a>(&'a self, trainer: &'a dyn Trainer) -> Hands<'a> {
        Hands { trainer, identity: &self.identity, roll: &self.roll }
    }
}
