//! One connection to the server and the two tasks that carry its frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use somnus_protocol::fault::Fault;
use somnus_protocol::ids::Digest;
use somnus_protocol::message::{ToClient, ToServer};
use somnus_protocol::token::{Close, StreamKind};
use somnus_protocol::wire::encode;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::frame::{self, FrameError};
use crate::link::{LinkError, Purpose, close, explain};

/// Messages of the server that may wait for the participant.
const INBOX: usize = 4;
/// How long a server gets to hear the last words.
const PARTING: std::time::Duration = std::time::Duration::from_secs(30);

/// A connection on which the federation's frames travel.
pub struct Session {
    /// The connection, for renewals.
    pub connection: Connection,
    /// What the server says; ends with the connection.
    pub inbox: mpsc::Receiver<ToClient>,
    outbox: mpsc::UnboundedSender<ToServer>,
    traffic: Arc<Traffic>,
}

/// What has moved, to tell a slow connection from a silent server.
#[derive(Default)]
struct Traffic {
    received: AtomicU64,
    /// Messages that have not left.
    pending: AtomicU64,
}

/// A moment's traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    received: u64,
    pending: u64,
    /// Of all kinds, also those that only acknowledge.
    datagrams: u64,
}

impl Session {
    /// Opens the federation's stream.
    ///
    /// # Errors
    /// [`LinkError`] if the connection is gone already.
    pub async fn open(connection: Connection) -> Result<Self, LinkError> {
        let lost = |error: quinn::ConnectionError| explain(&error, Purpose::Run);
        let (mut send, receive) = connection.open_bi().await.map_err(lost)?;
        if send.write_all(&[StreamKind::Federation as u8]).await.is_err() {
            return Err(lost(connection.closed().await));
        }
        let (to_participant, inbox) = mpsc::channel(INBOX);
        let (outbox, from_participant) = mpsc::unbounded_channel();
        let traffic = Arc::new(Traffic::default());
        tokio::spawn(write(send, from_participant, Arc::clone(&traffic)));
        tokio::spawn(read(connection.clone(), receive, to_participant, Arc::clone(&traffic)));
        Ok(Self { connection, inbox, outbox, traffic })
    }

    /// Queues a message. An update waits as slices of one buffer, so the queue needs no bound of its own: the
    /// participant says a bounded number of things for each thing that it hears.
    pub fn send(&self, message: ToServer) {
        match &message {
            ToServer::Fetch { digest, offset } => debug!(?digest, offset, "asking for a chunk"),
            ToServer::Part { round, offset, .. } => debug!(%round, offset, "sending a part"),
            _ => {}
        }
        self.traffic.pending.fetch_add(1, Ordering::Relaxed);
        // A connection that is gone is noticed at the inbox.
        let _ = self.outbox.send(message);
    }

    /// What has moved so far.
    pub fn mark(&self) -> Mark {
        Mark {
            received: self.traffic.received.load(Ordering::Relaxed),
            pending: self.traffic.pending.load(Ordering::Relaxed),
            datagrams: self.connection.stats().udp_rx.datagrams,
        }
    }

    /// Whether the line is busy or dead: bytes came in since `since`, or ours have not left yet, or nothing at all came
    /// through. Patience with a server that is silent must not become impatience with the line to it: what is said twice on
    /// one connection arrives twice.
    pub fn is_busy(&self, since: Mark) -> bool {
        let now = self.mark();
        now.received != since.received || now.pending > 0 || now.datagrams == since.datagrams
    }

    /// The certificate, DER, of the authority with this digest, which the server has proven to stand under.
    pub fn authority(&self, digest: Digest) -> Option<Bytes> {
        let identity = self.connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let authority = identity.into_iter().find(|certificate| Digest::of(certificate) == digest)?;
        Some(Bytes::copy_from_slice(&authority))
    }

    /// Why the session ended.
    pub async fn ended(&self) -> LinkError {
        explain(&self.connection.closed().await, Purpose::Run)
    }

    /// Says nothing more, and hangs up when the server has heard everything that was said, or after a while without its word.
    pub async fn end(self) {
        // With the outbox ends the stream, behind all that waits in it, and with the stream the server ends the connection.
        let Self { connection, outbox, .. } = self;
        drop(outbox);
        if tokio::time::timeout(PARTING, connection.closed()).await.is_err() {
            close(&connection, Close::Done, "");
        }
    }

    /// Hangs up.
    pub fn close(&self, why: Close, reason: &str) {
        close(&self.connection, why, reason);
    }
}

async fn write(mut send: SendStream, mut outbox: mpsc::UnboundedReceiver<ToServer>, traffic: Arc<Traffic>) {
    while let Some(message) = outbox.recv().await {
        let written = send.write_chunk(encode(&message).into()).await;
        traffic.pending.fetch_sub(1, Ordering::Relaxed);
        if written.is_err() {
            return;
        }
    }
}

async fn read(
    connection: Connection,
    mut receive: RecvStream,
    inbox: mpsc::Sender<ToClient>,
    traffic: Arc<Traffic>,
) {
    loop {
        match frame::read::<ToClient>(&mut receive, &traffic.received).await {
            Ok(Some(message)) => {
                if inbox.send(message).await.is_err() {
                    return;
                }
            }
            Ok(None) | Err(FrameError::Gone(_)) => break,
            Err(error) => {
                let oversized = matches!(&error, FrameError::Fault(Fault::Oversized { .. }));
                warn!(%error, "the server said something that makes no sense");
                close(
                    &connection,
                    if oversized { Close::Oversized } else { Close::Malformed },
                    &error.to_string(),
                );
                return;
            }
        }
    }
    // The server has ended the stream, which it does together with the connection.
    if tokio::time::timeout(std::time::Duration::from_secs(5), connection.closed()).await.is_err() {
        close(&connection, Close::Done, "the stream ended");
    }
}
