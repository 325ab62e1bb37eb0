//! Who the simulated clients are to one another: enrolled by one authority that is made from the scenario's seed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use somnus_protocol::evaluation::EvaluationPolicy;
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::message::Role;
use somnus_protocol::participant::{Hands, Kept, Participant, Policy};
use somnus_protocol::secagg::{Claim, Enrolled, Roll, SimulatedAuthority, SimulatedRoll};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::trainer::Trainer;

/// The authority of a simulated federation.
pub(crate) struct Members {
    seed: Seed,
    authority: SimulatedAuthority,
    roll: Arc<SharedRoll>,
}

/// One client's name in the federation.
pub(crate) struct Member {
    identity: Enrolled,
    roll: Arc<SharedRoll>,
}

/// Good signatures that are remembered.
const KNOWN: usize = 1 << 14;

/// Who is enrolled, for all machines of one process: each signature is checked once, not once by everybody whom it is
/// shown to. It is the same check with the same answer; a deployed hub makes its own.
struct SharedRoll {
    roll: SimulatedRoll,
    good: Mutex<BTreeSet<Digest>>,
}

impl Roll for SharedRoll {
    fn verify(&self, claim: Claim<'_>) -> Result<(), Fault> {
        let Claim { client, certificate, message, signature } = claim;
        // Each part is of its own length or the last: no two questions look alike.
        let lengths = [client.as_str().len(), certificate.len(), signature.len()].map(usize::to_le_bytes);
        let question = [lengths.as_flattened(), client.as_str().as_bytes(), certificate, signature, message];
        let digest = Digest::of(&question.concat());
        let good = || self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good().contains(&digest) {
            return Ok(());
        }
        self.roll.verify(claim)?;
        let mut good = good();
        if good.len() >= KNOWN {
            good.clear();
        }
        good.insert(digest);
        Ok(())
    }
}

impl Members {
    pub(crate) fn new(seed: &Seed) -> Self {
        let authority = SimulatedAuthority::new(seed.clone());
        let roll = Arc::new(SharedRoll { roll: authority.roll(), good: Mutex::default() });
        Self { seed: seed.clone(), authority, roll }
    }

    /// Who is enrolled, for the server.
    pub(crate) fn roll(&self) -> Arc<dyn Roll + Send + Sync> {
        Arc::clone(&self.roll) as Arc<dyn Roll + Send + Sync>
    }

    pub(crate) fn enrol(&self, id: &ClientId) -> Member {
        Member { identity: self.authority.enrol(id), roll: Arc::clone(&self.roll) }
    }

    /// A client's machine. The study sees everything, so its clients allow what the scenario asks for.
    pub(crate) fn participant(&self, id: &ClientId, role: Role, kept: &Kept) -> Participant {
        let evaluation = EvaluationPolicy::PerClient;
        let policy = Policy { danger_plain_aggregation: true, evaluation, ..Policy::default() };
        let seed = self.seed.derive(Label::RoundSecrets, id.as_str().as_bytes());
        Participant::new(id.clone(), role, policy, kept, seed)
    }
}

impl Member {
    /// What this client works with.
    pub(crate) fn hands<'a>(&'a self, trainer: &'a dyn Trainer) -> Hands<'a> {
        Hands { trainer, identity: &self.identity, roll: &*self.roll }
    }
}

#[cfg(test)]
mod tests {
    use somnus_protocol::secagg::Identity;

    use super::*;

    #[test]
    fn a_signature_that_was_good_once_is_good_for_its_own_question_only() {
        let members = Members::new(&Seed::from_number(1));
        let (ann, bob): (ClientId, ClientId) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        let hub = members.enrol(&ann);
        let (certificate, signature) = (hub.identity.certificate(), hub.identity.sign(b"message"));
        let roll = members.roll();
        let good = Claim { client: &ann, certificate, message: b"message", signature: &signature };
        for _ in 0..2 {
            roll.verify(good).unwrap();
            roll.verify(Claim { message: b"another", ..good }).unwrap_err();
            roll.verify(Claim { client: &bob, ..good }).unwrap_err();
        }
    }
}
