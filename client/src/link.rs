//! The hub's end of QUIC (RFC 9000, RFC 9001) and mutual TLS 1.3 (RFC 8446): whom the hub trusts, and what it makes of the
//! ways in which a connection ends.
//!
//! The hub trusts one certificate authority, by the hash that its invitation carried, and one name. What goes wrong is
//! told in one sentence, from the TLS alert or the close code that the server chose.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
};
use somnus_protocol::ids::Digest;
use somnus_protocol::message::ALPN;
use somnus_protocol::token::{Close, SERVER_NAME};

/// A server that does not answer a handshake is not there.
const HANDSHAKE: Duration = Duration::from_secs(10);
const RECEIVE_WINDOW: u32 = 2 << 20;
const SEND_WINDOW: u64 = 1 << 20;

/// How the hub connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// Seconds between signs of life; they also keep NAT bindings open.
    pub keep_alive: Duration,
    /// Silence after which the connection is dead.
    pub idle: Duration,
}

/// What the hub is about to do; the same alert means different things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Use an invitation.
    Enrol,
    /// Take part.
    Run,
}

/// Why there is no connection, in a sentence for the person whose hub this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkError {
    /// The name has no address.
    Address(String, String),
    /// Nobody answers there.
    NoAnswer(String),
    /// The peer does not stand under the pinned authority.
    WrongServer(Purpose),
    /// The peer speaks something else.
    OtherProtocol,
    /// The server does not know what we presented.
    Unknown(Purpose),
    /// Used by another hub, or revoked.
    Revoked(Purpose),
    /// Past its end.
    Expired(Purpose),
    /// By this machine's clock the server's certificate is not valid now.
    Clock,
    /// The server wanted a certificate and saw none.
    NoCertificate,
    /// The server hung up and said why.
    Closed(Close, String),
    /// The connection broke.
    Lost(String),
    /// This machine cannot open a socket or set up TLS.
    Local(String),
}

impl LinkError {
    /// Whether somebody answered and was not, or did not want, what this hub looks for; the opposite of a network that
    /// does not work.
    pub fn is_verdict(&self) -> bool {
        self.is_final() || matches!(self, Self::Clock)
    }

    /// Whether trying again cannot help, if the server itself says so on a connection on which it has proved who it is.
    /// An error of [`connect`] is no such thing; see there.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::WrongServer(_)
                | Self::OtherProtocol
                | Self::Unknown(_)
                | Self::Revoked(_)
                | Self::Expired(_)
                | Self::NoCertificate
                | Self::Closed(Close::Revoked | Close::NotAllowed, _)
        )
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(server, why) => write!(f, "{server}: no such server: {why}"),
            Self::NoAnswer(server) => write!(f, "{server}: no answer"),
            Self::WrongServer(Purpose::Enrol) => f.write_str(
                "this invitation belongs to another federation: the server does not have the authority that it names",
            ),
            Self::WrongServer(Purpose::Run) => {
                f.write_str("the server is not the one this hub enrolled with: it has another authority")
            }
            Self::OtherProtocol => write!(
                f,
                "the server speaks another protocol than {}: one of both is of another version",
                String::from_utf8_lossy(ALPN)
            ),
            Self::Unknown(Purpose::Enrol) => f.write_str(
                "the server does not know this invitation: it belongs to another federation or was forgotten",
            ),
            Self::Unknown(Purpose::Run) => f.write_str("the server does not know this hub's authority"),
            Self::Revoked(Purpose::Enrol) => {
                f.write_str("this invitation has already been used, or was withdrawn")
            }
            Self::Revoked(Purpose::Run) | Self::Closed(Close::Revoked, _) => f.write_str("this hub was revoked"),
            Self::Expired(Purpose::Enrol) => f.write_str("this invitation expired"),
            Self::Expired(Purpose::Run) => {
                f.write_str("this hub's certificate expired: it was away for too long and has to be invited again")
            }
            Self::Clock => f.write_str(
                "this machine's clock is wrong, or the server's is: by this clock the server's certificate is not valid now",
            ),
            Self::NoCertificate => f.write_str("the server saw no certificate of this hub"),
            Self::Closed(Close::Full, _) => f.write_str("the server is full"),
            Self::Closed(_, why) if !why.is_empty() => write!(f, "the server hung up: {why}"),
            Self::Closed(close, _) => write!(f, "the server hung up: {close:?}"),
            Self::Lost(why) => write!(f, "the connection broke: {why}"),
            Self::Local(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LinkError {}

/// Connects to `server` (host:port), presenting `certificate`.
///
/// # Errors
/// [`LinkError`], from a peer that has proved nothing: anybody can answer at an address. In TLS 1.3 the server judges the
/// hub after the hub has judged the server, so our server's refusal of this hub comes as the end of a connection that
/// this function has returned; [`explain`] tells it then.
pub async fn connect(
    server: &str,
    authority: Digest,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pace: Pace,
    purpose: Purpose,
) -> Result<Connection, LinkError> {
    let config = client_config(authority, certificate, key, pace)
        .map_err(|why| LinkError::Local(format!("cannot set up TLS: {why}")))?;
    let addresses = tokio::net::lookup_host(server).await;
    let addresses: Vec<SocketAddr> =
        addresses.map_err(|why| LinkError::Address(server.to_owned(), why.to_string()))?.collect();
    let mut last = LinkError::Address(server.to_owned(), "it has no address".into());
    for address in addresses {
        let any: SocketAddr = if address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let local = |why: &dyn fmt::Display| LinkError::Local(format!("cannot open a socket: {why}"));
        let endpoint = Endpoint::client(any).map_err(|why| local(&why))?;
        let connecting =
            endpoint.connect_with(config.clone(), address, SERVER_NAME).map_err(|why| local(&why))?;
        match tokio::time::timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            // An answer says more than the silence of another address.
            _ if last.is_verdict() => {}
            Ok(Err(error)) => last = explain(&error, purpose),
            Err(_) => last = LinkError::NoAnswer(server.to_owned()),
        }
        if matches!(last, LinkError::Lost(_)) {
            last = LinkError::NoAnswer(server.to_owned());
        }
    }
    Err(last)
}

/// The sentence behind quinn's error.
pub fn explain(error: &ConnectionError, purpose: Purpose) -> LinkError {
    /// QUIC carries TLS alerts as 0x100 + alert (RFC 9001 section 4.8).
    fn alert(code: u64) -> Option<u64> {
        code.checked_sub(0x100).filter(|alert| *alert <= 0xff)
    }
    // Alert numbers: RFC 8446 section 6.
    match error {
        // CONNECTION_REFUSED (RFC 9000 section 20.1): turned away before the handshake.
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 2 => {
            LinkError::Closed(Close::Full, String::new())
        }
        ConnectionError::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
            Some(44) => LinkError::Revoked(purpose),
            Some(45) => LinkError::Expired(purpose),
            Some(48) => LinkError::Unknown(purpose),
            Some(116) => LinkError::NoCertificate,
            Some(120) => LinkError::OtherProtocol,
            _ => LinkError::Lost(error.to_string()),
        },
        // Our own verdict on the server.
        ConnectionError::TransportError(own) => match alert(u64::from(own.code)) {
            // certificate_expired also stands for one that is not valid yet (RFC 8446 section 6.2).
            Some(45) => LinkError::Clock,
            Some(120) => LinkError::OtherProtocol,
            Some(_) => LinkError::WrongServer(purpose),
            None => LinkError::Lost(error.to_string()),
        },
        ConnectionError::ApplicationClosed(close) => {
            let why = String::from_utf8_lossy(&close.reason).into_owned();
            match Close::from_code(close.error_code.into_inner()) {
                Some(code) => LinkError::Closed(code, why),
                None => LinkError::Lost(error.to_string()),
            }
        }
        ConnectionError::Reset => LinkError::Lost("the server was started again".into()),
        ConnectionError::TimedOut => LinkError::Lost("the server fell silent".into()),
        _ => LinkError::Lost(error.to_string()),
    }
}

/// Ends a connection.
pub fn close(connection: &Connection, why: Close, reason: &str) {
    connection.close(VarInt::from_u32(why.code()), reason.as_bytes());
}

fn client_config(
    authority: Digest,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pace: Pace,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Pinned { authority, provider: Arc::clone(&provider) };
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    let tls = QuicClientConfig::try_from(tls).map_err(|why| Error::General(why.to_string()))?;
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(pace.idle).map_err(|why| Error::General(why.to_string()))?;
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW / 2))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(pace.keep_alive));
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Accepts a server whose chain contains the pinned authority and whose leaf that authority signed.
struct Pinned {
    authority: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = others.iter().find(|certificate| Digest::of(certificate) == self.authority);
        let pinned = pinned.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let leaf = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms)?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|why| Error::General(why.to_string()))?;
        verify_server_name(&leaf, &name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({:?})", self.authority)
    }
}
