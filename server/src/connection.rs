//! One connection: who it is, what it may do, and the two tasks that carry its frames.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream, VarInt};
use rustls::pki_types::{CertificateDer, UnixTime};
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::message::ToServer;
use somnus_protocol::token::{
    CertificateReply, CertificateRequest, Close, MAX_CERTIFICATE_FRAME, StreamKind, decode_der, encode_der,
};
use somnus_protocol::wire::encode;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::error::RequestError;
use crate::federation::Federation;
use crate::frame::{self, FrameError};
use crate::outbox::Outbox;
use crate::registry::{Issued, Member, Peer};
use crate::verifier::Gate;

/// A handshake takes no longer.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// An invited hub says what it wants, and a certificate request is complete, within this time.
const CERTIFICATE: Duration = Duration::from_secs(30);
/// An enrolled client opens its first stream within this time.
const STREAM: Duration = Duration::from_secs(30);
/// Connections that one hub may have: the one that counts, and the one that is about to replace it.
const CONNECTIONS: u32 = 2;
/// A peer that was told everything may take this long to hang up.
const GOODBYE: Duration = Duration::from_secs(5);

/// What connections tell the driver.
pub enum FromPeer {
    /// A client opened its federation stream.
    Opened(Link),
    /// It said something.
    Said(ClientId, u64, ToServer),
    /// Its federation stream or its connection is gone.
    Closed(ClientId, u64),
}

/// The driver's end of a client's connection.
pub struct Link {
    /// Who, as the handshake saw it.
    pub member: Member,
    /// Messages of this connection that were refused.
    pub refused: u32,
    /// Tells this connection from an earlier one of the same client.
    pub serial: u64,
    /// What is to be sent.
    pub outbox: Arc<Outbox>,
    connection: Connection,
}

impl Link {
    /// Ends the connection.
    pub fn close(&self, why: Close, reason: &str) {
        self.outbox.close();
        self.connection.close(VarInt::from_u32(why.code()), reason.as_bytes());
    }
}

/// What every connection needs.
pub struct Hall {
    /// The federation.
    pub federation: Arc<Federation>,
    /// Who gets in.
    pub gate: Arc<Gate>,
    /// To the driver.
    pub driver: mpsc::Sender<FromPeer>,
    serial: AtomicU64,
    seats: Seats,
}

/// How many connections each hub has, by its key: a hub that lost its name cannot crowd out the one that has it now.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<BTreeMap<Digest, u32>>>);

/// One of them, until it is dropped.
struct Seat {
    seats: Seats,
    key: Digest,
}

impl Seats {
    fn take(&self, key: Digest) -> Option<Seat> {
        let mut taken = self.lock();
        let count = taken.entry(key).or_default();
        if *count >= CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        let left = taken.get(&self.key).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            taken.remove(&self.key);
        } else {
            taken.insert(self.key, left);
        }
    }
}

impl Hall {
    /// A hall whose news go to `driver`.
    pub fn new(federation: Arc<Federation>, gate: Arc<Gate>, driver: mpsc::Sender<FromPeer>) -> Self {
        Self { federation, gate, driver, serial: AtomicU64::new(0), seats: Seats::default() }
    }

    /// Serves one peer to its end. The permit is for the handshake, and for everything of a peer that is not enrolled.
    pub async fn receive(self: Arc<Self>, incoming: Incoming, permit: OwnedSemaphorePermit) {
        let address = incoming.remote_address();
        let connection = match timeout(HANDSHAKE, async { incoming.accept()?.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return self.handshake_failed(address, &error).await,
            Err(_) => return debug!(%address, "a handshake took too long"),
        };
        match self.identify(&connection) {
            Ok(Peer::Enrolled(member)) => {
                drop(permit);
                match self.seats.take(member.key()) {
                    Some(_seat) => self.enrolled(connection, member).await,
                    None => close(&connection, Close::Full, "this hub has as many connections as it may"),
                }
            }
            Ok(Peer::Invited(invited)) => {
                let name = invited.name().to_string();
                let (hall, wire) = (Arc::clone(&self), connection.clone());
                let served = timeout(CERTIFICATE, async move {
                    let (send, mut receive) = wire.accept_bi().await?;
                    if stream_kind(&mut receive).await != Some(StreamKind::Certificate) {
                        close(&wire, Close::NotAllowed, "an invited hub can only enrol");
                        return Ok(());
                    }
                    let federation = Arc::clone(&hall.federation);
                    let issue =
                        move |csr: &[u8]| federation.registry.enrol(&invited, csr, federation.clock.now());
                    hall.certificate(send, receive, invited_name(&name), issue).await;
                    Ok::<(), ConnectionError>(())
                })
                .await;
                if served.is_err() {
                    close(&connection, Close::NotAllowed, "an invited hub has to enrol");
                }
                // The reply is on its way; the hub hangs up when it has it.
                let _ = timeout(GOODBYE, connection.closed()).await;
                close(&connection, Close::Done, "");
            }
            Err(why) => {
                close(&connection, Close::Revoked, &why);
                self.refused(&address.to_string(), &why).await;
            }
        }
    }

    /// The handshake has judged the certificate; this says who it was, by the same judgement.
    fn identify(&self, connection: &Connection) -> Result<Peer, String> {
        let identity =
            connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'_>>>().ok());
        let chain = identity.ok_or("no certificate")?;
        let (leaf, others) = chain.split_first().ok_or("no certificate")?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(self.federation.clock.now()));
        self.gate.judge(leaf, others, now).map_err(|refusal| refusal.to_string())
    }

    async fn enrolled(self: &Arc<Self>, connection: Connection, member: Member) {
        let client = member.name().clone();
        let mut has_stream = false;
        loop {
            let opened = if has_stream {
                Ok(connection.accept_bi().await)
            } else {
                timeout(STREAM, connection.accept_bi()).await
            };
            let (send, mut receive) = match opened {
                Ok(Ok(streams)) => streams,
                Ok(Err(error)) => return debug!(%client, %error, "disconnected"),
                Err(_) => {
                    return close(
                        &connection,
                        Close::TooSlow,
                        "a connection without the federation's stream",
                    );
                }
            };
            match timeout(CERTIFICATE, stream_kind(&mut receive)).await.ok().flatten() {
                Some(StreamKind::Federation) if !has_stream => {
                    has_stream = true;
                    let (hall, connection, member) = (Arc::clone(self), connection.clone(), member.clone());
                    tokio::spawn(async move { hall.federate(connection, member, send, receive).await });
                }
                Some(StreamKind::Certificate) => {
                    let (hall, member) = (Arc::clone(self), member.clone());
                    let federation = Arc::clone(&self.federation);
                    let issue =
                        move |csr: &[u8]| federation.registry.renew(&member, csr, federation.clock.now());
                    let name = client.to_string();
                    tokio::spawn(async move {
                        let _ = timeout(CERTIFICATE, hall.certificate(send, receive, name, issue)).await;
                    });
                }
                _ => {
                    let why = "a stream that is neither a certificate request nor the one federation stream";
                    close(&connection, Close::Malformed, why);
                    return self.refused(client.as_str(), why).await;
                }
            }
        }
    }

    /// Carries the frames of one client, until either side ends.
    async fn federate(
        self: Arc<Self>,
        connection: Connection,
        member: Member,
        mut send: SendStream,
        mut receive: RecvStream,
    ) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let outbox = Arc::new(Outbox::new(self.federation.config.limits.outbound_messages as usize));
        let client = member.name().clone();
        let link =
            Link { member, refused: 0, serial, outbox: Arc::clone(&outbox), connection: connection.clone() };
        if self.driver.send(FromPeer::Opened(link)).await.is_err() {
            return close(&connection, Close::Restarting, "the server shuts down");
        }
        let writer = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move {
                while let Some(message) = outbox.next().await {
                    if send.write_chunk(encode(&message).into()).await.is_err() {
                        return;
                    }
                }
                // What is unsent when the client hangs up is of no use to it.
                let _ = send.finish();
                let _ = send.stopped().await;
            }
        });
        let ended = loop {
            match frame::read::<ToServer>(&mut receive).await {
                Ok(Some(message)) => {
                    if self.driver.send(FromPeer::Said(client.clone(), serial, message)).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match ended {
            Err(FrameError::Gone(_)) => {}
            Ok(()) => close(&connection, Close::Done, ""),
            Err(FrameError::Fault(fault)) => {
                let code = if matches!(fault, Fault::Oversized { .. }) {
                    Close::Oversized
                } else {
                    Close::Malformed
                };
                close(&connection, code, &fault.to_string());
                self.refused(client.as_str(), &fault.to_string()).await;
            }
            Err(torn @ FrameError::Torn) => {
                close(&connection, Close::Malformed, &torn.to_string());
                self.refused(client.as_str(), &torn.to_string()).await;
            }
        }
        outbox.close();
        // A driver that is gone needs no news.
        let _ = self.driver.send(FromPeer::Closed(client, serial)).await;
        let _ = writer.await;
    }

    /// One request, one reply: enrols or renews.
    async fn certificate(
        &self,
        mut send: SendStream,
        mut receive: RecvStream,
        name: String,
        issue: impl FnOnce(&[u8]) -> Result<Issued, RequestError> + Send + 'static,
    ) {
        let reply = match receive.read_to_end(MAX_CERTIFICATE_FRAME).await {
            Ok(bytes) => {
                let issued = tokio::task::spawn_blocking(move || issue(&csr(&bytes)?)).await;
                issued.unwrap_or_else(|_| Err(RequestError::NotAllowed("the server failed")))
            }
            Err(error) => Err(RequestError::BadCsr(error.to_string())),
        };
        let reply = match reply {
            Ok(issued) => {
                info!(client = %issued.name, "certificate issued");
                CertificateReply::Issued {
                    federation: self.federation.config.name.clone(),
                    name: issued.name.to_string(),
                    certificate: encode_der(&issued.certificate),
                    authority: encode_der(&issued.authority),
                }
            }
            Err(error) => {
                self.refused(&name, &error.to_string()).await;
                // What is wrong with the server's disk is none of the hub's business.
                let public = match &error {
                    RequestError::Store(_) | RequestError::File(_) | RequestError::Identity(_) => {
                        "the server cannot issue a certificate now; its operator's log says why".into()
                    }
                    _ => error.to_string(),
                };
                CertificateReply::Refused(public)
            }
        };
        let text = serde_json::to_vec(&reply).expect("a reply is plain data");
        // A hub that is gone asks again.
        if send.write_all(&text).await.is_ok() && send.finish().is_ok() {
            let _ = send.stopped().await;
        }
    }

    async fn handshake_failed(&self, address: SocketAddr, error: &ConnectionError) {
        match error {
            // Our own verdict on the peer, or one of its own on us.
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
                self.refused(&address.to_string(), &error.to_string()).await;
            }
            _ => debug!(%address, %error, "a handshake came to nothing"),
        }
    }

    async fn refused(&self, peer: &str, why: &str) {
        let (federation, peer, why) = (Arc::clone(&self.federation), peer.to_owned(), why.to_owned());
        // A panic has been printed, and is no reason to keep the peer.
        let _ = tokio::task::spawn_blocking(move || refuse(&federation, &peer, &why)).await;
    }
}

/// Writes a refusal to both logs, as far as the ration of the audit log goes: a flood fills neither.
pub fn refuse(federation: &Federation, peer: &str, why: &str) {
    match federation.audit.refused(federation.clock.now(), peer, why) {
        Ok(true) => warn!(peer, why, "refused"),
        Ok(false) => debug!(peer, why, "refused"),
        Err(error) => warn!(peer, why, %error, "refused, and the audit log cannot be written"),
    }
}

fn invited_name(name: &str) -> String {
    format!("{name} (invited)")
}

fn csr(bytes: &[u8]) -> Result<Vec<u8>, RequestError> {
    let request: CertificateRequest =
        serde_json::from_slice(bytes).map_err(|error| RequestError::BadCsr(error.to_string()))?;
    decode_der(&request.csr).ok_or_else(|| RequestError::BadCsr("not base64".into()))
}

async fn stream_kind(receive: &mut RecvStream) -> Option<StreamKind> {
    let mut byte = [0];
    receive.read_exact(&mut byte).await.ok()?;
    StreamKind::from_byte(byte[0])
}

fn close(connection: &Connection, why: Close, reason: &str) {
    connection.close(VarInt::from_u32(why.code()), reason.as_bytes());
}
