//! A whole federation in one value: machines, links, disks, and the schedule that moves them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::checkpoint::bytes_of;
use crate::config::FederationConfig;
use crate::coordinator::{self, Coordinator};
use crate::evaluation::EvaluationPolicy;
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Digest, Round};
use crate::memory::Memory;
use crate::message::{Role, ToClient, ToServer};
use crate::participant::{self, Event, Hands, Kept, Participant, Policy};
use crate::record::{Outcome, Record, Snapshot};
use crate::secagg::{Enrolled, SimulatedAuthority};
use crate::seed::{Label, Seed};
use crate::time::Instant;

mod action;
mod check;
pub(super) mod hands;
mod lies;
mod tallies;
mod witness;

pub(super) use action::Action;
use hands::{Arithmetic, Boosted, foundation, remembered};
use witness::Witness;
pub(super) use witness::{Said, secrets_on};

/// A client: machine, disk and the link to the server.
struct Hub {
    id: ClientId,
    role: Role,
    machine: Participant,
    cache: BTreeMap<BlobId, Vec<u8>>,
    kept: Kept,
    identity: Enrolled,
    jobs: VecDeque<participant::Job>,
    to_server: VecDeque<ToServer>,
    to_client: VecDeque<ToClient>,
    connected: bool,
    /// When its machine started; its clock counts from there.
    started: Instant,
}

/// The federation.
pub(super) struct World {
    config: FederationConfig,
    authority: SimulatedAuthority,
    /// Restarts of anything, which change the entropy that machines get.
    lives: u64,
    foundation: Bytes,
    weights: usize,
    now: Instant,
    server: Coordinator,
    server_jobs: VecDeque<coordinator::Job>,
    hubs: Vec<Hub>,
    /// When the server's machine started.
    started: Instant,
    kill_after_flush: bool,
    /// The server dies at this flush, counted from 1: after it, or before.
    pub(super) dies_at: Option<(usize, Dies)>,
    pub(super) flushes: usize,
    /// Clients that never connect again.
    pub(super) gone: BTreeSet<usize>,
    /// What the owners of hubs allow, from their next start on.
    pub(super) policy: Policy,
    /// Who sends updates that are so many times as long as they should be.
    pub(super) boosts: BTreeMap<ClientId, f32>,
    /// Whose uploads are under way, and how many were at most.
    uploading: BTreeSet<ClientId>,
    pub(super) most_uploads: usize,
    /// What was said by whom, and is never to be taken back.
    pub(super) witness: Witness,
    /// Why clients declined.
    pub(super) declined: Vec<String>,
    /// Whose updates, or whose groups' updates, a rule did not take at face value.
    pub(super) judged: BTreeSet<ClientId>,
    /// Whose messages the server refused.
    pub(super) blamed: BTreeSet<ClientId>,
    pub(super) disk: Vec<Record>,
    pub(super) refused: Vec<Fault>,
    pub(super) trained: u32,
    /// Evaluations that owners of clients heard of.
    pub(super) evaluated: u32,
    /// Clients that have nothing to evaluate.
    pub(super) blind: BTreeSet<usize>,
    /// How often a client had counted when it trained for a round.
    begun: BTreeMap<(ClientId, Round), u64>,
    /// Rounds whose sum somebody was asked for.
    told: BTreeSet<Round>,
    /// Why the federation ended early.
    pub(super) ended: Vec<String>,
    pub(super) trace: Vec<Action>,
}

const SEED: u64 = 11;

/// When a server dies at a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dies {
    /// Nothing of it is on the disk.
    Before,
    /// All of it is; nothing that should follow has left.
    After,
}

/// A client's hands, which boost its updates if they do.
fn boosted(boosts: &BTreeMap<ClientId, f32>, client: &ClientId, weights: usize) -> Boosted {
    let times = boosts.get(client).copied().unwrap_or(1.0);
    Boosted { hands: Arithmetic::new(weights), times }
}

/// The time since a machine started.
fn clock(now: Instant, started: Instant) -> Instant {
    Instant::at(now.since(started))
}

/// A client's machine with the entropy of one of its lives.
fn participant(id: &ClientId, role: Role, policy: Policy, kept: &Kept, life: u64) -> Participant {
    let entropy = Seed::from_number(life).derive(Label::World, id.as_str().as_bytes());
    Participant::new(id.clone(), role, policy, kept, entropy)
}

impl World {
    /// `roles.len()` clients and a model of `weights` weights.
    pub(super) fn new(config: FederationConfig, roles: &[Role], weights: usize) -> Self {
        let foundation = foundation();
        let start = Bytes::from(bytes_of(&vec![0.25; weights]));
        let snapshot = Snapshot::fresh(foundation.clone(), start);
        let authority = SimulatedAuthority::new(Seed::from_number(SEED));
        let roll = Arc::new(authority.roll());
        let server =
            Coordinator::new(config.clone().check().unwrap(), snapshot, Seed::from_number(SEED), roll);
        let evaluation = EvaluationPolicy::PerClient;
        let policy = Policy { danger_plain_aggregation: true, evaluation, ..Policy::default() };
        let hubs = roles.iter().enumerate().map(|(i, role)| {
            let id: ClientId = format!("client-{i}").parse().unwrap();
            Hub {
                machine: participant(&id, *role, policy, &Kept::default(), 0),
                identity: authority.enrol(&id),
                id,
                role: *role,
                cache: BTreeMap::new(),
                kept: Kept::default(),
                jobs: VecDeque::new(),
                to_server: VecDeque::new(),
                to_client: VecDeque::new(),
                connected: false,
                started: Instant::default(),
            }
        });
        let hubs = hubs.collect();
        Self {
            config,
            authority,
            lives: 0,
            foundation,
            weights,
            now: Instant::default(),
            server,
            server_jobs: VecDeque::new(),
            hubs,
            started: Instant::default(),
            kill_after_flush: false,
            dies_at: None,
            flushes: 0,
            gone: BTreeSet::new(),
            policy,
            boosts: BTreeMap::new(),
            uploading: BTreeSet::new(),
            most_uploads: 0,
            witness: Witness::default(),
            declined: Vec::new(),
            judged: BTreeSet::new(),
            blamed: BTreeSet::new(),
            disk: Vec::new(),
            refused: Vec::new(),
            trained: 0,
            evaluated: 0,
            blind: BTreeSet::new(),
            begun: BTreeMap::new(),
            told: BTreeSet::new(),
            ended: Vec::new(),
            trace: Vec::new(),
        }
    }

    /// Changes what the operator wrote; the server reads it when it is started again.
    pub(super) fn configure(&mut self, change: impl FnOnce(&mut FederationConfig)) {
        change(&mut self.config);
    }

    pub(super) fn server(&self) -> &Coordinator {
        &self.server
    }

    /// What a client has said that has not arrived yet.
    pub(super) fn outbox(&mut self, who: usize) -> &mut VecDeque<ToServer> {
        &mut self.hubs[who].to_server
    }

    /// What a client's disk has of its machine.
    pub(super) fn kept(&self, who: usize) -> &Kept {
        &self.hubs[who].kept
    }

    pub(super) fn client(&self, who: usize) -> ClientId {
        self.hubs[who].id.clone()
    }

    /// How often each client's own disk says that it has counted.
    pub(super) fn remembers(&self) -> Vec<u64> {
        let model = Digest::of(&self.foundation);
        let count = |hub: &Hub| remembered(Memory::restore(hub.kept.memory.as_ref()).latest(model).as_ref());
        self.hubs.iter().map(count).collect()
    }

    /// What each client's own disk says that was left out of its updates, given what the server would tell it next.
    pub(super) fn left_out(&self) -> Vec<Option<Bytes>> {
        let counted = |hub: &Hub| {
            let last = self.rounds().into_iter().rev().find(|round| {
                matches!(round.outcome, Outcome::Released(_)) && round.counted.contains(&hub.id)
            });
            last.map(|round| round.round)
        };
        let of = |hub: &Hub| {
            let mut memory = Memory::restore(hub.kept.memory.as_ref());
            memory.begin(Round(u64::MAX), counted(hub));
            memory.before(Digest::of(&self.foundation), Round(u64::MAX)).residual
        };
        self.hubs.iter().map(of).collect()
    }

    /// Takes one step; indices wrap around, so that every number is a valid one.
    pub(super) fn step(&mut self, action: Action) {
        self.trace.push(action);
        let clients = self.hubs.len();
        match action {
            Action::Deliver(link) => self.deliver(link % (2 * clients), false),
            Action::Double(link) => self.deliver(link % (2 * clients), true),
            Action::Lose(link) => {
                let hub = &mut self.hubs[(link / 2) % clients];
                if link % 2 == 0 { drop(hub.to_server.pop_front()) } else { drop(hub.to_client.pop_front()) }
            }
            Action::Job(who) => self.run_job(who % (clients + 1)),
            Action::Connect(who) => self.connect(who % clients),
            Action::Cut(who) => self.cut(who % clients),
            Action::KillClient(who) => self.kill_client(who % clients),
            Action::KillServer => self.kill_server(),
            Action::KillAfterFlush => self.kill_after_flush = true,
            Action::Pass(seconds) => self.pass(Duration::from_secs(seconds as u64)),
            Action::Bustle(times) => (0..times).for_each(|_| self.bustle()),
            Action::LieBack(n) => self.lie_back(n),
            Action::Lie(who) => self.lie(who),
        }
    }

    fn deliver(&mut self, link: usize, keep: bool) {
        let hub = &mut self.hubs[link / 2];
        if link.is_multiple_of(2) {
            let message = if keep { hub.to_server.front().cloned() } else { hub.to_server.pop_front() };
            if let Some(message) = message {
                let id = hub.id.clone();
                self.tell_server(coordinator::Input::Message(id, message));
            }
        } else {
            let message = if keep { hub.to_client.front().cloned() } else { hub.to_client.pop_front() };
            if let Some(message) = message {
                self.tell_client(link / 2, participant::Input::Message(message));
            }
        }
    }

    fn bustle(&mut self) {
        (0..2 * self.hubs.len()).for_each(|link| self.deliver(link, false));
        (0..=self.hubs.len()).for_each(|who| self.run_job(who));
    }

    fn run_job(&mut self, who: usize) {
        if who == self.hubs.len() {
            if let Some(job) = self.server_jobs.pop_front() {
                self.tell_server(coordinator::Input::Finished(job.run()));
            }
            return;
        }
        let hub = &mut self.hubs[who];
        if let Some(job) = hub.jobs.pop_front() {
            let load = |blob: BlobId| Ok::<_, ()>(Bytes::from(hub.cache[&blob].clone()));
            let needs = job.needs().try_map(load).unwrap();
            if let participant::Job::Train(train) = &job {
                let count = remembered(train.memory());
                let before = self.begun.insert((hub.id.clone(), train.assignment().round), count);
                assert!(
                    before.is_none_or(|before| before == count),
                    "repeatable: {} trained otherwise",
                    hub.id
                );
            }
            let mut trainer = boosted(&self.boosts, &hub.id, self.weights);
            trainer.hands.blind = self.blind.contains(&who);
            let roll = self.authority.roll();
            let hands = Hands { trainer: &trainer, identity: &hub.identity, roll: &roll };
            let result = job.run(hands, needs);
            let trains =
                matches!(&result, participant::JobResult::Trained(done, _) if !done.counting().is_alone());
            self.trained += u32::from(trains);
            self.tell_client(who, participant::Input::Finished(result));
        }
    }

    fn connect(&mut self, who: usize) {
        if !self.hubs[who].connected && !self.gone.contains(&who) {
            self.hubs[who].connected = true;
            self.tell_server(coordinator::Input::Connected(self.hubs[who].id.clone()));
            self.tell_client(who, participant::Input::Connected);
        }
    }

    fn cut(&mut self, who: usize) {
        let hub = &mut self.hubs[who];
        if std::mem::take(&mut hub.connected) {
            hub.to_server.clear();
            hub.to_client.clear();
            let id = hub.id.clone();
            self.tell_server(coordinator::Input::Disconnected(id));
            self.tell_client(who, participant::Input::Disconnected);
        }
    }

    fn kill_client(&mut self, who: usize) {
        self.cut(who);
        self.lives += 1;
        let hub = &mut self.hubs[who];
        hub.machine = participant(&hub.id, hub.role, self.policy, &hub.kept, self.lives);
        hub.started = self.now;
        hub.jobs.clear();
        // A torn write: the last blob lost its tail.
        if let Some(blob) = hub.cache.values_mut().next_back() {
            blob.truncate(blob.len() / 2);
        }
    }

    /// Kills a client and takes its disk away.
    pub(super) fn wipe(&mut self, who: usize) {
        let hub = &mut self.hubs[who];
        (hub.kept, hub.cache) = (Kept::default(), BTreeMap::new());
        self.step(Action::KillClient(who));
    }

    fn kill_server(&mut self) {
        let start = Bytes::from(bytes_of(&vec![0.25; self.weights]));
        let mut snapshot = Snapshot::fresh(self.foundation.clone(), start);
        self.disk.iter().cloned().for_each(|record| snapshot.apply(record));
        let config = self.config.clone().check().unwrap();
        let roll = Arc::new(self.authority.roll());
        self.server = Coordinator::new(config, snapshot, Seed::from_number(SEED), roll);
        self.started = self.now;
        self.server_jobs.clear();
        for who in 0..self.hubs.len() {
            let hub = &mut self.hubs[who];
            hub.to_server.clear();
            hub.to_client.clear();
            if std::mem::take(&mut hub.connected) {
                self.tell_client(who, participant::Input::Disconnected);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell_server(coordinator::Input::Timeout);
        (0..self.hubs.len()).for_each(|who| self.tell_client(who, participant::Input::Timeout));
    }
    /// Lets a client say something that its machine would not.
    pub(super) fn say(&mut self, who: usize, message: ToServer) {
        let id = self.hubs[who].id.clone();
        self.tell_server(coordinator::Input::Message(id, message));
    }

    fn tell_server(&mut self, input: coordinator::Input) {
        if let coordinator::Input::Message(client, message) = &input {
            self.witness.heard(client, message);
        }
        let now = clock(self.now, self.started);
        self.server.handle(now, input);
        let (mut sends, mut writes) = (Vec::new(), Vec::new());
        for step in 0.. {
            assert!(step < 10_000, "liveness: the server never comes to rest");
            match self.server.poll() {
                coordinator::Output::Persist(record) => writes.push(record),
                coordinator::Output::Send(client, message) => sends.push((client, message)),
                coordinator::Output::Run(job) => self.server_jobs.push_back(job),
                coordinator::Output::Event(coordinator::Event::Refused(client, fault)) => {
                    self.blamed.insert(client);
                    self.refused.push(fault);
                }
                coordinator::Output::Event(coordinator::Event::Counted(_, client, ..)) => {
                    self.uploading.remove(&client);
                }
                coordinator::Output::Event(coordinator::Event::Ended(why)) => self.ended.push(why),
                coordinator::Output::Event(coordinator::Event::Judged(_, client, _)) => {
                    self.judged.insert(client);
                }
                coordinator::Output::Event(_) => {}
                coordinator::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > now), "no-busy-wait: {until:?} at {now:?}");
                    break;
                }
            }
        }
        if !writes.is_empty() {
            self.flushes += 1;
            let dies = self.dies_at.filter(|(at, _)| *at == self.flushes).map(|(_, dies)| dies);
            if dies == Some(Dies::Before) {
                return self.kill_server();
            }
            self.disk.append(&mut writes);
            if dies.is_some() || std::mem::take(&mut self.kill_after_flush) {
                return self.kill_server();
            }
        }
        for (client, message) in sends {
            self.check_send(&message);
            if let ToClient::Reveal { round, .. } = message {
                self.told.insert(round);
                self.check_ledger();
            }
            if let ToClient::Upload { .. } = message {
                self.uploading.insert(client.clone());
            }
            self.most_uploads = self.most_uploads.max(self.uploading.len());
            if let Some(hub) = self.hubs.iter_mut().find(|hub| hub.id == client && hub.connected) {
                hub.to_client.push_back(message);
            }
        }
    }

    fn tell_client(&mut self, who: usize, input: participant::Input) {
        let hub = &mut self.hubs[who];
        let now = clock(self.now, hub.started);
        hub.machine.handle(now, input);
        for step in 0.. {
            assert!(step < 10_000, "liveness: client {who} never comes to rest");
            match hub.machine.poll() {
                participant::Output::Persist { blob, offset, bytes } => {
                    let cached = hub.cache.entry(blob).or_default();
                    assert_eq!(cached.len() as u64, offset, "append-only: client {who}");
                    cached.extend_from_slice(&bytes);
                }
                participant::Output::Lookup(blob) => {
                    let cached = hub.cache.entry(blob).or_default();
                    if cached.len() as u64 >= blob.len && BlobId::of(cached) != blob {
                        cached.clear();
                    }
                    let have = cached.len() as u64;
                    hub.machine.handle(now, participant::Input::Cached(blob, have));
                }
                participant::Output::Remember(keep, bytes) => hub.kept.set(keep, bytes),
                participant::Output::Send(message) => {
                    self.witness.says(&hub.id, &message, &hub.kept, &self.disk);
                    if hub.connected {
                        hub.to_server.push_back(message);
                    }
                }
                participant::Output::Run(job) => {
                    self.witness.works(&job, &hub.kept);
                    hub.jobs.push_back(*job);
                }
                participant::Output::Event(Event::Declined(why)) => self.declined.push(why),
                participant::Output::Event(Event::Evaluated(..)) => self.evaluated += 1,
                participant::Output::Event(_) => {}
                participant::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > now), "no-busy-wait: client {who}");
                    break;
                }
            }
        }
    }

    /// Lets everything happen in order, without faults, until the federation is complete.
    pub(super) fn settle(&mut self) {
        self.kill_after_flush = false;
        self.settle_until(|world| world.server.is_finished());
    }

    /// The same until something is true.
    pub(super) fn settle_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            for who in 0..self.hubs.len() {
                self.connect(who);
            }
            // Busy until nothing moves, then time passes.
            for _ in 0..200 {
                let moved = self
                    .hubs
                    .iter()
                    .any(|h| !(h.jobs.is_empty() && h.to_server.is_empty() && h.to_client.is_empty()));
                if !moved && self.server_jobs.is_empty() {
                    break;
                }
                self.bustle();
            }
            if done(self) {
                return;
            }
            self.pass(Duration::from_secs(5));
        }
        panic!(
            "liveness: the federation does not end; it is {} in round {}",
            self.server.phase(),
            self.server.round()
        );
    }
}
