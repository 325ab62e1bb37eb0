//! Collection: clients offer what they have, upload in turn, and are added to the sum.
//!
//! Memory stays at one sum for each group plus `upload_slots` updates, however many clients there are: an offer is
//! announced first and waits for a slot; a robust rule in a plain round keeps every update besides. In a plain round
//! clients train here too; in a masked one they have done so before, and what they upload says nothing by itself.

use std::collections::VecDeque;

use super::job::{Add, Added, Job, Tally};
use super::open::Open;
use super::phase::{Phase, Step};
use super::total::Total;
use super::unmasking::Collected;
use super::uploads::{Adder, Collecting, Member, Offer};
use super::{Coordinator, Event, Output};
use crate::fault::Fault;
use crate::ids::{ClientId, Round};
use crate::message::{CHUNK, ToClient, Visible};
use crate::privacy::clipped::ClippedSum;
use crate::sum::{MAX_EXAMPLES, Weighting};
use crate::time::Instant;

impl Coordinator {
    pub(super) fn greet_collecting(&mut self, now: Instant, client: &ClientId) {
        let Phase::Collecting(collecting) = &self.phase else { return };
        let message = match collecting.members.get(client) {
            None | Some(Member::Dropped) => return,
            Some(Member::Counted | Member::Adding) if collecting.is_plain() => {
                ToClient::Counted { round: collecting.open.round }
            }
            // A client that offered before offers again when it hears of the round again; one whose masked update counts
            // has to be able to unmask.
            Some(_) => self.assignment(client, collecting.open.round, collecting.deadline.since(now)),
        };
        self.send(client, message);
    }

    pub(super) fn offered(
        &mut self,
        now: Instant,
        client: &ClientId,
        round: Round,
        offer: Offer,
    ) -> Result<(), Fault> {
        if let Phase::Unmasking(_) = self.phase {
            return self.survivors_again(client, round);
        }
        if self.has_gone_on(round) {
            // Its client keeps what it has for the next one.
            self.send(client, ToClient::Over { round });
            return Ok(());
        }
        let collecting = self.collecting(round)?;
        let (expected, plain) = (collecting.update_len(client), collecting.is_plain());
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
        collecting.open.trained(now, client);
        let Some(member) = collecting.members.get_mut(client) else { return Ok(()) };
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
        if self.has_gone_on(round) {
            return Ok(());
        }
        let collecting = self.collecting(round)?;
        let limit = collecting.update_len(client);
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
        if let Some(sum) = collecting.sum_of(&client) {
            sum.adder = Adder::Idle(tally);
        }
        collecting.spare.push(spare);
        collecting.prolong(now);
        match outcome {
            Ok(()) => {
                collecting.members.insert(client.clone(), Member::Counted);
                let (counted, plain) = (collecting.counted(), collecting.is_plain());
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
        if open.is_adding() || !done || !open.arrived.is_empty() {
            return Step::Stay(Phase::Collecting(open));
        }
        Step::Go(self.close(now, open))
    }

    fn close(&mut self, now: Instant, mut collecting: Collecting) -> Phase {
        let needed = self.config.min_reports;
        if collecting.is_plain() {
            let working = collecting.working();
            self.end_training(now, &mut collecting.open, &working);
        }
        let (open, counted, sums) = collecting.finish();
        if counted.len() < needed {
            let why = format!("{} of {needed} updates needed", counted.len());
            return self.abort(now, open, counted, &why);
        }
        let mut groups = Vec::new();
        for sum in sums {
            match (sum.adder, sum.masks) {
                (Adder::Idle(Tally::Plain(sum)), None) => {
                    return self.aggregate(now, open, counted, Total::Plain(sum), None);
                }
                (Adder::Idle(Tally::Clipped(sum)), None) => {
                    return self.close_clipped(now, open, counted, sum);
                }
                (Adder::Idle(Tally::Masked(sum)), Some(masks)) => {
                    groups.push(Collected::new(*masks, &counted, sum));
                }
                // A masked round has masks, and its jobs are done.
                (_, _) => return self.abort(now, open, counted, "the sum does not belong to its round"),
            }
        }
        self.survive(now, open, groups)
    }

    fn close_clipped(&mut self, now: Instant, open: Open, counted: Vec<ClientId>, sum: ClippedSum) -> Phase {
        match (self.set_aside(open.round), self.veil(open.round)) {
            (Ok(reservation), Some(veil)) => {
                self.aggregate(now, open, counted, Total::Clipped(sum, veil), reservation)
            }
            (Ok(_), None) => self.abort(now, open, counted, "clipped updates of a round without privacy"),
            (Err(refusal), _) => self.abort(now, open, counted, &refusal.to_string()),
        }
    }

    /// Who stands still loses its place, and what has arrived, to those who wait for one. While nobody does it keeps both.
    fn requeue_stalled(&mut self, now: Instant, open: &mut Collecting) {
        if !open.is_short_of_slots(self.config.upload_slots) {
            return;
        }
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
            let len = open.update_len(&client) as usize;
            if let Some(member) = open.members.get_mut(&client)
                && let Member::Waiting(offer) = *member
            {
                let mut received = open.spare.pop().unwrap_or_else(|| Vec::with_capacity(len));
                received.clear();
                *member = Member::Uploading { offer, received, progress: now };
                self.send(&client, ToClient::Upload { round: open.open.round, offset: 0 });
            }
        }
    }

    /// Adds to every sum that is here the first update that is for it.
    fn add_next(&mut self, open: &mut Collecting) {
        let mut later = VecDeque::new();
        while let Some((client, offer, update)) = open.arrived.pop_front() {
            match open.sum_of(&client).map(|sum| std::mem::replace(&mut sum.adder, Adder::Busy)) {
                Some(Adder::Idle(tally)) => {
                    let Visible { examples, loss } = offer.visible.unwrap_or_default();
                    let weight = match self.config.weighting {
                        Weighting::Examples => examples,
                        Weighting::Uniform => 1,
                    };
                    let round = open.open.round;
                    let add = Add { round, client, tally, update, weight, loss };
                    self.out.push_back(Output::Run(Job::Add(add)));
                }
                _ => later.push_back((client, offer, update)),
            }
        }
        open.arrived = later;
    }

    /// Whether a plain round did not wait for those who still speak of it.
    fn has_gone_on(&mut self, round: Round) -> bool {
        let goes = self.config.asynchronous.is_some() && !self.config.is_masked();
        goes && round <= self.round && self.collecting(round).is_err()
    }

    fn collecting(&mut self, round: Round) -> Result<&mut Collecting, Fault> {
        match &mut self.phase {
            Phase::Collecting(collecting) if collecting.open.round == round => Ok(collecting),
            _ => Err(Fault::Stale { got: round }),
        }
    }
}
