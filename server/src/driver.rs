//! The loop around the coordinator: one task owns it, everything else reaches it through channels.
//!
//! After each input the machine is drained: what it must not forget is on the disk before anything it says leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, VarInt};
use somnus_protocol::coordinator::{Coordinator, Event, Input, JobResult, Output};
use somnus_protocol::fault::ConfigError;
use somnus_protocol::ids::{ClientId, Version};
use somnus_protocol::record::Record;
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::token::Close;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant as Moment, sleep, sleep_until, timeout};
use tracing::{info, warn};

use crate::admission::admit;
use crate::audit::AuditEvent;
use crate::ca::ServerIdentity;
use crate::connection::{FromPeer, Hall, Link, Patience, refuse};
use crate::control::Control;
use crate::endpoint;
use crate::error::StoreError;
use crate::federation::{CONFIG, Federation, OpenError};
use crate::history::outcome;
use crate::live::Live;
use crate::roll::EnrolledNow;
use crate::roster::Refusal;
use crate::score::ScoreLine;
use crate::verifier::Gate;
use crate::watch::Watch;

/// News of peers that wait for the driver; each holds at most one frame.
const INBOX: usize = 16;
/// After the last release, clients have this long to come, hear of it and hang up; longer than a hub waits between two
/// attempts to connect. A server whose clients all know ends at once.
const FAREWELL: Duration = Duration::from_secs(120);
/// Refused messages after which a connection is not put up with any more.
const REFUSALS: u32 = 100;
/// Refusals that are being written to the logs; the driver does not wait for them, and more are left out.
const NOTES: usize = 8;

/// Rests between two attempts to write to a disk that is full.
const SHORTEST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// How long a server that ends waits for its connections to end.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// What a revoked hub is told.
const REVOKED: &str = "this hub was revoked";

/// What the federation's seed is derived from the server's key with.
const SEED_LABEL: &[u8] = b"somnus/1 federation seed";

/// How to serve.
#[derive(Default)]
pub struct Options {
    /// Chance; derived from the server's own key if none. A known seed is for tests: it makes selections predictable.
    pub seed: Option<Seed>,
    /// Whether to end once all releases are made.
    pub until_finished: bool,
}

/// Why a server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// All releases are made.
    Finished(Version),
}

/// Why a server cannot go on. A restart goes on from what is on the disk.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The disk refused a record; nothing that depends on it was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Work of a round panicked, and the sum is lost with it.
    #[error("the server's own work failed, which is a bug: {0}; start it again, the round is repeated")]
    Panicked(String),
}

/// What became of a job.
type Done = Result<JobResult, String>;

/// A server that listens.
pub struct Server {
    federation: Arc<Federation>,
    endpoint: Endpoint,
    gate: Arc<Gate>,
    control: Control,
    watch: Option<Watch>,
    live: Arc<Live>,
    revoked: mpsc::UnboundedReceiver<ClientId>,
    coordinator: Coordinator,
    until_finished: bool,
}

impl Server {
    /// Loads the last release, opens the port and the control socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`] naming what stands in the way: configuration, model, store, port, folder.
    pub fn start(federation: Federation, options: Options) -> Result<Self, OpenError> {
        let at = |source: ConfigError| OpenError::Config { path: federation.folder.join(CONFIG), source };
        let rounds = federation.config.rounds.clone().map_err(at)?;
        let saved = federation.history.snapshot(&federation.model(), rounds.trainable())?;
        rounds.sections(&saved.foundation).map_err(at)?;
        rounds.classes(&saved.foundation).map_err(at)?;
        rounds.terms(saved.release.weights.len() / 4).map_err(at)?;
        // The same in every life of this server: a round that a crash interrupted opens again with the same seeds, so
        // updates that hubs have for it still count.
        let own = || ServerIdentity::load(&federation.folder)?.derive(SEED_LABEL).map(Seed::new);
        let seed = options.seed.map_or_else(own, Ok)?;
        let roll = Arc::new(EnrolledNow::new(Arc::clone(&federation.registry), federation.clock.clone()));
        let coordinator = Coordinator::new(rounds, saved, seed, roll);
        let gate = Arc::new(Gate::new(Arc::clone(&federation.registry))?);
        let endpoint = endpoint::open(&federation, Arc::clone(&gate))?;
        let control = Control::listen(&federation.folder)?;
        let watch = federation.config.watch.map(Watch::listen).transpose()?;
        let listening = endpoint.local_addr().unwrap_or(federation.config.listen);
        let (live, revoked) = Live::new(listening);
        federation.audit.append(federation.clock.now(), AuditEvent::Started)?;
        let until_finished = options.until_finished;
        let (federation, live) = (Arc::new(federation), Arc::new(live));
        Ok(Self { federation, endpoint, gate, control, watch, live, revoked, coordinator, until_finished })
    }

    /// The address in use.
    pub fn listening(&self) -> SocketAddr {
        self.live.listening()
    }

    /// The federation that is served.
    pub fn federation(&self) -> Arc<Federation> {
        Arc::clone(&self.federation)
    }

    /// What operator commands act on.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live)
    }

    /// Serves until `stop` is done, or all releases are made if that was asked for.
    ///
    /// # Errors
    /// [`ServeError`] if the disk refuses a record or a job panics; a restart goes on from what is on the disk.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Ending, ServeError> {
        let Self { federation, endpoint, gate, control, watch, live, revoked, coordinator, until_finished } =
            self;
        let (to_driver, mut inbox) = mpsc::channel(INBOX);
        let (jobs, results) = mpsc::unbounded_channel();
        let hall = Arc::new(Hall::new(Arc::clone(&federation), gate, to_driver, Patience::default()));
        let mut driver = Driver {
            federation: Arc::clone(&federation),
            live: Arc::clone(&live),
            coordinator,
            links: BTreeMap::new(),
            told: BTreeSet::new(),
            notes: Arc::new(Semaphore::new(NOTES)),
            jobs,
            start: Moment::now(),
        };
        let ending = tokio::select! {
            ending = driver.run(&mut inbox, results, revoked, until_finished) => ending,
            () = stop => Ok(Ending::Stopped),
            () = admit(&endpoint, &hall) => Ok(Ending::Stopped),
            () = control.serve(Arc::clone(&federation), Arc::clone(&live)) => Ok(Ending::Stopped),
            () = watched(watch, &federation, live) => Ok(Ending::Stopped),
        };
        let (why, reason) = match ending {
            Ok(Ending::Finished(_)) => (Close::Done, "the federation is complete"),
            _ => (Close::Restarting, "the server shuts down"),
        };
        endpoint.close(VarInt::from_u32(why.code()), reason.as_bytes());
        // The last packets; a peer that misses them times out. Then every task lets go of the store.
        let _ = timeout(LAST_PACKETS, endpoint.wait_idle()).await;
        drop((hall, driver));
        let _ = timeout(LAST_PACKETS, async { while inbox.recv().await.is_some() {} }).await;
        ending
    }
}

/// Shows the server to those who watch; for ever, if nobody may.
async fn watched(watch: Option<Watch>, federation: &Arc<Federation>, live: Arc<Live>) {
    match watch {
        Some(watch) => watch.serve(Arc::clone(federation), live).await,
        None => std::future::pending().await,
    }
}

struct Driver {
    federation: Arc<Federation>,
    live: Arc<Live>,
    coordinator: Coordinator,
    links: BTreeMap<ClientId, Link>,
    /// Clients that hung up after the last release: they know.
    told: BTreeSet<ClientId>,
    notes: Arc<Semaphore>,
    jobs: mpsc::UnboundedSender<Done>,
    start: Moment,
}

/// What a drain wants done, sorted by when.
#[derive(Default)]
struct Drained {
    records: Vec<Record>,
    events: Vec<Event>,
    rest: Vec<Output>,
    deadline: Option<Instant>,
}

impl Driver {
    async fn run(
        &mut self,
        inbox: &mut mpsc::Receiver<FromPeer>,
        mut results: mpsc::UnboundedReceiver<Done>,
        mut revoked: mpsc::UnboundedReceiver<ClientId>,
        until_finished: bool,
    ) -> Result<Ending, ServeError> {
        let mut deadline = self.step(Input::Timeout).await?;
        let mut farewell = None;
        loop {
            let mut wake = deadline.map(|at| self.start + at.elapsed());
            if until_finished && self.coordinator.is_finished() {
                let until = *farewell.get_or_insert_with(|| Moment::now() + FAREWELL);
                if self.everybody_knows() || Moment::now() >= until {
                    return Ok(Ending::Finished(self.coordinator.version()));
                }
                wake = Some(wake.map_or(until, |wake| wake.min(until)));
            }
            deadline = tokio::select! {
                Some(news) = inbox.recv() => self.heard(news).await?,
                Some(done) = results.recv() => {
                    self.step(Input::Finished(done.map_err(ServeError::Panicked)?)).await?
                }
                Some(client) = revoked.recv() => self.revoked(&client).await?,
                () = sleep_until(wake.unwrap_or_else(Moment::now)), if wake.is_some() => {
                    self.step(Input::Timeout).await?
                }
            };
        }
    }

    async fn heard(&mut self, news: FromPeer) -> Result<Option<Instant>, StoreError> {
        match news {
            FromPeer::Opened(link) => {
                let client = link.member.name().clone();
                // The handshake may be older than a revocation.
                match self.federation.registry.admits(&link.member, self.federation.clock.now()) {
                    Ok(()) => {}
                    Err(Refusal::Expired) => {
                        link.close(Close::NotAllowed, "this hub's certificate expired");
                        return self.step(Input::Timeout).await;
                    }
                    Err(_) => {
                        link.close(Close::Revoked, REVOKED);
                        return self.step(Input::Timeout).await;
                    }
                }
                if let Some(older) = self.links.insert(client.clone(), link) {
                    older.close(Close::Replaced, "the same client connected again");
                    self.step(Input::Disconnected(client.clone())).await?;
                }
                info!(%client, "connected");
                self.live.connected(&client, true);
                self.step(Input::Connected(client)).await
            }
            FromPeer::Said(client, serial, message) if self.is_current(&client, serial) => {
                self.step(Input::Message(client, message)).await
            }
            FromPeer::Closed(client, serial) if self.is_current(&client, serial) => {
                info!(%client, "disconnected");
                self.forget(&client);
                if self.coordinator.is_finished() {
                    self.told.insert(client.clone());
                }
                self.step(Input::Disconnected(client)).await
            }
            FromPeer::Said(..) | FromPeer::Closed(..) => self.step(Input::Timeout).await,
        }
    }

    async fn revoked(&mut self, client: &ClientId) -> Result<Option<Instant>, StoreError> {
        let now = self.federation.clock.now();
        let admitted = |link: &Link| self.federation.registry.admits(&link.member, now).is_ok();
        // By now another hub may have the name and be connected.
        if self.links.get(client).is_some_and(admitted) {
            return self.step(Input::Timeout).await;
        }
        let Some(link) = self.forget(client) else { return self.step(Input::Timeout).await };
        link.close(Close::Revoked, REVOKED);
        info!(%client, "revoked, disconnected");
        self.step(Input::Disconnected(client.clone())).await
    }

    fn is_current(&self, client: &ClientId, serial: u64) -> bool {
        self.links.get(client).is_some_and(|link| link.serial == serial)
    }

    fn forget(&mut self, client: &ClientId) -> Option<Link> {
        self.live.connected(client, false);
        self.links.remove(client)
    }

    /// One input, and everything that follows from it.
    async fn step(&mut self, input: Input) -> Result<Option<Instant>, StoreError> {
        let mut inputs = vec![input];
        let mut deadline = None;
        while let Some(input) = inputs.pop() {
            let now = Instant::at(self.start.elapsed());
            self.coordinator.handle(now, input);
            let drained = self.drain();
            deadline = drained.deadline;
            self.persist(drained.records).await?;
            for client in self.tell(drained.events).await {
                if let Some(link) = self.forget(&client) {
                    warn!(%client, "too many of its messages make no sense: disconnected");
                    link.close(Close::Malformed, "too many messages that make no sense");
                    inputs.push(Input::Disconnected(client));
                }
            }
            for output in drained.rest {
                match output {
                    Output::Send(client, message) => {
                        let full = self.links.get(&client).and_then(|link| link.outbox.push(message).err());
                        if let (Some(full), Some(link)) = (full, full.and_then(|_| self.forget(&client))) {
                            warn!(%client, %full, "dropped");
                            link.close(Close::TooSlow, &full.to_string());
                            inputs.push(Input::Disconnected(client));
                        }
                    }
                    Output::Run(job) => {
                        let jobs = self.jobs.clone();
                        tokio::task::spawn_blocking(move || {
                            // A driver that is gone has no use for the result.
                            let _ = jobs.send(unless_it_panics(|| job.run()));
                        });
                    }
                    Output::Persist(_) | Output::Event(_) | Output::Wait(_) => {}
                }
            }
        }
        let c = &self.coordinator;
        self.live.moved(c.phase(), c.round(), c.version(), c.is_finished());
        Ok(deadline)
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        loop {
            match self.coordinator.poll() {
                Output::Persist(record) => drained.records.push(record),
                Output::Event(event) => drained.events.push(event),
                Output::Wait(deadline) => {
                    drained.deadline = deadline;
                    return drained;
                }
                other => drained.rest.push(other),
            }
        }
    }

    /// Has the records on the disk. While it is full nothing else happens, and nobody's time runs.
    async fn persist(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let (records, began) = (Arc::new(records), Moment::now());
        let mut rest = Duration::ZERO;
        loop {
            let (federation, records) = (Arc::clone(&self.federation), Arc::clone(&records));
            let write = move || federation.history.persist(&records, federation.clock.now());
            let written = tokio::task::spawn_blocking(write).await.unwrap_or_else(|panic| {
                Err(StoreError::Corrupt {
                    path: self.federation.store.path().to_owned(),
                    why: panic.to_string(),
                })
            });
            match written {
                Err(error) if error.may_pass() => {
                    if rest.is_zero() {
                        warn!(%error, "the round waits for the disk");
                    }
                    rest = (rest * 2).clamp(SHORTEST_REST, LONGEST_REST);
                    sleep(rest).await;
                }
                done => {
                    if !rest.is_zero() {
                        self.start += began.elapsed();
                        info!(seconds = began.elapsed().as_secs(), "the disk has space again");
                    }
                    return done;
                }
            }
        }
    }

    /// Tells the operator; returns the clients that have been refused too often.
    async fn tell(&mut self, events: Vec<Event>) -> Vec<ClientId> {
        let mut unbearable = Vec::new();
        for event in events {
            match event {
                Event::CheckedIn(client, role) => info!(%client, ?role, "checked in"),
                Event::Opened(round, cohort) => {
                    info!(%round, clients = cohort.len(), "round opened");
                    self.note(move |f| f.audit.append(f.clock.now(), AuditEvent::RoundOpened { round }))
                        .await;
                }
                Event::Ready(round, client, have, missing) => {
                    info!(%round, %client, have, missing, "trained, keys advertised");
                }
                Event::Declined(round, client, why) => {
                    warn!(%round, %client, why, "will not help to unmask");
                }
                Event::Unmasking(round, updates) => info!(%round, updates, "unmasking"),
                Event::Counted(round, client, have, wanted) => {
                    info!(%round, %client, have, wanted, "update counted");
                }
                Event::Judged(round, client, verdict) => info!(%round, %client, %verdict, "judged"),
                Event::Released(version, blob) => {
                    info!(%version, bytes = blob.len, sha256 = ?blob.digest, "released");
                }
                Event::Closed(record) => {
                    let score = ScoreLine::of(&record);
                    info!(
                        round = %record.round,
                        outcome = outcome(&record.outcome),
                        counted = record.counted.len(),
                        of = record.cohort.len(),
                        evaluated = score.map(tracing::field::display),
                        loss = record.loss,
                        millis = record.millis,
                        bytes_up = record.bytes_up,
                        bytes_down = record.bytes_down,
                        epsilon = record.epsilon,
                        "round closed"
                    );
                }
                Event::Ended(why) => warn!(why, "no round can be made any more"),
                Event::Finished(version) => info!(%version, "the federation is over"),
                Event::Refused(client, fault) => {
                    if let Some(link) = self.links.get_mut(&client) {
                        link.refused += 1;
                        if link.refused > REFUSALS {
                            unbearable.push(client.clone());
                        }
                    }
                    // Nothing waits for this line: a client that is refused a lot must not slow down the others.
                    if let Ok(permit) = Arc::clone(&self.notes).try_acquire_owned() {
                        let federation = Arc::clone(&self.federation);
                        tokio::task::spawn_blocking(move || {
                            refuse(&federation, client.as_str(), &fault.to_string());
                            drop(permit);
                        });
                    }
                }
            }
        }
        unbearable
    }

    /// Writes to the audit log. A line that cannot be written must not stop the round.
    async fn note(&mut self, write: impl FnOnce(&Federation) -> Result<(), StoreError> + Send + 'static) {
        let federation = Arc::clone(&self.federation);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || write(&federation)).await {
            warn!(%error, "the audit log");
        }
    }

    /// Whether every client of the roster has hung up since the last release. One that was away comes back to hear.
    fn everybody_knows(&self) -> bool {
        let roster = self.federation.registry.roster();
        self.links.is_empty()
            && roster.iter().all(|(name, entry)| entry.revoked.is_some() || self.told.contains(name))
    }
}

/// What a job gave, or what its panic said. The machine waits for its job, so a job must not vanish.
fn unless_it_panics<T>(job: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use somnus_protocol::checkpoint::{Checkpoint, FORMAT, Manifest, Tensor};
    use somnus_protocol::plan::TrainableSet;

    use super::*;
    use crate::clock::WallClock;
    use crate::federation::Founding;

    fn server(folder: &std::path::Path) -> Server {
        let manifest = Manifest {
            format: FORMAT,
            name: "small".into(),
            architecture: serde_json::Value::Null,
            licence: "MIT OR Apache-2.0".into(),
            provenance: BTreeMap::new(),
            trainable: BTreeMap::from([(TrainableSet::Full, vec!["w".to_owned()])]),
            embedding: None,
        };
        let tensors = BTreeMap::from([("w".to_owned(), Tensor { shape: vec![1], values: vec![0.0] })]);
        let model = folder.join("model");
        std::fs::write(&model, Checkpoint { manifest, tensors }.to_bytes().unwrap()).unwrap();
        let founding = Founding {
            name: "night".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            public: vec!["127.0.0.1:1".into()],
            model: Some(model),
            plain: true,
        };
        let (place, clock) = (folder.join("fed"), WallClock::from_fn(|| 1_800_000_000));
        Federation::create(&place, &founding, &clock).unwrap();
        Server::start(Federation::open(&place, clock).unwrap(), Options::default()).unwrap()
    }

    #[test]
    fn a_job_that_panics_ends_the_server_and_says_why() {
        assert_eq!(unless_it_panics(|| 7), Ok(7));
        let lost: Done = unless_it_panics(|| panic!("the sum of round {} is gone", 3));
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ended = runtime.block_on(async {
            let Server { federation, live, coordinator, revoked, .. } = server(dir.path());
            let (jobs, results) = mpsc::unbounded_channel();
            jobs.send(lost).unwrap();
            let (_peers, mut inbox) = mpsc::channel(1);
            let mut driver = Driver {
                federation,
                live,
                coordinator,
                links: BTreeMap::new(),
                told: BTreeSet::new(),
                notes: Arc::new(Semaphore::new(NOTES)),
                jobs,
                start: Moment::now(),
            };
            driver.run(&mut inbox, results, revoked, false).await
        });
        let error = ended.unwrap_err().to_string();
        assert!(error.contains("the sum of round 3 is gone") && error.contains("start it again"), "{error}");
    }
}
