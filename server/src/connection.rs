//! One connection: who it is, what it may do, and the two tasks that carry its frames.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Incoming, RecvStream, SendStream, VarInt};
use rustls::pki_types::{CertificateDer, UnixTime};
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::{ClientId, Digest};
use somnus_protocol::message::ToServer;
use somnus_protocol::token::{
    CertificateReply, CertificateRequest, Close, MAX_CERTIFICATE_FRAME, StreamKind, decode_der, encode_der,
};
use somnus_protocol::wire::decode;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::admission::Visit;
use crate::error::RequestError;
use crate::federation::Federation;
use crate::frame::{self, FrameError};
use crate::outbox::Outbox;
use crate::registry::{Invited, Issued, Member, Peer};
use crate::seats::{Seat, Seats, Taken};
use crate::verifier::Gate;

/// Connections that one hub may have: the one that counts, and the one that is about to replace it.
const CONNECTIONS: u32 = 2;

/// How long a peer may take. The defaults suit the worst networks that a hub lives on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For the whole handshake. Default 15 s.
    pub handshake: Duration,
    /// To say what a connection and what a stream is for. Default 30 s.
    pub purpose: Duration,
    /// For a certificate's request and reply. Default 30 s.
    pub certificate: Duration,
    /// For the next 16 KiB of a frame that has begun, or the rest of it. Default 60 s.
    pub frame: Duration,
    /// To hang up when everything is said. Default 5 s.
    pub goodbye: Duration,
    /// For which a handshake that came to nothing still counts against its address. Default 3 s, which is as long as QUIC
    /// remembers such a connection (RFC 9000 section 10.2).
    pub failure: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(15),
            purpose: Duration::from_secs(30),
            certificate: Duration::from_secs(30),
            frame: Duration::from_secs(60),
            goodbye: Duration::from_secs(5),
            failure: Duration::from_secs(3),
        }
    }
}

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
    /// How long they may take.
    patience: Patience,
    serial: AtomicU64,
    /// By its key: a hub that lost its name cannot crowd out the one that has it now.
    seats: Seats<Digest>,
}

impl Hall {
    /// A hall whose news go to `driver`.
    pub fn new(
        federation: Arc<Federation>,
        gate: Arc<Gate>,
        driver: mpsc::Sender<FromPeer>,
        patience: Patience,
    ) -> Self {
        let seats = Seats::new(CONNECTIONS, federation.config.limits.connections as usize);
        Self { federation, gate, driver, patience, serial: AtomicU64::new(0), seats }
    }

    /// Connections of enrolled hubs.
    pub fn held(&self) -> usize {
        self.seats.taken()
    }

    /// Serves one peer to its end. The visit is for the handshake, and for everything of a peer that is not enrolled.
    pub async fn receive(self: Arc<Self>, incoming: Incoming, visit: Visit) {
        let address = incoming.remote_address();
        let connection = match timeout(self.patience.handshake, async { incoming.accept()?.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                self.handshake_failed(address, &error).await;
                return visit.linger(self.patience.failure).await;
            }
            Err(_) => {
                debug!(%address, "a handshake took too long");
                return visit.linger(self.patience.failure).await;
            }
        };
        match self.identify(&connection) {
            Ok(Peer::Enrolled(member)) => {
                drop(visit);
                match self.seats.take(member.key()) {
                    // On a task of its own, which has no room for the handshake any more.
                    Ok(seat) => drop(tokio::spawn(self.enrolled(connection, member, seat))),
                    Err(Taken::Each) => {
                        close(&connection, Close::Full, "this hub has as many connections as it may");
                    }
                    Err(Taken::All) => close(&connection, Close::Full, "as many hubs as may are connected"),
                }
            }
            // A rare guest: its future would make that of every member larger.
            Ok(Peer::Invited(invited)) => Box::pin(self.invited(connection, invited)).await,
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

    /// Enrols a hub that was invited, which is all that it may do here.
    async fn invited(self: &Arc<Self>, connection: Connection, invited: Invited) {
        let name = format!("{} (invited)", invited.name());
        let served = timeout(self.patience.certificate, async {
            let (send, mut receive) = connection.accept_bi().await?;
            if stream_kind(&mut receive).await != Some(StreamKind::Certificate) {
                close(&connection, Close::NotAllowed, "an invited hub can only enrol");
                return Ok(());
            }
            let federation = Arc::clone(&self.federation);
            let issue = move |csr: &[u8]| federation.registry.enrol(&invited, csr, federation.clock.now());
            self.certificate(send, receive, name, issue).await;
            Ok::<(), ConnectionError>(())
        })
        .await;
        if served.is_err() {
            close(&connection, Close::NotAllowed, "an invited hub has to enrol");
        }
        // The reply is on its way; the hub hangs up when it has it.
        let _ = timeout(self.patience.goodbye, connection.closed()).await;
        close(&connection, Close::Done, "");
    }

    /// Serves an enrolled hub to its end. It is idle most of the time: what is rare is not kept in its future.
    async fn enrolled(self: Arc<Self>, connection: Connection, member: Member, _seat: Seat<Digest>) {
        let client = member.name().clone();
        let mut has_stream = false;
        loop {
            let opened = if has_stream {
                Ok(connection.accept_bi().await)
            } else {
                timeout(self.patience.purpose, connection.accept_bi()).await
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
            match timeout(self.patience.purpose, stream_kind(&mut receive)).await.ok().flatten() {
                Some(StreamKind::Federation) if !has_stream => {
                    has_stream = true;
                    let (hall, connection, member) = (Arc::clone(&self), connection.clone(), member.clone());
                    tokio::spawn(async move { hall.federate(connection, member, send, receive).await });
                }
                Some(StreamKind::Certificate) => {
                    let (hall, member) = (Arc::clone(&self), member.clone());
                    let federation = Arc::clone(&self.federation);
                    let issue =
                        move |csr: &[u8]| federation.registry.renew(&member, csr, federation.clock.now());
                    let name = client.to_string();
                    tokio::spawn(async move {
                        let asked = hall.certificate(send, receive, name, issue);
                        let _ = timeout(hall.patience.certificate, asked).await;
                    });
                }
                _ => {
                    let why = "a stream that is neither a certificate request nor the one federation stream";
                    close(&connection, Close::Malformed, why);
                    return Box::pin(self.refused(client.as_str(), why)).await;
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
        // A place first: news are large, and are not to be held while they wait for one.
        match self.driver.reserve().await {
            Ok(place) => place.send(FromPeer::Opened(link)),
            Err(_) => return close(&connection, Close::Restarting, "the server shuts down"),
        }
        let writer = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move {
                while let Some(frame) = outbox.next().await {
                    if send.write_chunk(frame).await.is_err() {
                        return;
                    }
                }
                // What is unsent when the client hangs up is of no use to it.
                let _ = send.finish();
                let _ = send.stopped().await;
            }
        });
        let ended = loop {
            let frame = match frame::read(&mut receive, self.patience.frame).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let Ok(place) = self.driver.reserve().await else { break Ok(()) };
            match decode(&frame) {
                Ok(message) => place.send(FromPeer::Said(client.clone(), serial, message)),
                Err(fault) => break Err(fault.into()),
            }
        };
        Box::pin(self.hang_up(&connection, &client, ended)).await;
        outbox.close();
        // A driver that is gone needs no news.
        if let Ok(place) = self.driver.reserve().await {
            place.send(FromPeer::Closed(client, serial));
        }
        let _ = writer.await;
    }

    /// Says why a client's frames have come to an end.
    async fn hang_up(&self, connection: &Connection, client: &ClientId, ended: Result<(), FrameError>) {
        let error = match ended {
            Err(FrameError::Gone(_)) => return,
            Ok(()) => return close(connection, Close::Done, ""),
            Err(error) => error,
        };
        let code = match &error {
            FrameError::Fault(Fault::Oversized { .. }) => Close::Oversized,
            FrameError::Slow => Close::TooSlow,
            _ => Close::Malformed,
        };
        close(connection, code, &error.to_string());
        self.refused(client.as_str(), &error.to_string()).await;
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
