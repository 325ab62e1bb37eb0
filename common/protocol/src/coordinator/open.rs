//! What is true of a round from its selection to its end, whatever its phase.

use std::collections::BTreeMap;

use crate::ids::{ClientId, Round};
use crate::message::REASON;
use crate::record::{Outcome, RoundRecord};
use crate::time::Instant;

/// A round under way.
pub(super) struct Open {
    pub(super) round: Round,
    pub(super) opened: Instant,
    pub(super) cohort: Vec<ClientId>,
    /// Who is out of it, and why.
    pub(super) dropped: BTreeMap<ClientId, String>,
    pub(super) bytes_up: u64,
    /// When each client had trained.
    trained: BTreeMap<ClientId, Instant>,
    /// What clients took, once nobody is waited for any more.
    durations: Vec<u64>,
}

impl Open {
    pub(super) fn new(round: Round, cohort: Vec<ClientId>, opened: Instant) -> Self {
        let (dropped, trained) = (BTreeMap::new(), BTreeMap::new());
        Self { round, opened, cohort, dropped, bytes_up: 0, trained, durations: Vec::new() }
    }

    /// Notes why a client is out; the first reason stays.
    pub(super) fn drop_out(&mut self, client: &ClientId, reason: &str) {
        let reason = || reason.chars().take(REASON).collect();
        self.dropped.entry(client.clone()).or_insert_with(reason);
    }

    /// Whether a client was selected and is not out.
    pub(super) fn has(&self, client: &ClientId) -> bool {
        self.cohort.contains(client) && !self.dropped.contains_key(client)
    }

    /// A client has trained; what it says later changes nothing.
    pub(super) fn trained(&mut self, now: Instant, client: &ClientId) {
        self.trained.entry(client.clone()).or_insert(now);
    }

    /// Nobody is waited for any more: what clients took, and how long the others were waited for.
    pub(super) fn time(&mut self, now: Instant) {
        let of = |client: &ClientId| self.trained.get(client).copied().unwrap_or(now).since(self.opened);
        let waited_for = self.cohort.iter().filter(|client| self.has(client));
        let mut durations: Vec<u64> = waited_for.map(|client| of(client).as_millis() as u64).collect();
        durations.sort_unstable();
        self.durations = durations;
    }

    /// What the round comes to. Whoever is neither counted nor out was too late.
    pub(super) fn into_record(
        mut self,
        now: Instant,
        outcome: Outcome,
        counted: Vec<ClientId>,
        bytes_down: u64,
    ) -> RoundRecord {
        for client in self.cohort.iter().filter(|client| counted.binary_search(client).is_err()) {
            self.dropped.entry(client.clone()).or_insert_with(|| "not done by the deadline".into());
        }
        RoundRecord {
            round: self.round,
            outcome,
            evaluating: false,
            cohort: self.cohort,
            counted,
            dropped: self.dropped,
            examples: 0,
            loss: 0.0,
            evaluations: BTreeMap::new(),
            tally: None,
            durations: self.durations,
            millis: now.since(self.opened).as_millis() as u64,
            bytes_up: self.bytes_up,
            bytes_down,
            epsilon: None,
        }
    }
}
