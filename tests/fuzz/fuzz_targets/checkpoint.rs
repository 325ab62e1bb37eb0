//! Any bytes are a checkpoint or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use somnus_protocol::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::from_bytes(bytes) {
        let _ = checkpoint.to_bytes();
    }
});
