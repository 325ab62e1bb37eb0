//! The server's end of QUIC (RFC 9000, RFC 9001): what the handshake demands and what a peer may cost.
//!
//! One of the files that name quinn and rustls. TLS 1.3 only, client certificates always, ALPN `somnus/1`, no 0-RTT,
//! no session resumption: every connection is judged by the roster as it is now.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use ring::hmac;
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use somnus_protocol::message::ALPN;

use crate::ca::ServerIdentity;
use crate::config::Limits;
use crate::connection_ids::ConnectionIds;
use crate::error::{FileError, IdentityError};
use crate::federation::{Federation, OpenError};
use crate::verifier::Gate;

/// Streams that a peer may have open: its federation stream, a renewal, and one that is just ending.
const STREAMS: u32 = 3;
/// Bytes that a peer may have in flight to us on a connection; half of it on a stream.
const RECEIVE_WINDOW: u32 = 1 << 20;
/// Bytes that wait in memory for a peer to acknowledge.
const SEND_WINDOW: u64 = 1 << 20;
/// Bytes kept per peer, and in all, before its handshake has begun.
const EARLY_BYTES: u64 = 16 * 1024;
/// What these secrets are derived from the server's key with.
const RESET_LABEL: &[u8] = b"somnus/1 quic stateless reset";
const CONNECTION_LABEL: &[u8] = b"somnus/1 quic connection ids";

/// Opens the UDP port.
///
/// # Errors
/// [`OpenError`] if the port is taken or the identity cannot be used.
pub fn open(federation: &Federation, gate: Arc<Gate>) -> Result<Endpoint, OpenError> {
    let identity = ServerIdentity::load(&federation.folder)?;
    let endpoint = endpoint_config(&identity)?;
    let mut tls = rustls::ServerConfig::builder_with_details(
        Arc::new(rustls::crypto::ring::default_provider()),
        Arc::new(federation.clock.clone()),
    )
    .with_protocol_versions(&[&TLS13])
    .map_err(IdentityError::from)?
    .with_client_cert_verifier(gate)
    .with_single_cert(identity.chain, identity.key)
    .map_err(IdentityError::from)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    let tls = QuicServerConfig::try_from(tls).expect("ring has the initial cipher suite of QUIC");

    let limits = federation.config.limits;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config
        .transport_config(Arc::new(transport(limits)))
        .max_incoming(limits.handshakes as usize)
        .incoming_buffer_size(EARLY_BYTES)
        .incoming_buffer_size_total(EARLY_BYTES * u64::from(limits.handshakes))
        .migration(true);

    let listen = federation.config.listen;
    let in_use = |source| FileError::new(listen.to_string().as_ref(), source);
    let socket = UdpSocket::bind(listen).map_err(in_use)?;
    let endpoint = Endpoint::new(endpoint, Some(config), socket, Arc::new(TokioRuntime));
    Ok(endpoint.map_err(in_use)?)
}

fn transport(limits: Limits) -> TransportConfig {
    let idle = IdleTimeout::try_from(limits.idle()).expect("the configuration bounds it");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW / 2))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        // quinn keeps the buffer of its largest batch for as long as a connection lives: 16 KiB with segmentation offload, 2.4 with
        // larger packets than every path carries. An idle hub is to cost less, and a busy one is slower than either.
        .enable_segmentation_offload(false)
        .mtu_discovery_config(None)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(Duration::from_secs(u64::from(limits.idle_seconds)) / 3));
    transport
}

/// The keys of stateless resets (RFC 9000 section 10.3) and connection ids come from the server's own key, so that a
/// server that was killed and started again tells its clients at once that their connections are gone.
fn endpoint_config(identity: &ServerIdentity) -> Result<EndpointConfig, IdentityError> {
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &identity.derive(RESET_LABEL)?);
    let ids = identity.derive(CONNECTION_LABEL)?;
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(move || Box::new(ConnectionIds::new(&ids)));
    Ok(config)
}
