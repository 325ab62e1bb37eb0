//! A federation in virtual time: one [`Coordinator`], many [`Participant`]s, and a world that is slow and unreliable.
//!
//! The machines are the real ones. Jobs are really done, on a pool of threads, while their results enter at a virtual
//! moment that only chance decides: nothing depends on real time, so any number of threads gives the same release, and
//! a federation in which everybody takes part gives the same release as real processes over QUIC.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use somnus_protocol::config::RoundConfig;
use somnus_protocol::coordinator::{self, Coordinator};
use somnus_protocol::ids::{ClientId, Round};
use somnus_protocol::message::{Role, ToClient, ToServer};
use somnus_protocol::participant::{self, Kept, Participant};
use somnus_protocol::record::{Record, RoundRecord, Snapshot};
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::trainer::Trainer;
use somnus_protocol::wire;

use crate::agenda::{Agenda, Happening};
use crate::blobs::{Blobs, Disk};
use crate::executor::{Executor, Ticket};
use crate::federation::{Client, Evaluations, Federation, Observer, Outcome, Statistics};
use crate::members::{Member, Members};
use crate::network::{Chance, Place, Way, WorldConfig};

/// Why a federation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Two clients of one name.
    #[error("two clients are called {0}")]
    Twins(ClientId),
    /// The federation did not end within the world's time.
    #[error(
        "the federation is not complete after {hours} virtual hours: {released} of {rounds} releases made, round \
         {round} is {phase}{}", last.as_ref().map(|why| format!("; the last round was aborted: {why}")).unwrap_or_default()
    )]
    Unfinished {
        /// The limit.
        hours: f64,
        /// Releases made.
        released: u64,
        /// Releases wanted.
        rounds: u64,
        /// The round.
        round: u64,
        /// Its phase.
        phase: &'static str,
        /// Why the last round was aborted, if it was.
        last: Option<String>,
    },
}

/// Runs a federation to its end on `jobs` threads.
///
/// # Errors
/// [`WorldError`] if it cannot end.
pub fn run(
    federation: &Federation,
    config: &WorldConfig,
    jobs: usize,
    observer: &mut dyn Observer,
) -> Result<Outcome, WorldError> {
    World::new(federation, config, jobs, observer)?.run()
}

/// A result of the pool.
#[allow(clippy::large_enum_variant, reason = "there are as many as there are clients at work")]
enum Done {
    Client(participant::JobResult),
    Server(coordinator::JobResult),
}

struct World<'a> {
    config: &'a WorldConfig,
    rounds: u64,
    now: Instant,
    agenda: Agenda,
    executor: Executor<Done>,
    blobs: Blobs,
    server: Server,
    hubs: Vec<Hub>,
    index: BTreeMap<ClientId, usize>,
    records: BTreeMap<Round, RoundRecord>,
    evaluations: Evaluations,
    statistics: Statistics,
    observer: &'a mut dyn Observer,
}

/// The server's process and disk.
struct Server {
    machine: Coordinator,
    members: Members,
    config: RoundConfig,
    seed: Seed,
    disk: Snapshot,
    jobs: Vec<Ticket>,
    timer: Timer,
    chance: Chance,
}

/// One client's process and disk.
struct Hub {
    id: ClientId,
    role: Role,
    trainer: Arc<dyn Trainer>,
    machine: Participant,
    disk: Disk,
    kept: Kept,
    member: Arc<Member>,
    place: Place,
    job: Option<Ticket>,
    timer: Timer,
    /// Connections so far.
    connections: u64,
    /// The number of its connection, while it has one.
    connection: Option<u64>,
    /// The connection that the server believes in.
    believed: Option<u64>,
}

/// A machine has one timer; setting it anew makes the old one stale.
#[derive(Default)]
struct Timer {
    at: Option<Instant>,
    number: u64,
}

impl Timer {
    /// The number under which to enter a new moment; nothing if that moment is entered already. A moment that has
    /// come is not entered: the machine knew the time when it named it, so time alone changes nothing for it.
    fn set(&mut self, now: Instant, at: Option<Instant>) -> Option<(Instant, u64)> {
        let at = at.filter(|at| *at > now);
        if self.at == at {
            return None;
        }
        self.at = at;
        self.number += 1;
        at.map(|at| (at, self.number))
    }

    /// Whether the timer that ran out is the one that is set.
    fn rings(&mut self, number: u64) -> bool {
        let rings = self.number == number && self.at.is_some();
        if rings {
            self.at = None;
        }
        rings
    }
}

/// Silence after which the server gives a connection up.
const IDLE: Duration = Duration::from_secs(20);

/// Seconds that a step of masking takes a hub, near enough for delays.
const MASKING: f64 = 0.1;

/// Bytes of a message beside its payload, near enough for delays.
const ENVELOPE: usize = 64;

impl<'a> World<'a> {
    fn new(
        federation: &Federation,
        config: &'a WorldConfig,
        jobs: usize,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, WorldError> {
        let Federation { config: rounds, start, seed, clients } = federation.clone();
        let mut index = BTreeMap::new();
        let mut hubs = Vec::with_capacity(clients.len());
        let members = Members::new(&seed);
        for Client { id, role, trainer } in clients {
            if index.insert(id.clone(), hubs.len()).is_some() {
                return Err(WorldError::Twins(id));
            }
            hubs.push(Hub {
                machine: members.participant(&id, role, &Kept::default()),
                member: Arc::new(members.enrol(&id)),
                place: Place::new(config, &seed, &id),
                id,
                role,
                trainer,
                disk: Disk::default(),
                kept: Kept::default(),
                job: None,
                timer: Timer::default(),
                connections: 0,
                connection: None,
                believed: None,
            });
        }
        let server = Server {
            machine: Coordinator::new(rounds.clone(), start.clone(), seed.clone(), members.roll()),
            members,
            chance: Chance::new(&seed, ""),
            config: rounds,
            seed,
            disk: start,
            jobs: Vec::new(),
            timer: Timer::default(),
        };
        Ok(Self {
            config,
            rounds: server.config.rounds(),
            now: Instant::default(),
            agenda: Agenda::default(),
            executor: Executor::new(jobs),
            blobs: Blobs::default(),
            server,
            hubs,
            index,
            records: BTreeMap::new(),
            evaluations: Evaluations::new(),
            statistics: Statistics::default(),
            observer,
        })
    }

    fn run(mut self) -> Result<Outcome, WorldError> {
        for client in 0..self.hubs.len() {
            let arrival = self.hubs[client].place.chance.within(self.config.arrival_seconds);
            self.agenda.enter(self.now + arrival, Happening::Connect(client));
            self.plan_crash(client);
        }
        self.plan_restart();
        let end = Instant::at(Duration::from_secs_f64(self.config.longest_hours * 3600.0));
        while !self.server.machine.is_finished() {
            match self.agenda.take() {
                Some((at, what)) if at <= end => {
                    self.now = at;
                    self.happen(what);
                }
                _ => return Err(self.unfinished()),
            }
        }
        self.statistics.virtual_time = self.now.elapsed();
        Ok(Outcome {
            version: self.server.machine.version(),
            weights: self.server.machine.weights().clone(),
            rounds: self.records.into_values().collect(),
            evaluations: self.evaluations,
            statistics: self.statistics,
        })
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Connect(client) => self.connect(client),
            Happening::ToServer(client, connection, message) => {
                if self.hubs[client].believed == Some(connection) {
                    self.statistics.messages += 1;
                    let id = self.hubs[client].id.clone();
                    self.tell_server(coordinator::Input::Message(id, *message));
                }
            }
            Happening::ToClient(client, connection, message) => {
                if self.hubs[client].connection == Some(connection) {
                    self.statistics.messages += 1;
                    self.tell_client(client, participant::Input::Message(*message));
                }
            }
            Happening::ClientTimer(client, number) => {
                if self.hubs[client].timer.rings(number) {
                    self.tell_client(client, participant::Input::Timeout);
                }
            }
            Happening::ServerTimer(number) => {
                if self.server.timer.rings(number) {
                    self.tell_server(coordinator::Input::Timeout);
                }
            }
            Happening::ClientJob(client, ticket) => {
                if self.hubs[client].job == Some(ticket) {
                    self.hubs[client].job = None;
                    self.statistics.jobs += 1;
                    if let Done::Client(result) = self.executor.take(ticket) {
                        self.tell_client(client, participant::Input::Finished(result));
                    }
                }
            }
            Happening::ServerJob(ticket) => {
                if let Some(at) = self.server.jobs.iter().position(|job| *job == ticket) {
                    self.server.jobs.swap_remove(at);
                    self.statistics.jobs += 1;
                    if let Done::Server(result) = self.executor.take(ticket) {
                        self.tell_server(coordinator::Input::Finished(result));
                    }
                }
            }
            Happening::Noticed(client, connection) => {
                if self.hubs[client].believed == Some(connection) {
                    self.server_loses(client);
                }
            }
            Happening::Crash(client) => self.crash(client),
            Happening::Disconnect(client, connection) => self.disconnect(client, connection),
            Happening::Restart => self.restart(),
        }
    }

    /// One mutation of the server's machine, then its drain. Records come before what is sent.
    fn tell_server(&mut self, input: coordinator::Input) {
        self.server.machine.handle(self.now, input);
        let mut letters = Vec::new();
        let wait = loop {
            match self.server.machine.poll() {
                coordinator::Output::Persist(record) => {
                    self.observer.record(&record);
                    if let Record::Round(round) = &record {
                        // A round is written with its release and again with its evaluation.
                        self.records.insert(round.round, round.clone());
                    }
                    self.server.disk.apply(record);
                }
                coordinator::Output::Send(client, message) => letters.push((client, message)),
                coordinator::Output::Run(job) => {
                    let due = self.now + server_labour(self.server.disk.release.weights.len());
                    let ticket = self.executor.submit(due, move || Done::Server(job.run()));
                    self.server.jobs.push(ticket);
                    self.agenda.enter(due, Happening::ServerJob(ticket));
                }
                coordinator::Output::Event(event) => self.observer.server(self.now, &event),
                coordinator::Output::Wait(until) => break until,
            }
        };
        for (client, message) in letters {
            self.post_to_client(&client, message);
        }
        if let Some((at, number)) = self.server.timer.set(self.now, wait) {
            self.agenda.enter(at, Happening::ServerTimer(number));
        }
    }

    /// One mutation of a client's machine, then its drain. A lookup is answered at once, which is one mutation more.
    fn tell_client(&mut self, client: usize, input: participant::Input) {
        self.hubs[client].machine.handle(self.now, input);
        let wait = loop {
            let hub = &mut self.hubs[client];
            match hub.machine.poll() {
                participant::Output::Persist { blob, offset, bytes } => {
                    self.blobs.append(&mut hub.disk, blob, offset, &bytes);
                }
                participant::Output::Lookup(blob) => {
                    let have = self.blobs.lookup(&mut hub.disk, blob);
                    hub.machine.handle(self.now, participant::Input::Cached(blob, have));
                }
                participant::Output::Remember(keep, bytes) => hub.kept.set(keep, bytes),
                participant::Output::Send(message) => self.post_to_server(client, message),
                participant::Output::Run(job) => self.begin(client, *job),
                participant::Output::Event(event) => {
                    if let participant::Event::Evaluated(version, evaluation) = &event {
                        let scored = self.evaluations.entry(hub.id.clone()).or_default();
                        scored.insert(*version, evaluation.clone());
                    }
                    self.observer.client(self.now, &hub.id, &event);
                }
                participant::Output::Wait(until) => break until,
            }
        };
        if let Some((at, number)) = self.hubs[client].timer.set(self.now, wait) {
            self.agenda.enter(at, Happening::ClientTimer(client, number));
        }
    }

    fn begin(&mut self, client: usize, job: participant::Job) {
        let hub = &mut self.hubs[client];
        let seconds = match &job {
            participant::Job::Train(train) if train.assignment().counting().is_alone() => {
                self.config.evaluation_seconds
            }
            participant::Job::Train(_) => self.config.training_seconds,
            participant::Job::Examine { .. } => self.config.evaluation_seconds,
            _ => MASKING,
        };
        let due = self.now + hub.place.labour(seconds);
        let found = job.needs().try_map(|blob| self.blobs.get(blob).ok_or(()));
        let (trainer, member) = (Arc::clone(&hub.trainer), Arc::clone(&hub.member));
        let ticket = self.executor.submit(due, move || {
            Done::Client(match found {
                Ok(found) => job.run(member.hands(&*trainer), found),
                Err(()) => job.receipt().failed("what the work needs is not in the cache any more"),
            })
        });
        hub.job = Some(ticket);
        self.agenda.enter(due, Happening::ClientJob(client, ticket));
    }

    fn post_to_server(&mut self, client: usize, message: ToServer) {
        let hub = &mut self.hubs[client];
        let Some(connection) = hub.connection else { return };
        let payload = match &message {
            ToServer::Part { bytes, .. } => bytes.len(),
            _ => 0,
        };
        let (message, len) = carried(message, payload, self.config.wire);
        self.statistics.bytes_up += len as u64;
        let at = hub.place.arrival(self.config, self.now, Way::Up, payload + ENVELOPE);
        self.agenda.enter(at, Happening::ToServer(client, connection, Box::new(message)));
    }

    fn post_to_client(&mut self, client: &ClientId, message: ToClient) {
        let Some(client) = self.index.get(client).copied() else { return };
        let hub = &mut self.hubs[client];
        let Some(connection) = hub.believed else { return };
        let payload = match &message {
            ToClient::Chunk { bytes, .. } => bytes.len(),
            _ => 0,
        };
        let (message, len) = carried(message, payload, self.config.wire);
        self.statistics.bytes_down += len as u64;
        let at = hub.place.arrival(self.config, self.now, Way::Down, payload + ENVELOPE);
        self.agenda.enter(at, Happening::ToClient(client, connection, Box::new(message)));
    }

    fn connect(&mut self, client: usize) {
        if self.hubs[client].connection.is_some() {
            return;
        }
        if self.hubs[client].believed.is_some() {
            // A new connection of the same client ends the old one.
            self.server_loses(client);
        }
        let hub = &mut self.hubs[client];
        hub.connections += 1;
        let number = hub.connections;
        hub.connection = Some(number);
        hub.believed = Some(number);
        hub.place.reset();
        let id = hub.id.clone();
        if let Some(after) = hub.place.chance.until(self.config.disconnects_per_hour) {
            self.agenda.enter(self.now + after, Happening::Disconnect(client, number));
        }
        self.tell_server(coordinator::Input::Connected(id));
        self.tell_client(client, participant::Input::Connected);
    }

    fn server_loses(&mut self, client: usize) {
        self.hubs[client].believed = None;
        let id = self.hubs[client].id.clone();
        self.tell_server(coordinator::Input::Disconnected(id));
    }

    fn disconnect(&mut self, client: usize, connection: u64) {
        if self.hubs[client].connection != Some(connection) {
            return;
        }
        self.statistics.failures += 1;
        self.cut(client);
        self.tell_client(client, participant::Input::Disconnected);
        self.come_back(client);
    }

    fn crash(&mut self, client: usize) {
        self.statistics.failures += 1;
        self.cut(client);
        let hub = &mut self.hubs[client];
        if let Some(ticket) = hub.job.take() {
            self.executor.cancel(ticket);
        }
        hub.timer.set(self.now, None);
        hub.machine = self.server.members.participant(&hub.id, hub.role, &hub.kept);
        self.come_back(client);
        self.plan_crash(client);
    }

    /// The client's end of its connection is gone; the server notices later.
    fn cut(&mut self, client: usize) {
        let hub = &mut self.hubs[client];
        hub.connection = None;
        if let Some(believed) = hub.believed {
            self.agenda.enter(self.now + IDLE, Happening::Noticed(client, believed));
        }
    }

    fn come_back(&mut self, client: usize) {
        let away = self.hubs[client].place.chance.exponential(self.config.away_seconds);
        self.agenda.enter(self.now + away, Happening::Connect(client));
    }

    fn plan_crash(&mut self, client: usize) {
        if let Some(after) = self.hubs[client].place.chance.until(self.config.crashes_per_hour) {
            self.agenda.enter(self.now + after, Happening::Crash(client));
        }
    }

    fn plan_restart(&mut self) {
        if let Some(after) = self.server.chance.until(self.config.server_restarts_per_hour) {
            self.agenda.enter(self.now + after, Happening::Restart);
        }
    }

    /// Kills the server; a new one begins with what is on its disk.
    fn restart(&mut self) {
        self.statistics.restarts += 1;
        for ticket in self.server.jobs.drain(..) {
            self.executor.cancel(ticket);
        }
        let Server { config, disk, seed, members, .. } = &self.server;
        self.server.machine = Coordinator::new(config.clone(), disk.clone(), seed.clone(), members.roll());
        self.server.timer.set(self.now, None);
        for client in 0..self.hubs.len() {
            let connected = self.hubs[client].connection.take().is_some();
            self.hubs[client].believed = None;
            if connected {
                self.tell_client(client, participant::Input::Disconnected);
                let backoff = self.hubs[client].place.chance.within(5.0);
                self.agenda.enter(self.now + backoff, Happening::Connect(client));
            }
        }
        self.plan_restart();
    }

    fn unfinished(&self) -> WorldError {
        let last = self.records.values().last().and_then(|record| match &record.outcome {
            somnus_protocol::record::Outcome::Aborted(why) => Some(why.clone()),
            _ => None,
        });
        WorldError::Unfinished {
            hours: self.now.elapsed().as_secs_f64().max(self.config.longest_hours * 3600.0) / 3600.0,
            released: self.server.machine.version().0,
            rounds: self.rounds,
            round: self.server.machine.round().0,
            phase: self.server.machine.phase(),
            last,
        }
    }
}

/// The virtual time of a server's job: a pass over the weights at a gigabyte a second.
fn server_labour(len: usize) -> Duration {
    Duration::from_nanos(50_000 + len as u64)
}

/// A message as it arrives, and its length: through the codec if asked for, else as it is.
fn carried<T: serde::Serialize + serde::de::DeserializeOwned>(
    message: T,
    payload: usize,
    codec: bool,
) -> (T, usize) {
    if !codec {
        return (message, payload);
    }
    let frame = wire::encode(&message);
    let body = &frame[wire::HEADER..];
    (wire::decode(body).expect("what was encoded is a message"), frame.len())
}
