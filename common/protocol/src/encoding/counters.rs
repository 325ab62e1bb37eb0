//! What is counted exactly.

use super::decoded::DecodeError;
use crate::packed::{Lanes, Packed, lane_bits};

/// What the clients that evaluated counted together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluated {
    /// Clients that evaluated.
    pub clients: u32,
    /// The sum of their confusion matrices: rows truth, columns prediction, row-major.
    pub confusion: Vec<u64>,
}

/// Counts of which each client adds at most `largest`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    section: &'static str,
    largest: u64,
    lanes: Lanes,
}

impl Counters {
    /// `count` counters of a roster, right after `after`.
    pub(super) fn after(
        after: &Lanes,
        section: &'static str,
        count: usize,
        largest: u64,
        roster: u32,
    ) -> Self {
        Self { section, largest, lanes: after.then(lane_bits(roster, largest), count) }
    }

    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    pub(super) fn write(&self, packed: &mut Packed, values: impl IntoIterator<Item = u64>) {
        self.lanes.write(packed, values);
    }

    /// The sums over `clients`.
    pub(super) fn read(&self, sum: &Packed, clients: u32) -> Result<Vec<u64>, DecodeError> {
        let values: Vec<u64> = self.lanes.read(sum).collect();
        within(self.section, values.iter().copied(), u64::from(clients) * self.largest)?;
        Ok(values)
    }

    /// The sum of the first counter; 0 if there is none.
    pub(super) fn first(&self, sum: &Packed, clients: u32) -> Result<u64, DecodeError> {
        Ok(self.read(sum, clients)?.first().copied().unwrap_or_default())
    }
}

/// That no lane is beyond what the clients could have given: one that is has been filled by a client that lied.
pub(super) fn within(
    section: &'static str,
    lanes: impl Iterator<Item = u64>,
    limit: u64,
) -> Result<(), DecodeError> {
    let beyond = lanes.enumerate().find(|(_, value)| *value > limit);
    beyond.map_or(Ok(()), |(lane, got)| Err(DecodeError::Beyond { section, lane, got, limit }))
}
