//! The same federation over real QUIC on the loopback interface, in this process and in real time.
//!
//! Mutually authenticated TLS 1.3, ALPN `somnus/1` and the frames of [`wire`], as between deployed machines; enrolment,
//! store and backoff are theirs. Certificates live as long as the run. With `load/line.rs`, the only file here that names quinn,
//! rustls and rcgen.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use serde::de::DeserializeOwned;
use somnus_protocol::coordinator::{self, Coordinator};
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::{ClientId, Digest, Round};
use somnus_protocol::message::{ALPN, ToClient, ToServer};
use somnus_protocol::participant::{self, Kept, Participant};
use somnus_protocol::record::{Record, RoundRecord};
use somnus_protocol::time::Instant;
use somnus_protocol::token::SERVER_NAME;
use somnus_protocol::wire;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant as Clock, sleep_until};

use crate::blobs::{Blobs, Disk};
use crate::federation::{Client, Evaluations, Federation, Observer, Outcome, Statistics};
use crate::members::{Member, Members};

/// Why a federation over QUIC came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum QuicError {
    /// No socket, no thread, no entropy.
    #[error("cannot set up QUIC on this machine: {0}")]
    SetUp(String),
    /// A connection ended before the federation did.
    #[error("the connection of {client} ended: {why}")]
    Lost {
        /// The client.
        client: ClientId,
        /// Why.
        why: String,
    },
}

fn set_up(why: impl std::fmt::Display) -> QuicError {
    QuicError::SetUp(why.to_string())
}

/// Runs a federation to its end; at most `jobs` of its jobs at a time.
///
/// # Errors
/// [`QuicError`] if this machine gives no sockets or a connection breaks.
pub fn run(federation: &Federation, jobs: usize, observer: &mut dyn Observer) -> Result<Outcome, QuicError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(set_up)?;
    let outcome = runtime.block_on(Run::begin(federation, jobs)?.drive(observer));
    runtime.shutdown_background();
    outcome
}

/// What comes to the server's loop.
enum Letter {
    Connected(ClientId, mpsc::UnboundedSender<ToClient>),
    Message(ClientId, ToServer),
    Disconnected(ClientId, String),
    Done(coordinator::JobResult),
    Told(ClientId, participant::Event),
}

struct Run<'a> {
    federation: &'a Federation,
    authority: Authority,
    jobs: Arc<Semaphore>,
    clock: Clock,
}

impl<'a> Run<'a> {
    fn begin(federation: &'a Federation, jobs: usize) -> Result<Self, QuicError> {
        Ok(Self {
            federation,
            authority: Authority::new().map_err(set_up)?,
            jobs: Arc::new(Semaphore::new(jobs.max(1))),
            clock: Clock::now(),
        })
    }

    async fn drive(self, observer: &mut dyn Observer) -> Result<Outcome, QuicError> {
        let (post, mut inbox) = mpsc::unbounded_channel();
        let mut names = BTreeMap::new();
        let mut passes = Vec::new();
        for client in &self.federation.clients {
            let pass = self.authority.sign(client.id.as_str(), false).map_err(set_up)?;
            names.insert(Digest::of(&pass.certificate), client.id.clone());
            passes.push(pass);
        }
        let endpoint = self.authority.server().map_err(set_up)?;
        let address = endpoint.local_addr().map_err(set_up)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(endpoint.clone(), Arc::new(names), post.clone()));
        let clients = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).map_err(set_up)?;
        let blobs = Arc::new(Mutex::new(Blobs::default()));
        let members = Members::new(&self.federation.seed);
        for (client, pass) in self.federation.clients.iter().zip(passes) {
            let hub = Hub {
                machine: members.participant(&client.id, client.role, &Kept::default()),
                member: Arc::new(members.enrol(&client.id)),
                client: client.clone(),
                disk: Disk::default(),
                blobs: Arc::clone(&blobs),
                jobs: Arc::clone(&self.jobs),
                post: post.clone(),
                clock: self.clock,
            };
            let config = self.authority.client(pass).map_err(set_up)?;
            tasks.spawn(hub.live(clients.clone(), config, address));
        }
        let outcome = self.serve(&mut inbox, &post, observer).await;
        endpoint.close(0u32.into(), b"finished");
        clients.close(0u32.into(), b"finished");
        tasks.abort_all();
        outcome
    }

    /// The server's loop: one input, then the drain.
    async fn serve(
        &self,
        inbox: &mut mpsc::UnboundedReceiver<Letter>,
        post: &mpsc::UnboundedSender<Letter>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, QuicError> {
        let Federation { config, start, seed, .. } = self.federation.clone();
        let roll = Members::new(&seed).roll();
        let mut machine = Coordinator::new(config, start, seed, roll);
        let mut lines: BTreeMap<ClientId, mpsc::UnboundedSender<ToClient>> = BTreeMap::new();
        let mut records: BTreeMap<Round, RoundRecord> = BTreeMap::new();
        let mut evaluations = Evaluations::new();
        let mut statistics = Statistics::default();
        let mut until = None;
        while !machine.is_finished() {
            let letter = tokio::select! {
                letter = inbox.recv() => letter,
                () = alarm(self.clock, until) => None,
            };
            let now = Instant::at(self.clock.elapsed());
            let input = match letter {
                None => coordinator::Input::Timeout,
                Some(Letter::Connected(client, line)) => {
                    lines.insert(client.clone(), line);
                    coordinator::Input::Connected(client)
                }
                Some(Letter::Disconnected(client, why)) => return Err(QuicError::Lost { client, why }),
                Some(Letter::Message(client, message)) => {
                    statistics.messages += 1;
                    coordinator::Input::Message(client, message)
                }
                Some(Letter::Done(result)) => coordinator::Input::Finished(result),
                Some(Letter::Told(client, event)) => {
                    told(now, &client, &event, &mut evaluations, observer);
                    continue;
                }
            };
            machine.handle(now, input);
            until = loop {
                match machine.poll() {
                    coordinator::Output::Persist(record) => {
                        observer.record(&record);
                        if let Record::Round(round) = record {
                            records.insert(round.round, round);
                        }
                    }
                    coordinator::Output::Send(client, message) => {
                        if let Some(line) = lines.get(&client) {
                            // A line that is gone is told of by its reader.
                            let _ = line.send(message);
                        }
                    }
                    coordinator::Output::Run(job) => {
                        statistics.jobs += 1;
                        let post = post.clone();
                        // Not behind the clients' trainings: everybody waits for the server.
                        spawn_blocking(move || drop(post.send(Letter::Done(job.run()))));
                    }
                    coordinator::Output::Event(event) => observer.server(now, &event),
                    coordinator::Output::Wait(until) => break until,
                }
            };
        }
        // What clients told before their last message is in the inbox already, or will not change the outcome.
        while let Ok(letter) = inbox.try_recv() {
            if let Letter::Told(client, event) = letter {
                told(Instant::at(self.clock.elapsed()), &client, &event, &mut evaluations, observer);
            }
        }
        statistics.virtual_time = self.clock.elapsed();
        Ok(Outcome {
            version: machine.version(),
            weights: machine.weights().clone(),
            rounds: records.into_values().collect(),
            evaluations,
            statistics,
        })
    }
}

fn told(
    now: Instant,
    client: &ClientId,
    event: &participant::Event,
    evaluations: &mut Evaluations,
    observer: &mut dyn Observer,
) {
    if let participant::Event::Evaluated(version, evaluation) = event {
        evaluations.entry(client.clone()).or_default().insert(*version, evaluation.clone());
    }
    observer.client(now, client, event);
}

/// Rings at a moment; never, without one.
async fn alarm(clock: Clock, until: Option<Instant>) {
    match until {
        // A little later than asked for, so that the machine's moment has surely come.
        Some(until) => sleep_until(clock + until.elapsed() + Duration::from_millis(1)).await,
        None => std::future::pending().await,
    }
}

async fn accept(
    endpoint: Endpoint,
    names: Arc<BTreeMap<Digest, ClientId>>,
    post: mpsc::UnboundedSender<Letter>,
) {
    while let Some(incoming) = endpoint.accept().await {
        let (names, post) = (Arc::clone(&names), post.clone());
        tokio::spawn(async move {
            // Only our own clients hold certificates of this run's authority; anything else on this port is ignored.
            let Ok(connection) = incoming.await else { return };
            let Some(client) = peer(&connection).and_then(|digest| names.get(&digest)).cloned() else {
                return;
            };
            let Ok((writer, mut reader)) = connection.accept_bi().await else { return };
            let (line, outgoing) = mpsc::unbounded_channel();
            tokio::spawn(write(writer, outgoing));
            if post.send(Letter::Connected(client.clone(), line)).is_err() {
                return;
            }
            let why = loop {
                match read(&mut reader).await {
                    Ok(message) => {
                        if post.send(Letter::Message(client.clone(), message)).is_err() {
                            return;
                        }
                    }
                    Err(why) => break why,
                }
            };
            let _ = post.send(Letter::Disconnected(client, why));
        });
    }
}

/// The certificate that the peer proved to own.
fn peer(connection: &Connection) -> Option<Digest> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    identity.first().map(|certificate| Digest::of(certificate))
}

/// One client.
struct Hub {
    machine: Participant,
    member: Arc<Member>,
    client: Client,
    disk: Disk,
    blobs: Arc<Mutex<Blobs>>,
    jobs: Arc<Semaphore>,
    post: mpsc::UnboundedSender<Letter>,
    clock: Clock,
}

impl Hub {
    async fn live(self, endpoint: Endpoint, config: ClientConfig, server: SocketAddr) {
        let (client, post) = (self.client.id.clone(), self.post.clone());
        if let Err(why) = self.take_part(endpoint, config, server).await {
            let _ = post.send(Letter::Disconnected(client, why));
        }
    }

    async fn take_part(
        mut self,
        endpoint: Endpoint,
        config: ClientConfig,
        server: SocketAddr,
    ) -> Result<(), String> {
        let connecting = endpoint.connect_with(config, server, SERVER_NAME).map_err(|e| e.to_string())?;
        let connection = connecting.await.map_err(|e| e.to_string())?;
        let (writer, mut reader) = connection.open_bi().await.map_err(|e| e.to_string())?;
        let (line, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(write(writer, outgoing));
        let (results, mut done) = mpsc::unbounded_channel();
        let (messages, mut inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Ends with the connection; the sender's drop tells the loop below.
            while let Ok(message) = read::<ToClient>(&mut reader).await {
                if messages.send(message).is_err() {
                    return;
                }
            }
        });
        let mut until = self.tell(participant::Input::Connected, &line, &results);
        loop {
            let input = {
                let mut ring = pin!(alarm(self.clock, until));
                tokio::select! {
                    message = inbox.recv() => match message {
                        Some(message) => participant::Input::Message(message),
                        None => return Err("the server closed it".into()),
                    },
                    Some(result) = done.recv() => participant::Input::Finished(result),
                    () = &mut ring => participant::Input::Timeout,
                }
            };
            until = self.tell(input, &line, &results);
        }
    }

    fn tell(
        &mut self,
        input: participant::Input,
        line: &mpsc::UnboundedSender<ToServer>,
        results: &mpsc::UnboundedSender<participant::JobResult>,
    ) -> Option<Instant> {
        let now = Instant::at(self.clock.elapsed());
        self.machine.handle(now, input);
        loop {
            match self.machine.poll() {
                participant::Output::Persist { blob, offset, bytes } => {
                    self.blobs.lock().unwrap_or_else(PoisonError::into_inner).append(
                        &mut self.disk,
                        blob,
                        offset,
                        &bytes,
                    );
                }
                participant::Output::Lookup(blob) => {
                    let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
                    let have = blobs.lookup(&mut self.disk, blob);
                    drop(blobs);
                    self.machine.handle(now, participant::Input::Cached(blob, have));
                }
                // A simulated hub is never restarted here, and its machine has these bytes.
                participant::Output::Remember(..) => {}
                participant::Output::Send(message) => {
                    // If the connection is gone the loop hears of it from its reader.
                    let _ = line.send(message);
                }
                participant::Output::Run(job) => self.begin(*job, results.clone()),
                participant::Output::Event(event) => {
                    let _ = self.post.send(Letter::Told(self.client.id.clone(), event));
                }
                participant::Output::Wait(until) => return until,
            }
        }
    }

    fn begin(&self, job: participant::Job, results: mpsc::UnboundedSender<participant::JobResult>) {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = job.needs().try_map(|blob| blobs.get(blob).ok_or(()));
        drop(blobs);
        let (trainer, member) = (Arc::clone(&self.client.trainer), Arc::clone(&self.member));
        let jobs = Arc::clone(&self.jobs);
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_turn) = jobs.acquire_owned().await else { return };
            let _ = spawn_blocking(move || {
                let result = match found {
                    Ok(found) => job.run(member.hands(&*trainer), found),
                    Err(()) => job.receipt().failed("what the work needs is not in the cache any more"),
                };
                // If nobody listens the client is gone.
                drop(results.send(result));
            })
            .await;
        });
    }
}

pub(crate) async fn write<T: serde::Serialize>(
    mut stream: SendStream,
    mut messages: mpsc::UnboundedReceiver<T>,
) {
    while let Some(message) = messages.recv().await {
        if stream.write_all(&wire::encode(&message)).await.is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

pub(crate) async fn read<T: DeserializeOwned>(stream: &mut RecvStream) -> Result<T, String> {
    let mut header = [0; wire::HEADER];
    stream.read_exact(&mut header).await.map_err(|e| e.to_string())?;
    let fault = |fault: Fault| fault.to_string();
    let mut body = vec![0; wire::body_len(header).map_err(fault)?];
    stream.read_exact(&mut body).await.map_err(|e| e.to_string())?;
    wire::decode(&body).map_err(fault)
}

/// The certificate authority of one run.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
struct Pass {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

pub(crate) type Anything = Box<dyn std::error::Error + Send + Sync>;

impl Authority {
    fn new() -> Result<Self, Anything> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { params, key, certificate })
    }

    fn sign(&self, name: &str, server: bool) -> Result<Pass, Anything> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(if server { vec![name.to_owned()] } else { Vec::new() })?;
        params.extended_key_usages = vec![if server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Pass { certificate: certificate.der().clone(), key: secret.into() })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, Anything> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(Arc::new(roots))
    }

    fn server(&self) -> Result<Endpoint, Anything> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots()?, Arc::clone(&provider)).build()?;
        let pass = self.sign(SERVER_NAME, true)?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![pass.certificate], pass.key)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        config.transport_config(Arc::new(transport()));
        Ok(Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?)
    }

    fn client(&self, pass: Pass) -> Result<ClientConfig, Anything> {
        client_config(self.roots()?, pass.certificate, pass.key)
    }
}

/// How a client with this certificate connects to a server under these roots.
pub(crate) fn client_config(
    roots: Arc<RootCertStore>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Anything> {
    let mut tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// Everything is on one machine that may be busy training: nobody is given up for silence.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(None).keep_alive_interval(Some(Duration::from_secs(5)));
    transport
}
