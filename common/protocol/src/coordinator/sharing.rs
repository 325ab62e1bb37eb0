//! Sharing: every client of a roster splits its two secrets among its neighbours; the server carries what it cannot
//! open.

use std::collections::BTreeSet;

use super::Coordinator;
use super::groups::Lost;
use super::masks::Masks;
use super::open::Open;
use super::phase::{Phase, Step};
use super::uploads::Collecting;
use crate::fault::Fault;
use crate::ids::{ClientId, Round};
use crate::message::ToClient;
use crate::record::Masked;
use crate::secagg::SealedShare;
use crate::time::Instant;

/// The open round while secrets are shared.
pub(super) struct Sharing {
    pub(super) open: Open,
    pub(super) groups: Vec<Masks>,
    pub(super) deadline: Instant,
    /// Who may still share.
    pub(super) missing: BTreeSet<ClientId>,
}

impl Coordinator {
    pub(super) fn share(&mut self, now: Instant, open: Open, groups: Vec<Masks>) -> Phase {
        let deadline = now + self.config.patience;
        for masks in &groups {
            for client in masks.members() {
                self.send(client, ToClient::Share { round: open.round, roster: masks.blob().id });
            }
        }
        let missing = groups.iter().flat_map(Masks::members).cloned().collect();
        Phase::Sharing(Sharing { open, groups, deadline, missing })
    }

    pub(super) fn greet_sharing(&mut self, now: Instant, client: &ClientId) {
        let Phase::Sharing(sharing) = &self.phase else { return };
        if sharing.open.has(client) {
            let message = self.assignment(client, sharing.open.round, sharing.deadline.since(now));
            self.send(client, message);
        }
    }

    /// Answers a client that comes back with its keys after the roster was fixed.
    pub(super) fn share_again(&mut self, client: &ClientId, round: Round) -> Result<(), Fault> {
        let Some(open) = self.phase.masked().filter(|open| open.round == round) else {
            if round > self.round {
                return Err(Fault::Stale { got: round });
            }
            // It missed the end: what it keeps for the round is of no use any more.
            self.send(client, ToClient::Over { round });
            return Ok(());
        };
        let message = match self.phase.masks(client) {
            Some(masks) if open.has(client) => ToClient::Share { round, roster: masks.blob().id },
            _ => ToClient::Over { round },
        };
        self.send(client, message);
        Ok(())
    }

    pub(super) fn shared(
        &mut self,
        client: &ClientId,
        round: Round,
        shares: Vec<(u32, SealedShare)>,
    ) -> Result<(), Fault> {
        let Phase::Sharing(sharing) = &mut self.phase else {
            return self.mask_again(client, round);
        };
        if sharing.open.round != round {
            return Err(Fault::Stale { got: round });
        }
        let group = sharing.groups.iter_mut().find(|masks| masks.index(client).is_some());
        let masks = group.ok_or(Fault::Unsolicited("a share"))?;
        if !sharing.missing.remove(client) {
            // The same again, or somebody who has no part in it any more.
            return if masks.has_shared(client) { Ok(()) } else { Err(Fault::Unsolicited("a share")) };
        }
        masks.share(client, shares).inspect_err(|fault| sharing.open.drop_out(client, &fault.to_string()))
    }

    pub(super) fn declined_sharing(
        &mut self,
        client: &ClientId,
        round: Round,
        reason: &str,
    ) -> Result<(), Fault> {
        let Phase::Sharing(sharing) = &mut self.phase else { return Ok(()) };
        if sharing.open.round != round {
            return Err(Fault::Stale { got: round });
        }
        if sharing.missing.remove(client) {
            sharing.open.drop_out(client, reason);
        }
        Ok(())
    }

    /// Lets everybody who has shared mask and upload.
    pub(super) fn try_end_sharing(&mut self, now: Instant, sharing: Sharing) -> Step {
        if !sharing.missing.is_empty() && now < sharing.deadline {
            return Step::Stay(Phase::Sharing(sharing));
        }
        let Sharing { mut open, groups, missing, .. } = sharing;
        for client in &missing {
            open.drop_out(client, "did not share its secrets in time");
        }
        let (mut left, mut lost) = (Vec::new(), Vec::new());
        for mut masks in groups {
            for client in masks.close() {
                open.drop_out(&client, "too few of its neighbours shared their secrets");
            }
            let (present, needed) = (masks.present().count(), self.least_of(&masks));
            if present < needed {
                let why = format!("{present} of {needed} clients shared their secrets");
                lost.push(Lost { members: masks.members().cloned().collect(), why });
            } else {
                left.push(masks);
            }
        }
        let present = left.iter().map(|masks| masks.present().count());
        if let Err(why) = self.leave_out(&mut open, present, lost) {
            return Step::Go(self.abort(now, open, Vec::new(), &why));
        }
        for masks in &left {
            self.fix(open.round, masks, Masked::Shares(masks.shares().clone()));
        }
        Step::Go(self.collect(now, open, left))
    }

    /// Hands the shares out and waits for masked updates.
    pub(super) fn collect(&mut self, now: Instant, open: Open, groups: Vec<Masks>) -> Phase {
        let round = open.round;
        for masks in &groups {
            for client in masks.present() {
                if let Some((present, shares)) = masks.shares_for(client) {
                    self.send(client, ToClient::Mask { round, present, shares });
                }
            }
        }
        Phase::Collecting(Collecting::masked(open, groups, now, self.config.patience, self.config.training))
    }

    /// Answers a client that comes back with its shares after those were handed out.
    pub(super) fn mask_again(&mut self, client: &ClientId, round: Round) -> Result<(), Fault> {
        if self.phase.masked().is_none_or(|open| open.round != round) {
            return Err(Fault::Stale { got: round });
        }
        let masks = self.phase.masks(client).ok_or(Fault::Unsolicited("a share"))?;
        let (present, shares) = masks.shares_for(client).ok_or(Fault::Unsolicited("a share"))?;
        self.send(client, ToClient::Mask { round, present, shares });
        Ok(())
    }
}
