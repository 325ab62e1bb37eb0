//! Publication and federated evaluation: the release is durable first, then clients score it for their owners, and tell
//! what they counted if the policy is that the server gets to know it of each.

use std::collections::BTreeSet;

use super::job::{Aggregate, Aggregated, Job};
use super::open::Open;
use super::phase::{Phase, Step};
use super::selecting::Selecting;
use super::total::Total;
use super::{Coordinator, Event, Held, Output, StrategyHome};
use crate::config::RoundConfig;
use crate::evaluation::{EvaluationPolicy, MAX_CLASSES, MAX_EPOCHS};
use crate::fault::Fault;
use crate::ids::{ClientId, Version};
use crate::message::{Examination, ToClient};
use crate::privacy::ledger::Reservation;
use crate::record::{Evaluation, Outcome, Record, Release, RoundRecord, Seen};
use crate::time::Instant;

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
    /// Those that have.
    done: BTreeSet<ClientId>,
}

impl Evaluating {
    /// The evaluation that a crash interrupted, with what was on disk of it. It waits for the cohort to come back.
    pub(super) fn resume(record: RoundRecord, config: &RoundConfig) -> Self {
        let opened = Instant::default();
        let done: BTreeSet<ClientId> = record.evaluations.keys().cloned().collect();
        let expected = record.cohort.iter().filter(|client| !done.contains(*client)).cloned().collect();
        Self { record, opened, deadline: opened + config.evaluation, expected, done }
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
        record.tally = self.tally(&total);
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
        if self.is_last() {
            self.going.keep(&BTreeSet::new());
        }
        let seen = Seen { version: self.version, round };
        self.seen.extend(record.counted.iter().map(|client| (client.clone(), seen)));
        let beside = companion.as_ref().map(|(_, bytes)| bytes.clone());
        self.companion = companion.map(|(id, bytes)| Held { id, bytes });
        let norm = self.adapted(norm);
        let release =
            Release { version: self.version, round, weights, strategy: state, companion: beside, norm };
        let due = self.is_due();
        record.evaluating = due;
        record.epsilon = self.epsilon();
        self.pace.learn(&record);
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

        let deadline = now + self.config.evaluation;
        let (expected, done) = (BTreeSet::new(), BTreeSet::new());
        let mut evaluating = Evaluating { record, opened, deadline, expected, done };
        if due {
            // Who trains goes on with that.
            let free = self.checked_in().filter(|(client, _)| !self.going.has(client));
            evaluating.expected = free.map(|(client, _)| client.clone()).collect();
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
        let round = evaluating.record.round;
        let (took_part, counted) =
            (evaluating.record.cohort.contains(client), evaluating.record.counted.contains(client));
        let ask = !evaluating.done.contains(client) && !self.going.has(client);
        if ask {
            evaluating.expected.insert(client.clone());
        }
        // A server that died with the release on its disk has told nobody that it counts; said twice, it does no harm.
        if counted && self.config.is_masked() {
            self.send(client, ToClient::Counted { round });
        }
        if took_part && self.config.is_masked() {
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
        counts: Option<Evaluation>,
    ) -> Result<(), Fault> {
        let told = self.config.policy == EvaluationPolicy::PerClient;
        let evaluating = self.evaluating(version)?;
        if counts.is_some() && !told {
            return Err(Fault::Unsolicited("a single client's counts"));
        }
        if !evaluating.expected.remove(client) {
            // A doubled answer is ignored; one that nobody asked for cannot get here, all checked-in are asked.
            return Ok(());
        }
        evaluating.done.insert(client.clone());
        match counts {
            Some(counts) if !is_sound(&counts) => Err(Fault::BadEvaluation),
            Some(counts) => {
                evaluating.record.evaluations.insert(client.clone(), counts);
                Ok(())
            }
            None if told => Err(Fault::BadEvaluation),
            None => Ok(()),
        }
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
        Step::Go(match (self.is_last(), self.classes) {
            (false, _) => Phase::selecting(),
            (true, Some(_)) => Phase::Selecting(Selecting::closing(now + self.config.evaluation)),
            (true, None) => self.finish(),
        })
    }

    fn examination(&self) -> Examination {
        Examination {
            version: self.version,
            plan: self.config.plan.clone(),
            foundation: self.foundation.id,
            release: self.weights.id,
            policy: self.config.policy,
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

/// Whether one client can have counted this.
fn is_sound(counts: &Evaluation) -> bool {
    let Evaluation { classes, confusion } = counts;
    let epochs: u64 = confusion.iter().copied().map(u64::from).sum();
    let cells = usize::from(*classes).pow(2);
    (2..=MAX_CLASSES).contains(classes) && confusion.len() == cells && epochs <= u64::from(MAX_EPOCHS)
}
