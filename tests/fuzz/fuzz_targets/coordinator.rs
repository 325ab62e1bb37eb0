//! Any sequence of frames from two clients, in any phase: the coordinator neither panics nor runs away.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::{Coordinator, Input, Output};
use somnus_protocol::ids::ClientId;
use somnus_protocol::record::Snapshot;
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::wire::decode;

fuzz_target!(|data: &[u8]| {
    let config = FederationConfig {
        rounds: 2,
        cohort: 2,
        danger_plain_aggregation: true,
        ..FederationConfig::default()
    };
    let snapshot = Snapshot::fresh(Bytes::from_static(b"foundation"), Bytes::from(vec![0; 16]));
    let mut coordinator = Coordinator::new(config.check().unwrap(), snapshot, Seed::from_number(1));
    let clients: [ClientId; 2] = ["a", "b"].map(|name| name.parse().unwrap());
    let mut now = Duration::ZERO;
    let mut rest = data;
    // Each step: one byte that says what happens, one for a length, and that many bytes of a frame's body.
    while let [what, len, tail @ ..] = rest {
        let (body, next) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = next;
        let client = clients[usize::from(*what & 1)].clone();
        let input = match what >> 1 & 3 {
            0 => Input::Connected(client),
            1 if *what > 200 => Input::Disconnected(client),
            1 => {
                now += Duration::from_secs(u64::from(*len));
                Input::Timeout
            }
            _ => match decode(body) {
                Ok(message) => Input::Message(client, message),
                Err(_) => continue,
            },
        };
        coordinator.handle(Instant::at(now), input);
        let mut steps = 0;
        loop {
            match coordinator.poll() {
                Output::Run(job) => coordinator.handle(Instant::at(now), Input::Finished(job.run())),
                Output::Wait(_) => break,
                _ => {}
            }
            steps += 1;
            assert!(steps < 10_000);
        }
    }
});
