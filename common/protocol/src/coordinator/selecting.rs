//! Selection: wait for enough clients, then draw a cohort.

use rand::seq::SliceRandom;

use super::job::Tally;
use super::keying::Keying;
use super::open::Open;
use super::phase::{Phase, Step};
use super::uploads::Collecting;
use super::{Coordinator, Event};
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
    /// When to give up, if the round is there for counts alone.
    until: Option<Instant>,
}

impl Selecting {
    /// For the round that counts the last release, for which nobody waits longer than `until`.
    pub(super) fn closing(until: Instant) -> Self {
        Self { enough_since: None, until: Some(until) }
    }

    pub(super) fn deadline(&self, config: &RoundConfig) -> Option<Instant> {
        let begins = self.enough_since.map(|since| since + config.selection);
        begins.into_iter().chain(self.until).min()
    }

    fn is_late(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Coordinator {
    /// Goes on once a cohort is drawn.
    pub(super) fn try_select(&mut self, now: Instant, selecting: Selecting) -> Step {
        if let Some(overspent) = self.overspent() {
            return Step::Go(self.end_early(now, overspent.to_string()));
        }
        let candidates = self.candidates();
        if candidates.len() < self.config.min_clients {
            let waiting = Selecting { enough_since: None, ..selecting };
            let late = selecting.is_late(now);
            return if late { Step::Go(self.finish()) } else { Step::Stay(Phase::Selecting(waiting)) };
        }
        let since = selecting.enough_since.unwrap_or(now);
        let wait = now < since + self.config.selection && !selecting.is_late(now);
        if candidates.len() < self.config.invited && wait {
            return Step::Stay(Phase::Selecting(Selecting { enough_since: Some(since), ..selecting }));
        }
        self.round = self.round.next();
        self.bytes_down = 0;
        let cohort = if self.is_asynchronous() {
            self.refill(now, candidates)
        } else {
            self.draw(self.round, candidates, self.config.invited)
        };
        self.event(Event::Opened(self.round, cohort.clone()));
        let (pace, most) = (&self.pace, self.config.training);
        let time =
            if self.is_last() { self.config.evaluation } else { self.config.deadline.after(pace, most) };
        let (round, deadline) = (self.round, now + time);
        for client in &cohort {
            let message = self.assignment(client, round, time);
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
            Phase::Collecting(Collecting::plain(open, deadline, layout.bytes(), tally))
        })
    }

    /// A cohort: sorted candidates, shuffled by the round's own seed, cut, sorted.
    pub(super) fn draw(&self, round: Round, mut candidates: Vec<ClientId>, places: usize) -> Vec<ClientId> {
        candidates.shuffle(&mut self.seed.derive(Label::Selection, &round.0.to_le_bytes()).rng());
        candidates.truncate(places);
        candidates.sort();
        candidates
    }

    /// Who may be in the next round: those who train, and everybody if nobody will.
    fn candidates(&self) -> Vec<ClientId> {
        let last = self.is_last();
        let may =
            |(client, role): &(&ClientId, Role)| last || *role == Role::Trains && self.may_train(client);
        self.checked_in().filter(may).map(|(client, _)| client.clone()).collect()
    }
}
