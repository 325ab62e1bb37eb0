//! Keying: clients train, and say that they are done with the keys that they will mask with.
//!
//! Who is here in time is the roster of the round, or, in a round of groups, on the roster of one of them. It is fixed,
//! written down and named by its digest before anybody shares a secret, so nobody can be shown another one.

use std::collections::{BTreeMap, BTreeSet};

use super::masks::Masks;
use super::open::Open;
use super::phase::{Phase, Step};
use super::{Coordinator, Event};
use crate::fault::Fault;
use crate::ids::{ClientId, Digest, Round};
use crate::record::Masked;
use crate::secagg::{Member, Roll, Roster, Violation};
use crate::time::Instant;

/// The open round while clients train.
pub(super) struct Keying {
    pub(super) open: Open,
    pub(super) deadline: Instant,
    /// What every key is signed for.
    promise: Digest,
    working: BTreeSet<ClientId>,
    ready: BTreeMap<ClientId, Member>,
}

impl Keying {
    pub(super) fn new(open: Open, deadline: Instant, promise: Digest) -> Self {
        let working = open.cohort.iter().cloned().collect();
        Self { open, deadline, promise, working, ready: BTreeMap::new() }
    }

    /// Whether these are keys that every client of the roster will accept.
    fn check(&self, roll: &dyn Roll, client: &ClientId, keys: &Member) -> Result<(), Fault> {
        if keys.client != *client {
            return Err(Fault::Unsolicited("a key of another client"));
        }
        keys.verify(roll, self.open.round, &self.promise)?;
        let [mask, seal, commitment] = keys.advertisement.keys();
        let others = self.ready.iter().filter(|(other, _)| *other != client);
        let taken: BTreeSet<&[u8; 32]> = others.flat_map(|(_, other)| other.advertisement.keys()).collect();
        let repeated = [mask, seal, commitment].iter().any(|key| taken.contains(*key));
        if repeated || mask == seal || mask == commitment || seal == commitment {
            return Err(Violation::RepeatedKey { client: client.clone() }.into());
        }
        Ok(())
    }
}

impl Coordinator {
    pub(super) fn greet_keying(&mut self, now: Instant, client: &ClientId) {
        let Phase::Keying(keying) = &self.phase else { return };
        if keying.open.has(client) {
            let message = self.assignment(client, keying.open.round, keying.deadline.since(now));
            self.send(client, message);
        }
    }

    /// A client has trained. In a later phase it came back: it is told what it missed first.
    pub(super) fn ready(
        &mut self,
        now: Instant,
        client: &ClientId,
        round: Round,
        keys: Member,
    ) -> Result<(), Fault> {
        let Phase::Keying(keying) = &mut self.phase else {
            return self.share_again(client, round);
        };
        if keying.open.round != round {
            return Err(Fault::Stale { got: round });
        }
        if !keying.open.has(client) {
            return Err(Fault::Unsolicited("a key"));
        }
        if keying.ready.get(client) == Some(&keys) {
            return Ok(());
        }
        // Every other client checks this too; checked here, it costs its sender its place and nobody else's.
        if let Err(fault) = keying.check(&*self.roll, client, &keys) {
            keying.working.remove(client);
            keying.ready.remove(client);
            keying.open.drop_out(client, &fault.to_string());
            return Err(fault);
        }
        keying.working.remove(client);
        keying.open.trained(now, client);
        keying.ready.insert(client.clone(), keys);
        let (counted, wanted) = (keying.ready.len(), keying.ready.len() + keying.working.len());
        self.event(Event::Ready(round, client.clone(), counted, wanted));
        Ok(())
    }

    pub(super) fn declined_keying(&mut self, client: &ClientId, reason: &str) -> Result<(), Fault> {
        let Phase::Keying(keying) = &mut self.phase else { return Ok(()) };
        if !keying.working.remove(client) {
            return Err(Fault::Unsolicited("a decline"));
        }
        keying.open.drop_out(client, reason);
        Ok(())
    }

    /// Fixes the roster once nobody is missing, enough are ready, or time is up.
    pub(super) fn try_fix_roster(&mut self, now: Instant, keying: Keying) -> Step {
        let enough = keying.working.is_empty() || keying.ready.len() >= self.config.cohort;
        if !enough && now < keying.deadline {
            return Step::Stay(Phase::Keying(keying));
        }
        let Keying { mut open, promise, working, ready, .. } = keying;
        self.end_training(now, &mut open, &working);
        let needed = self.config.min_reports;
        if ready.len() < needed {
            let why = format!("{} of {needed} clients trained in time", ready.len());
            return Step::Go(self.abort(now, open, Vec::new(), &why));
        }
        for client in open.cohort.clone() {
            if !ready.contains_key(&client) {
                open.drop_out(&client, "not trained by the deadline");
            }
        }
        let late: Vec<ClientId> =
            open.dropped.keys().filter(|client| !self.going.has(client)).cloned().collect();
        self.dismiss(open.round, late.iter());
        let rosters = self.deal(open.round, promise, ready.into_values().collect());
        let mask = |(group, roster)| self.masks(group, roster);
        let groups: Result<Vec<Masks>, Fault> =
            rosters.and_then(|rosters| (0..).zip(rosters).map(mask).collect());
        Step::Go(match groups {
            Ok(groups) => {
                for masks in &groups {
                    self.fix(open.round, masks, Masked::Roster(masks.blob().bytes.clone()));
                }
                self.share(now, open, groups)
            }
            Err(fault) => self.abort(now, open, Vec::new(), &fault.to_string()),
        })
    }

    /// The masks of a group with this roster, empty-handed.
    pub(super) fn masks(&self, group: u32, roster: Roster) -> Result<Masks, Fault> {
        let malformed = |why: String| Fault::Malformed(why);
        let secure = self.secure().ok_or_else(|| malformed("the rounds are plain ones".into()))?;
        let public = secure.public(self.round_seed(roster.round()).number());
        let layout = self.layout();
        let favourites = self.companion.as_ref().and_then(|companion| layout.favourites(&companion.bytes));
        let codec = secure.codec(layout, roster.size(), &public, favourites.as_deref());
        let codec = codec.map_err(|error| malformed(error.to_string()))?;
        let parameters = secure.parameters(roster.size());
        Ok(Masks::new(group, roster, parameters, codec))
    }
}
