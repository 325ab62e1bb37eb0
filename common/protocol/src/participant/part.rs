//! A client's part in a masked round, from the end of its training on.
//!
//! Everything said here can be said twice, and then it is the same bytes: the server answers each with what comes next,
//! so a client that was away or restarted catches up step by step.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::guard::Pin;
use super::job::{Confirm, Job, JobResult, Mask, Masked, Receipt, Recipe, Reveal, Share, Update};
use super::task::{Task, Work};
use super::training::training_seed;
use super::{Event, Keep, Output, Participant, Policy};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Digest, Round, UpdateId};
use crate::memory::Left;
use crate::message::{Assignment, ToServer};
use crate::secagg::roster::MAX_ROSTER;
use crate::secagg::{Holding, Joining, Member, RoundSeed, SealedShare, Session, Signature, Subset};
use crate::secure::SecurePlan;
use crate::seed::{Label, Seed};
use crate::update::UpdateLayout;
use crate::wire;

/// One masked round, seen from one of its clients.
pub(super) struct Part {
    pub(super) assignment: Assignment,
    plan: SecurePlan,
    /// What this round asks for, in one digest; its secrets are bound to it.
    pub(super) promise: Digest,
    pub(super) update: Box<Update>,
    keys: Member,
    /// What was said since, to be said again.
    shares: Vec<(u32, SealedShare)>,
    upload: Option<Upload>,
    stage: Stage,
}

/// How far it has come.
enum Stage {
    /// Has advertised its keys.
    Ready,
    /// Has shared its secrets.
    Shared(Box<Session>),
    /// Has masked its update.
    Masked(Box<Holding>),
    /// A job has what this stage is about.
    Away,
}

#[derive(Clone)]
struct Upload {
    bytes: Bytes,
    id: UpdateId,
}

impl Part {
    pub(super) fn new(assignment: Assignment, plan: SecurePlan, update: Box<Update>, keys: Member) -> Self {
        let promise = assignment.promise();
        Self {
            assignment,
            plan,
            promise,
            update,
            keys,
            shares: Vec::new(),
            upload: None,
            stage: Stage::Ready,
        }
    }

    /// Where this client is; the server answers with what it missed.
    pub(super) fn present(&self) -> ToServer {
        ToServer::Ready { round: self.assignment.round, keys: self.keys.clone() }
    }

    /// Whether there is nothing but counts to mask.
    fn is_alone(&self) -> bool {
        self.plan.counting.is_alone()
    }

    pub(super) fn upload(&self) -> Option<&Bytes> {
        self.upload.as_ref().map(|upload| &upload.bytes)
    }

    fn offer(&self) -> Option<ToServer> {
        let update = self.upload.as_ref()?.id;
        Some(ToServer::Offer { round: self.assignment.round, update, visible: None })
    }

    /// What joining those on the roster takes.
    pub(super) fn join(&self, client: &ClientId, roster: BlobId, policy: Policy, secrets: RoundSeed) -> Job {
        let joining = Joining {
            round: self.assignment.round,
            assignment: self.promise,
            client: client.clone(),
            advertisement: self.keys.advertisement.clone(),
            minimum: policy.min_cohort,
        };
        Job::Share(Share { roster, secrets, plan: self.plan.clone(), joining })
    }

    fn recipe(&self, client: &ClientId, secrets: &RoundSeed, before: Left) -> Recipe {
        let Assignment { release, sections, seed, .. } = self.assignment;
        Recipe {
            plan: self.plan.clone(),
            layout: UpdateLayout::new(release.len as usize / 4, sections),
            favourites: self.update.favourites.clone(),
            // An update says again what was left out; counts alone leave it where it is.
            residual: before.residual.filter(|_| !self.is_alone()),
            public: seed,
            rounding: training_seed(&self.assignment, client).derive(Label::Rounding, &[]),
            secret: Seed::new(*secrets.as_bytes()),
        }
    }
}

impl Participant {
    /// The secrets for what `assignment` asks for, on the disk before they are used.
    pub(super) fn secrets(&mut self, promise: Digest) -> RoundSeed {
        let context = [&promise.as_bytes()[..], &self.drawn.to_le_bytes()].concat();
        let (seed, drawn) = (&self.seed, &mut self.drawn);
        let secrets = self.guard.seed(promise, || {
            *drawn += 1;
            seed.derive(Label::RoundSecrets, &context).into_bytes()
        });
        self.keep_secrets();
        secrets
    }

    /// The round is over: its secrets are of no use to anybody but a thief.
    pub(super) fn forget(&mut self) {
        if self.guard.forget() {
            self.keep_secrets();
        }
    }

    fn keep_secrets(&mut self) {
        self.out.push_back(Output::Remember(Keep::Secrets, self.guard.saved()));
    }

    /// Allows a step that may happen in one way only.
    fn pin(&mut self, part: &Part, pin: Pin, way: Digest) -> bool {
        match self.guard.pin(part.promise, pin, way) {
            Ok(first) => {
                if first {
                    self.keep_secrets();
                }
                let keys = Digest::of(&part.keys.advertisement.keys().map(|key| &key[..]).concat());
                self.event(Event::Bound { round: part.assignment.round, keys, step: pin.text(), way });
                true
            }
            Err(fault) => {
                self.event(Event::Refused(fault));
                false
            }
        }
    }

    /// Takes the part in `round` out of the task, which is [`Task::Idle`] until it is put back.
    fn take_part(&mut self, round: Round) -> Option<Box<Part>> {
        match std::mem::replace(&mut self.task, Task::Idle) {
            Task::Masking(part) if part.assignment.round == round => Some(part),
            other => {
                self.task = other;
                None
            }
        }
    }

    /// The roster is fixed.
    pub(super) fn share(&mut self, round: Round, roster: BlobId) {
        let Some(part) = self.take_part(round) else { return };
        if roster.len > MAX_ROSTER as u64 {
            self.event(Event::Refused(Fault::Oversized { len: roster.len, limit: MAX_ROSTER as u64 }));
            self.task = Task::Masking(part);
        } else if !self.pin(&part, Pin::Roster, roster.digest) {
            self.task = Task::Masking(part);
        } else if let Stage::Ready = part.stage {
            self.out.push_back(Output::Lookup(roster));
            self.task = Task::Gathering { work: Work::Join(part, roster), next: 0 };
        } else {
            self.send(ToServer::Shares { round, shares: part.shares.clone() });
            self.task = Task::Masking(part);
        }
    }

    pub(super) fn joined(
        &mut self,
        mut part: Box<Part>,
        session: Box<Session>,
        shares: Vec<(u32, SealedShare)>,
    ) {
        self.send(ToServer::Shares { round: part.assignment.round, shares: shares.clone() });
        part.shares = shares;
        part.stage = Stage::Shared(session);
        self.task = Task::Masking(part);
    }

    /// The neighbours have shared.
    pub(super) fn mask(&mut self, round: Round, present: Subset, shares: Vec<(u32, SealedShare)>) {
        let Some(mut part) = self.take_part(round) else { return };
        // Only who has shared decides whose masks are added: that may not change. A share that comes again may.
        let digest = Digest::of(&wire::to_disk(&present));
        match std::mem::replace(&mut part.stage, Stage::Away) {
            Stage::Shared(session) if !self.busy => {
                if self.pin(&part, Pin::Shares, digest) {
                    let secrets = self.secrets(part.promise);
                    let before = self.before(&part.assignment);
                    let (promise, update) = (part.promise, part.update.bytes.clone());
                    let (visible, codec) = (part.update.visible, part.recipe(&self.id, &secrets, before));
                    let counts = part.update.counts.clone().and_then(Result::ok);
                    let mask = Mask { promise, session, present, shares, codec, update, visible, counts };
                    self.run(Job::Mask(mask));
                } else {
                    part.stage = Stage::Shared(session);
                }
            }
            stage @ Stage::Masked(_) => {
                part.stage = stage;
                if self.pin(&part, Pin::Shares, digest)
                    && let Some(offer) = part.offer()
                {
                    self.send(offer);
                }
            }
            stage => part.stage = stage,
        }
        self.task = Task::Masking(part);
    }

    /// Some updates are in the sum.
    pub(super) fn survivors(&mut self, round: Round, survivors: &Subset) {
        let Some(mut part) = self.take_part(round) else { return };
        match std::mem::replace(&mut part.stage, Stage::Away) {
            Stage::Masked(mut holding) if !self.busy => {
                let digest = Digest::of(&wire::to_disk(survivors));
                // On the disk before this client is bound to it, and bound to it before anybody hears of it.
                let checked = holding.check(survivors);
                let allowed = checked.is_ok() && self.pin(&part, Pin::Survivors, digest);
                if let Err(fault) = &checked {
                    self.event(Event::Refused(fault.clone()));
                }
                match allowed.then(|| holding.confirm(survivors)) {
                    Some(Ok(statement)) => {
                        self.run(Job::Confirm(Confirm { promise: part.promise, holding, statement }));
                    }
                    _ => part.stage = Stage::Masked(holding),
                }
            }
            stage => part.stage = stage,
        }
        self.task = Task::Masking(part);
    }

    /// The others have confirmed the survivors.
    pub(super) fn reveal(&mut self, round: Round, signatures: BTreeMap<u32, Signature>) {
        let Some(mut part) = self.take_part(round) else { return };
        match std::mem::replace(&mut part.stage, Stage::Away) {
            Stage::Masked(holding) if !self.busy => {
                self.run(Job::Reveal(Reveal { promise: part.promise, holding, signatures }));
            }
            stage => part.stage = stage,
        }
        self.task = Task::Masking(part);
    }

    /// A job of this round is done.
    pub(super) fn moved_on(&mut self, mut part: Box<Part>, result: JobResult) {
        let round = part.assignment.round;
        match result {
            JobResult::Masked(promise, Masked { holding, bytes, residual, faults })
                if promise == part.promise =>
            {
                faults.into_iter().for_each(|fault| self.event(Event::Refused(fault)));
                if !self.pin(&part, Pin::Upload, Digest::of(&bytes)) {
                    let why = "the training gave another update than before, and one mask hides one update";
                    return self.decline(round, why.into());
                }
                // After the pin: what another update left behind, which may count, is not overwritten.
                if !part.is_alone() {
                    self.leave(&part.assignment, part.update.memory.take(), residual);
                }
                part.upload = Some(Upload { id: UpdateId::of(&bytes), bytes });
                part.stage = Stage::Masked(holding);
                if let Some(offer) = part.offer() {
                    self.send(offer);
                }
            }
            JobResult::Confirmed(promise, holding, signature) if promise == part.promise => {
                part.stage = Stage::Masked(holding);
                self.send(ToServer::Confirm { round, signature });
            }
            JobResult::Revealed(promise, holding, shares) if promise == part.promise => {
                part.stage = Stage::Masked(holding);
                self.send(ToServer::Revealed { round, shares });
            }
            JobResult::Failed(Receipt::Step(promise), why) if promise == part.promise => {
                return self.decline(round, why);
            }
            // Of a task that was replaced.
            _ => {}
        }
        self.task = Task::Masking(part);
    }
}
