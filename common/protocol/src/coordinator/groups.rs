//! The groups of a masked round: how they are dealt, and when too few of them are left.
//!
//! One group is the ordinary case. Several go through the same phases side by side, each under its own roster, and none
//! knows of another. A group that has lost too many is left out, and nobody in it is asked for anything any more.

use super::masks::Masks;
use super::open::Open;
use super::{Coordinator, Output};
use crate::fault::Fault;
use crate::ids::{ClientId, Digest, Round};
use crate::message::ToClient;
use crate::record::{Masked, Record};
use crate::robust::groups::{SMALLEST, partition};
use crate::secagg::{Member, Roster};
use crate::seed::Label;

/// A group that is out of its round.
pub(super) struct Lost {
    pub(super) members: Vec<ClientId>,
    pub(super) why: String,
}

impl Coordinator {
    /// Deals those who are ready into groups. The lot hangs on all their keys, which are fixed by now, and on the server's
    /// seed, which no client knows: nobody can choose its company.
    pub(super) fn deal(
        &self,
        round: Round,
        promise: Digest,
        mut ready: Vec<Member>,
    ) -> Result<Vec<Roster>, Fault> {
        let groups = self.config.groups;
        if groups == 1 {
            return Ok(vec![Roster::new(round, promise, ready)?]);
        }
        let everybody = Roster::new(round, promise, ready.clone())?;
        let context = [&round.0.to_le_bytes()[..], everybody.digest().as_bytes()].concat();
        let lot = self.seed.derive(Label::Groups, &context);
        let clients: Vec<ClientId> = ready.iter().map(|member| member.client.clone()).collect();
        let least = SMALLEST.max(self.config.min_reports / groups);
        let dealt = partition(&clients, groups, least, &lot).ok_or_else(|| {
            Fault::Malformed(format!("{} clients are too few for {groups} groups", clients.len()))
        })?;
        let roster = |members: &Vec<ClientId>| {
            let (of_it, others) =
                std::mem::take(&mut ready).into_iter().partition(|one| members.contains(&one.client));
            ready = others;
            Roster::new(round, promise, of_it)
        };
        dealt.iter().map(roster).collect()
    }

    /// Writes down a step of a group, before anybody hears of it.
    pub(super) fn fix(&mut self, round: Round, masks: &Masks, step: Masked) {
        self.out.push_back(Output::Persist(Record::Masked(round, masks.group(), step)));
    }

    /// Fewest clients of a group whose sum may be known: enough to unmask it, and the group's part of `min_reports`.
    pub(super) fn least_of(&self, masks: &Masks) -> usize {
        masks.threshold().max(self.config.min_reports / self.config.groups)
    }

    /// Leaves groups out: their clients hear that the round is over.
    ///
    /// # Errors
    /// Why the round cannot go on, if it cannot with what is `left`: so many clients in each group. Nobody has heard
    /// anything then.
    pub(super) fn leave_out(
        &mut self,
        open: &mut Open,
        left: impl Iterator<Item = usize>,
        lost: Vec<Lost>,
    ) -> Result<(), String> {
        let (groups, clients) = left.fold((0, 0), |(groups, all), of_one| (groups + 1, all + of_one));
        let needed = if self.config.groups == 1 { 1 } else { self.config.robust.least(groups) };
        if groups < needed {
            let why = lost.into_iter().next().map_or_else(|| "no group is left".into(), |lost| lost.why);
            let planned = self.config.groups;
            return Err(match planned {
                1 => why,
                _ => format!("{groups} of {planned} groups are left, {needed} are needed: {why}"),
            });
        }
        let wanted = self.config.min_reports;
        if clients < wanted {
            return Err(format!("{clients} clients in {groups} groups are left, {wanted} are needed"));
        }
        for Lost { members, why } in lost {
            for client in &members {
                open.drop_out(client, &format!("its group is left out: {why}"));
                self.send(client, ToClient::Over { round: open.round });
            }
        }
        Ok(())
    }
}

/// The masks of the group that a client is in.
pub(super) fn of<'a>(mut groups: impl Iterator<Item = &'a Masks>, client: &ClientId) -> Option<&'a Masks> {
    groups.find(|masks| masks.index(client).is_some())
}
