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
use somnus_protocol::token::{Close, SERVER_NAME, StreamKind, Token};
use somnus_protocol::wire::{MAX_FRAME, encode};

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
    send.write_all(&encode(&ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains })).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_says_so_before_any_cryptography() {
    let world = World::new(ROUNDS);
    let path = world.dir.path().join("fed/server.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("# connections = 1024", "connections = 1")).unwrap();
    let server = world.serve();
    let ann = enrolled(&world, &server, "ann").await;
    // The connection of the enrolment is only just ending.
    let first = loop {
        match dial(&server, ALPN, Some((ann.0.clone(), ann.1.clone_key()))).await {
            Ok(connection) => break connection,
            Err(error) => assert_eq!(explain(&error, Purpose::Run).to_string(), "the server is full"),
        }
    };
    let second = dial(&server, ALPN, Some(ann)).await.unwrap_err();
    assert_eq!(explain(&second, Purpose::Run).to_string(), "the server is full");
    assert!(first.close_reason().is_none());
    server.stop().await;
}
