//! One client's connection to a deployed server, as a hub makes it. With [`quic`](crate::quic), what names quinn and rustls here.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::Endpoint;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use somnus_protocol::credentials::{AuthorityRoll, HubIdentity};
use somnus_protocol::message::{ToClient, ToServer};
use somnus_protocol::token::{SERVER_NAME, StreamKind, decode_der};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::place::Card;
use crate::quic;

/// How long a handshake may take: nothing else here is given up for silence.
const ANSWER: Duration = Duration::from_secs(60);
/// Sockets that all clients share.
const SOCKETS: usize = 8;

/// Calls one server.
pub(super) struct Dialer {
    sockets: Vec<Endpoint>,
    roots: Arc<RootCertStore>,
    authority: CertificateDer<'static>,
    server: SocketAddr,
}

/// A connection on which the federation's frames travel.
pub(super) struct Line {
    pub(super) outbox: mpsc::UnboundedSender<ToServer>,
    /// What the server says; at last, why it says no more.
    pub(super) inbox: mpsc::UnboundedReceiver<Result<ToClient, String>>,
}

impl Dialer {
    /// For a server under this authority (PEM).
    pub(super) fn new(authority: &str, server: SocketAddr) -> std::io::Result<Self> {
        let certificate =
            CertificateDer::from_pem_slice(authority.as_bytes()).map_err(std::io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).map_err(std::io::Error::other)?;
        let socket = |_| Endpoint::client((Ipv4Addr::LOCALHOST, 0).into());
        let sockets = (0..SOCKETS).map(socket).collect::<Result<_, _>>()?;
        Ok(Self { sockets, roots: Arc::new(roots), authority: certificate, server })
    }

    /// Those whom the authority has enrolled at `now`, in seconds since 1970 UTC.
    pub(super) fn roll(&self, now: u64) -> Option<AuthorityRoll> {
        AuthorityRoll::new(&self.authority, now)
    }

    /// Connects and opens the federation's stream.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) async fn call(&self, number: usize, card: &Card) -> Result<Line, String> {
        let certificate = decode_der(&card.certificate).ok_or("its certificate is not base64")?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(card.key.as_bytes()).map_err(|why| why.to_string())?;
        let config = quic::client_config(Arc::clone(&self.roots), certificate.into(), key.into());
        let config = config.map_err(|why| why.to_string())?;
        let socket = &self.sockets[number % self.sockets.len()];
        let connecting = socket.connect_with(config, self.server, SERVER_NAME).map_err(|e| e.to_string())?;
        let answered = timeout(ANSWER, connecting).await.map_err(|_| format!("no answer for {ANSWER:?}"))?;
        let connection = answered.map_err(|e| e.to_string())?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
        send.write_all(&[StreamKind::Federation as u8]).await.map_err(|e| e.to_string())?;
        let (outbox, outgoing) = mpsc::unbounded_channel();
        tokio::spawn(quic::write(send, outgoing));
        let (heard, inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let message = quic::read::<ToClient>(&mut receive).await;
                let message = match (message, connection.close_reason()) {
                    (Err(_), Some(reason)) => Err(reason.to_string()),
                    (message, _) => message,
                };
                let last = message.is_err();
                if heard.send(message).is_err() || last {
                    return;
                }
            }
        });
        Ok(Line { outbox, inbox })
    }
}

/// What a client signs with in masked rounds.
pub(super) fn identity(card: &Card) -> Option<HubIdentity> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(card.key.as_bytes()).ok()?;
    HubIdentity::new(key.secret_pkcs8_der(), decode_der(&card.certificate)?.into())
}
