//! Publication and federated evaluation: the release is durable first, then clients score it.

use std::collections::BTreeSet;

use super::job::{Aggregate, Aggregated, Job};
use super::open::Open;
use super::phase::{Phase, Step};
use super::total::Total;
use super::{Coordinator, Event, Held, Output, StrategyHome};
use crate::config::RoundConfig;
use crate::fault::Fault;
use crate::ids::{ClientId, Version};
use crate::message::{Examination, ToClient};
use crate::privacy::ledger::Reservation;
use crate::record::{Evaluation, Outcome, Record, Release, RoundRecord, Seen};
use crate::time::Instant;

/// Most classes of an evaluation.
const MAX_CLASSES: u8 = 8;

/// Most epochs in one client's evaluation: more than ten years of nights.
const MAX_EPOCHS: u64 = 1 << 22;

/// The sum is with the aggregation job.
pub(super) struct Aggregating {
    pub(super) record: RoundRecord,
    pub(super) opened: Instant,
    /// What the release costs.
    reservation: Option<Reservation>,
    /// The clip norm of the next round.
    norm: Option<f64>,
}

/// Clients score the release.
pub(super) struct Evaluating {
    pub(super) record: RoundRecord,
    pub(super) opened: Instant,
    pub(super) deadline: Instant,
    /// Connected clients that have not answered.
    pub(super) expected: BTreeSet<ClientId>,
}

impl Evaluating {
    /// The evaluation that a crash interrupted, with what was on disk of it. It waits for the cohort to come back.
    pub(super) fn resume(record: RoundRecord, config: &RoundConfig) -> Self {
        let opened = Instant::default();
        let expected = record.cohort.iter().cloned().collect();
        Self { record, opened, deadline: opened + config.evaluation, expected }
    }
}

impl Coordinator {
    /// Hands the total to the strategy.
    pub(super) fn aggregate(
        &mut self,
        now: Instant,
        open: Open,
        counted: Vec<ClientId>,
        total: Total,
        reservation: Option<Reservation>,
    ) -> Phase {
        let StrategyHome::Here(strategy) = std::mem::replace(&mut self.strategy, StrategyHome::Away) else {
            return self.abort(now, open, counted, "the strategy is still busy with another round");
        };
        let (round, opened) = (open.round, open.opened);
        let stopped = Outcome::Aborted("the server was stopped".into());
        let mut record = open.into_record(now, stopped, counted, self.bytes_down);
        (record.examples, record.loss) = (total.examples(), total.loss());
        let norm = self.next_norm(round, &total);
        let (weights, layout, reduce) = (self.weights.bytes.clone(), self.layout(), self.config.reduce());
        self.out.push_back(Output::Run(Job::Aggregate(Aggregate {
            round,
            total,
            weights,
            layout,
            reduce,
            strategy,
        })));
        Phase::Aggregating(Aggregating { record, opened, reservation, norm })
    }

    pub(super) fn aggregated(&mut self, now: Instant, done: Aggregated) {
        let Aggregated { round, weights, blob, strategy, state, companion, verdicts } = done;
        self.strategy = StrategyHome::Here(strategy);
        let Phase::Aggregating(Aggregating { record, .. }) = &self.phase else { return };
        if record.round != round {
            return;
        }
        let Phase::Aggregating(Aggregating { mut record, opened, reservation, norm }) =
            std::mem::replace(&mut self.phase, Phase::Finished)
        else {
            return;
        };
        self.version = Version(self.version.0 + 1);
        self.weights = Held { id: blob, bytes: weights.clone() };
        record.outcome = Outcome::Released(self.version);
        let seen = Seen { version: self.version, round };
        self.seen.extend(record.counted.iter().map(|client| (client.clone(), seen)));
        let beside = companion.as_ref().map(|(_, bytes)| bytes.clone());
        self.companion = companion.map(|(id, bytes)| Held { id, bytes });
        let norm = self.adapted(norm);
        let release =
            Release { version: self.version, round, weights, strategy: state, companion: beside, norm };
        let due = match self.config.evaluate_every {
            0 => self.is_last(),
            every => self.is_last() || self.version.0.is_multiple_of(every),
        };
        record.evaluating = due;
        record.epsilon = self.epsilon();
        self.spend(reservation);
        self.out.push_back(Output::Persist(Record::Release(release)));
        // Who is in the release is as durable as the release; the evaluation completes this record later.
        self.out.push_back(Output::Persist(Record::Round(record.clone())));
        for (client, verdict) in verdicts {
            self.event(Event::Judged(round, client, verdict));
        }
        self.event(Event::Released(self.version, blob));
        if self.config.is_masked() {
            for client in &record.counted {
                self.send(client, ToClient::Counted { round });
            }
        }
        self.dismiss(round, record.cohort.iter());

        let mut evaluating =
            Evaluating { record, opened, deadline: now + self.config.evaluation, expected: BTreeSet::new() };
        if due {
            evaluating.expected = self.checked_in().map(|(client, _)| client.clone()).collect();
            for client in &evaluating.expected {
                let message = ToClient::Evaluate(self.examination());
                self.send(client, message);
            }
        }
        self.phase = Phase::Evaluating(evaluating);
    }

    pub(super) fn greet_evaluating(&mut self, client: &ClientId) {
        let examination = self.examination();
        let Phase::Evaluating(evaluating) = &mut self.phase else { return };
        let (round, counted) = (evaluating.record.round, evaluating.record.counted.contains(client));
        let ask = !evaluating.record.evaluations.contains_key(client);
        if ask {
            evaluating.expected.insert(client.clone());
        }
        // A server that died with the release on its disk has told nobody that it counts; said twice, it does no harm.
        if counted && self.config.is_masked() {
            self.send(client, ToClient::Counted { round });
            self.send(client, ToClient::Over { round });
        }
        if ask {
            self.send(client, ToClient::Evaluate(examination));
        }
    }

    pub(super) fn evaluated(
        &mut self,
        client: &ClientId,
        version: Version,
        classes: u8,
        confusion: Vec<u32>,
    ) -> Result<(), Fault> {
        let evaluating = self.evaluating(version)?;
        if !evaluating.expected.remove(client) {
            // A doubled answer is ignored; one that nobody asked for cannot get here, all checked-in are asked.
            return Ok(());
        }
        let cells = usize::from(classes) * usize::from(classes);
        let epochs: u64 = confusion.iter().copied().map(u64::from).sum();
        if !(2..=MAX_CLASSES).contains(&classes) || confusion.len() != cells || epochs > MAX_EPOCHS {
            return Err(Fault::BadEvaluation);
        }
        evaluating.record.evaluations.insert(client.clone(), Evaluation { classes, confusion });
        Ok(())
    }

    pub(super) fn evaluation_declined(
        &mut self,
        client: &ClientId,
        version: Version,
        _reason: &str,
    ) -> Result<(), Fault> {
        self.evaluating(version)?.expected.remove(client);
        Ok(())
    }

    pub(super) fn try_finish_evaluation(&mut self, now: Instant, open: Evaluating) -> Step {
        if !open.expected.is_empty() && now < open.deadline {
            return Step::Stay(Phase::Evaluating(open));
        }
        let Evaluating { mut record, opened, .. } = open;
        record.millis = now.since(opened).as_millis() as u64;
        record.bytes_down = self.bytes_down;
        self.persist_round(record);
        if !self.is_last() {
            return Step::Go(Phase::selecting());
        }
        let everyone: Vec<ClientId> = self.checked_in().map(|(client, _)| client.clone()).collect();
        for client in &everyone {
            self.send(client, ToClient::Finished { version: self.version });
        }
        self.event(Event::Finished(self.version));
        Step::Go(Phase::Finished)
    }

    fn is_last(&self) -> bool {
        self.version.0 >= self.config.rounds
    }

    fn examination(&self) -> Examination {
        Examination {
            version: self.version,
            plan: self.config.plan.clone(),
            foundation: self.foundation.id,
            release: self.weights.id,
        }
    }

    fn evaluating(&mut self, version: Version) -> Result<&mut Evaluating, Fault> {
        let current = self.version;
        match &mut self.phase {
            Phase::Evaluating(evaluating) if version == current => Ok(evaluating),
            _ => Err(Fault::Unsolicited("an evaluation")),
        }
    }
}
