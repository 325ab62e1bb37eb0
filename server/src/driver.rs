//! The loop around the coordinator: one task owns it, everything else reaches it through channels.
//!
//! After each input the machine is drained: what it must not forget is on the disk before anything it says leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
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
use tokio::time::{Instant as Moment, sleep_until, timeout};
use tracing::{info, warn};

use crate::audit::AuditEvent;
use crate::ca::ServerIdentity;
use crate::connection::{FromPeer, Hall, Link};
use crate::control::Control;
use crate::endpoint;
use crate::error::StoreError;
use crate::federation::{CONFIG, Federation, OpenError};
use crate::history::outcome;
use crate::live::Live;
use crate::verifier::Gate;

/// News of peers that wait for the driver; each holds at most one frame.
const INBOX: usize = 16;
/// After the last release, clients have this long to hear of it and hang up.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long a server that ends waits for its connections to end.
const LAST_PACKETS: Duration = Duration::from_secs(1);

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

/// A server that listens.
pub struct Server {
    federation: Arc<Federation>,
    endpoint: Endpoint,
    gate: Arc<Gate>,
    control: Control,
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
        // The same in every life of this server: a round that a crash interrupted opens again with the same seeds, so
        // updates that hubs have for it still count.
        let own = || ServerIdentity::load(&federation.folder)?.derive(SEED_LABEL).map(Seed::new);
        let seed = options.seed.map_or_else(own, Ok)?;
        let coordinator = Coordinator::new(rounds, saved, seed);
        let gate = Arc::new(Gate::new(Arc::clone(&federation.registry))?);
        let endpoint = endpoint::open(&federation, Arc::clone(&gate))?;
        let control = Control::listen(&federation.folder)?;
        let listening = endpoint.local_addr().unwrap_or(federation.config.listen);
        let (live, revoked) = Live::new(listening);
        federation.audit.append(federation.clock.now(), AuditEvent::Started)?;
        let until_finished = options.until_finished;
        let (federation, live) = (Arc::new(federation), Arc::new(live));
        Ok(Self { federation, endpoint, gate, control, live, revoked, coordinator, until_finished })
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
    /// [`StoreError`] if the disk refuses a record: nothing that depends on it was sent, a restart goes on from there.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Ending, StoreError> {
        let Self { federation, endpoint, gate, control, live, revoked, coordinator, until_finished } = self;
        let (to_driver, mut inbox) = mpsc::channel(INBOX);
        let (jobs, results) = mpsc::unbounded_channel();
        let hall = Arc::new(Hall::new(Arc::clone(&federation), gate, to_driver));
        let mut driver = Driver {
            federation: Arc::clone(&federation),
            live: Arc::clone(&live),
            coordinator,
            links: BTreeMap::new(),
            told: BTreeSet::new(),
            jobs,
            start: Moment::now(),
        };
        let ending = tokio::select! {
            ending = driver.run(&mut inbox, results, revoked, until_finished) => ending,
            () = stop => Ok(Ending::Stopped),
            () = admit(&endpoint, &hall) => Ok(Ending::Stopped),
            () = control.serve(Arc::clone(&federation), live) => Ok(Ending::Stopped),
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

/// Lets peers in as far as the limits allow.
async fn admit(endpoint: &Endpoint, hall: &Arc<Hall>) {
    let limits = hall.federation.config.limits;
    let handshakes = Arc::new(Semaphore::new(limits.handshakes as usize));
    while let Some(incoming) = endpoint.accept().await {
        if endpoint.open_connections() >= limits.connections as usize {
            incoming.refuse();
            continue;
        }
        let busy = handshakes.available_permits() < limits.handshakes as usize / 2;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // A peer that lies about its address never comes back from this.
            let _ = incoming.retry();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let hall = Arc::clone(hall);
        tokio::spawn(async move { hall.receive(incoming, permit).await });
    }
}

struct Driver {
    federation: Arc<Federation>,
    live: Arc<Live>,
    coordinator: Coordinator,
    links: BTreeMap<ClientId, Link>,
    /// Clients that hung up after the last release: they know.
    told: BTreeSet<ClientId>,
    jobs: mpsc::UnboundedSender<JobResult>,
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
        mut results: mpsc::UnboundedReceiver<JobResult>,
        mut revoked: mpsc::UnboundedReceiver<ClientId>,
        until_finished: bool,
    ) -> Result<Ending, StoreError> {
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
                Some(result) = results.recv() => self.step(Input::Finished(result)).await?,
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
                let client = link.client.clone();
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
        let Some(link) = self.forget(client) else { return self.step(Input::Timeout).await };
        link.close(Close::Revoked, "this hub was revoked");
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
            self.tell(drained.events).await;
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
                            let _ = jobs.send(job.run());
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

    async fn persist(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let federation = Arc::clone(&self.federation);
        let written =
            tokio::task::spawn_blocking(move || federation.history.persist(&records, federation.clock.now()));
        written.await.unwrap_or_else(|panic| {
            Err(StoreError::Corrupt { path: self.federation.store.path().to_owned(), why: panic.to_string() })
        })
    }

    async fn tell(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::CheckedIn(client, role) => info!(%client, ?role, "checked in"),
                Event::Opened(round, cohort) => {
                    info!(%round, clients = cohort.len(), "round opened");
                    self.note(move |f| f.audit.append(f.clock.now(), AuditEvent::RoundOpened { round }))
                        .await;
                }
                Event::Counted(round, client, have, wanted) => {
                    info!(%round, %client, have, wanted, "update counted");
                }
                Event::Released(version, blob) => {
                    info!(%version, bytes = blob.len, sha256 = ?blob.digest, "released");
                }
                Event::Closed(record) => info!(
                    round = %record.round,
                    outcome = outcome(&record.outcome),
                    counted = record.counted.len(),
                    of = record.cohort.len(),
                    evaluated = record.evaluations.len(),
                    loss = record.loss,
                    millis = record.millis,
                    bytes_up = record.bytes_up,
                    bytes_down = record.bytes_down,
                    "round closed"
                ),
                Event::Finished(version) => info!(%version, "the federation is complete"),
                Event::Refused(client, fault) => {
                    warn!(%client, %fault, "refused");
                    self.note(move |f| f.audit.refused(f.clock.now(), client.as_str(), &fault.to_string()))
                        .await;
                }
            }
        }
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
