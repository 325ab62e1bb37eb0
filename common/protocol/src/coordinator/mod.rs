//! The server's half of the federation, as a state machine without I/O.
//!
//! A driver calls [`Coordinator::handle`] once for each thing that happens, then [`Coordinator::poll`] until it says
//! [`Output::Wait`]. It writes all `Persist` of such a drain before any `Send` leaves.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::config::RoundConfig;
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::message::{CHUNK, PROTOCOL, Role, ToClient, ToServer};
use crate::record::{Outcome, Record, Release, RoundRecord, Snapshot};
use crate::seed::Seed;
use crate::strategy::Strategy;
use crate::time::Instant;
use crate::update::{Sections, UpdateLayout};

mod collecting;
mod evaluating;
mod job;
mod phase;
mod selecting;

use evaluating::Evaluating;
pub use job::{Job, JobResult};
use phase::{Phase, Step};

/// What happens to a coordinator.
#[derive(Debug)]
pub enum Input {
    /// An enrolled client has connected; the driver has authenticated it.
    Connected(ClientId),
    /// Its connection is gone.
    Disconnected(ClientId),
    /// It said something.
    Message(ClientId, ToServer),
    /// The operator wants something.
    Command(Command),
    /// A [`Job`] is done.
    Finished(JobResult),
    /// The moment that [`Output::Wait`] named has come.
    Timeout,
}

/// What an operator can ask of a running federation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// End the open round, if any, without a release, and start no other.
    Stop,
}

/// What a coordinator wants from its driver, in this order.
#[derive(Debug)]
pub enum Output {
    /// Write this, all of a drain in one flush, before anything is sent.
    Persist(Record),
    /// Send this, if the client is still connected.
    Send(ClientId, ToClient),
    /// Run this on a thread that may block, and bring the result back as [`Input::Finished`].
    Run(Job),
    /// Tell the operator.
    Event(Event),
    /// Nothing more until this moment, or until something happens.
    Wait(Option<Instant>),
}

/// What an operator may want to know.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A client said hello.
    CheckedIn(ClientId, Role),
    /// A client's message was refused.
    Refused(ClientId, Fault),
    /// A cohort was selected.
    Opened(Round, Vec<ClientId>),
    /// An update is in the sum: the round, the client, how many there are, how many are wanted.
    Counted(Round, ClientId, usize, usize),
    /// A new global model.
    Released(Version, BlobId),
    /// A round ended.
    Closed(RoundRecord),
    /// The federation is complete.
    Finished(Version),
}

/// One federation, seen from its server.
pub struct Coordinator {
    config: RoundConfig,
    seed: Seed,
    foundation: Held,
    weights: Held,
    companion: Option<Held>,
    sections: Sections,
    version: Version,
    /// None while a job has it; a round cannot need it twice.
    strategy: StrategyHome,
    peers: BTreeMap<ClientId, Peer>,
    /// The round that is open, or the last one that was.
    round: Round,
    phase: Phase,
    out: VecDeque<Output>,
    bytes_down: u64,
}

/// A blob that clients may fetch.
struct Held {
    id: BlobId,
    bytes: Bytes,
}

impl Held {
    fn new(bytes: Bytes) -> Self {
        Self { id: BlobId::of(&bytes), bytes }
    }
}

/// Where the server's rule is: at home, or away with the aggregation job.
enum StrategyHome {
    Here(Box<dyn Strategy>),
    Away,
}

/// A connected client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// It has not checked in yet.
    New,
    /// It takes part.
    CheckedIn(Role),
}

impl Coordinator {
    /// A coordinator that goes on from `saved`.
    ///
    /// `seed` decides selections and training seeds: OS entropy when deployed, the scenario's seed in a simulation.
    pub fn new(config: RoundConfig, saved: Snapshot, seed: Seed) -> Self {
        let Snapshot { foundation, release, last_round, evaluating } = saved;
        let Release { version, weights, strategy: state, companion, .. } = release;
        // Drivers refuse a model that does not fit before they come here; without its shape there are no moments.
        let without = Sections { extra: config.strategy.extra(), moments: None };
        let sections = config.sections(&foundation).unwrap_or(without);
        let layout = UpdateLayout::new(weights.len() / 4, sections);
        // Of another length if the operator has changed the plan since.
        let companion = companion.filter(|bytes| bytes.len() as u64 == layout.companion_bytes());
        let mut strategy = config.rule(weights.len() / 4, version);
        strategy.restore(job::unpack(&state, weights.len()));
        let bytes_down = evaluating.as_ref().map_or(0, |record| record.bytes_down);
        let phase = match evaluating.filter(|record| record.outcome == Outcome::Released(version)) {
            Some(record) => Phase::Evaluating(Evaluating::resume(record, &config)),
            None if version.0 >= config.rounds => Phase::Finished,
            None => Phase::selecting(),
        };
        Self {
            config,
            seed,
            foundation: Held::new(foundation),
            weights: Held::new(weights),
            companion: companion.map(Held::new),
            sections,
            version,
            strategy: StrategyHome::Here(strategy),
            peers: BTreeMap::new(),
            round: last_round,
            phase,
            out: VecDeque::new(),
            bytes_down,
        }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Connected(client) => {
                self.peers.insert(client, Peer::New);
            }
            Input::Disconnected(client) => {
                if self.peers.remove(&client).is_some() {
                    self.phase.disconnected(&client);
                }
            }
            Input::Message(client, message) => {
                if let Err(fault) = self.message(now, &client, message) {
                    self.event(Event::Refused(client, fault));
                }
            }
            Input::Finished(result) => self.finished(now, result),
            Input::Command(Command::Stop) => self.stop(now),
            Input::Timeout => {}
        }
        self.advance(now);
    }

    /// The next thing that the driver has to do.
    pub fn poll(&mut self) -> Output {
        self.out.pop_front().unwrap_or_else(|| Output::Wait(self.phase.deadline(&self.config)))
    }

    /// The last release.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The weights of the last release.
    pub fn weights(&self) -> &Bytes {
        &self.weights.bytes
    }

    /// Where the sections of an update are.
    fn layout(&self) -> UpdateLayout {
        UpdateLayout::new(self.weights.bytes.len() / 4, self.sections)
    }

    /// The name of the last release's weights.
    pub fn weights_id(&self) -> BlobId {
        self.weights.id
    }

    /// The round that is open, or the last one that was.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The name of the phase, for people.
    pub fn phase(&self) -> &'static str {
        self.phase.name()
    }

    /// Whether all releases are made, or the operator stopped the federation.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Finished)
    }

    /// The connected clients that have checked in, and what they take part in.
    pub fn checked_in(&self) -> impl Iterator<Item = (&ClientId, Role)> {
        self.peers.iter().filter_map(|(client, peer)| match peer {
            Peer::CheckedIn(role) => Some((client, *role)),
            Peer::New => None,
        })
    }

    fn message(&mut self, now: Instant, client: &ClientId, message: ToServer) -> Result<(), Fault> {
        let Some(peer) = self.peers.get_mut(client) else {
            return Err(Fault::Unsolicited("a message without a connection"));
        };
        match (message, *peer) {
            (ToServer::CheckIn { protocol, role }, _) => {
                if protocol != PROTOCOL {
                    return Err(Fault::WrongProtocol { expected: PROTOCOL, got: protocol });
                }
                *peer = Peer::CheckedIn(role);
                self.event(Event::CheckedIn(client.clone(), role));
                self.send(client, ToClient::Welcome { version: self.version });
                self.greet(now, client);
                Ok(())
            }
            (_, Peer::New) => Err(Fault::Unsolicited("a message before checking in")),
            (ToServer::Fetch { digest, offset }, _) => {
                let all = [&self.weights, &self.foundation].into_iter().chain(&self.companion);
                let held = all.into_iter().find(|held| held.id.digest == digest);
                let bytes = held.map(|held| held.bytes.clone()).ok_or(Fault::NoSuchBlob)?;
                let start = usize::try_from(offset)
                    .ok()
                    .filter(|start| *start < bytes.len())
                    .ok_or(Fault::NoSuchBlob)?;
                let chunk = bytes.slice(start..bytes.len().min(start + CHUNK));
                self.bytes_down += chunk.len() as u64;
                self.send(client, ToClient::Chunk { digest, offset, bytes: chunk });
                Ok(())
            }
            (ToServer::Offer { round, update, examples, loss }, _) => {
                self.offered(client, round, collecting::Offer { update, examples, loss })
            }
            (ToServer::Part { round, offset, bytes }, _) => self.part(now, client, round, offset, &bytes),
            (ToServer::Decline { round, reason }, _) => self.declined(client, round, &reason),
            (ToServer::Evaluated { version, classes, confusion }, _) => {
                self.evaluated(client, version, classes, confusion)
            }
            (ToServer::DeclineEvaluation { version, reason }, _) => {
                self.evaluation_declined(client, version, &reason)
            }
        }
    }

    /// Tells a client that has just checked in what it may have missed.
    fn greet(&mut self, now: Instant, client: &ClientId) {
        match &self.phase {
            Phase::Collecting(_) => self.greet_collecting(now, client),
            Phase::Evaluating(_) => self.greet_evaluating(client),
            Phase::Finished => self.send(client, ToClient::Finished { version: self.version }),
            Phase::Idle(_) | Phase::Selecting(_) | Phase::Aggregating(_) => {}
            Phase::Keying(never) | Phase::Sharing(never) | Phase::Unmasking(never) => match *never {},
        }
    }

    fn finished(&mut self, now: Instant, result: JobResult) {
        match result {
            JobResult::Added(added) => self.added(added),
            JobResult::Aggregated(aggregated) => self.aggregated(now, aggregated),
        }
    }

    /// Moves from phase to phase for as long as `now` and the state allow.
    fn advance(&mut self, now: Instant) {
        loop {
            // Each arm consumes its phase and returns the next one, or itself when it has to wait.
            let moved = match std::mem::replace(&mut self.phase, Phase::Finished) {
                Phase::Idle(until) if until <= now => Step::Go(Phase::selecting()),
                Phase::Idle(until) => Step::Stay(Phase::Idle(until)),
                Phase::Selecting(selecting) => self.try_select(now, selecting),
                Phase::Collecting(collecting) => self.try_close(now, collecting),
                Phase::Aggregating(aggregating) => Step::Stay(Phase::Aggregating(aggregating)),
                Phase::Evaluating(evaluating) => self.try_finish_evaluation(now, evaluating),
                Phase::Finished => Step::Stay(Phase::Finished),
                Phase::Keying(never) | Phase::Sharing(never) | Phase::Unmasking(never) => match never {},
            };
            match moved {
                Step::Go(next) => self.phase = next,
                Step::Stay(same) => {
                    self.phase = same;
                    return;
                }
            }
        }
    }

    fn stop(&mut self, now: Instant) {
        match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::Collecting(collecting) => {
                self.abort(now, collecting, "stopped by the operator");
            }
            Phase::Aggregating(aggregating) => self.persist_round(aggregating.record),
            Phase::Evaluating(evaluating) => self.persist_round(evaluating.record),
            Phase::Idle(_) | Phase::Selecting(_) | Phase::Finished => {}
            Phase::Keying(never) | Phase::Sharing(never) | Phase::Unmasking(never) => match never {},
        }
        self.phase = Phase::Finished;
        self.event(Event::Finished(self.version));
    }

    fn persist_round(&mut self, mut record: RoundRecord) {
        record.evaluating = false;
        self.out.push_back(Output::Persist(Record::Round(record.clone())));
        self.event(Event::Closed(record));
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Queues a message for a client that is there; one that is not will be greeted when it comes back.
    fn send(&mut self, client: &ClientId, message: ToClient) {
        if self.peers.contains_key(client) {
            self.out.push_back(Output::Send(client.clone(), message));
        }
    }
}
