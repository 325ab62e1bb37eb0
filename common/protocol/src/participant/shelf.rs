//! Trainings that outlast their round: what is done lies on a shelf, also over a restart, until a round takes it.
//!
//! A client trains for a release and sits in a round. In synchronous rounds the two are one; in asynchronous ones the round
//! ends when enough others are ready, and the next one takes what this client has, if it is not too late for it by then.

use serde::{Deserialize, Serialize};

use super::job::Update;
use super::part::Part;
use super::task::{Task, Work};
use super::{Event, Keep, Output, Participant, Secret};
use crate::ids::{Round, UpdateId};
use crate::message::{Assignment, Visible};
use crate::secagg::Member;
use crate::update::UpdateLayout;
use crate::wire;

/// Where this client is with the release that it trains for, and with the round that it sits in.
#[derive(Default)]
pub(super) struct Bench {
    /// The round that waits for this client, in asynchronous rounds.
    seat: Option<Assignment>,
    /// What the job trains that is with the driver, while a round may still want it.
    training: Option<Assignment>,
    shelf: Option<Shelf>,
}

/// What a training gave, before anybody hears of it on the disk.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Shelf {
    /// What it was trained for.
    base: Assignment,
    bytes: bytes::Bytes,
    visible: Visible,
    memory: Option<bytes::Bytes>,
}

impl Shelf {
    /// From what [`Bench::saved`] gave to the disk; bytes that are no update are none.
    fn restore(saved: Option<&Secret>) -> Option<Self> {
        saved.and_then(|bytes| wire::from_disk(bytes.as_bytes()).ok()).flatten()
    }

    /// The update as it goes into the round of `seat`: its change of the weights weighs less the later it is.
    fn update_for(&self, seat: &Assignment) -> Option<Update> {
        let layout = UpdateLayout::new(seat.release.len as usize / 4, seat.sections);
        let bytes = layout.weigh(&self.bytes, self.base.goes_on_for(seat)?)?;
        let (id, visible, memory) = (UpdateId::of(&bytes), self.visible, self.memory.clone());
        Some(Update { bytes, id, visible, counts: None, memory, favourites: None, keys: None })
    }
}

/// What the update on a client's disk was trained for.
#[cfg(test)]
pub(crate) fn base_on(kept: &super::Kept) -> Option<Assignment> {
    Shelf::restore(kept.update.as_ref()).map(|shelf| shelf.base)
}

impl Bench {
    pub(super) fn restore(saved: Option<&Secret>) -> Self {
        Self { shelf: Shelf::restore(saved), ..Self::default() }
    }

    /// For the disk.
    fn saved(&self) -> Secret {
        wire::to_disk_secretly(&self.shelf)
    }

    /// The job for `assignment` leaves for the driver.
    pub(super) fn begin(&mut self, assignment: &Assignment) {
        self.training = assignment.lag.is_some().then(|| assignment.clone());
    }

    /// What the job that has come back was training, if a round may want it.
    pub(super) fn end(&mut self) -> Option<Assignment> {
        self.training.take()
    }

    /// Whether a job trains what a later round may take.
    pub(super) fn trains(&self) -> bool {
        self.training.is_some()
    }

    /// The round that waits for this client.
    pub(super) fn round(&self) -> Option<Round> {
        self.seat.as_ref().map(|seat| seat.round)
    }

    /// Leaves the round, if it was in it.
    pub(super) fn leave(&mut self, round: Round) -> bool {
        self.seat.take_if(|seat| seat.round == round).is_some()
    }
}

impl Participant {
    /// A round is open that takes what there is, or waits for it.
    pub(super) fn attend(&mut self, new: Assignment, fits: Result<(), String>) {
        if let Err(why) = self.policy.allows(self.role, &new) {
            return self.decline(new.round, why);
        }
        let bench = &mut self.bench;
        bench.training.take_if(|base| base.goes_on_for(&new).is_none());
        if bench.shelf.take_if(|shelf| shelf.base.goes_on_for(&new).is_none()).is_some() {
            self.keep_shelf();
        }
        self.bench.seat = Some(new.clone());
        match (&self.bench.shelf, &self.bench.training) {
            (Some(_), _) if !self.task.is_in(&new) => self.sit_down(),
            (None, Some(base)) => self.task = Task::Working(Work::Train(base.clone())),
            _ => self.take_on(Work::Train(new), fits),
        }
    }

    /// Rounds begin anew, all of them: nothing of the past is of use.
    pub(super) fn clear_bench(&mut self) {
        let had = self.bench.shelf.is_some();
        self.bench = Bench::default();
        if had {
            self.keep_shelf();
        }
    }

    /// A training is done that some round may take.
    pub(super) fn shelve(&mut self, base: Assignment, update: Update) {
        let Update { bytes, visible, memory, .. } = update;
        let Visible { examples, loss } = visible;
        self.event(Event::Trained { round: base.round, examples, loss });
        self.bench.shelf = Some(Shelf { base, bytes, visible, memory });
        self.keep_shelf();
        match &self.task {
            Task::Working(Work::Train(_)) => self.sit_down(),
            _ => self.start(),
        }
    }

    /// Goes into the round with what is on the shelf.
    fn sit_down(&mut self) {
        self.task = Task::Idle;
        let Bench { seat: Some(seat), shelf: Some(shelf), .. } = &self.bench else { return };
        let Some(update) = shelf.update_for(seat) else { return };
        let seat = seat.clone();
        if seat.secure.is_some() {
            self.task = Task::Working(Work::Sign(seat));
            self.start();
        } else {
            self.hold(seat, Box::new(update));
        }
    }

    /// The keys of the round are made.
    pub(super) fn signed(&mut self, seat: Assignment, keys: Member) {
        let update = self.bench.shelf.as_ref().and_then(|shelf| shelf.update_for(&seat));
        if let (Some(plan), Some(update)) = (seat.secure.clone(), update) {
            self.task = Task::Masking(Box::new(Part::new(seat, plan, Box::new(update), keys)));
            self.offer();
        }
    }

    fn keep_shelf(&mut self) {
        self.out.push_back(Output::Remember(Keep::Update, self.bench.saved()));
    }
}
