//! Any sequence of frames from a server, any blobs, any disk, among them whole masked rounds: the participant neither panics nor
//! runs away.
#![no_main]

mod company;

use std::time::Duration;

use bytes::Bytes;
use company::{Cache, Company};
use libfuzzer_sys::fuzz_target;
use somnus_protocol::ids::{BlobId, ClientId};
use somnus_protocol::message::{Role, ToClient};
use somnus_protocol::participant::{Hands, Input, Kept, Output, Participant, Policy, Secret};
use somnus_protocol::secagg::SimulatedAuthority;
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_protocol::wire::decode;

/// Trains nothing, but gives an update of the right length.
struct Idle;

impl Trainer for Idle {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        Ok(LocalUpdate {
            delta: vec![0.5; task.weights.len() / 4],
            control: None,
            moments: None,
            steps: 1,
            examples: 960,
            loss: 1.0,
            memory: None,
        })
    }

    fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Ok(LocalEvaluation { classes: 2, confusion: vec![1, 2, 3, 4] })
    }
}

fuzz_target!(|data: &[u8]| {
    // The first bytes are what the disk has of an earlier life.
    let Some((saved, data)) = data.split_first() else { return };
    let (saved, mut rest) = data.split_at(data.len().min(usize::from(*saved)));
    let secrets = (!saved.is_empty()).then(|| Secret::new(saved.to_vec()));
    let mut kept = Kept { memory: secrets.clone(), update: secrets.clone(), secrets };
    let authority = SimulatedAuthority::new(Seed::from_number(1));
    let id: ClientId = "hub".parse().unwrap();
    let roll = authority.roll();
    let identity = authority.enrol(&id);
    let policy = Policy { danger_plain_aggregation: true, ..Policy::default() };
    let start = |kept: &Kept| Participant::new(id.clone(), Role::Trains, policy, kept, Seed::from_number(2));
    let mut participant = start(&kept);
    let mut company = Company::new(authority, id.clone());
    let (mut cache, mut said) = (Cache::new(), Vec::new());
    let mut now = Duration::ZERO;
    // Each step: one byte that says what happens, two for a length, and that many bytes of a frame's body.
    while let [what, low, high, tail @ ..] = rest {
        let len = u16::from_le_bytes([*low, *high]);
        let (body, next) = tail.split_at(tail.len().min(usize::from(len)));
        rest = next;
        let mut inputs = Vec::new();
        let input = match what & 7 {
            0 => Input::Connected,
            1 if len & 1 == 0 => Input::Disconnected,
            1 => {
                participant = start(&kept);
                continue;
            }
            2 => {
                now += Duration::from_secs(u64::from(len));
                Input::Timeout
            }
            // A blob that the cache has, whatever its bytes are: the next message may name it as model or roster.
            3 => {
                cache.insert(BlobId::of(body), body.to_vec());
                continue;
            }
            4 => Input::Message(company.begin(body, &mut cache)),
            // The server answers what it heard last.
            5 => {
                let answers = said.pop().and_then(|said| company.answer(said, &mut cache));
                let mut answers = answers.unwrap_or_default().into_iter().map(Input::Message);
                let Some(first) = answers.next() else { continue };
                inputs.extend(answers);
                first
            }
            _ => match decode(body) {
                Ok(ToClient::Train(assignment)) if assignment.release.len > 1 << 16 => continue,
                Ok(message) => Input::Message(message),
                Err(_) => continue,
            },
        };
        inputs.push(input);
        let mut steps = 0;
        while let Some(input) = inputs.pop() {
            participant.handle(Instant::at(now), input);
            loop {
                match participant.poll() {
                    Output::Persist { blob, offset, bytes } => {
                        let cached = cache.entry(blob).or_default();
                        assert_eq!(cached.len() as u64, offset);
                        cached.extend_from_slice(&bytes);
                    }
                    // A disk that trusts: every digest is right once the length is.
                    Output::Lookup(blob) => {
                        let have = cache.get(&blob).map_or(0, Vec::len) as u64;
                        inputs.push(Input::Cached(blob, have));
                    }
                    Output::Run(job) => {
                        let hands = Hands { trainer: &Idle, identity: &identity, roll: &roll };
                        let load = |blob| cache.get(&blob).map(|bytes| Bytes::from(bytes.clone())).ok_or(());
                        let receipt = job.receipt();
                        inputs.push(Input::Finished(match job.needs().try_map(load) {
                            Ok(needs) => job.run(hands, needs),
                            Err(()) => receipt.failed("the blobs are gone"),
                        }));
                    }
                    Output::Send(message) => said.push(message),
                    Output::Remember(keep, secret) => kept.set(keep, secret),
                    Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
                steps += 1;
                assert!(steps < 10_000);
            }
        }
    }
});
