//! Collection: clients train, offer, upload in turn, and are added to the sum.
//!
//! Memory stays at one sum plus `upload_slots` updates, however many clients there are: an offer is announced first
//! and waits for a slot.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::evaluating::Aggregating;
use super::job::{Add, Added, Aggregate, Job};
use super::phase::{Phase, Step};
use super::{Coordinator, Event, Output, StrategyHome};
use crate::config::RoundConfig;
use crate::fault::Fault;
use crate::ids::{ClientId, Round, UpdateId};
use crate::message::{Assignment, CHUNK, REASON, ToClient};
use crate::record::{Outcome, RoundRecord};
use crate::seed::Label;
use crate::sum::{MAX_EXAMPLES, Sum, Weighting};
use crate::time::Instant;

/// What a client says of its update before it sends it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Offer {
    pub(super) update: UpdateId,
    pub(super) examples: u32,
    pub(super) loss: f32,
}

/// The open round while updates come in.
pub(super) struct Collecting {
    round: Round,
    opened: Instant,
    deadline: Instant,
    /// Bytes of one update.
    update_len: u64,
    members: BTreeMap<ClientId, Member>,
    /// Offers in order of arrival; only connected clients in state `Waiting` are in it.
    queue: VecDeque<ClientId>,
    /// Uploads that have arrived whole.
    arrived: VecDeque<(ClientId, Offer, Vec<u8>)>,
    adder: Adder,
    bytes_up: u64,
}

/// Where one member of the cohort is.
enum Member {
    /// Fetching or training, as far as we know.
    Working,
    /// Has an update and waits for a slot.
    Waiting(Offer),
    /// Sends its update.
    Uploading { offer: Offer, received: Vec<u8>, progress: Instant },
    /// Its update has arrived and is about to be added.
    Adding,
    /// In the sum.
    Counted,
    /// Out of this round.
    Dropped(String),
}

/// Where the sum is: here, or away with a job.
enum Adder {
    Idle(Sum),
    Busy,
}

impl Collecting {
    pub(super) fn open(
        round: Round,
        cohort: Vec<ClientId>,
        now: Instant,
        config: &RoundConfig,
        update_len: u64,
    ) -> Self {
        Self {
            round,
            opened: now,
            deadline: now + config.training,
            update_len,
            members: cohort.into_iter().map(|client| (client, Member::Working)).collect(),
            queue: VecDeque::new(),
            arrived: VecDeque::new(),
            adder: Adder::Idle(Sum::new(update_len as usize / 4)),
            bytes_up: 0,
        }
    }

    pub(super) fn disconnected(&mut self, client: &ClientId) {
        // An upload keeps its bytes until it stalls, so that a client that is soon back goes on where it was.
        if let Some(member @ Member::Waiting(_)) = self.members.get_mut(client) {
            *member = Member::Working;
            self.queue.retain(|waiting| waiting != client);
        }
    }

    pub(super) fn next_deadline(&self, config: &RoundConfig) -> Instant {
        let stalls = self.members.values().filter_map(|member| match member {
            Member::Uploading { progress, .. } => Some(*progress + config.stall),
            _ => None,
        });
        stalls.min().map_or(self.deadline, |stall| stall.min(self.deadline))
    }

    /// Whether an update is about to become part of the sum: then its job's end comes next, not a deadline.
    pub(super) fn is_adding(&self) -> bool {
        matches!(self.adder, Adder::Busy)
    }

    fn counted(&self) -> usize {
        self.members.values().filter(|member| matches!(member, Member::Counted)).count()
    }

    fn settled(&self) -> bool {
        self.members.values().all(|member| matches!(member, Member::Counted | Member::Dropped(_)))
    }

    fn slots_taken(&self) -> usize {
        let taken = |member: &&Member| matches!(member, Member::Uploading { .. } | Member::Adding);
        self.members.values().filter(taken).count()
    }

    fn drop_member(&mut self, client: &ClientId, reason: impl Into<String>) {
        self.members.insert(client.clone(), Member::Dropped(reason.into()));
        self.queue.retain(|waiting| waiting != client);
    }

    fn into_record(self, now: Instant, outcome: Outcome, bytes_down: u64) -> RoundRecord {
        let mut counted = Vec::new();
        let mut dropped = BTreeMap::new();
        let cohort = self.members.keys().cloned().collect();
        for (client, member) in self.members {
            match member {
                Member::Counted => counted.push(client),
                Member::Dropped(reason) => drop(dropped.insert(client, reason)),
                Member::Working => drop(dropped.insert(client, "not done by the deadline".into())),
                Member::Waiting(_) | Member::Uploading { .. } | Member::Adding => {
                    dropped.insert(client, "upload not done by the end of the round".into());
                }
            }
        }
        RoundRecord {
            round: self.round,
            outcome,
            evaluating: false,
            cohort,
            counted,
            dropped,
            examples: 0,
            loss: 0.0,
            evaluations: BTreeMap::new(),
            millis: now.since(self.opened).as_millis() as u64,
            bytes_up: self.bytes_up,
            bytes_down,
        }
    }
}

impl Coordinator {
    pub(super) fn assignment(&self, now: Instant, collecting: &Collecting) -> ToClient {
        let mut plan = self.config.plan.clone();
        plan.learning_rate = plan.rate(self.version.0, self.config.rounds);
        ToClient::Train(Assignment {
            round: collecting.round,
            plan,
            seed: self.seed.derive(Label::Training, &collecting.round.0.to_le_bytes()).number(),
            foundation: self.foundation.id,
            release: self.weights.id,
            companion: self.companion.as_ref().map(|held| held.id),
            sections: self.sections,
            time_left_ms: collecting.deadline.since(now).as_millis() as u64,
        })
    }

    pub(super) fn greet_collecting(&mut self, now: Instant, client: &ClientId) {
        let Phase::Collecting(collecting) = &self.phase else { return };
        let message = match collecting.members.get(client) {
            None | Some(Member::Dropped(_)) => return,
            Some(Member::Counted | Member::Adding) => ToClient::Counted { round: collecting.round },
            // A client that offered before offers again when it hears of the round again.
            Some(Member::Working | Member::Waiting(_) | Member::Uploading { .. }) => {
                self.assignment(now, collecting)
            }
        };
        self.send(client, message);
    }

    pub(super) fn offered(&mut self, client: &ClientId, round: Round, offer: Offer) -> Result<(), Fault> {
        let collecting = self.collecting(round)?;
        let expected = collecting.update_len;
        let member = collecting.members.get_mut(client).ok_or(Fault::Unsolicited("an offer"))?;
        let fault = if offer.update.len != expected {
            Some(Fault::WrongLength { expected, got: offer.update.len })
        } else if !(1..=MAX_EXAMPLES).contains(&offer.examples) {
            Some(Fault::BadExamples { got: offer.examples, limit: MAX_EXAMPLES })
        } else {
            None
        };
        if let (Some(fault), Member::Working | Member::Waiting(_)) = (fault, &member) {
            collecting.drop_member(client, fault.to_string());
            return Err(fault);
        }
        let reply = match member {
            Member::Working => {
                *member = Member::Waiting(offer);
                collecting.queue.push_back(client.clone());
                None
            }
            // A client that changes its mind has trained anew, for example because the server was restarted.
            Member::Waiting(old) => {
                *old = offer;
                None
            }
            Member::Uploading { offer: old, received, .. } => {
                if *old != offer {
                    *old = offer;
                    received.clear();
                }
                Some(ToClient::Upload { round, offset: received.len() as u64 })
            }
            Member::Counted => Some(ToClient::Counted { round }),
            Member::Adding | Member::Dropped(_) => None,
        };
        if let Some(reply) = reply {
            self.send(client, reply);
        }
        Ok(())
    }

    pub(super) fn part(
        &mut self,
        now: Instant,
        client: &ClientId,
        round: Round,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let collecting = self.collecting(round)?;
        let limit = collecting.update_len;
        let member = collecting.members.get_mut(client).ok_or(Fault::Unsolicited("an upload"))?;
        let Member::Uploading { offer, received, progress } = member else {
            // Parts that were under way when a slot was lost, or doubled ones.
            return Ok(());
        };
        let expected = received.len() as u64;
        if offset < expected {
            return Ok(());
        }
        if offset > expected {
            return Err(Fault::WrongOffset { expected, got: offset });
        }
        // Whole chunks only: a slot cannot be held by a trickle of bytes.
        let due = (limit - expected).min(CHUNK as u64);
        let len = bytes.len() as u64;
        if len != due {
            collecting.drop_member(client, "sent a part of a wrong size");
            return Err(Fault::WrongLength { expected: due, got: len });
        }
        let got = expected + len;
        received.extend_from_slice(bytes);
        *progress = now;
        collecting.bytes_up += bytes.len() as u64;
        if got == limit {
            collecting.arrived.push_back((client.clone(), *offer, std::mem::take(received)));
            *member = Member::Adding;
        }
        Ok(())
    }

    pub(super) fn declined(&mut self, client: &ClientId, round: Round, reason: &str) -> Result<(), Fault> {
        let collecting = self.collecting(round)?;
        match collecting.members.get(client) {
            None => Err(Fault::Unsolicited("a decline")),
            Some(Member::Working | Member::Waiting(_) | Member::Uploading { .. }) => {
                collecting.drop_member(client, reason.chars().take(REASON).collect::<String>());
                Ok(())
            }
            Some(Member::Adding | Member::Counted | Member::Dropped(_)) => Ok(()),
        }
    }

    pub(super) fn added(&mut self, added: Added) {
        let Added { round, client, sum, outcome } = added;
        // A sum of a round that is over goes with its round.
        let Ok(collecting) = self.collecting(round) else { return };
        collecting.adder = Adder::Idle(sum);
        match outcome {
            Ok(()) => {
                collecting.members.insert(client.clone(), Member::Counted);
                let counted = collecting.counted();
                let wanted = collecting.members.len();
                self.event(Event::Counted(round, client.clone(), counted, wanted));
                self.send(&client, ToClient::Counted { round });
            }
            Err(fault) => {
                collecting.drop_member(&client, fault.to_string());
                self.event(Event::Refused(client, fault));
            }
        }
    }

    /// Gives slots away, adds what has arrived, and closes the round when nobody is missing or time is up.
    pub(super) fn try_close(&mut self, now: Instant, mut open: Collecting) -> Step {
        self.requeue_stalled(now, &mut open);
        self.grant(now, &mut open);
        self.add_next(&mut open);
        let done = open.settled() || open.counted() >= self.config.cohort || now >= open.deadline;
        let Collecting { adder: Adder::Idle(_), arrived, .. } = &open else {
            return Step::Stay(Phase::Collecting(open));
        };
        if !done || !arrived.is_empty() {
            return Step::Stay(Phase::Collecting(open));
        }
        if open.counted() < self.config.min_reports {
            let why = format!("{} of {} updates needed", open.counted(), self.config.min_reports);
            return Step::Go(self.abort(now, open, &why));
        }
        Step::Go(self.aggregate(now, open))
    }

    /// Ends a round without a release; its sum is dropped with it.
    pub(super) fn abort(&mut self, now: Instant, open: Collecting, why: &str) -> Phase {
        self.dismiss(open.round, open.members.keys());
        let record = open.into_record(now, Outcome::Aborted(why.to_owned()), self.bytes_down);
        self.persist_round(record);
        Phase::Idle(now + self.config.pause)
    }

    fn aggregate(&mut self, now: Instant, mut open: Collecting) -> Phase {
        let Adder::Idle(sum) = std::mem::replace(&mut open.adder, Adder::Busy) else {
            return Phase::Collecting(open);
        };
        let StrategyHome::Here(strategy) = std::mem::replace(&mut self.strategy, StrategyHome::Away) else {
            open.adder = Adder::Idle(sum);
            return Phase::Collecting(open);
        };
        let (round, opened) = (open.round, open.opened);
        let mut record =
            open.into_record(now, Outcome::Aborted("the server was stopped".into()), self.bytes_down);
        record.examples = sum.examples();
        record.loss = sum.mean_loss();
        let (weights, layout) = (self.weights.bytes.clone(), self.layout());
        self.out.push_back(Output::Run(Job::Aggregate(Aggregate { round, sum, weights, layout, strategy })));
        Phase::Aggregating(Aggregating { record, opened })
    }

    /// Tells members that a round is over, so that they stop working for it and forget what they kept.
    pub(super) fn dismiss<'a>(&mut self, round: Round, members: impl Iterator<Item = &'a ClientId>) {
        for client in members {
            self.send(client, ToClient::Over { round });
        }
    }

    fn requeue_stalled(&mut self, now: Instant, open: &mut Collecting) {
        for (client, member) in &mut open.members {
            if let Member::Uploading { offer, progress, .. } = member
                && *progress + self.config.stall <= now
            {
                if self.peers.contains_key(client) {
                    *member = Member::Waiting(*offer);
                    open.queue.push_back(client.clone());
                } else {
                    *member = Member::Working;
                }
            }
        }
    }

    fn grant(&mut self, now: Instant, open: &mut Collecting) {
        while open.slots_taken() < self.config.upload_slots
            && let Some(client) = open.queue.pop_front()
        {
            if let Some(member) = open.members.get_mut(&client)
                && let Member::Waiting(offer) = *member
            {
                let received = Vec::with_capacity(open.update_len as usize);
                *member = Member::Uploading { offer, received, progress: now };
                self.send(&client, ToClient::Upload { round: open.round, offset: 0 });
            }
        }
    }

    fn add_next(&mut self, open: &mut Collecting) {
        if let Adder::Idle(_) = open.adder
            && let Some((client, offer, update)) = open.arrived.pop_front()
            && let Adder::Idle(sum) = std::mem::replace(&mut open.adder, Adder::Busy)
        {
            let weight = match self.config.weighting {
                Weighting::Examples => offer.examples,
                Weighting::Uniform => 1,
            };
            let add =
                Add { round: open.round, client, sum, update: Bytes::from(update), weight, loss: offer.loss };
            self.out.push_back(Output::Run(Job::Add(add)));
        }
    }

    fn collecting(&mut self, round: Round) -> Result<&mut Collecting, Fault> {
        match &mut self.phase {
            Phase::Collecting(collecting) if collecting.round == round => Ok(collecting),
            _ => Err(Fault::Stale { got: round }),
        }
    }
}
