//! Collection: clients offer what they have, upload in turn, and are added to the sum.
//!
//! Memory stays at one sum plus `upload_slots` updates, however many clients there are: an offer is announced first
//! and waits for a slot; a robust rule in a plain round keeps every update besides. In a plain round clients train here too; in a masked one they have done so before, and what
//! they upload says nothing by itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::job::{Add, Added, Job, Tally, Total};
use super::masks::Masks;
use super::open::Open;
use super::phase::{Phase, Step};
use super::{Coordinator, Event, Output};
use crate::config::RoundConfig;
use crate::fault::Fault;
use crate::ids::{ClientId, Round, UpdateId};
use crate::message::{CHUNK, ToClient, Visible};
use crate::sum::{MAX_EXAMPLES, Weighting};
use crate::time::Instant;

/// What a client says of its update before it sends it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Offer {
    pub(super) update: UpdateId,
    /// Of a plain round only.
    pub(super) visible: Option<Visible>,
}

/// The open round while updates come in.
pub(super) struct Collecting {
    pub(super) open: Open,
    deadline: Instant,
    /// Bytes of one update.
    update_len: u64,
    /// Of a masked round only: how long nothing may come in, and when it ends whatever comes in.
    patience: Option<(Duration, Instant)>,
    /// Of a masked round only.
    pub(super) masks: Option<Box<Masks>>,
    members: BTreeMap<ClientId, Member>,
    /// Offers in order of arrival; only connected clients in state `Waiting` are in it.
    queue: VecDeque<ClientId>,
    /// Uploads that have arrived whole.
    arrived: VecDeque<(ClientId, Offer, Vec<u8>)>,
    /// Buffers of updates that have been added: a round needs as many as it has upload slots, and makes no more.
    spare: Vec<Vec<u8>>,
    adder: Adder,
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
    Dropped,
}

/// Where the sum is: here, or away with a job.
enum Adder {
    Idle(Tally),
    Busy,
}

impl Collecting {
    /// Plain updates of `update_len` bytes, from everybody who was selected.
    pub(super) fn plain(open: Open, config: &RoundConfig, update_len: u64, tally: Tally) -> Self {
        let deadline = open.opened + config.training;
        let members = open.cohort.clone();
        Self::new(open, members, deadline, update_len, tally, None)
    }

    /// Masked updates from everybody who has shared its secrets. Nobody trains any more: it ends when nothing has come in
    /// for `patience`, and after `longest` in any case.
    pub(super) fn masked(
        open: Open,
        masks: Masks,
        now: Instant,
        patience: Duration,
        longest: Duration,
    ) -> Self {
        let (members, update_len) = (masks.present().cloned().collect(), masks.update_bytes());
        let tally = Tally::Masked(masks.empty_sum());
        let patience = Some((patience, now + longest.max(patience)));
        Self { patience, ..Self::new(open, members, now, update_len, tally, Some(Box::new(masks))) }
            .prolonged(now)
    }

    fn prolonged(mut self, now: Instant) -> Self {
        self.prolong(now);
        self
    }

    /// Something came in.
    fn prolong(&mut self, now: Instant) {
        if let Some((patience, last)) = self.patience {
            self.deadline = self.deadline.max(now + patience).min(last);
        }
    }

    fn new(
        open: Open,
        members: Vec<ClientId>,
        deadline: Instant,
        update_len: u64,
        tally: Tally,
        masks: Option<Box<Masks>>,
    ) -> Self {
        Self {
            open,
            deadline,
            update_len,
            patience: None,
            masks,
            members: members.into_iter().map(|client| (client, Member::Working)).collect(),
            queue: VecDeque::new(),
            arrived: VecDeque::new(),
            spare: Vec::new(),
            adder: Adder::Idle(tally),
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
        self.members.values().all(|member| matches!(member, Member::Counted | Member::Dropped))
    }

    fn slots_taken(&self) -> usize {
        let taken = |member: &&Member| matches!(member, Member::Uploading { .. } | Member::Adding);
        self.members.values().filter(taken).count()
    }

    fn drop_member(&mut self, client: &ClientId, reason: &str) {
        self.members.insert(client.clone(), Member::Dropped);
        self.queue.retain(|waiting| waiting != client);
        self.open.drop_out(client, reason);
    }

    /// Those in the sum; whoever was in the middle of something is out for that reason.
    pub(super) fn finish(mut self) -> (Open, Vec<ClientId>, Option<Box<Masks>>) {
        let mut counted = Vec::new();
        for (client, member) in self.members {
            match member {
                Member::Counted => counted.push(client),
                Member::Working | Member::Dropped => {}
                Member::Waiting(_) | Member::Uploading { .. } | Member::Adding => {
                    self.open.drop_out(&client, "upload not done by the end of the round");
                }
            }
        }
        (self.open, counted, self.masks)
    }
}

impl Coordinator {
    pub(super) fn greet_collecting(&mut self, now: Instant, client: &ClientId) {
        let Phase::Collecting(collecting) = &self.phase else { return };
        let message = match collecting.members.get(client) {
            None | Some(Member::Dropped) => return,
            Some(Member::Counted | Member::Adding) if collecting.masks.is_none() => {
                ToClient::Counted { round: collecting.open.round }
            }
            // A client that offered before offers again when it hears of the round again; one whose masked update counts
            // has to be able to unmask.
            Some(_) => self.assignment(client, collecting.open.round, collecting.deadline.since(now)),
        };
        self.send(client, message);
    }

    pub(super) fn offered(&mut self, client: &ClientId, round: Round, offer: Offer) -> Result<(), Fault> {
        if let Phase::Unmasking(_) = self.phase {
            return self.survivors_again(client, round);
        }
        let collecting = self.collecting(round)?;
        let (expected, plain) = (collecting.update_len, collecting.masks.is_none());
        let member = collecting.members.get_mut(client).ok_or(Fault::Unsolicited("an offer"))?;
        let examples = offer.visible.map_or(0, |visible| visible.examples);
        let fault = if offer.update.len != expected {
            Some(Fault::WrongLength { expected, got: offer.update.len })
        } else if plain && !(1..=MAX_EXAMPLES).contains(&examples) {
            Some(Fault::BadExamples { got: examples, limit: MAX_EXAMPLES })
        } else {
            None
        };
        if let (Some(fault), Member::Working | Member::Waiting(_)) = (fault, &member) {
            collecting.drop_member(client, &fault.to_string());
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
            Member::Counted => plain.then_some(ToClient::Counted { round }),
            Member::Adding | Member::Dropped => None,
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
        collecting.open.bytes_up += bytes.len() as u64;
        if got == limit {
            collecting.arrived.push_back((client.clone(), *offer, std::mem::take(received)));
            *member = Member::Adding;
        }
        collecting.prolong(now);
        Ok(())
    }

    pub(super) fn declined(&mut self, client: &ClientId, round: Round, reason: &str) -> Result<(), Fault> {
        if let Phase::Keying(keying) = &self.phase
            && keying.open.round == round
        {
            return self.declined_keying(client, reason);
        }
        if let Phase::Sharing(_) = self.phase {
            return self.declined_sharing(client, round, reason);
        }
        if let Phase::Unmasking(_) = self.phase {
            return self.declined_unmasking(client, round, reason);
        }
        let collecting = self.collecting(round)?;
        match collecting.members.get(client) {
            None => Err(Fault::Unsolicited("a decline")),
            Some(Member::Working | Member::Waiting(_) | Member::Uploading { .. }) => {
                collecting.drop_member(client, reason);
                Ok(())
            }
            Some(Member::Adding | Member::Counted | Member::Dropped) => Ok(()),
        }
    }

    pub(super) fn added(&mut self, now: Instant, added: Added) {
        let Added { round, client, tally, spare, outcome } = added;
        // A sum of a round that is over goes with its round.
        let Ok(collecting) = self.collecting(round) else { return };
        collecting.adder = Adder::Idle(tally);
        collecting.spare.push(spare);
        collecting.prolong(now);
        match outcome {
            Ok(()) => {
                collecting.members.insert(client.clone(), Member::Counted);
                let (counted, plain) = (collecting.counted(), collecting.masks.is_none());
                let wanted = collecting.members.len();
                self.event(Event::Counted(round, client.clone(), counted, wanted));
                // What is in a masked sum counts once the sum is unmasked.
                if plain {
                    self.send(&client, ToClient::Counted { round });
                }
            }
            Err(fault) => {
                collecting.drop_member(&client, &fault.to_string());
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
        Step::Go(self.close(now, open))
    }

    fn close(&mut self, now: Instant, mut collecting: Collecting) -> Phase {
        let Adder::Idle(tally) = std::mem::replace(&mut collecting.adder, Adder::Busy) else {
            return Phase::Collecting(collecting);
        };
        let needed = self.config.min_reports;
        let (open, counted, masks) = collecting.finish();
        if counted.len() < needed {
            let why = format!("{} of {needed} updates needed", counted.len());
            return self.abort(now, open, counted, &why);
        }
        match (tally, masks) {
            (Tally::Plain(sum), None) => self.aggregate(now, open, counted, Total::Plain(sum), None),
            (Tally::Clipped(sum), None) => match (self.set_aside(open.round), self.veil(open.round)) {
                (Ok(reservation), Some(veil)) => {
                    self.aggregate(now, open, counted, Total::Clipped(sum, veil), reservation)
                }
                (Ok(_), None) => self.abort(now, open, counted, "clipped updates of a round without privacy"),
                (Err(refusal), _) => self.abort(now, open, counted, &refusal.to_string()),
            },
            (Tally::Masked(sum), Some(masks)) => self.survive(now, open, *masks, counted, sum),
            // A masked round has masks.
            (_, _) => self.abort(now, open, counted, "the sum does not belong to its round"),
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
                let mut received =
                    open.spare.pop().unwrap_or_else(|| Vec::with_capacity(open.update_len as usize));
                received.clear();
                *member = Member::Uploading { offer, received, progress: now };
                self.send(&client, ToClient::Upload { round: open.open.round, offset: 0 });
            }
        }
    }

    fn add_next(&mut self, open: &mut Collecting) {
        if let Adder::Idle(_) = open.adder
            && let Some((client, offer, update)) = open.arrived.pop_front()
            && let Adder::Idle(tally) = std::mem::replace(&mut open.adder, Adder::Busy)
        {
            let Visible { examples, loss } = offer.visible.unwrap_or_default();
            let weight = match self.config.weighting {
                Weighting::Examples => examples,
                Weighting::Uniform => 1,
            };
            let round = open.open.round;
            let add = Add { round, client, tally, update, weight, loss };
            self.out.push_back(Output::Run(Job::Add(add)));
        }
    }

    fn collecting(&mut self, round: Round) -> Result<&mut Collecting, Fault> {
        match &mut self.phase {
            Phase::Collecting(collecting) if collecting.open.round == round => Ok(collecting),
            _ => Err(Fault::Stale { got: round }),
        }
    }
}
