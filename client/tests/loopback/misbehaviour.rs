//! Peers that break the rules of TLS, QUIC or the wire: each costs itself its connection and the server one line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{LIVENESS, Running, World, id};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, TransportConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};
use somnus_client::identity::{Folder, Membership, invitation};
use somnus_client::link::{Purpose, explain};
use somnus_protocol::message::{ALPN, PROTOCOL, Role, ToServer};
use somnus_protocol::token::{
    CertificateReply, CertificateRequest, Close, SERVER_NAME, StreamKind, Token, encode_der,
};
use somnus_protocol::wire::{MAX_FRAME, encode};
use somnus_server::ca::ServerIdentity;

const ROUNDS: &str = "min_clients = 9\n";

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A connection as any program could make it: our authority as an ordinary root, anything else as told.
async fn dial(
    server: &Running,
    alpn: &[u8],
    identity: Option<Identity>,
) -> Result<Connection, ConnectionError> {
    let mut roots = RootCertStore::empty();
    roots.add(server.federation.registry.authority().certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder: ConfigBuilder<rustls::ClientConfig, WantsVerifier> =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut tls = match identity {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(200)));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    endpoint.connect_with(config, server.address, SERVER_NAME).unwrap().await
}

/// What the peer hears in the end, wherever in the handshake that is.
async fn verdict(dialled: Result<Connection, ConnectionError>) -> ConnectionError {
    match dialled {
        Err(error) => error,
        Ok(connection) => tokio::time::timeout(LIVENESS, connection.closed()).await.expect("it is let in"),
    }
}

async fn enrolled(world: &World, server: &Running, name: &str) -> Identity {
    world.enrol(name, &server.invite(name)).await.unwrap();
    let folder = Folder::open(&world.hub(name)).unwrap();
    (Membership::load(folder.path()).unwrap().certificate(), folder.key().unwrap().private())
}

fn closed(error: &ConnectionError) -> (Option<Close>, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => (
            Close::from_code(close.error_code.into_inner()),
            String::from_utf8_lossy(&close.reason).into_owned(),
        ),
        other => panic!("not closed by the application: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_do_not_get_through_the_handshake() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;

    let other_protocol = verdict(dial(&server, b"h3", Some((ann.0.clone(), ann.1.clone_key()))).await).await;
    assert!(
        explain(&other_protocol, Purpose::Run).to_string().contains("another protocol"),
        "{other_protocol}"
    );
    let nobody = verdict(dial(&server, ALPN, None).await).await;
    assert_eq!(explain(&nobody, Purpose::Run).to_string(), "the server saw no certificate of this hub");
    // A self-signed certificate under a key that is no invitation.
    let own = Token::new("a:1", somnus_protocol::ids::Digest::of(b""), [3; 32]).unwrap();
    let stranger = invitation(&own, own.key_id()).unwrap();
    let stranger = verdict(dial(&server, ALPN, Some(stranger)).await).await;
    assert_eq!(explain(&stranger, Purpose::Run).to_string(), "the server does not know this hub's authority");
    // And the server lives on for those who belong.
    let good = dial(&server, ALPN, Some(ann)).await.unwrap();
    assert!(good.open_bi().await.is_ok());
    assert_eq!(server.federation.registry.roster().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_and_torn_frames_cost_their_connection_and_one_line() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    let hello = encode(&ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains });
    let oversized = ((MAX_FRAME + 1) as u32).to_le_bytes().to_vec();
    let torn = hello[..hello.len() - 1].to_vec();
    let nonsense = vec![1, 0, 0, 0, 255];
    let cases: [(Vec<u8>, Close, &str); 3] = [
        (oversized, Close::Oversized, "oversized frame: "),
        (torn, Close::Malformed, "torn frame: "),
        (nonsense, Close::Malformed, "malformed message: "),
    ];
    for (number, (bytes, code, reason)) in cases.into_iter().enumerate() {
        let connection = dial(&server, ALPN, Some((ann.0.clone(), ann.1.clone_key()))).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&[StreamKind::Federation as u8]).await.unwrap();
        send.write_all(&hello).await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
        let error = tokio::time::timeout(LIVENESS, connection.closed()).await.expect("it is put up with");
        let (closed, text) = closed(&error);
        assert_eq!(closed, Some(code), "{text}");
        assert!(text.starts_with(reason), "{text}");
        crate::common::until(|| server.refusals().len() == number + 1).await;
        assert!(server.refusals()[number].contains(reason), "{:?}", server.refusals());
    }
    crate::common::until(|| server.live.running().connected.is_empty()).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_hub_can_only_enrol() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let token: Token = server.invite("ann").parse().unwrap_or_else(|_| panic!("no token"));
    let invited = invitation(&token, somnus_protocol::ids::Digest::of(b"some key")).unwrap();
    let connection = dial(&server, ALPN, Some(invited)).await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Federation as u8]).await.unwrap();
    // The server may have hung up by now.
    let _ = send.write_all(&encode(&ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains })).await;
    let error = tokio::time::timeout(LIVENESS, connection.closed()).await.expect("it is let in");
    assert_eq!(closed(&error), (Some(Close::NotAllowed), "an invited hub can only enrol".to_owned()));
    assert!(server.live.running().connected.is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_of_a_client_replaces_the_first() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    let connect = async || {
        let connection = dial(&server, ALPN, Some((ann.0.clone(), ann.1.clone_key()))).await.unwrap();
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[StreamKind::Federation as u8]).await.unwrap();
        (connection, send, receive)
    };
    let (first, _send, _receive) = connect().await;
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    let (second, _send, _receive) = connect().await;
    let error = tokio::time::timeout(LIVENESS, first.closed()).await.expect("both stay");
    assert_eq!(closed(&error).0, Some(Close::Replaced));
    assert!(second.close_reason().is_none());
    assert!(server.live.running().connected.contains(&id("ann")));
    server.stop().await;
}

/// A connection that has not said what it is for.
async fn silent(server: &Running, identity: &Identity) -> Connection {
    dial(server, ALPN, Some((identity.0.clone(), identity.1.clone_key()))).await.unwrap()
}

/// Opens a stream of this kind on it.
async fn open(connection: &Connection, kind: StreamKind) -> (quinn::SendStream, quinn::RecvStream) {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(&[kind as u8]).await.unwrap();
    (send, receive)
}

/// What certificate a connection without a federation stream is given.
async fn renewal(connection: &Connection, folder: &std::path::Path) -> CertificateReply {
    let csr = encode_der(&Folder::open(folder).unwrap().key().unwrap().request().unwrap());
    let (mut send, mut receive) = open(connection, StreamKind::Certificate).await;
    send.write_all(&serde_json::to_vec(&CertificateRequest { csr }).unwrap()).await.unwrap();
    send.finish().unwrap();
    serde_json::from_slice(&receive.read_to_end(100_000).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_reaches_connections_that_have_not_said_anything() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let old = enrolled(&world, &server, "ann").await;
    let (spare, other) = (silent(&server, &old).await, silent(&server, &old).await);
    // A reply proves that the server has seen both, too.
    assert!(matches!(renewal(&spare, &world.hub("ann")).await, CertificateReply::Issued { .. }));
    assert!(matches!(renewal(&other, &world.hub("ann")).await, CertificateReply::Issued { .. }));
    server.revoke("ann");
    let refused = renewal(&spare, &world.hub("ann")).await;
    assert_eq!(refused, CertificateReply::Refused("this hub was revoked".into()));
    let _stream = open(&spare, StreamKind::Federation).await;
    let error = tokio::time::timeout(LIVENESS, spare.closed()).await.expect("a revoked hub is let in");
    assert_eq!(closed(&error), (Some(Close::Revoked), "this hub was revoked".to_owned()));
    assert!(server.live.running().connected.is_empty());

    // Another hub has the name now; what the first one kept open replaces nothing and renews nothing.
    std::fs::rename(world.hub("ann"), world.hub("old-ann")).unwrap();
    let new = enrolled(&world, &server, "ann").await;
    let current = silent(&server, &new).await;
    let _current = open(&current, StreamKind::Federation).await;
    crate::common::until(|| server.live.running().connected.contains(&id("ann"))).await;
    let refused = renewal(&other, &world.hub("old-ann")).await;
    assert_eq!(refused, CertificateReply::Refused("this hub was revoked".into()));
    let _stream = open(&other, StreamKind::Federation).await;
    let error = tokio::time::timeout(LIVENESS, other.closed()).await.expect("a revoked hub is let in");
    assert_eq!(closed(&error).0, Some(Close::Revoked));
    assert!(current.close_reason().is_none());
    assert!(server.live.running().connected.contains(&id("ann")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_has_two_connections_and_no_third() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    let (first, second) = (silent(&server, &ann).await, silent(&server, &ann).await);
    for connection in [&first, &second] {
        renewal(connection, &world.hub("ann")).await;
    }
    let third = tokio::time::timeout(LIVENESS, silent(&server, &ann).await.closed()).await.expect("it stays");
    assert_eq!(closed(&third).0, Some(Close::Full), "{third}");
    assert!(first.close_reason().is_none() && second.close_reason().is_none());
    // Room is made again by hanging up.
    first.close(0u32.into(), b"");
    loop {
        let next = silent(&server, &ann).await;
        let (mut send, mut receive) = next.open_bi().await.unwrap();
        let asked = send.write_all(&[StreamKind::Certificate as u8]).await.is_ok() && send.finish().is_ok();
        if asked && receive.read_to_end(100_000).await.is_ok() {
            break;
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_all_the_time_is_disconnected_and_fills_no_log() {
    let world = World::new(ROUNDS);
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    let connection = silent(&server, &ann).await;
    let (mut send, _receive) = open(&connection, StreamKind::Federation).await;
    let foreign = encode(&ToServer::CheckIn { protocol: PROTOCOL + 1, role: Role::Trains });
    let sender = tokio::spawn(async move { while send.write_all(&foreign).await.is_ok() {} });
    let error = tokio::time::timeout(LIVENESS, connection.closed()).await.expect("it is put up with");
    assert_eq!(closed(&error).0, Some(Close::Malformed), "{error}");
    sender.await.unwrap();
    crate::common::until(|| server.live.running().connected.is_empty()).await;
    // The log is written behind the connection's back.
    crate::common::until(|| !server.refusals().is_empty()).await;
    let lines = server.refusals().len();
    assert!((1..=20).contains(&lines), "{lines} lines");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_others_are_no_certificates_here() {
    let world = World::new(ROUNDS);
    world.found("other", &world.dir.path().join("model.safetensors"));
    // A hub in good standing, in another federation that has the same kind of authority.
    let other = world.serve_named("other", false);
    let stranger = enrolled(&world, &other, "ann").await;
    other.stop().await;
    let server = world.serve();
    let ours = enrolled(&world, &server, "bob").await;
    // And the server's own certificate: our authority signed it, but for a server.
    let own = ServerIdentity::load(&world.dir.path().join("fed")).unwrap();
    for identity in [stranger, (own.chain[0].clone(), own.key.clone_key())] {
        let error = verdict(dial(&server, ALPN, Some(identity)).await).await;
        // unknown_ca: RFC 8446 section 6.
        let ConnectionError::ConnectionClosed(close) = &error else { panic!("{error}") };
        assert_eq!(u64::from(close.error_code), 0x100 + 48, "{error}");
        let sentence = explain(&error, Purpose::Run).to_string();
        assert_eq!(sentence, "the server does not know this hub's authority");
    }
    let good = silent(&server, &ours).await;
    assert!(good.open_bi().await.is_ok());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_before_any_cryptography() {
    let world = World::new(ROUNDS);
    let path = world.dir.path().join("fed/server.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("# connections = 1024", "connections = 1")).unwrap();
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    // Whoever enrols takes no place; a reply proves that the server has counted the first one.
    let first = silent(&server, &ann).await;
    renewal(&first, &world.hub("ann")).await;
    let second = dial(&server, ALPN, Some(ann)).await.unwrap_err();
    assert_eq!(explain(&second, Purpose::Run).to_string(), "the server is full");
    assert!(first.close_reason().is_none());
    server.stop().await;
}
