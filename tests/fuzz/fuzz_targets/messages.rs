//! Any bytes are a message or a fault, and a message that was understood is written the same way again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use somnus_protocol::message::{ToClient, ToServer};
use somnus_protocol::wire::{HEADER, decode, encode};

fuzz_target!(|body: &[u8]| {
    if let Ok(message) = decode::<ToServer>(body) {
        let again: ToServer = decode(&encode(&message)[HEADER..]).unwrap();
        assert_eq!(format!("{message:?}"), format!("{again:?}"));
    }
    if let Ok(message) = decode::<ToClient>(body) {
        let again: ToClient = decode(&encode(&message)[HEADER..]).unwrap();
        assert_eq!(format!("{message:?}"), format!("{again:?}"));
    }
});
