//! What a round asks of its clients.

use std::time::Duration;

use super::Coordinator;
use crate::ids::{ClientId, Digest, Round};
use crate::message::{Assignment, ToClient};
use crate::seed::{Label, Seed};

impl Coordinator {
    /// What a round's training seeds come from, and what it draws in public.
    pub(super) fn round_seed(&self, round: Round) -> Seed {
        self.seed.derive(Label::Training, &round.0.to_le_bytes())
    }

    /// One client's part in a round.
    pub(super) fn assignment(&self, client: &ClientId, round: Round, time_left: Duration) -> ToClient {
        let counted = self.seen.get(client).map(|seen| seen.round);
        ToClient::Train(Assignment { counted, ..self.task(round, time_left) })
    }

    pub(super) fn task(&self, round: Round, time_left: Duration) -> Assignment {
        let mut plan = self.config.plan.clone();
        plan.learning_rate = plan.rate(self.version.0, self.config.rounds);
        // Who does not train needs nothing beside the release.
        let companion = self.companion.as_ref().filter(|_| !self.counting().is_alone());
        Assignment {
            round,
            plan,
            seed: self.round_seed(round).number(),
            foundation: self.foundation.id,
            release: self.weights.id,
            companion: companion.map(|held| held.id),
            sections: self.sections,
            secure: self.secure(),
            time_left_ms: time_left.as_millis() as u64,
            counted: None,
            lag: self.config.asynchronous.filter(|_| !self.is_last()).map(|one| one.lag(self.version)),
        }
    }

    /// What a round asks for in one digest; keys are signed for it.
    pub(super) fn promise(&self, round: Round) -> Digest {
        self.task(round, Duration::ZERO).promise()
    }
}
