//! Unmasking: those whose updates are in a sum first sign who they are, then reveal, for each neighbour, the one share
//! that removes its mask.
//!
//! The lists of survivors and the masked sums are written down before anybody hears of a list: a server that is killed
//! afterwards can ask for the same again, and for nothing else.

use super::groups::Lost;
use super::job::{GroupSum, Job, Unmask, Unmasked};
use super::masks::Masks;
use super::open::Open;
use super::opening::Opening;
use super::phase::{Phase, Step};
use super::total::{Opened, Total};
use super::{Coordinator, Event, Output};
use crate::fault::Fault;
use crate::ids::{ClientId, Round};
use crate::message::{REASON, ToClient};
use crate::packed::Packed;
use crate::privacy::ledger::Reservation;
use crate::record::Masked;
use crate::secagg::{Revealed, Signature};
use crate::time::Instant;

/// The open round while masks are removed.
pub(super) struct Unmasking {
    pub(super) open: Open,
    pub(super) groups: Vec<Opening>,
    pub(super) deadline: Instant,
    /// What knowing the sum costs.
    pub(super) reservation: Option<Reservation>,
    /// Whether anybody may have been asked for what tells a sum, in this life of the server or in an earlier one.
    pub(super) asked: bool,
}

/// A group whose masked sum is complete.
pub(super) struct Collected {
    masks: Masks,
    counted: Vec<ClientId>,
    sum: Packed,
}

impl Collected {
    /// With those of all who were `counted` that are in this group.
    pub(super) fn new(masks: Masks, counted: &[ClientId], sum: Packed) -> Self {
        let counted = counted.iter().filter(|client| masks.index(client).is_some()).cloned().collect();
        Self { masks, counted, sum }
    }

    fn lost(self, why: String) -> Lost {
        Lost { members: self.masks.members().cloned().collect(), why }
    }

    fn fix(self) -> Opening {
        let survivors = self.masks.subset(&self.counted);
        Opening::new(self.masks, survivors, self.sum)
    }
}

impl Unmasking {
    fn group(&mut self, client: &ClientId) -> Option<&mut Opening> {
        self.groups.iter_mut().find(|group| group.counted.contains(client))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.groups.iter().any(Opening::is_busy)
    }
}

impl Coordinator {
    /// Fixes who survived.
    pub(super) fn survive(&mut self, now: Instant, mut open: Open, groups: Vec<Collected>) -> Phase {
        let (mut left, mut lost) = (Vec::new(), Vec::new());
        for group in groups {
            let (counted, needed) = (group.counted.len(), self.least_of(&group.masks));
            if counted < needed {
                let why = format!("{counted} of {needed} masked updates, too few to unmask their sum");
                lost.push(group.lost(why));
            } else {
                left.push(group);
            }
        }
        if let Err(why) = self.leave_out(&mut open, left.iter().map(|group| group.counted.len()), lost) {
            return self.abort(now, open, Vec::new(), &why);
        }
        for group in &left {
            for client in group.masks.present().filter(|client| !group.counted.contains(client)) {
                open.drop_out(client, "no masked update in time");
            }
        }
        let round = open.round;
        let reservation = match self.set_aside(round) {
            Ok(reservation) => reservation,
            Err(refusal) => return self.abort(now, open, Vec::new(), &refusal.to_string()),
        };
        let mut groups = Vec::new();
        for group in left {
            let bytes = group.sum.to_bytes();
            let group = group.fix();
            self.fix(round, &group.masks, Masked::Survivors(group.survivors.clone(), bytes.into()));
            groups.push(group);
        }
        self.event(Event::Unmasking(round, groups.iter().map(|group| group.counted.len()).sum()));
        for group in &groups {
            for client in &group.counted {
                self.send(client, ToClient::Survivors { round, survivors: group.survivors.clone() });
            }
        }
        let deadline = now + self.config.patience;
        Phase::Unmasking(Unmasking { open, groups, deadline, reservation, asked: false })
    }

    pub(super) fn greet_unmasking(&mut self, now: Instant, client: &ClientId) {
        let Phase::Unmasking(unmasking) = &mut self.phase else { return };
        if unmasking.group(client).is_some() {
            let (round, deadline) = (unmasking.open.round, unmasking.deadline);
            let message = self.assignment(client, round, deadline.since(now));
            self.send(client, message);
        }
    }

    /// A client whose update counts offers it again: it came back.
    pub(super) fn survivors_again(&mut self, client: &ClientId, round: Round) -> Result<(), Fault> {
        let message = match self.unmasking(round)?.group(client) {
            Some(group) => ToClient::Survivors { round, survivors: group.survivors.clone() },
            None => ToClient::Over { round },
        };
        self.send(client, message);
        Ok(())
    }

    pub(super) fn declined_unmasking(
        &mut self,
        client: &ClientId,
        round: Round,
        reason: &str,
    ) -> Result<(), Fault> {
        let group = self.unmasking(round)?.group(client).ok_or(Fault::Unsolicited("a decline"))?;
        group.decline(client);
        self.event(Event::Declined(round, client.clone(), reason.chars().take(REASON).collect()));
        Ok(())
    }

    pub(super) fn confirmed(
        &mut self,
        client: &ClientId,
        round: Round,
        signature: Signature,
    ) -> Result<(), Fault> {
        let roll = std::sync::Arc::clone(&self.roll);
        let unmasking = self.unmasking(round)?;
        let group = unmasking.group(client).ok_or(Fault::Unsolicited("a signature"))?;
        let shown = group.sign(&*roll, client, signature)?;
        unmasking.asked |= !shown.is_empty();
        for (client, signatures) in shown {
            self.send(&client, ToClient::Reveal { round, signatures });
        }
        Ok(())
    }

    pub(super) fn revealed(
        &mut self,
        client: &ClientId,
        round: Round,
        shares: Vec<Revealed>,
    ) -> Result<(), Fault> {
        let group = self.unmasking(round)?.group(client).ok_or(Fault::Unsolicited("a share"))?;
        group.reveal(client, shares)
    }

    /// Unmasks each group as soon as everybody of it who is still there has revealed, or enough have and time is up.
    pub(super) fn try_unmask(&mut self, now: Instant, mut unmasking: Unmasking) -> Step {
        let (round, late) = (unmasking.open.round, now >= unmasking.deadline);
        for group in &mut unmasking.groups {
            let here = |client: &ClientId| self.peers.contains_key(client);
            if let Some((opener, sum)) = group.attempt(here, late, self.veil(round)) {
                let job = Unmask { round, group: group.masks.group(), opener, sum };
                self.out.push_back(Output::Run(Job::Unmask(job)));
            }
        }
        if unmasking.groups.iter().all(Opening::is_settled) {
            Step::Go(self.open_groups(now, unmasking))
        } else {
            Step::Stay(Phase::Unmasking(unmasking))
        }
    }

    /// Makes one update of the sums that are known.
    fn open_groups(&mut self, now: Instant, mut unmasking: Unmasking) -> Phase {
        let (mut groups, mut lost) = (Vec::new(), Vec::new());
        for group in std::mem::take(&mut unmasking.groups) {
            match group.finish() {
                Ok(sum) => groups.push(sum),
                Err(group) => lost.push(group),
            }
        }
        let left = groups.iter().map(|group| group.members.len());
        if let Err(why) = self.leave_out(&mut unmasking.open, left, lost) {
            return self.abort_unmasking(now, unmasking, &why);
        }
        let mut counted: Vec<ClientId> =
            groups.iter().flat_map(|group: &GroupSum| group.members.iter().cloned()).collect();
        counted.sort();
        let Unmasking { open, reservation, .. } = unmasking;
        let total = Total::Opened(Opened { groups, rule: self.config.robust.build() });
        if self.counting().is_alone() {
            self.conclude(now, open, counted, &total)
        } else {
            self.aggregate(now, open, counted, total, reservation)
        }
    }

    pub(super) fn unmasked(&mut self, done: Unmasked) {
        let Unmasked { round, group, sum, outcome } = done;
        let Ok(unmasking) = self.unmasking(round) else { return };
        let Some(group) = unmasking.groups.iter_mut().find(|one| one.masks.group() == group) else { return };
        for liar in group.opened(sum, outcome) {
            self.event(Event::Refused(liar, Fault::Unsolicited("a share of another secret")));
        }
    }

    fn unmasking(&mut self, round: Round) -> Result<&mut Unmasking, Fault> {
        match &mut self.phase {
            Phase::Unmasking(unmasking) if unmasking.open.round == round => Ok(unmasking),
            _ => Err(Fault::Stale { got: round }),
        }
    }
}
