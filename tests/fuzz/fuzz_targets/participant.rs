//! Any sequence of frames from a server, any disk: the participant neither panics nor runs away.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use somnus_protocol::message::Role;
use somnus_protocol::participant::{Input, Output, Participant};
use somnus_protocol::time::Instant;
use somnus_protocol::wire::decode;

fuzz_target!(|data: &[u8]| {
    let mut participant = Participant::new("hub".parse().unwrap(), Role::Trains, None);
    let mut cache = BTreeMap::new();
    let mut now = Duration::ZERO;
    let mut rest = data;
    // Each step: one byte that says what happens, one for a length, and that many bytes of a frame's body.
    while let [what, len, tail @ ..] = rest {
        let (body, next) = tail.split_at(tail.len().min(usize::from(*len)));
        rest = next;
        let input = match what & 7 {
            0 => Input::Connected,
            1 => Input::Disconnected,
            2 => {
                now += Duration::from_secs(u64::from(*len));
                Input::Timeout
            }
            _ => match decode(body) {
                Ok(message) => Input::Message(message),
                Err(_) => continue,
            },
        };
        let mut inputs = vec![input];
        let mut steps = 0;
        while let Some(input) = inputs.pop() {
            participant.handle(Instant::at(now), input);
            loop {
                match participant.poll() {
                    Output::Persist { blob, offset, bytes } => {
                        assert_eq!(*cache.entry(blob).or_insert(0u64), offset);
                        cache.insert(blob, offset + bytes.len() as u64);
                    }
                    // A disk that trusts: every digest is right once the length is.
                    Output::Lookup(blob) => inputs.push(Input::Cached(blob, *cache.entry(blob).or_insert(0))),
                    Output::Run(job) => inputs.push(Input::Finished(job.fail("nothing to train on".into()))),
                    Output::Remember(_) | Output::Send(_) | Output::Event(_) => {}
                    Output::Wait(_) => break,
                }
                steps += 1;
                assert!(steps < 10_000);
            }
        }
    }
});
