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
use crate::participant::{self, Kept, Participant, Policy};
use crate::record::{Outcome, Record, Snapshot};
use crate::secagg::{Enrolled, SimulatedAuthority};
use crate::seed::Seed;
use crate::time::Instant;

mod accidents;
mod action;
mod budget;
mod check;
mod driving;
pub(super) mod hands;
mod lies;
mod tallies;
mod witness;

pub(super) use accidents::Dies;
use accidents::participant;
pub(super) use action::Action;
use hands::{foundation, remembered};
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

    /// What a client has been told that has not arrived yet.
    pub(super) fn inbox(&self, who: usize) -> &VecDeque<ToClient> {
        &self.hubs[who].to_client
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

    /// Everybody connects.
    pub(super) fn gather(&mut self) {
        (0..self.hubs.len()).for_each(|who| self.step(Action::Connect(who)));
    }

    /// Goes through a schedule, and then on in peace until the federation is complete.
    pub(super) fn endure(&mut self, actions: &[Action]) {
        actions.iter().for_each(|action| self.step(*action));
        self.check();
        self.settle();
        self.check();
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
