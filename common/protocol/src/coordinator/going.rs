//! Who goes on with a training when its round ends without it: in asynchronous rounds everybody, for a later one.

use std::collections::{BTreeMap, BTreeSet};

use super::Coordinator;
use super::open::Open;
use crate::ids::ClientId;
use crate::time::Instant;

/// Clients at work, and since when. A server that starts again does not know of any: they come in as others do, and what they
/// have trained meanwhile serves nevertheless.
#[derive(Default)]
pub(super) struct Going(BTreeMap<ClientId, Instant>);

impl Going {
    pub(super) fn has(&self, client: &ClientId) -> bool {
        self.0.contains_key(client)
    }

    /// All but these are done, or will not do it.
    pub(super) fn keep(&mut self, working: &BTreeSet<ClientId>) {
        self.0.retain(|client, _| working.contains(client));
    }

    /// Nobody is at work for anything but this.
    fn begin(&mut self, now: Instant, cohort: &[ClientId]) {
        let since = |client: &ClientId| self.0.get(client).copied().unwrap_or(now);
        self.0 = cohort.iter().map(|client| (client.clone(), since(client))).collect();
    }
}

impl Coordinator {
    /// Whether rounds leave stragglers to later ones. The closing round does not: nobody trains for it.
    pub(super) fn is_asynchronous(&self) -> bool {
        self.config.asynchronous.is_some() && !self.is_last()
    }

    /// Nobody who is still `working` is waited for any more.
    pub(super) fn end_training(&mut self, now: Instant, open: &mut Open, working: &BTreeSet<ClientId>) {
        if self.is_asynchronous() {
            working.iter().for_each(|client| open.drop_out(client, "goes on for a later round"));
            self.going.keep(working);
        } else if !self.is_last() {
            open.time(now);
        }
    }

    /// The next cohort: whoever is at work already, as many others as the lot of the round takes in. Who has been at work for
    /// longer than a training may take has its place no more.
    pub(super) fn refill(&mut self, now: Instant, candidates: Vec<ClientId>) -> Vec<ClientId> {
        let most = self.config.training;
        let at_work = |client: &ClientId| self.going.0.get(client).is_some_and(|since| now < *since + most);
        let (mut cohort, free): (Vec<_>, Vec<_>) = candidates.into_iter().partition(at_work);
        let places = self.config.invited.saturating_sub(cohort.len());
        cohort.extend(self.draw(self.round, free, places));
        cohort.sort();
        self.going.begin(now, &cohort);
        cohort
    }
}
