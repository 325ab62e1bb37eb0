//! Counts of evaluations that ride in masked vectors, so that the server learns their sum.
//!
//! A round's clients count the release that they start from, beside their updates. After the last release nobody trains any
//! more: a closing round, with the same masks and the same checks, counts that one alone. It is tried once.

use super::open::Open;
use super::phase::Phase;
use super::total::Total;
use super::{Coordinator, Event};
use crate::encoding::Evaluated;
use crate::evaluation::{Counting, Scoring, Tally};
use crate::ids::ClientId;
use crate::message::ToClient;
use crate::record::Outcome;
use crate::time::Instant;

impl Coordinator {
    /// Whether all releases are made. A round that is open then is the closing one.
    pub(super) fn is_last(&self) -> bool {
        self.version.0 >= self.config.rounds
    }

    /// Whether the last release is to be evaluated.
    pub(super) fn is_due(&self) -> bool {
        let every = self.config.evaluate_every;
        self.is_last() || every != 0 && self.version.0 != 0 && self.version.0.is_multiple_of(every)
    }

    /// What a masked round counts now.
    pub(super) fn counting(&self) -> Counting {
        // Beside updates that began with several releases nobody counts: few may have begun with this one, or one alone.
        let due = self.is_due() && !self.is_asynchronous();
        let Some(classes) = self.classes.filter(|_| due) else { return Counting::Nothing };
        let scoring = Scoring { version: self.version, classes };
        if self.is_last() { Counting::Alone(scoring) } else { Counting::Beside(scoring) }
    }

    /// What the clients of a sum have counted, of the release that they started from.
    pub(super) fn tally(&self, total: &Total) -> Option<Tally> {
        let Scoring { version, classes } = self.counting().scoring()?;
        let Evaluated { clients, confusion } = total.evaluated()?;
        Some(Tally { version, clients, classes, confusion })
    }

    /// Ends the closing round with what it counted.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        open: Open,
        counted: Vec<ClientId>,
        total: &Total,
    ) -> Phase {
        self.dismiss(open.round, open.cohort.iter());
        let outcome = Outcome::Evaluated(self.version);
        let mut record = open.into_record(now, outcome, counted, self.bytes_down);
        record.tally = self.tally(total);
        self.persist_round(record);
        self.finish()
    }

    /// The federation is complete.
    pub(super) fn finish(&mut self) -> Phase {
        let everyone: Vec<ClientId> = self.checked_in().map(|(client, _)| client.clone()).collect();
        for client in &everyone {
            self.send(client, ToClient::Finished { version: self.version });
        }
        self.event(Event::Finished(self.version));
        Phase::Finished
    }
}
