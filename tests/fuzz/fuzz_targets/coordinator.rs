//! Any sequence of frames from four clients, in any phase, in plain and in masked rounds: the coordinator neither panics nor
//! runs away, and after every step it could be started again from what it wrote.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::{Coordinator, Input, Output};
use somnus_protocol::ids::ClientId;
use somnus_protocol::message::{PROTOCOL, Role, ToClient, ToServer};
use somnus_protocol::record::Snapshot;
use somnus_protocol::secagg::{Enrolled, Member, RoundSecrets, RoundSeed, SimulatedAuthority, SimulatedRoll};
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::wire::decode;

/// A coordinator, its disk, and clients that can come as far as keys by themselves.
struct Server {
    config: FederationConfig,
    roll: SimulatedRoll,
    snapshot: Snapshot,
    machine: Coordinator,
    now: Duration,
    clients: Vec<(ClientId, Enrolled)>,
}

impl Server {
    fn new(plain: bool) -> Self {
        let config = FederationConfig {
            rounds: 2,
            cohort: 4,
            danger_plain_aggregation: plain,
            ..FederationConfig::default()
        };
        let snapshot = Snapshot::fresh(Bytes::from_static(b"foundation"), Bytes::from(vec![0; 16]));
        let authority = SimulatedAuthority::new(Seed::from_number(2));
        let clients = ["a", "b", "c", "d"].map(|name| {
            let client: ClientId = name.parse().unwrap();
            let identity = authority.enrol(&client);
            (client, identity)
        });
        let (roll, now) = (authority.roll(), Duration::ZERO);
        let machine = start(&config, &snapshot, &roll);
        Self { config, roll, snapshot, machine, now, clients: clients.into() }
    }

    fn restart(&mut self) {
        self.machine = start(&self.config, &self.snapshot, &self.roll);
        self.now = Duration::ZERO;
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        let mut steps = 0;
        while let Some(input) = inputs.pop() {
            self.machine.handle(Instant::at(self.now), input);
            loop {
                match self.machine.poll() {
                    Output::Run(job) => inputs.push(Input::Finished(job.run())),
                    Output::Persist(record) => self.snapshot.apply(record),
                    Output::Send(client, ToClient::Train(assignment)) if assignment.secure.is_some() => {
                        // Good keys: nobody gets past this phase by luck.
                        let at = self.clients.iter().position(|(name, _)| *name == client).unwrap();
                        let keys = RoundSecrets::new(&RoundSeed::new([at as u8; 32])).advertisement();
                        let (round, promise) = (assignment.round, assignment.promise());
                        let keys = Member::new(client.clone(), &self.clients[at].1, keys, round, &promise);
                        inputs.push(Input::Message(client, ToServer::Ready { round, keys }));
                    }
                    Output::Wait(_) => break,
                    _ => {}
                }
                steps += 1;
                assert!(steps < 10_000);
            }
        }
    }
}

fn start(config: &FederationConfig, snapshot: &Snapshot, roll: &SimulatedRoll) -> Coordinator {
    let config = config.clone().check().unwrap();
    Coordinator::new(config, snapshot.clone(), Seed::from_number(1), Arc::new(roll.clone()))
}

fuzz_target!(|data: &[u8]| {
    let Some((plain, mut rest)) = data.split_first() else { return };
    let mut server = Server::new(plain & 1 == 1);
    // Each step: one byte that says what happens, two for a length, and that many bytes of a frame's body.
    while let [what, low, high, tail @ ..] = rest {
        let len = u16::from_le_bytes([*low, *high]);
        let (body, next) = tail.split_at(tail.len().min(usize::from(len)));
        rest = next;
        let client = server.clients[usize::from(*what & 3)].0.clone();
        let input = match what >> 2 & 7 {
            0 => {
                server.handle(Input::Connected(client.clone()));
                Input::Message(client, ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains })
            }
            1 if *what > 200 => Input::Disconnected(client),
            1 if *what > 100 => {
                server.restart();
                continue;
            }
            1 => {
                server.now += Duration::from_secs(u64::from(len));
                Input::Timeout
            }
            _ => match decode(body) {
                Ok(message) => Input::Message(client, message),
                Err(_) => continue,
            },
        };
        server.handle(input);
    }
});
