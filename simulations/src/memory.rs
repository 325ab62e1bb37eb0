//! The server's memory: a coordinator, and clients that are nothing but messages made on the fly.

use std::collections::VecDeque;
use std::process::Command as Process;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::{Coordinator, Input, Output};
use somnus_protocol::ids::{ClientId, UpdateId};
use somnus_protocol::message::{CHUNK, PROTOCOL, Role, ToClient, ToServer, Visible};
use somnus_protocol::record::{Evaluation, Snapshot};
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;

use crate::members::Members;
use crate::rss;

/// Weights of the model.
pub const WEIGHTS: usize = 1_000_000;

/// Numbers of clients that are compared.
pub const CLIENTS: [u32; 2] = [10, 200];

/// The most that memory may grow from the first to the second, MiB.
pub const ALLOWED_MIB: f64 = 5.0;

/// What two servers needed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Weights of the model.
    pub weights: usize,
    /// Peak MiB with the fewer clients.
    pub few_mib: f64,
    /// Peak MiB with the more clients.
    pub many_mib: f64,
    /// The difference.
    pub growth_mib: f64,
}

/// Measures both in processes of their own, so that neither inherits the other's peak.
///
/// # Errors
/// If this program cannot be started again, or the child fails.
pub fn measure() -> std::io::Result<Memory> {
    let peak = |clients: u32| -> std::io::Result<f64> {
        let program = std::env::current_exe()?;
        let output = Process::new(program)
            .args(["bench", "memory-of", &clients.to_string(), &WEIGHTS.to_string()])
            // The simulator's allocator keeps what is freed for some milliseconds; the server's, which is the system's, gives
            // such large buffers back at once. So does this one then.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse()
            .map_err(|_| std::io::Error::other(format!("the server with {clients} clients said {text:?}")))
    };
    let (few_mib, many_mib) = (peak(CLIENTS[0])?, peak(CLIENTS[1])?);
    Ok(Memory { weights: WEIGHTS, few_mib, many_mib, growth_mib: many_mib - few_mib })
}

/// Runs one round with scripted clients in this process and returns its peak memory in MiB.
#[must_use]
pub fn server(clients: u32, weights: usize) -> f64 {
    let rounds = FederationConfig {
        rounds: 1,
        cohort: clients,
        min_clients: clients,
        min_reports: clients,
        danger_plain_aggregation: true,
        ..FederationConfig::default()
    };
    let config = rounds.check().unwrap_or_else(|error| unreachable!("{error}"));
    let start = Snapshot::fresh(Bytes::from_static(b"foundation"), Bytes::from(vec![0; 4 * weights]));
    let seed = Seed::from_number(1);
    let roll = Members::new(&seed).roll();
    let mut server = Coordinator::new(config, start, seed, roll);
    let now = Instant::at(Duration::from_secs(1));
    let mut inputs: VecDeque<Input> = VecDeque::new();
    for number in 0..clients {
        let client = name(number);
        inputs.push_back(Input::Connected(client.clone()));
        let check_in = ToServer::CheckIn { protocol: PROTOCOL, role: Role::Trains };
        inputs.push_back(Input::Message(client, check_in));
    }
    while let Some(input) = inputs.pop_front() {
        server.handle(now, input);
        loop {
            match server.poll() {
                Output::Send(client, message) => {
                    answer(&mut server, now, client, message, weights, &mut inputs);
                }
                // A server has one job at a time and its result comes before other messages, as on an idle machine.
                Output::Run(job) => inputs.push_front(Input::Finished(job.run())),
                Output::Persist(_) | Output::Event(_) => {}
                Output::Wait(_) => break,
            }
        }
    }
    assert!(server.is_finished(), "the scripted round ended");
    rss::peak_mib()
}

/// A scripted client's answer. An upload goes in part by part, as it would arrive.
fn answer(
    server: &mut Coordinator,
    now: Instant,
    client: ClientId,
    message: ToClient,
    weights: usize,
    inputs: &mut VecDeque<Input>,
) {
    let len = 4 * weights;
    match message {
        ToClient::Train(assignment) => {
            let update = UpdateId::of(&part(&client, 0, len));
            let visible = Some(Visible { examples: 900, loss: 0.5 });
            let offer = ToServer::Offer { round: assignment.round, update, visible };
            inputs.push_back(Input::Message(client, offer));
        }
        ToClient::Upload { round, offset } => {
            for from in (offset as usize..len).step_by(CHUNK) {
                let bytes = part(&client, from, CHUNK.min(len - from));
                server.handle(
                    now,
                    Input::Message(client.clone(), ToServer::Part { round, offset: from as u64, bytes }),
                );
            }
        }
        ToClient::Evaluate(examination) => {
            let counts = Some(Evaluation { classes: 2, confusion: vec![1, 2, 3, 4] });
            let counts = ToServer::Evaluated { version: examination.version, counts };
            inputs.push_back(Input::Message(client, counts));
        }
        _ => {}
    }
}

/// Some bytes of a client's update: small weights that depend on the client and the place.
fn part(client: &ClientId, from: usize, len: usize) -> Bytes {
    let own =
        client.as_str().bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let weight = |at: usize| ((at as u32).wrapping_mul(own) >> 20) as f32 * 1e-6;
    (from / 4..(from + len) / 4).flat_map(|at| weight(at).to_le_bytes()).collect()
}

fn name(number: u32) -> ClientId {
    format!("client-{number:04}").parse().unwrap_or_else(|error| unreachable!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripted_round_ends_with_everybody_in_the_sum() {
        // Several chunks; the assertion at the end of the round is inside.
        assert!(server(7, 150_000) >= 0.0);
        let a = part(&name(1), 0, 4000);
        assert_eq!(a.slice(2000..), part(&name(1), 2000, 2000));
        assert_ne!(a, part(&name(2), 0, 4000));
    }
}
