//! What the federation promises about privacy, what is left of it, and what a round does to keep it.

use super::open::Open;
use super::phase::Phase;
use super::total::Total;
use super::unmasking::Unmasking;
use super::{Coordinator, Event, Output};
use crate::ids::{ClientId, Round, Version};
use crate::message::ToClient;
use crate::privacy::clip::Clip;
use crate::privacy::ledger::{Budget, Entry, Ledger, Overspent, Refusal, Reservation};
use crate::privacy::mechanism::Mechanism;
use crate::privacy::terms::Terms;
use crate::privacy::veil::{Source, Veil};
use crate::record::{Outcome, Record};
use crate::secure::SecurePlan;
use crate::seed::Seed;
use crate::time::Instant;

/// The promise.
pub(super) struct Guarantee {
    terms: Terms,
    ledger: Ledger,
    /// What the server's noise comes from.
    secret: Seed,
    /// The clip norm of the next round.
    norm: f64,
    /// Of the ledger as it is now; finding out takes a moment.
    epsilon: f64,
    next: Result<(), Overspent>,
}

impl Guarantee {
    /// Goes on with a ledger's log and the norm of the last release.
    pub(super) fn new(terms: Terms, log: Vec<Entry>, norm: Option<f64>, secret: Seed) -> Self {
        let budget = Budget { epsilon: terms.config.epsilon, delta: terms.plan.delta };
        let ledger = Ledger::replay(budget, log);
        let norm = match terms.config.clip {
            Clip::Fixed { norm } => norm,
            Clip::Adaptive(adaptive) => norm.unwrap_or(adaptive.initial),
        };
        let mut guarantee = Self { terms, ledger, secret, norm, epsilon: 0.0, next: Ok(()) };
        guarantee.look();
        guarantee
    }

    fn look(&mut self) {
        self.epsilon = self.ledger.epsilon();
        self.next = self.ledger.afford(&self.terms.plan.round);
    }

    /// The clip norm of the next round.
    pub(super) fn norm(&self) -> f64 {
        self.norm
    }

    /// How the next round is masked.
    pub(super) fn secure(&self) -> Option<SecurePlan> {
        let mut secure = self.terms.secure.clone()?;
        secure.encoding.clip_norm = self.norm;
        Some(secure)
    }

    /// What hides people in a round's sum, which makes `release`.
    pub(super) fn veil(&self, round: Round, release: Version) -> Veil {
        let (plan, secret) = (&self.terms.plan, self.secret.clone());
        let source = match self.terms.config.mechanism {
            Mechanism::Gaussian => Source::Round { secret, round },
            Mechanism::Ftrl { .. } => Source::Tree { secret, leaf: release.0 },
            Mechanism::Skellam(_) | Mechanism::DiscreteGaussian(_) => Source::Clients,
        };
        let count_deviation = plan.count_deviation.unwrap_or_default();
        Veil::new(plan.setting.cohort, plan.multiplier, count_deviation, source)
    }

    /// The clip norm after a round in which so many updates were and were not short enough; `None` if it does not change.
    fn after(&self, veil: &Veil, short: u32, long: u32) -> Option<f64> {
        let Clip::Adaptive(adaptive) = self.terms.config.clip else { return None };
        Some(adaptive.next(self.norm, veil.balance(short, long), veil.denominator()))
    }

    /// Whether a client may be in `release` that was last in release `last`.
    fn may_return(&self, last: Version, release: Version) -> bool {
        match self.terms.config.mechanism {
            Mechanism::Ftrl { separation } => release.0.saturating_sub(last.0) >= separation,
            _ => true,
        }
    }

    /// The cost of a round, set aside; or the one that was before a crash.
    fn reserve(&mut self, round: Round) -> Result<Reservation, Refusal> {
        let again = Entry::Reserved { round, cost: self.terms.plan.round.clone() };
        if let Some(reservation) = self.ledger.resume(round).filter(|open| open.entry() == again) {
            return Ok(reservation);
        }
        let reservation = self.ledger.reserve(round, self.terms.plan.round.clone())?;
        self.look();
        Ok(reservation)
    }

    fn give_back(&mut self, reservation: Reservation) -> Entry {
        let entry = reservation.give_back(&mut self.ledger);
        self.look();
        entry
    }
}

impl Coordinator {
    /// How the next round is masked; none if it is plain.
    pub(super) fn secure(&self) -> Option<SecurePlan> {
        let plan = match &self.guarantee {
            Some(guarantee) => guarantee.secure(),
            None => self.config.secure.clone(),
        };
        plan.map(|plan| SecurePlan { counting: self.counting(), ..plan })
    }

    /// What hides people in the sum of `round`.
    pub(super) fn veil(&self, round: Round) -> Option<Veil> {
        self.guarantee.as_ref().map(|guarantee| guarantee.veil(round, self.version.next()))
    }

    /// The most that all rounds until now may tell of a person.
    pub(super) fn epsilon(&self) -> Option<f64> {
        self.guarantee.as_ref().map(|guarantee| guarantee.epsilon)
    }

    /// The clip norm after a round whose sum is `total`, if it changes.
    pub(super) fn next_norm(&self, round: Round, total: &Total) -> Option<f64> {
        let (short, long) = total.clipped()?;
        self.guarantee.as_ref()?.after(&self.veil(round)?, short, long)
    }

    /// Goes on with another clip norm, and gives it back to be written down.
    pub(super) fn adapted(&mut self, norm: Option<f64>) -> Option<f64> {
        if let (Some(guarantee), Some(norm)) = (&mut self.guarantee, norm) {
            guarantee.norm = norm;
        }
        norm
    }

    /// Whether a client may be in the next release.
    pub(super) fn may_train(&self, client: &ClientId) -> bool {
        let last = self.seen.get(client);
        let next = self.version.next();
        let may = |guarantee: &Guarantee| last.is_none_or(|last| guarantee.may_return(last.version, next));
        self.guarantee.as_ref().is_none_or(may)
    }

    /// Why there cannot be another round, if so.
    pub(super) fn overspent(&self) -> Option<Overspent> {
        self.guarantee.as_ref().and_then(|guarantee| guarantee.next.err())
    }

    /// Sets the cost of a round aside, on the disk before anything that follows from it.
    pub(super) fn set_aside(&mut self, round: Round) -> Result<Option<Reservation>, Refusal> {
        let Some(guarantee) = &mut self.guarantee else { return Ok(None) };
        let reservation = guarantee.reserve(round)?;
        self.out.push_back(Output::Persist(Record::Privacy(reservation.entry())));
        Ok(Some(reservation))
    }

    /// The sum is known to more than the machine that made it.
    pub(super) fn spend(&mut self, reservation: Option<Reservation>) {
        if let (Some(guarantee), Some(reservation)) = (&mut self.guarantee, reservation) {
            // What is reserved counts in full: nothing new to find out.
            let entry = reservation.spend(&mut guarantee.ledger);
            self.out.push_back(Output::Persist(Record::Privacy(entry)));
        }
    }

    /// Ends a round whose survivors are fixed: its cost comes back if nobody was asked for what would tell the sum.
    pub(super) fn abort_unmasking(&mut self, now: Instant, unmasking: Unmasking, why: &str) -> Phase {
        let Unmasking { open, reservation, asked, .. } = unmasking;
        match (&mut self.guarantee, reservation) {
            (Some(guarantee), Some(reservation)) if !asked => {
                let entry = guarantee.give_back(reservation);
                self.out.push_back(Output::Persist(Record::Privacy(entry)));
            }
            (_, reservation) => self.spend(reservation),
        }
        self.abort(now, open, Vec::new(), why)
    }

    /// No round can be made any more: writes down why, under a round of its own, and ends the federation.
    pub(super) fn end_early(&mut self, now: Instant, why: String) -> Phase {
        // A server that is started again says the same thing, once.
        let outcome = Outcome::Aborted(why.clone());
        if self.last_outcome.as_ref() != Some(&outcome) {
            self.round = self.round.next();
            let open = Open::new(self.round, Vec::new(), now);
            self.persist_round(open.into_record(now, outcome, Vec::new(), 0));
        }
        self.ended = true;
        let everyone: Vec<ClientId> = self.checked_in().map(|(client, _)| client.clone()).collect();
        for client in &everyone {
            self.send(client, ToClient::Finished { version: self.version });
        }
        self.event(Event::Ended(why));
        self.event(Event::Finished(self.version));
        Phase::Finished
    }
}
