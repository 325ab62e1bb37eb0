//! A whole federation in one value: machines, links, disks, and the schedule that moves them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::checkpoint::{Checkpoint, FORMAT, Manifest, bytes_of, floats};
use crate::config::FederationConfig;
use crate::coordinator::{self, Coordinator};
use crate::encoding::{Codec, Contribution};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Digest, Round, UpdateId, Version};
use crate::memory::Memory;
use crate::message::{Role, ToClient, ToServer, Visible};
use crate::moments::{Embedding, Moments};
use crate::packed::Packed;
use crate::participant::{self, Hands, Kept, Participant, Policy};
use crate::record::{Masked, Outcome, Record, RoundRecord, Snapshot};
use crate::secagg::{
    Enrolled, Member, Roster, RoundSecrets, RoundSeed, SealedShare, Signature, SimulatedAuthority, Subset,
};
use crate::seed::{Label, Seed};
use crate::strategy::Strategy;
use crate::sum::{Sum, Weighting};
use crate::time::Instant;
use crate::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use crate::update::{Sections, UpdateLayout};

/// One step of a schedule. Written as a letter and a number, so that a failure is a line of text that replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `d`: deliver the oldest message on a link (even: to the server, odd: to the client).
    Deliver(usize),
    /// `u`: deliver it and leave it on the link, so that it comes twice.
    Double(usize),
    /// `l`: lose it.
    Lose(usize),
    /// `j`: run the oldest waiting job of a client, or of the server (last index).
    Job(usize),
    /// `c`: connect a client.
    Connect(usize),
    /// `x`: cut its connection; what was under way is lost.
    Cut(usize),
    /// `k`: kill a client; its cache keeps what was written.
    KillClient(usize),
    /// `K`: kill the server; its disk keeps what was persisted.
    KillServer,
    /// `P`: from now on the server dies right after its next flush, before anything leaves.
    KillAfterFlush,
    /// `t`: let this many seconds pass.
    Pass(usize),
    /// `b`: so many times, deliver a message on every link and run a job everywhere.
    Bustle(usize),
    /// `F`: the server says something out of place.
    LieBack(usize),
    /// `f`: a client says something out of place.
    Lie(usize),
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Deliver(n) => write!(f, "d{n}"),
            Action::Double(n) => write!(f, "u{n}"),
            Action::Lose(n) => write!(f, "l{n}"),
            Action::Job(n) => write!(f, "j{n}"),
            Action::Connect(n) => write!(f, "c{n}"),
            Action::Cut(n) => write!(f, "x{n}"),
            Action::KillClient(n) => write!(f, "k{n}"),
            Action::KillServer => write!(f, "K0"),
            Action::KillAfterFlush => write!(f, "P0"),
            Action::Pass(n) => write!(f, "t{n}"),
            Action::Bustle(n) => write!(f, "b{n}"),
            Action::LieBack(n) => write!(f, "F{n}"),
            Action::Lie(n) => write!(f, "f{n}"),
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no step of a trace");
        let kind = text.chars().next().ok_or_else(bad)?;
        let n = text[kind.len_utf8()..].parse().map_err(|_| bad())?;
        Ok(match kind {
            'd' => Action::Deliver(n),
            'u' => Action::Double(n),
            'l' => Action::Lose(n),
            'j' => Action::Job(n),
            'c' => Action::Connect(n),
            'x' => Action::Cut(n),
            'k' => Action::KillClient(n),
            'K' => Action::KillServer,
            'P' => Action::KillAfterFlush,
            't' => Action::Pass(n),
            'b' => Action::Bustle(n),
            'F' => Action::LieBack(n),
            'f' => Action::Lie(n),
            _ => return Err(bad()),
        })
    }
}

/// A client's hands in the tests: the update is a function of nothing but the task, and it remembers how often it
/// counted.
struct Arithmetic {
    weights: usize,
}

impl Trainer for Arithmetic {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        assert_eq!(floats(&task.weights).len(), self.weights);
        let count = remembered(task.memory.as_ref());
        Ok(self.update(task.seed, count, task.control.as_deref(), task.sections))
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        let count = remembered(task.memory.as_ref()) as u32;
        Ok(LocalEvaluation { classes: 2, confusion: vec![task.version.0 as u32, count, 0, 1] })
    }
}

fn remembered(memory: Option<&Bytes>) -> u64 {
    memory.map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()))
}

impl Arithmetic {
    fn update(&self, seed: u64, count: u64, control: Option<&[f32]>, sections: Sections) -> LocalUpdate {
        let digest = Digest::of(&[seed.to_le_bytes(), count.to_le_bytes()].concat());
        let chance = |i: usize| f32::from(digest.as_bytes()[i % 32]) / 256.0 - 0.5;
        let at = |i: usize| control.map_or(0.0, |control| control[i]);
        let examples = 100 + u32::from(digest.as_bytes()[0]);
        let moments = sections.moments.map(|shape| {
            let mut moments = Moments::new(shape);
            (0..examples as usize).for_each(|i| moments.add((i % 2) as u8, &[chance(i), chance(i + 1)]));
            moments
        });
        LocalUpdate {
            delta: (0..self.weights).map(|i| chance(i) + 0.25 * at(i)).collect(),
            control: control
                .map(|control| control.iter().enumerate().map(|(i, c)| chance(i + 7) - c).collect()),
            moments,
            steps: 1 + seed as u32 % 9,
            examples,
            loss: 1.0,
            memory: Some(Bytes::copy_from_slice(&(count + 1).to_le_bytes())),
        }
    }
}

/// A checkpoint of which only the manifest is ever read.
fn foundation() -> Bytes {
    let manifest = Manifest {
        format: FORMAT,
        name: "arithmetic".into(),
        architecture: serde_json::Value::Null,
        licence: "MIT OR Apache-2.0".into(),
        provenance: BTreeMap::new(),
        trainable: BTreeMap::new(),
        embedding: Some(Embedding { classes: 2, width: 2 }),
    };
    Checkpoint { manifest, tensors: BTreeMap::new() }.to_bytes().unwrap().into()
}

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
    kill_after_flush: bool,
    pub(super) disk: Vec<Record>,
    pub(super) refused: Vec<Fault>,
    pub(super) trained: u32,
    /// How often a client had counted when it trained for a round.
    begun: BTreeMap<(ClientId, Round), u64>,
    pub(super) trace: Vec<Action>,
}

const SEED: u64 = 11;

/// A client's machine with the entropy of one of its lives.
fn participant(id: &ClientId, role: Role, kept: &Kept, life: u64) -> Participant {
    let policy = Policy { danger_plain_aggregation: true, ..Policy::default() };
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
        let hubs = roles.iter().enumerate().map(|(i, role)| {
            let id: ClientId = format!("client-{i}").parse().unwrap();
            Hub {
                machine: participant(&id, *role, &Kept::default(), 0),
                identity: authority.enrol(&id),
                id,
                role: *role,
                cache: BTreeMap::new(),
                kept: Kept::default(),
                jobs: VecDeque::new(),
                to_server: VecDeque::new(),
                to_client: VecDeque::new(),
                connected: false,
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
            kill_after_flush: false,
            disk: Vec::new(),
            refused: Vec::new(),
            trained: 0,
            begun: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    pub(super) fn server(&self) -> &Coordinator {
        &self.server
    }

    /// How often each client's own disk says that it has counted.
    pub(super) fn remembers(&self) -> Vec<u64> {
        let model = Digest::of(&self.foundation);
        let count = |hub: &Hub| remembered(Memory::restore(hub.kept.memory.as_ref()).latest(model).as_ref());
        self.hubs.iter().map(count).collect()
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
            let (trainer, roll) = (Arithmetic { weights: self.weights }, self.authority.roll());
            let hands = Hands { trainer: &trainer, identity: &hub.identity, roll: &roll };
            let result = job.run(hands, needs);
            self.trained += u32::from(matches!(result, participant::JobResult::Trained(..)));
            self.tell_client(who, participant::Input::Finished(result));
        }
    }

    fn connect(&mut self, who: usize) {
        if !self.hubs[who].connected {
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
        hub.machine = participant(&hub.id, hub.role, &hub.kept, self.lives);
        hub.jobs.clear();
        // A torn write: the last blob lost its tail.
        if let Some(blob) = hub.cache.values_mut().next_back() {
            blob.truncate(blob.len() / 2);
        }
    }

    fn kill_server(&mut self) {
        let start = Bytes::from(bytes_of(&vec![0.25; self.weights]));
        let mut snapshot = Snapshot::fresh(self.foundation.clone(), start);
        self.disk.iter().cloned().for_each(|record| snapshot.apply(record));
        let config = self.config.clone().check().unwrap();
        let roll = Arc::new(self.authority.roll());
        self.server = Coordinator::new(config, snapshot, Seed::from_number(SEED), roll);
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

    fn lie(&mut self, n: usize) {
        let who = n % self.hubs.len();
        if !self.hubs[who].connected {
            return;
        }
        let round = Round((n / 7 % 4) as u64);
        let digest = Digest::of(&[n as u8]);
        let update = UpdateId { checksum: n as u32, len: (n / 3 % 3 * 4) as u64 };
        let bytes = Bytes::from(vec![0xff; n % 3 * 4]);
        let lies = [
            ToServer::CheckIn { protocol: n as u32, role: self.hubs[who].role },
            ToServer::Fetch { digest, offset: n as u64 },
            ToServer::Offer { round, update, visible: Some(Visible { examples: n as u32, loss: f32::NAN }) },
            ToServer::Part { round, offset: (n % 5) as u64, bytes },
            ToServer::Evaluated {
                version: Version(n as u64 % 3),
                classes: n as u8,
                confusion: vec![u32::MAX; n % 9],
            },
            ToServer::DeclineEvaluation { version: Version(n as u64 % 3), reason: "x".repeat(n) },
            ToServer::Ready { round, keys: self.stranger(who) },
            ToServer::Shares { round, shares: vec![(n as u32, SealedShare([n as u8; 80])); n % 5] },
            ToServer::Confirm { round, signature: Signature([n as u8; 64]) },
            ToServer::Revealed { round, shares: Vec::new() },
        ];
        let lie = lies[n / 11 % lies.len()].clone();
        self.say(who, lie);
    }

    fn lie_back(&mut self, n: usize) {
        let who = n % self.hubs.len();
        if !self.hubs[who].connected {
            return;
        }
        let (round, digest) = (Round(n as u64 % 4), self.server.weights_id().digest);
        let offset = if n.is_multiple_of(2) { u64::MAX } else { n as u64 % 9 };
        let lies = [
            ToClient::Chunk { digest, offset, bytes: Bytes::from(vec![7; n % 5]) },
            ToClient::Chunk { digest, offset: 0, bytes: Bytes::new() },
            ToClient::Upload { round, offset },
            ToClient::Counted { round },
            ToClient::Welcome { version: Version(n as u64) },
            ToClient::Share { round, roster: BlobId { digest, len: n as u64 } },
            ToClient::Mask { round, present: Subset::all(n as u32 % 9), shares: Vec::new() },
            ToClient::Survivors { round, survivors: Subset::all(n as u32 % 9) },
            ToClient::Reveal { round, signatures: BTreeMap::new() },
        ];
        self.tell_client(who, participant::Input::Message(lies[n / 7 % lies.len()].clone()));
    }

    /// Keys that nobody signed.
    fn stranger(&self, who: usize) -> Member {
        let advertisement = RoundSecrets::new(&RoundSeed::new([7; 32])).advertisement();
        let (client, signature) = (self.hubs[who].id.clone(), Signature([7; 64]));
        Member { client, certificate: Bytes::from_static(b"none"), advertisement, signature }
    }

    /// Lets a client say something that its machine would not.
    pub(super) fn say(&mut self, who: usize, message: ToServer) {
        let id = self.hubs[who].id.clone();
        self.tell_server(coordinator::Input::Message(id, message));
    }

    fn tell_server(&mut self, input: coordinator::Input) {
        self.server.handle(self.now, input);
        let mut sends = Vec::new();
        let mut flushed = false;
        for step in 0.. {
            assert!(step < 10_000, "liveness: the server never comes to rest");
            match self.server.poll() {
                coordinator::Output::Persist(record) => {
                    self.disk.push(record);
                    flushed = true;
                }
                coordinator::Output::Send(client, message) => sends.push((client, message)),
                coordinator::Output::Run(job) => self.server_jobs.push_back(job),
                coordinator::Output::Event(coordinator::Event::Refused(_, fault)) => self.refused.push(fault),
                coordinator::Output::Event(_) => {}
                coordinator::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > self.now), "no-busy-wait: {until:?} at {:?}", self.now);
                    break;
                }
            }
        }
        if flushed && std::mem::take(&mut self.kill_after_flush) {
            return self.kill_server();
        }
        for (client, message) in sends {
            self.check_send(&message);
            if let Some(hub) = self.hubs.iter_mut().find(|hub| hub.id == client && hub.connected) {
                hub.to_client.push_back(message);
            }
        }
    }

    /// `persist-then-send`: nobody hears of a release that a crash could undo.
    fn check_send(&self, message: &ToClient) {
        let heard = match message {
            ToClient::Evaluate(examination) => examination.version,
            ToClient::Finished { version } => *version,
            _ => return,
        };
        assert!(
            heard <= self.last_release(),
            "persist-then-send: version {heard} was announced before it was written"
        );
    }

    fn last_release(&self) -> Version {
        let versions = self.disk.iter().filter_map(|record| match record {
            Record::Release(release) => Some(release.version),
            Record::Round(_) | Record::Masked(..) => None,
        });
        versions.max().unwrap_or_default()
    }

    fn tell_client(&mut self, who: usize, input: participant::Input) {
        let hub = &mut self.hubs[who];
        hub.machine.handle(self.now, input);
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
                    hub.machine.handle(self.now, participant::Input::Cached(blob, have));
                }
                participant::Output::Remember(keep, bytes) => hub.kept.set(keep, bytes),
                participant::Output::Send(message) => {
                    if hub.connected {
                        hub.to_server.push_back(message);
                    }
                }
                participant::Output::Run(job) => hub.jobs.push_back(*job),
                participant::Output::Event(_) => {}
                participant::Output::Wait(until) => {
                    assert!(until.is_none_or(|t| t > self.now), "no-busy-wait: client {who}");
                    break;
                }
            }
        }
    }

    /// Lets everything happen in order, without faults, until the federation is complete.
    pub(super) fn settle(&mut self) {
        self.kill_after_flush = false;
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
            if self.server.is_finished() {
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

    /// The rounds on disk, each as it was written last.
    pub(super) fn rounds(&self) -> Vec<&RoundRecord> {
        let rounds = self.disk.iter().filter_map(|record| match record {
            Record::Round(round) => Some((round.round, round)),
            Record::Release(_) | Record::Masked(..) => None,
        });
        rounds.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Checks everything that must be true of what is on disk, whatever happened.
    pub(super) fn check(&self) {
        let mut version = Version(0);
        let mut weights = vec![0.25; self.weights];
        let mut rule = self.config.clone().check().unwrap().rule(self.weights, version);
        let sections = self.config.clone().check().unwrap().sections(&self.foundation).unwrap();
        let layout = UpdateLayout::new(self.weights, sections);
        let mut rounds = BTreeSet::new();
        let records = |wanted: Round| {
            self.rounds()
                .into_iter()
                .find(move |r| r.round == wanted && matches!(r.outcome, Outcome::Released(_)))
        };
        for record in &self.disk {
            match record {
                Record::Release(release) => {
                    assert_eq!(release.version.0, version.0 + 1, "contiguous-releases");
                    version = release.version;
                    assert!(rounds.insert(release.round), "one-release-a-round: round {}", release.round);
                    let round = records(release.round).expect("a-release-has-its-round");
                    let companion = self.recompute(&mut *rule, &mut weights, round, layout);
                    assert_eq!(bytes_of(&weights), release.weights, "exact-sum: version {version}");
                    assert_eq!(companion, release.companion, "exact-companion: version {version}");
                }
                Record::Masked(..) => {}
                Record::Round(round) => {
                    let cohort: BTreeSet<_> = round.cohort.iter().collect();
                    assert!(round.counted.iter().all(|c| cohort.contains(c)), "counted-in-cohort");
                    let evaluators = self.hubs.iter().filter(|h| h.role == Role::Evaluates);
                    assert!(
                        evaluators.into_iter().all(|h| !cohort.contains(&h.id)),
                        "evaluators-never-train"
                    );
                    if let Outcome::Released(_) = round.outcome {
                        assert!(round.counted.len() >= self.config.min_reports as usize, "threshold");
                    }
                }
            }
        }
    }

    /// The encoding of a masked round, from the roster on the disk, and nothing in it yet.
    fn masked_sum(&self, round: &RoundRecord, layout: UpdateLayout, seed: u64) -> Option<(Codec, Packed)> {
        let secure = self.config.clone().check().unwrap().secure?;
        let rosters = self.disk.iter().filter_map(|record| match record {
            Record::Masked(of, Masked::Roster(roster)) if *of == round.round => Some(roster),
            _ => None,
        });
        let roster = Roster::from_bytes(rosters.last().expect("a-release-has-its-roster")).unwrap();
        let codec = secure.codec(layout, roster.size(), &secure.public(seed)).unwrap();
        let sum = Packed::zero(codec.words());
        Some((codec, sum))
    }

    /// `exact-sum`: the release from the updates of exactly those who were counted, each once; and what goes beside it.
    fn recompute(
        &self,
        rule: &mut dyn Strategy,
        weights: &mut [f32],
        round: &RoundRecord,
        layout: UpdateLayout,
    ) -> Option<Bytes> {
        let mut sum = Sum::new(layout.numbers());
        let seed = Seed::from_number(SEED).derive(Label::Training, &round.round.0.to_le_bytes()).number();
        let mut masked = self.masked_sum(round, layout, seed);
        for client in &round.counted {
            let own = Seed::from_number(seed).derive(Label::Client, client.as_str().as_bytes());
            let mine = own.number();
            let count = self.begun[&(client.clone(), round.round)];
            let hands = Arithmetic { weights: self.weights };
            let update = hands.update(mine, count, rule.control(), layout.sections());
            let weight = if self.config.weighting == Weighting::Uniform { 1 } else { update.examples };
            let (examples, bytes) = (update.examples, layout.pack(update).unwrap());
            if let Some((codec, sum)) = &mut masked {
                let update =
                    Contribution { update: &bytes, examples, loss: 1.0, evaluation: None, residual: None };
                sum.add_assign(&codec.encode(&update, &own.derive(Label::Rounding, &[])).unwrap().packed);
            }
            sum.add(&bytes, weight, 1.0).unwrap();
        }
        let (mean, weight) = match masked {
            None => (sum.mean(), sum.examples()),
            Some((codec, sum)) => {
                let decoded = codec.decode(&sum, round.counted.len() as u32).unwrap();
                (decoded.mean, decoded.weight)
            }
        };
        rule.step(weights, &layout.mean(&mean, round.counted.len() as u32));
        layout.companion(rule.control(), &mean, weight)
    }
}
