//! Sharing: every client of the roster splits its two secrets among its neighbours; the server carries what it cannot
//! open.

use std::collections::BTreeSet;

use super::collecting::Collecting;
use super::masks::Masks;
use super::open::Open;
use super::phase::{Phase, Step};
use super::{Coordinator, Output};
use crate::fault::Fault;
use crate::ids::{ClientId, Round};
use crate::message::ToClient;
use crate::record::{Masked, Record};
use crate::secagg::SealedShare;
use crate::time::Instant;

/// The open round while secrets are shared.
pub(super) struct Sharing {
    pub(super) open: Open,
    pub(super) masks: Masks,
    pub(super) deadline: Instant,
    /// Of the roster, who may still share.
    pub(super) missing: BTreeSet<ClientId>,
}

impl Coordinator {
    pub(super) fn share(&mut self, now: Instant, open: Open, masks: Masks) -> Phase {
        let deadline = now + self.config.patience;
        let missing: BTreeSet<ClientId> = masks.members().cloned().collect();
        for client in &missing {
            self.send(client, ToClient::Share { round: open.round, roster: masks.blob().id });
        }
        Phase::Sharing(Sharing { open, masks, deadline, missing })
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
        let Some((open, masks)) = self.phase.masked().filter(|(open, _)| open.round == round) else {
            return Err(Fault::Stale { got: round });
        };
        let message = match masks.index(client) {
            Some(_) if open.has(client) => ToClient::Share { round, roster: masks.blob().id },
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
        if !sharing.missing.contains(client) {
            // The same again, or somebody who has no part in it.
            return if sharing.masks.has_shared(client) {
                Ok(())
            } else {
                Err(Fault::Unsolicited("a share"))
            };
        }
        sharing.missing.remove(client);
        sharing.masks.share(client, shares).inspect_err(|fault| {
            sharing.open.drop_out(client, &fault.to_string());
        })
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
        let Sharing { mut open, mut masks, missing, .. } = sharing;
        for client in &missing {
            open.drop_out(client, "did not share its secrets in time");
        }
        for client in masks.close() {
            open.drop_out(&client, "too few of its neighbours shared their secrets");
        }
        let (present, needed) = (masks.present().count(), self.config.min_reports.max(masks.threshold()));
        if present < needed {
            let why = format!("{present} of {needed} clients shared their secrets");
            return Step::Go(self.abort(now, open, Vec::new(), &why));
        }
        let (round, shares) = (open.round, masks.shares().clone());
        self.out.push_back(Output::Persist(Record::Masked(round, Masked::Shares(shares))));
        Step::Go(self.collect(now, open, masks))
    }

    /// Hands the shares out and waits for masked updates.
    pub(super) fn collect(&mut self, now: Instant, open: Open, masks: Masks) -> Phase {
        let round = open.round;
        for client in masks.present() {
            if let Some((present, shares)) = masks.shares_for(client) {
                self.send(client, ToClient::Mask { round, present, shares });
            }
        }
        Phase::Collecting(Collecting::masked(open, masks, now, self.config.patience, self.config.training))
    }

    /// Answers a client that comes back with its shares after those were handed out.
    pub(super) fn mask_again(&mut self, client: &ClientId, round: Round) -> Result<(), Fault> {
        let Some((_, masks)) = self.phase.masked().filter(|(open, _)| open.round == round) else {
            return Err(Fault::Stale { got: round });
        };
        let (present, shares) = masks.shares_for(client).ok_or(Fault::Unsolicited("a share"))?;
        self.send(client, ToClient::Mask { round, present, shares });
        Ok(())
    }
}
