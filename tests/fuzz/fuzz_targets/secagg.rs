//! Any bytes as what masked rounds exchange and keep: a roster, a masked update, a list of members, a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use somnus_protocol::packed::Packed;
use somnus_protocol::record::Record;
use somnus_protocol::secagg::{Graph, Parameters, Roster, Subset};
use somnus_protocol::wire::{from_disk, to_disk};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(roster) = Roster::from_bytes(bytes) {
        assert_eq!(roster.to_bytes(), bytes);
        let graph = Graph::new(&Parameters::choose(roster.size(), 0.05, 0.1), roster.digest());
        assert!(!graph.neighbours(0).contains(&0));
    }
    if let Ok(packed) = Packed::from_bytes(bytes, bytes.len() / 8) {
        assert_eq!(packed.to_bytes(), bytes);
    }
    if let Ok(subset) = from_disk::<Subset>(bytes) {
        assert_eq!(subset.iter().count(), subset.len() as usize);
    }
    if let Ok(record) = from_disk::<Record>(bytes) {
        let again: Record = from_disk(&to_disk(&record)).unwrap();
        assert_eq!(format!("{record:?}"), format!("{again:?}"));
    }
});
