//! Floods and sluggards on real sockets: what peers cost that have proved nothing, and those that never get on with it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, SendStream};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use somnus_protocol::ids::Digest;
use somnus_protocol::message::{ALPN, PROTOCOL, Role, ToServer};
use somnus_protocol::token::{Close, SERVER_NAME, StreamKind};
use somnus_protocol::wire::encode;
use somnus_server::admission::admit;
use somnus_server::ca::Presented;
use somnus_server::clock::WallClock;
use somnus_server::connection::{FromPeer, Hall, Patience};
use somnus_server::endpoint;
use somnus_server::federation::{Federation, Founding};
use somnus_server::verifier::Gate;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// No step may take longer; a test that hangs fails.
const LIVENESS: Duration = Duration::from_secs(60);
const HANDSHAKES: usize = 32;
const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A server's door and hall, without the driver behind them.
struct House {
    _dir: tempfile::TempDir,
    federation: Arc<Federation>,
    endpoint: Endpoint,
    address: SocketAddr,
    news: mpsc::Receiver<FromPeer>,
}

/// A key and its certificate.
struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl House {
    fn new(patience: Patience) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (folder, clock) = (dir.path().join("fed"), WallClock::system());
        let founding = Founding {
            name: "night".into(),
            listen: (HOME, 0).into(),
            public: vec!["localhost:1".into()],
            model: None,
            plain: true,
        };
        Federation::create(&folder, &founding, &clock).unwrap();
        let path = folder.join("server.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("# handshakes = 128", &format!("handshakes = {HANDSHAKES}")))
            .unwrap();
        let federation = Arc::new(Federation::open(&folder, clock).unwrap());
        assert_eq!(federation.config.limits.handshakes as usize, HANDSHAKES);
        let gate = Arc::new(Gate::new(Arc::clone(&federation.registry)).unwrap());
        let endpoint = endpoint::open(&federation, Arc::clone(&gate)).unwrap();
        let (driver, news) = mpsc::channel(16);
        let hall = Arc::new(Hall::new(Arc::clone(&federation), gate, driver, patience));
        let address = endpoint.local_addr().unwrap();
        let door = endpoint.clone();
        tokio::spawn(async move { admit(&door, &hall).await });
        Self { _dir: dir, federation, endpoint, address, news }
    }

    /// A hub with an invitation, as the server will see it, and its token's certificate.
    fn enrol(&self, name: &str) -> Identity {
        let (registry, now) = (&self.federation.registry, self.federation.clock.now());
        let token = registry.invite(&name.parse().unwrap(), "localhost:1", now, 3600).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let hub = Digest::of(key.public_key_raw()).to_hex();
        let seen = Presented { key: token.key_id(), name: hub, not_after: now + 3600 };
        let invited = registry.invited(&seen, now).unwrap().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap();
        let issued = registry.enrol(&invited, csr.der(), now).unwrap();
        Identity { certificate: issued.certificate, key }
    }

    /// Connects from an address of this machine.
    async fn dial(&self, from: Ipv4Addr, identity: Option<&Identity>) -> Result<Connection, ConnectionError> {
        self.endpoint(from, identity).connect(self.address, SERVER_NAME).unwrap().await
    }

    fn endpoint(&self, from: Ipv4Addr, identity: Option<&Identity>) -> Endpoint {
        let mut roots = RootCertStore::empty();
        roots.add(self.federation.registry.authority().certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider);
        let tls = tls.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
        let mut tls = match identity {
            Some(Identity { certificate, key }) => {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der());
                tls.with_client_auth_cert(vec![certificate.clone()], key.into()).unwrap()
            }
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut endpoint = Endpoint::client((from, 0).into()).unwrap();
        endpoint
            .set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap())));
        endpoint
    }

    /// Proves that the server serves: a whole handshake, a stream, a message that reaches the driver.
    async fn serves(&mut self, identity: &Identity) {
        let connection = self.dial(HOME, Some(identity)).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&[StreamKind::Federation as u8]).await.unwrap();
        send.write_all(&hello()).await.unwrap();
        loop {
            let news = timeout(LIVENESS, self.news.recv()).await.expect("the driver hears of it");
            if let FromPeer::Said(_, _, said) = news.expect("the hall is open") {
                assert!(matches!(said, ToServer::CheckIn { .. }));
                return;
            }
        }
    }

    /// Waits until QUIC knows this many connections.
    async fn holds(&self, connections: usize) {
        let counted = async {
            while self.endpoint.open_connections() != connections {
                tokio::task::yield_now().await;
            }
        };
        let held = || self.endpoint.open_connections();
        timeout(LIVENESS, counted).await.unwrap_or_else(|_| panic!("{} and not {connections}", held()));
    }
}

fn hello() -> Vec<u8> {
    encode(&ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains })
}

fn closed(error: &ConnectionError) -> (Option<Close>, String) {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            (Close::from_code(close.error_code.into_inner()), reason)
        }
        other => panic!("not closed by the application: {other}"),
    }
}

async fn verdict(connection: &Connection) -> (Option<Close>, String) {
    closed(&timeout(LIVENESS, connection.closed()).await.expect("it is put up with"))
}

/// The first datagram of a handshake of its own, which nobody has answered.
async fn first_datagram(client: &Endpoint) -> Vec<u8> {
    let nobody = UdpSocket::bind((HOME, 0)).await.unwrap();
    let connecting = client.connect(nobody.local_addr().unwrap(), SERVER_NAME).unwrap();
    let mut bytes = vec![0; 2000];
    let (len, _) = nobody.recv_from(&mut bytes).await.unwrap();
    drop(connecting);
    // A long header of type Initial (RFC 9000 section 17.2.2).
    assert_eq!((bytes[0] & 0xf0, len >= 1200), (0xc0, true));
    bytes.truncate(len);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_leaves_nothing_behind() {
    let mut house = House::new(Patience::default());
    let ann = house.enrol("ann");
    let socket = UdpSocket::bind((HOME, 0)).await.unwrap();
    socket.connect(house.address).await.unwrap();
    let mut bytes = [0; 1500];
    let random = SystemRandom::new();
    for number in 0..10_000usize {
        random.fill(&mut bytes).unwrap();
        // Short headers, long ones of QUIC 1, and whatever comes.
        match number % 3 {
            0 => bytes[0] &= 0x7f,
            1 => bytes[..5].copy_from_slice(&[0xc0 | (number >> 2) as u8, 0, 0, 0, 1]),
            _ => {}
        }
        // A full socket is the flood's own problem.
        let _ = socket.send(&bytes[..1 + number * 7 % 1500]).await;
    }
    // In the order of the socket: what was sent before has been looked at.
    house.serves(&ann).await;
    assert_eq!(house.endpoint.open_connections(), 1);
    let refused = house.federation.audit.tail(1000).unwrap();
    assert!(refused.iter().all(|entry| !format!("{:?}", entry.event).contains("Refused")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn first_datagrams_from_made_up_addresses_take_half_of_the_handshakes_and_no_more() {
    let mut house = House::new(Patience::default());
    let ann = house.enrol("ann");
    let client = house.endpoint(HOME, None);
    for number in 0..200u8 {
        let bytes = first_datagram(&client).await;
        let from = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, number), 0)).await.unwrap();
        // Again and again is not another handshake.
        for _ in 0..3 {
            from.send_to(&bytes, house.address).await.unwrap();
        }
    }
    // The half that enters without proof, the one that tipped it, and this hub, which had to prove its address.
    house.serves(&ann).await;
    let open = house.endpoint.open_connections();
    assert_eq!(open, HANDSHAKES / 2 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_followed_up_is_forgotten() {
    let house = House::new(Patience { handshake: Duration::from_millis(50), ..Patience::default() });
    let client = house.endpoint(HOME, None);
    let bytes = first_datagram(&client).await;
    let from = UdpSocket::bind((HOME, 0)).await.unwrap();
    from.send_to(&bytes, house.address).await.unwrap();
    house.holds(1).await;
    house.holds(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_keeps_failing_waits_and_others_do_not() {
    let house = House::new(Patience { failure: LIVENESS * 10, ..Patience::default() });
    let ann = house.enrol("ann");
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let stranger = async |from| {
        let error = match house.dial(from, None).await {
            Ok(connection) => timeout(LIVENESS, connection.closed()).await.expect("it is let in"),
            Err(error) => error,
        };
        let ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
        u64::from(close.error_code)
    };
    // certificate_required: RFC 8446 section 6, as RFC 9001 section 4.8 carries it.
    for _ in 0..HANDSHAKES / 4 {
        assert_eq!(stranger(elsewhere).await, 0x100 + 116);
    }
    // CONNECTION_REFUSED (RFC 9000 section 20.1), before any cryptography.
    assert_eq!(stranger(elsewhere).await, 2);
    assert!(house.dial(HOME, Some(&ann)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_leave_anything_before_it_is_turned_away() {
    let mut house = House::new(Patience::default());
    let mut talkers = JoinSet::new();
    for number in 0..4 {
        // On this side the handshake is complete before the server has seen that there is no certificate.
        let Ok(connection) = house.dial(Ipv4Addr::new(127, 0, 2, number), None).await else { continue };
        talkers.spawn(async move {
            let talk = async {
                let (mut send, _receive) = connection.open_bi().await?;
                send.write_all(&vec![StreamKind::Federation as u8; 400_000]).await?;
                send.stopped().await?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            };
            assert!(timeout(LIVENESS, talk).await.expect("it is let in").is_err());
        });
    }
    talkers.join_all().await;
    house.holds(0).await;
    assert!(house.news.try_recv().is_err());
}

/// Opens the federation's stream, and keeps it open.
async fn federate(connection: &Connection, first: &[u8]) -> SendStream {
    let (mut send, receive) = connection.open_bi().await.unwrap();
    send.write_all(&[StreamKind::Federation as u8]).await.unwrap();
    send.write_all(first).await.unwrap();
    let connection = connection.clone();
    tokio::spawn(async move {
        connection.closed().await;
        drop(receive);
    });
    send
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_get_on_with_it_is_hung_up_on() {
    let short = Duration::from_millis(100);
    let patience =
        Patience { purpose: short, certificate: short, frame: short, goodbye: short, ..Patience::default() };
    let mut house = House::new(patience);
    let (ann, bob, eve, joe) =
        (house.enrol("ann"), house.enrol("bob"), house.enrol("eve"), house.enrol("joe"));
    tokio::spawn({
        let mut news = std::mem::replace(&mut house.news, mpsc::channel(1).1);
        async move { while news.recv().await.is_some() {} }
    });

    let silent = house.dial(HOME, Some(&ann)).await.unwrap();
    assert_eq!(verdict(&silent).await.0, Some(Close::TooSlow));

    // A frame of 100,000 bytes of which nothing more comes, after a message that is whole.
    let half = house.dial(HOME, Some(&bob)).await.unwrap();
    let frame = [hello(), 100_000u32.to_le_bytes().to_vec(), vec![0; 40_000]].concat();
    let _send = federate(&half, &frame).await;
    let (close, why) = verdict(&half).await;
    assert_eq!((close, why.starts_with("slow frame: ")), (Some(Close::TooSlow), true), "{why}");

    // Not even a header.
    let torn = house.dial(HOME, Some(&eve)).await.unwrap();
    let _send = federate(&torn, &[1]).await;
    assert_eq!(verdict(&torn).await.0, Some(Close::TooSlow));

    // Always a byte more.
    let trickle = house.dial(HOME, Some(&joe)).await.unwrap();
    let mut send = federate(&trickle, &100_000u32.to_le_bytes()).await;
    let trickling = tokio::spawn(async move {
        let mut tick = tokio::time::interval(short / 10);
        while send.write_all(&[0]).await.is_ok() {
            tick.tick().await;
        }
    });
    assert_eq!(verdict(&trickle).await.0, Some(Close::TooSlow));
    trickling.await.unwrap();
    house.holds(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_few_that_a_hub_needs_are_not_there() {
    let house = House::new(Patience::default());
    let ann = house.enrol("ann");
    let connection = house.dial(HOME, Some(&ann)).await.unwrap();
    let mut streams = Vec::new();
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let (send, receive) = connection.open_bi().await.unwrap();
        ids.insert(send.id());
        streams.push((send, receive));
    }
    assert_eq!(ids.len(), 3);
    // Both need the server's leave, which came with the handshake or not at all.
    assert!(timeout(Duration::ZERO, connection.open_bi()).await.is_err());
    assert!(timeout(Duration::ZERO, connection.open_uni()).await.is_err());
    assert_eq!(connection.max_datagram_size(), None);
}
