//! What has come in of a round's updates, and where each member of its cohort is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::job::Tally;
use super::masks::Masks;
use super::open::Open;
use crate::config::RoundConfig;
use crate::ids::{ClientId, UpdateId};
use crate::message::Visible;
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
    pub(super) deadline: Instant,
    /// Of a masked round only: how long nothing may come in, and when it ends whatever comes in.
    patience: Option<(Duration, Instant)>,
    /// One; in a masked round one for each group.
    pub(super) sums: Vec<Adding>,
    pub(super) members: BTreeMap<ClientId, Member>,
    /// Offers in order of arrival; only connected clients in state `Waiting` are in it.
    pub(super) queue: VecDeque<ClientId>,
    /// Uploads that have arrived whole.
    pub(super) arrived: VecDeque<(ClientId, Offer, Vec<u8>)>,
    /// Buffers of updates that have been added: a round needs as many as it has upload slots, and makes no more.
    pub(super) spare: Vec<Vec<u8>>,
}

/// A sum in the making.
pub(super) struct Adding {
    /// Of a masked round only.
    pub(super) masks: Option<Box<Masks>>,
    /// Bytes of one update.
    pub(super) update_len: u64,
    pub(super) adder: Adder,
}

/// Where a sum is: here, or away with a job.
pub(super) enum Adder {
    Idle(Tally),
    Busy,
}

/// Where one member of the cohort is.
pub(super) enum Member {
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

impl Adding {
    fn new(tally: Tally, update_len: u64, masks: Option<Box<Masks>>) -> Self {
        Self { masks, update_len, adder: Adder::Idle(tally) }
    }

    fn masked(masks: Masks) -> Self {
        Self::new(Tally::Masked(masks.empty_sum()), masks.update_bytes(), Some(Box::new(masks)))
    }

    /// Whether the updates of `client` go into this sum.
    fn is_of(&self, client: &ClientId) -> bool {
        self.masks.as_ref().is_none_or(|masks| masks.index(client).is_some())
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.adder, Adder::Idle(_))
    }
}

impl Collecting {
    /// Plain updates of `update_len` bytes, from everybody who was selected.
    pub(super) fn plain(open: Open, deadline: Instant, update_len: u64, tally: Tally) -> Self {
        let members = open.cohort.clone();
        Self::new(open, members, deadline, None, vec![Adding::new(tally, update_len, None)])
    }

    /// Masked updates from everybody who has shared its secrets. Nobody trains any more: it ends when nothing has come in
    /// for `patience`, and after `longest` in any case.
    pub(super) fn masked(
        open: Open,
        groups: Vec<Masks>,
        now: Instant,
        patience: Duration,
        longest: Duration,
    ) -> Self {
        let members = groups.iter().flat_map(Masks::present).cloned().collect();
        let sums = groups.into_iter().map(Adding::masked).collect();
        let patience = Some((patience, now + longest.max(patience)));
        let mut collecting = Self::new(open, members, now, patience, sums);
        collecting.prolong(now);
        collecting
    }

    fn new(
        open: Open,
        members: Vec<ClientId>,
        deadline: Instant,
        patience: Option<(Duration, Instant)>,
        sums: Vec<Adding>,
    ) -> Self {
        Self {
            open,
            deadline,
            patience,
            sums,
            members: members.into_iter().map(|client| (client, Member::Working)).collect(),
            queue: VecDeque::new(),
            arrived: VecDeque::new(),
            spare: Vec::new(),
        }
    }

    /// Something came in.
    pub(super) fn prolong(&mut self, now: Instant) {
        if let Some((patience, last)) = self.patience {
            self.deadline = self.deadline.max(now + patience).min(last);
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.groups().next().is_none()
    }

    /// The masks of each group; none in a plain round.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Masks> {
        self.sums.iter().filter_map(|sum| sum.masks.as_deref())
    }

    /// The sum that a client's update goes into.
    pub(super) fn sum_of(&mut self, client: &ClientId) -> Option<&mut Adding> {
        self.sums.iter_mut().find(|sum| sum.is_of(client))
    }

    /// Bytes of the update of a client.
    pub(super) fn update_len(&self, client: &ClientId) -> u64 {
        self.sums.iter().find(|sum| sum.is_of(client)).map_or(0, |sum| sum.update_len)
    }

    pub(super) fn disconnected(&mut self, client: &ClientId) {
        // An upload keeps its bytes until it stalls, so that a client that is soon back goes on where it was.
        if let Some(member @ Member::Waiting(_)) = self.members.get_mut(client) {
            *member = Member::Working;
            self.queue.retain(|waiting| waiting != client);
        }
    }

    /// Whether somebody waits for a place that only another one's could be.
    pub(super) fn is_short_of_slots(&self, slots: usize) -> bool {
        !self.queue.is_empty() && self.slots_taken() + self.queue.len() > slots
    }

    pub(super) fn next_deadline(&self, config: &RoundConfig) -> Instant {
        if !self.is_short_of_slots(config.upload_slots) {
            return self.deadline;
        }
        let stalls = self.members.values().filter_map(|member| match member {
            Member::Uploading { progress, .. } => Some(*progress + config.stall),
            _ => None,
        });
        stalls.min().map_or(self.deadline, |stall| stall.min(self.deadline))
    }

    /// Whether an update is about to become part of a sum: then its job's end comes next, not a deadline.
    pub(super) fn is_adding(&self) -> bool {
        !self.sums.iter().all(Adding::is_idle)
    }

    pub(super) fn counted(&self) -> usize {
        self.members.values().filter(|member| matches!(member, Member::Counted)).count()
    }

    /// Who has not been counted, and is not out of the round.
    pub(super) fn working(&self) -> BTreeSet<ClientId> {
        let working = |member: &Member| !matches!(member, Member::Counted | Member::Dropped);
        let members = self.members.iter().filter(|(_, member)| working(member));
        members.map(|(client, _)| client.clone()).collect()
    }

    pub(super) fn settled(&self) -> bool {
        self.members.values().all(|member| matches!(member, Member::Counted | Member::Dropped))
    }

    pub(super) fn slots_taken(&self) -> usize {
        let taken = |member: &&Member| matches!(member, Member::Uploading { .. } | Member::Adding);
        self.members.values().filter(taken).count()
    }

    pub(super) fn drop_member(&mut self, client: &ClientId, reason: &str) {
        self.members.insert(client.clone(), Member::Dropped);
        self.queue.retain(|waiting| waiting != client);
        self.open.drop_out(client, reason);
    }

    /// Those who count, and the sums; whoever was in the middle of something is out for that reason.
    pub(super) fn finish(mut self) -> (Open, Vec<ClientId>, Vec<Adding>) {
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
        (self.open, counted, self.sums)
    }
}
