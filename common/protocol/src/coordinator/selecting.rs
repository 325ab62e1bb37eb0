//! Selection: wait for enough clients, then draw a cohort.

use rand::seq::SliceRandom;

use super::job::Tally;
use super::keying::Keying;
use super::open::Open;
use super::phase::{Phase, Step};
use super::uploads::Collecting;
use super::{Coordinator, Event, Peer};
use crate::config::RoundConfig;
use crate::ids::{ClientId, Round};
use crate::message::Role;
use crate::privacy::clipped::ClippedSum;
use crate::seed::Label;
use crate::time::Instant;

/// Waiting for clients to check in.
#[derive(Clone, Copy, Default)]
pub(super) struct Selecting {
    /// Since when there have been enough to begin, though fewer than wanted.
    enough_since: Option<Instant>,
}

impl Selecting {
    pub(super) fn deadline(&self, config: &RoundConfig) -> Option<Instant> {
        self.enough_since.map(|since| since + config.selection)
    }
}

impl Coordinator {
    /// Goes on once a cohort is drawn.
    pub(super) fn try_select(&mut self, now: Instant, selecting: Selecting) -> Step {
        if let Some(overspent) = self.overspent() {
            return Step::Go(self.end_early(now, overspent.to_string()));
        }
        let may = |client: &&ClientId| self.may_train(client);
        let candidates: Vec<ClientId> = self.trainers().filter(may).cloned().collect();
        if candidates.len() < self.config.min_clients {
            return Step::Stay(Phase::selecting());
        }
        let since = selecting.enough_since.unwrap_or(now);
        if candidates.len() < self.config.invited && now < since + self.config.selection {
            return Step::Stay(Phase::Selecting(Selecting { enough_since: Some(since) }));
        }
        self.round = self.round.next();
        self.bytes_down = 0;
        let cohort = self.draw(self.round, candidates);
        self.event(Event::Opened(self.round, cohort.clone()));
        let (round, deadline) = (self.round, now + self.config.training);
        for client in &cohort {
            let message = self.assignment(client, round, self.config.training);
            self.send(client, message);
        }
        let open = Open::new(round, cohort, now);
        Step::Go(if self.config.is_masked() {
            Phase::Keying(Keying::new(open, deadline, self.promise(round)))
        } else {
            let layout = self.layout();
            let tally = match &self.guarantee {
                Some(guarantee) => Tally::Clipped(ClippedSum::new(layout.numbers(), guarantee.norm())),
                None => Tally::Plain(self.config.gather(layout.numbers(), round, &self.seed)),
            };
            Phase::Collecting(Collecting::plain(open, &self.config, layout.bytes(), tally))
        })
    }

    /// A cohort: sorted candidates, shuffled by the round's own seed, cut, sorted.
    fn draw(&self, round: Round, mut candidates: Vec<ClientId>) -> Vec<ClientId> {
        candidates.shuffle(&mut self.seed.derive(Label::Selection, &round.0.to_le_bytes()).rng());
        candidates.truncate(self.config.invited);
        candidates.sort();
        candidates
    }

    fn trainers(&self) -> impl Iterator<Item = &ClientId> {
        self.peers
            .iter()
            .filter(|(_, peer)| **peer == Peer::CheckedIn(Role::Trains))
            .map(|(client, _)| client)
    }
}
