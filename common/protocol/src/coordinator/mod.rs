//! The server's half of the federation, as a state machine without I/O.
//!
//! A driver calls [`Coordinator::handle`] once for each thing that happens, then [`Coordinator::poll`] until it says
//! [`Output::Wait`]. It writes all `Persist` of such a drain before any `Send` leaves.
//!
//! - `driver`: what goes in and what comes out; `job`: slow work;
//! - `hearing`: what clients say; `asking`: what a round asks of them;
//! - `phase`: where the open round is; `open`: what is true of it in every phase; `resume`: after a restart;
//! - `selecting`, `keying`, `sharing`, `collecting`, `unmasking`, `evaluating`: a file for each phase;
//! - `going`: who goes on for a later round; `groups`, `masks`, `uploads`, `opening`: what a phase keeps of its groups and clients;
//! - `total`: what the updates come to; `tallying`: the counts beside them; `guarantee`: what was promised about privacy.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::RoundConfig;
use crate::deadline::Pace;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::message::{Role, ToClient};
use crate::record::{Outcome, Record, Release, RoundRecord, Seen, Snapshot};
use crate::secagg::Roll;
use crate::seed::{Label, Seed};
use crate::strategy::Strategy;
use crate::time::Instant;
use crate::update::{Sections, UpdateLayout};

mod asking;
mod collecting;
mod driver;
mod evaluating;
mod going;
mod groups;
mod guarantee;
mod hearing;
mod job;
mod keying;
mod masks;
mod open;
mod opening;
mod phase;
mod resume;
mod selecting;
mod sharing;
mod tallying;
mod total;
mod unmasking;
mod uploads;

pub use driver::{Command, Event, Input, Output};
use evaluating::Evaluating;
use going::Going;
use guarantee::Guarantee;
pub use job::{Job, JobResult};
use open::Open;
use phase::{Phase, Step};
use selecting::Selecting;

/// One federation, seen from its server.
pub struct Coordinator {
    config: RoundConfig,
    seed: Seed,
    roll: Arc<dyn Roll + Send + Sync>,
    foundation: Held,
    weights: Held,
    companion: Option<Held>,
    sections: Sections,
    /// Of the evaluations that clients count under their masks, if they do.
    classes: Option<u8>,
    /// What was promised about privacy; none if nothing was.
    guarantee: Option<Guarantee>,
    /// Where each client's update was last.
    seen: BTreeMap<ClientId, Seen>,
    /// How long clients took in the last rounds.
    pace: Pace,
    /// Who trains for a release, in asynchronous rounds.
    going: Going,
    last_outcome: Option<Outcome>,
    /// Before all releases were made.
    ended: bool,
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
    /// `seed` decides selections, training seeds and the server's noise: a secret when deployed, the scenario's seed in a
    /// simulation. Whoever knows it can take that noise off again, for as long as a release is public. `roll` is who is
    /// enrolled: a masked round takes keys of nobody else.
    ///
    /// A configuration whose privacy cannot be kept ends the federation at once; [`RoundConfig::terms`] says so before.
    pub fn new(config: RoundConfig, saved: Snapshot, seed: Seed, roll: Arc<dyn Roll + Send + Sync>) -> Self {
        let Snapshot {
            foundation,
            release,
            last_round,
            last_outcome,
            evaluating,
            masked,
            privacy,
            seen,
            pace,
        } = saved;
        let Release { version, weights, strategy: state, companion, norm, .. } = release;
        let terms = config.terms(weights.len() / 4);
        // Drivers refuse a model that does not fit before they come here; without its shape there are no moments.
        let without = Sections { extra: config.strategy.extra(), moments: None };
        let sections = config.sections(&foundation).unwrap_or(without);
        let classes = config.classes(&foundation).unwrap_or_default();
        let layout = UpdateLayout::new(weights.len() / 4, sections).reduced(&config.reduce());
        // Of another length if the operator has changed the plan since.
        let companion = companion.filter(|bytes| bytes.len() as u64 == layout.companion_bytes());
        let mut strategy = config.rule(weights.len() / 4, version);
        strategy.restore(job::unpack(&state, weights.len()));
        let bytes_down = evaluating.as_ref().map_or(0, |record| record.bytes_down);
        let phase = match evaluating.filter(|record| record.outcome == Outcome::Released(version)) {
            Some(record) => Phase::Evaluating(Evaluating::resume(record, &config)),
            None if version.0 >= config.rounds => {
                // Nobody has begun to count the last release, or a crash took what was begun.
                let owed = classes.is_some() && last_outcome == Some(Outcome::Released(version));
                let closing = || Phase::Selecting(Selecting::closing(Instant::default() + config.evaluation));
                if owed { closing() } else { Phase::Finished }
            }
            None => Phase::selecting(),
        };
        let (terms, impossible) = match terms {
            Ok(terms) => (terms, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let secret = seed.derive(Label::Privacy, &[]);
        let guarantee = terms.map(|terms| Guarantee::new(terms, privacy, norm, secret));
        let mut coordinator = Self {
            config,
            seed,
            roll,
            foundation: Held::new(foundation),
            weights: Held::new(weights),
            companion: companion.map(Held::new),
            sections,
            classes,
            guarantee,
            seen,
            pace,
            going: Going::default(),
            last_outcome,
            ended: false,
            version,
            strategy: StrategyHome::Here(strategy),
            peers: BTreeMap::new(),
            round: last_round,
            phase,
            out: VecDeque::new(),
            bytes_down,
        };
        if let Some(why) = impossible {
            coordinator.phase = coordinator.end_early(Instant::default(), why);
        } else if let (Phase::Selecting(_), Some(masked)) = (&coordinator.phase, masked) {
            coordinator.resume(masked);
        }
        coordinator
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
        UpdateLayout::new(self.weights.bytes.len() / 4, self.sections).reduced(&self.config.reduce())
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
        if self.ended { "ended early" } else { self.phase.name() }
    }

    /// Whether all releases are made, the privacy budget is spent, or the operator stopped the federation.
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

    fn finished(&mut self, now: Instant, result: JobResult) {
        match result {
            JobResult::Added(added) => self.added(now, added),
            JobResult::Unmasked(unmasked) => self.unmasked(unmasked),
            JobResult::Aggregated(aggregated) => self.aggregated(now, aggregated),
        }
    }

    /// Moves from phase to phase for as long as `now` and the state allow.
    fn advance(&mut self, now: Instant) {
        loop {
            // Each arm consumes its phase and returns the next one, or itself when it has to wait.
            let moved = match std::mem::replace(&mut self.phase, Phase::Finished) {
                // A round that was to count the last release is not repeated.
                Phase::Idle(until) if until <= now && self.is_last() => Step::Go(self.finish()),
                Phase::Idle(until) if until <= now => Step::Go(Phase::selecting()),
                Phase::Idle(until) => Step::Stay(Phase::Idle(until)),
                Phase::Selecting(selecting) => self.try_select(now, selecting),
                Phase::Keying(keying) => self.try_fix_roster(now, keying),
                Phase::Sharing(sharing) => self.try_end_sharing(now, sharing),
                Phase::Collecting(collecting) => self.try_close(now, collecting),
                Phase::Unmasking(unmasking) => self.try_unmask(now, unmasking),
                Phase::Aggregating(aggregating) => Step::Stay(Phase::Aggregating(aggregating)),
                Phase::Evaluating(evaluating) => self.try_finish_evaluation(now, evaluating),
                Phase::Finished => Step::Stay(Phase::Finished),
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
        const WHY: &str = "stopped by the operator";
        match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::Keying(keying) => drop(self.abort(now, keying.open, Vec::new(), WHY)),
            Phase::Sharing(sharing) => drop(self.abort(now, sharing.open, Vec::new(), WHY)),
            Phase::Collecting(collecting) => {
                let (open, counted, _) = collecting.finish();
                self.abort(now, open, counted, WHY);
            }
            Phase::Unmasking(unmasking) => drop(self.abort_unmasking(now, unmasking, WHY)),
            Phase::Aggregating(aggregating) => self.persist_round(aggregating.record.without_sum()),
            Phase::Evaluating(evaluating) => self.persist_round(evaluating.record),
            Phase::Idle(_) | Phase::Selecting(_) | Phase::Finished => {}
        }
        self.phase = Phase::Finished;
        self.event(Event::Finished(self.version));
    }

    /// Ends a round without a release; its sum is dropped with it.
    fn abort(&mut self, now: Instant, open: Open, counted: Vec<ClientId>, why: &str) -> Phase {
        self.dismiss(open.round, open.cohort.iter());
        let outcome = Outcome::Aborted(why.to_owned());
        let record = open.into_record(now, outcome, counted, self.bytes_down);
        self.persist_round(record);
        Phase::Idle(now + self.config.pause)
    }

    /// Tells clients that a round is over, so that they stop working for it and forget what they kept.
    fn dismiss<'a>(&mut self, round: Round, clients: impl Iterator<Item = &'a ClientId>) {
        for client in clients {
            self.send(client, ToClient::Over { round });
        }
    }

    fn persist_round(&mut self, mut record: RoundRecord) {
        record.evaluating = false;
        record.epsilon = self.epsilon();
        self.pace.learn(&record);
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
