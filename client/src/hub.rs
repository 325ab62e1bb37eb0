//! The loop around the participant: connect, carry messages, train, report, and come back after whatever happens.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use somnus_protocol::ids::{BlobId, Version};
use somnus_protocol::message::{ToClient, ToServer};
use somnus_protocol::participant::{
    Event, Input, Job, JobResult, Keep, Kept, Materials, Needs, Output, Participant,
};
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::token::Close;
use tokio::sync::mpsc;
use tokio::time::{Instant as Moment, sleep, sleep_until};
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::cache::Cache;
use crate::config::ClientConfig;
use crate::credentials::Credentials;
use crate::enrol::{EnrolError, renew};
use crate::files::FileError;
use crate::hands::{About, Hands};
use crate::identity::{Folder, IdentityError, Membership, now};
use crate::kept;
use crate::limits::misfit::Misfit;
use crate::limits::watch::Change;
use crate::limits::{MISFIT, Reason, Watch, disk, memory};
use crate::link::{LinkError, Purpose, connect};
use crate::session::{Mark, Session};
use crate::work::{lock, said, work};

/// What this hub keeps between rounds and never sends, in its folder.
const MEMORY: &str = "memory";
/// What the open round's masks are made of, in its folder; empty between rounds.
const SECRETS: &str = "secrets";
/// What was trained and no round has taken yet, in its folder; only where rounds do not wait for it.
const UPDATE: &str = "update";
/// How often the certificate's age is looked at.
const CERTIFICATE: Duration = Duration::from_secs(3600);
/// Rest after the disk refused, so that a full disk does not become a busy network.
const DISK_REST: Duration = Duration::from_secs(5);
/// A server answers a check-in at once. One that was killed in the last moment of the handshake never does: started again, it does
/// not know the connection, and QUIC would notice after the idle timeout only.
const ANSWER: Duration = Duration::from_secs(10);
/// A server that is asked again in vain is asked again after this.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hub that is ready to take part.
pub struct Hub {
    /// Its folder.
    pub folder: Arc<Folder>,
    /// What its person decides.
    pub config: ClientConfig,
    /// The federation that it belongs to.
    pub membership: Membership,
    /// Who trains.
    pub hands: Arc<dyn Hands>,
    /// Who says when.
    pub watch: Watch,
    /// Whether to end once the server says that all releases are made.
    pub until_finished: bool,
}

/// Why a hub ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was asked to.
    Stopped,
    /// All releases are made.
    Finished(Version),
}

/// Why a hub cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The server will never take this hub again.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The folder's identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// No secret can be made.
    #[error("the operating system has no entropy")]
    Entropy,
}

type Attempt = Pin<Box<dyn Future<Output = Result<Session, Setback>> + Send>>;

/// Why there is no session, by who says so.
enum Setback {
    /// Anybody: [`connect`] failed, so nobody at that address has proved to be our server. A captive portal, a server
    /// that took over the address, a forged packet and a clock that is wrong all look like this, and all of them pass.
    Anybody(LinkError),
    /// Our server. [`connect`] resolves as soon as the handshake is complete on this side, which it only is once the
    /// server's certificate and signature were good and its Finished message proved that nobody tampered; quinn reports
    /// that before anything that comes later. The server judges the hub's certificate after that, so every refusal of
    /// this hub arrives here, under keys that only the two have. (The one exception: until this side's next packet has
    /// left, quinn still reads packets under the Initial keys, RFC 9001 section 4.9.1. Who wants to forge one has to sit
    /// on the path and hit the very batch of datagrams that completes the handshake.)
    Server(LinkError),
}

struct Driver {
    hub: Hub,
    participant: Participant,
    credentials: Arc<Credentials>,
    cache: Arc<Mutex<Cache>>,
    session: Option<Session>,
    results: mpsc::UnboundedSender<JobResult>,
    renewed: mpsc::UnboundedSender<Result<Membership, EnrolError>>,
    start: Moment,
    wake: Option<Moment>,
    /// Until when a new connection has to be answered.
    unanswered: Option<Moment>,
    mark: Mark,
    failures: u32,
    /// Until when this hub stays away, because the work does not fit.
    misfit: Option<(Moment, Reason)>,
    /// The last verdict that was told and not believed.
    doubted: Option<LinkError>,
    finished: Option<Version>,
    /// Why this hub cannot go on.
    broken: Option<HubError>,
}

impl Hub {
    /// Takes part until `stop` is done, or the federation is complete if that was asked for.
    ///
    /// # Errors
    /// [`HubError`] if trying again cannot help: our server says that this hub was revoked or that its certificate
    /// expired, or the folder is unusable. What anybody else says at the server's address is told and outlived.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Ending, HubError> {
        let cache = Cache::open(&self.folder.path().join("cache"))?;
        let participant = self.machine()?;
        let credentials = Credentials::new(&self.folder.key()?, &self.membership);
        let (results, finished_jobs) = mpsc::unbounded_channel();
        let (renewed, renewals) = mpsc::unbounded_channel();
        let mut driver = Driver {
            participant,
            credentials: Arc::new(credentials),
            cache: Arc::new(Mutex::new(cache)),
            session: None,
            results,
            renewed,
            start: Moment::now(),
            wake: None,
            unanswered: None,
            mark: Mark::default(),
            failures: 0,
            misfit: None,
            doubted: None,
            finished: None,
            broken: None,
            hub: self,
        };
        let ending = tokio::select! {
            ending = driver.run(finished_jobs, renewals) => ending,
            () = stop => Ok(Ending::Stopped),
        };
        if let Some(session) = &driver.session {
            session.close(Close::Done, "");
            // Lets the last packet out.
            sleep(Duration::from_millis(50)).await;
        }
        ending
    }
}

impl Hub {
    /// The machine with what the folder has of an earlier life, and fresh entropy for its masks.
    fn machine(&self) -> Result<Participant, HubError> {
        let read = |name| kept::read(&self.folder.path().join(name));
        let kept = Kept { memory: read(MEMORY)?, secrets: read(SECRETS)?, update: read(UPDATE)? };
        let mut entropy = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *entropy).map_err(|_| HubError::Entropy)?;
        let (name, seed) = (self.membership.name.clone(), Seed::new(*entropy));
        Ok(Participant::new(name, self.config.role, self.config.policy, &kept, seed))
    }
}

impl Driver {
    async fn run(
        &mut self,
        mut results: mpsc::UnboundedReceiver<JobResult>,
        mut renewals: mpsc::UnboundedReceiver<Result<Membership, EnrolError>>,
    ) -> Result<Ending, HubError> {
        let mut attempt: Option<Attempt> = None;
        let mut age = tokio::time::interval(CERTIFICATE);
        let mut looks = tokio::time::interval(self.hub.watch.every());
        Misfit::forget(self.hub.folder.path());
        self.look();
        loop {
            if let Some(error) = self.broken.take() {
                return Err(error);
            }
            if let Some(version) = self.finished.filter(|_| self.hub.until_finished) {
                return Ok(Ending::Finished(version));
            }
            if self.stays_away() {
                attempt = None;
                self.leave().await;
            } else if self.session.is_none() && attempt.is_none() {
                attempt = Some(self.attempt(Duration::ZERO)?);
            }
            tokio::select! {
                outcome = poll(&mut attempt) => {
                    attempt = None;
                    match outcome {
                        Ok(session) => {
                            info!(server = %self.hub.membership.server, "connected");
                            let authority =
                                self.hub.membership.pin().and_then(|pin| session.authority(pin));
                            self.credentials = Arc::new(self.credentials.under(authority));
                            self.session = Some(session);
                            self.unanswered = Some(Moment::now() + ANSWER);
                            age.reset_immediately();
                            self.step(Input::Connected).await;
                        }
                        Err(setback) => attempt = Some(self.again(setback)?),
                    }
                }
                message = hear(&mut self.session) => match message {
                    Some(message) => {
                        (self.failures, self.doubted, self.unanswered) = (0, None, None);
                        if let ToClient::Upload { round, offset } = &message {
                            info!(%round, offset, "uploading");
                        }
                        let input = match self.unfit(&message).await {
                            Some(reason) => Input::Unfit(message, reason.to_string()),
                            None => Input::Message(message),
                        };
                        self.step(input).await;
                    }
                    None => {
                        let error = match self.session.take() {
                            Some(session) => session.ended().await,
                            None => continue,
                        };
                        self.step(Input::Disconnected).await;
                        attempt = Some(self.again(Setback::Server(error))?);
                    }
                },
                Some(result) = results.recv() => {
                    if let Some(reason) = self.hub.watch.verdict().take_misfit() {
                        self.misfit(reason).await;
                    }
                    self.step(Input::Finished(result)).await;
                }
                () = until(self.unanswered), if self.unanswered.is_some() && self.session.is_some() => {
                    if let Some(session) = self.session.take() {
                        session.close(Close::Done, "no answer");
                    }
                    self.step(Input::Disconnected).await;
                    let silent = LinkError::NoAnswer(self.hub.membership.server.clone());
                    attempt = Some(self.again(Setback::Anybody(silent))?);
                }
                _ = looks.tick() => self.look(),
                Some(renewed) = renewals.recv() => match renewed {
                    Ok(membership) => {
                        info!(days = membership.expires.saturating_sub(now()) / 86_400, "certificate renewed");
                        self.credentials = Arc::new(self.credentials.renewed(&membership));
                        self.hub.membership = membership;
                    }
                    Err(error) => warn!(%error, "the certificate was not renewed"),
                },
                _ = age.tick(), if self.session.is_some() => self.renew_if_due()?,
                () = until(self.wake), if self.wake.is_some() => {
                    let busy = self.session.as_ref().is_some_and(|session| session.is_busy(self.mark));
                    if busy {
                        self.rest();
                    } else {
                        self.step(Input::Timeout).await;
                    }
                }
            }
        }
    }

    /// One input, and everything that follows from it.
    async fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Instant::at(self.start.elapsed());
            self.participant.handle(now, input);
            loop {
                match self.participant.poll() {
                    Output::Persist { blob, offset, bytes } => {
                        let written = self.blocking(move |cache| cache.append(blob, offset, &bytes)).await;
                        self.disk(written).await;
                    }
                    Output::Lookup(blob) => {
                        let have = self.blocking(move |cache| cache.have(blob)).await;
                        let have = self.disk(have).await.unwrap_or(0);
                        inputs.push(Input::Cached(blob, have));
                    }
                    Output::Remember(keep, secret) => {
                        let name = match keep {
                            Keep::Memory => MEMORY,
                            Keep::Secrets => SECRETS,
                            Keep::Update => UPDATE,
                        };
                        let path = self.hub.folder.path().join(name);
                        let write = move |_: &mut Cache| kept::write(&path, &secret);
                        let written = self.blocking(write).await;
                        if self.disk(written).await.is_none() {
                            return self.start_over();
                        }
                    }
                    Output::Send(message) => self.send(message),
                    Output::Run(job) => self.work(*job),
                    Output::Event(event) => self.tell(event),
                    Output::Wait(until) => {
                        let wake = until.map(|at| self.start + at.elapsed());
                        if wake != self.wake {
                            self.wake = wake;
                            self.mark = self.session.as_ref().map(Session::mark).unwrap_or_default();
                        }
                        break;
                    }
                }
            }
        }
        if self.wake.is_some_and(|wake| wake <= Moment::now()) {
            self.rest();
        }
    }

    /// Asks this machine, and tells its owner what is new.
    fn look(&mut self) {
        match self.hub.watch.look(now()) {
            Some(Change::Binds(reason)) => info!(%reason, "a limit binds"),
            Some(Change::Free) => info!("no limit binds any more"),
            None => {}
        }
    }

    /// Whether this hub is to be away: it could do nothing that the server may ask for, and a round that it left would not
    /// notice. Only to renew its certificate it comes in spite of that.
    fn stays_away(&self) -> bool {
        self.bound().is_some() && self.participant.is_idle() && !self.hub.membership.is_due(now())
    }

    /// Hangs up, so that the server counts on others.
    async fn leave(&mut self) {
        if let Some(session) = self.session.take() {
            if let Some(reason) = self.bound() {
                info!(%reason, "away until that is over");
            }
            tokio::spawn(session.end());
            self.step(Input::Disconnected).await;
        }
    }

    /// Why this machine cannot do what the server asks for, as far as can be told before anything of it is here.
    async fn unfit(&mut self, message: &ToClient) -> Option<Reason> {
        let (materials, what): (Materials<BlobId>, _) = match message {
            ToClient::Train(assignment) => (assignment.into(), "this training"),
            ToClient::Evaluate(examination) => (examination.into(), "this evaluation"),
            _ => return None,
        };
        if let Some(reason) = self.hub.watch.verdict().binds() {
            return Some(reason);
        }
        let limits = self.hub.config.limits.clone();
        let blobs: Vec<BlobId> = Needs::Model(materials).iter().copied().collect();
        let bytes = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.len));
        let mut fits = memory::check(limits.memory, memory::of_files(bytes), what);
        if let (Some(most), Ok(())) = (limits.disk, &fits) {
            // What a round leaves behind is as large as the release at most, and is written beside what the last one left.
            let need = bytes.saturating_add(materials.release.len);
            let folder = self.hub.folder.path().to_owned();
            let room = self.blocking(move |cache| {
                match disk::room(most, disk::used(&folder, Some(cache.folder())), need) {
                    Ok(room) => cache.make_room(&blobs, room).map(Ok),
                    Err(reason) => Ok(Err(reason)),
                }
            });
            fits = self.disk(room.await).await.unwrap_or(Ok(()));
        }
        let reason = fits.err()?;
        self.misfit(reason.clone()).await;
        Some(reason)
    }

    async fn misfit(&mut self, reason: Reason) {
        warn!(%reason, minutes = MISFIT.as_secs() / 60, "the work does not fit; this hub stays away for a while");
        self.misfit = Some((Moment::now() + MISFIT, reason.clone()));
        let (folder, until) = (self.hub.folder.path().to_owned(), now() + MISFIT.as_secs());
        let kept = self.blocking(move |_| Misfit::keep(&folder, &reason, until)).await;
        if let Err(error) = kept {
            warn!(%error, "`status` does not know of it");
        }
    }

    /// What keeps this hub from work for now.
    fn bound(&self) -> Option<Reason> {
        let misfit = self.misfit.as_ref().filter(|(until, _)| Moment::now() < *until);
        misfit.map(|(_, reason)| reason.clone()).or_else(|| self.hub.watch.verdict().binds())
    }

    /// What a secret is used for, or what an update leaves behind, could not be written down: nothing that follows may leave. The hub forgets what
    /// it was about to do, hangs up, and comes back as one that was restarted.
    fn start_over(&mut self) {
        match self.hub.machine() {
            Ok(machine) => self.participant = machine,
            Err(error) => self.broken = Some(error),
        }
        if let Some(session) = &self.session {
            session.close(Close::Restarting, "the hub's disk refused a record");
        }
        self.wake = None;
    }

    /// Looks again after some patience.
    fn rest(&mut self) {
        self.mark = self.session.as_ref().map(Session::mark).unwrap_or_default();
        self.wake = Some(Moment::now() + PATIENCE);
    }

    fn send(&self, message: ToServer) {
        if let Some(session) = &self.session {
            session.send(message);
        }
    }

    fn work(&self, job: Job) {
        let (cache, hands, results) =
            (Arc::clone(&self.cache), Arc::clone(&self.hub.hands), self.results.clone());
        let about = About {
            federation: self.hub.membership.federation.clone(),
            client: self.hub.membership.name.clone(),
        };
        let folder = self.hub.folder.path().to_owned();
        let credentials = Arc::clone(&self.credentials);
        tokio::task::spawn_blocking(move || {
            let receipt = job.receipt();
            let work = || work(job, &cache, hands.as_ref(), &credentials, &about, &folder);
            // The machine waits for its job: one that panics is declined like any that cannot be done.
            let done = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|panic| receipt.failed(format!("the work failed: {}", said(&*panic))));
            // A hub that is gone has no use for the result.
            let _ = results.send(done);
        });
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::Training(round) => info!(%round, "training"),
            Event::Trained { round, examples, loss } => info!(%round, examples, loss, "trained"),
            Event::Bound { round, keys, step, way } => debug!(%round, %keys, step, %way, "bound"),
            Event::Counted(round) => info!(%round, "the update is part of the next release"),
            Event::Evaluated(version, evaluation) => {
                let epochs: u64 = evaluation.confusion.iter().copied().map(u64::from).sum();
                info!(%version, epochs, "evaluated");
            }
            Event::Declined(why) => warn!(why, "the work could not be done"),
            Event::Finished(version) => {
                info!(%version, "the federation is complete");
                self.finished = Some(version);
            }
            Event::Refused(fault) => warn!(%fault, "the server said something that makes no sense"),
        }
    }

    /// Tries again, unless our own server has said that this cannot help.
    fn again(&mut self, setback: Setback) -> Result<Attempt, HubError> {
        let error = match setback {
            Setback::Server(error) if error.is_final() => return Err(error.into()),
            Setback::Anybody(error) if error.is_verdict() => {
                let wait = self.hub.config.backoff.wait(u32::MAX, chance());
                if self.doubted.as_ref() != Some(&error) {
                    warn!(%error, seconds = wait.as_secs_f64(), "no connection; this hub keeps trying");
                }
                self.doubted = Some(error);
                return self.attempt(wait);
            }
            Setback::Server(error) | Setback::Anybody(error) => error,
        };
        self.doubted = None;
        self.failures = self.failures.saturating_add(1);
        let wait = self.hub.config.backoff.wait(self.failures, chance());
        info!(%error, seconds = wait.as_secs_f64(), "connecting again");
        self.attempt(wait)
    }

    fn attempt(&self, wait: Duration) -> Result<Attempt, HubError> {
        let membership = self.hub.membership.clone();
        let authority =
            membership.pin().ok_or_else(|| IdentityError::NotEnrolled(self.hub.folder.path().into()))?;
        let (key, pace) = (self.hub.folder.key()?.private(), self.hub.config.pace);
        Ok(Box::pin(async move {
            sleep(wait).await;
            let certificate = membership.certificate();
            let connected =
                connect(&membership.server, authority, certificate, key, pace, Purpose::Run).await;
            Session::open(connected.map_err(Setback::Anybody)?).await.map_err(Setback::Server)
        }))
    }

    fn renew_if_due(&self) -> Result<(), HubError> {
        if let Some(session) = self.session.as_ref().filter(|_| self.hub.membership.is_due(now())) {
            let (folder, connection) = (Arc::clone(&self.hub.folder), session.connection.clone());
            let (key, old) = (folder.key()?, self.hub.membership.clone());
            let renewed = self.renewed.clone();
            tokio::spawn(async move {
                let _ = renewed.send(renew(&folder, &connection, &key, &old).await);
            });
        }
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Cache) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let cache = Arc::clone(&self.cache);
        let done = tokio::task::spawn_blocking(move || call(&mut lock(&cache))).await;
        done.unwrap_or_else(|panic| {
            let cause = std::io::Error::other(panic.to_string());
            Err(FileError::new(self.hub.folder.path(), cause))
        })
    }

    /// What the disk gave; if it refused, after a rest.
    async fn disk<T>(&self, result: Result<T, FileError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                warn!(%error, "the disk");
                sleep(DISK_REST).await;
                None
            }
        }
    }
}

async fn poll(attempt: &mut Option<Attempt>) -> Result<Session, Setback> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

async fn hear(session: &mut Option<Session>) -> Option<ToClient> {
    match session {
        Some(session) => session.inbox.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Moment>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Uniform in 0 to 1; .5 without entropy, which only spreads hubs less.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
