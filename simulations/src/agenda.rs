//! What will happen in a simulated world, in the order of virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use somnus_protocol::message::{ToClient, ToServer};
use somnus_protocol::time::Instant;

use crate::executor::Ticket;

/// Something that happens at a moment. `usize` is a client's index; `u64` tells apart lives, connections and timers,
/// so that what was meant for an earlier one is recognised.
pub enum Happening {
    /// A client connects, for the first time or again.
    Connect(usize),
    /// A message of a connection arrives at the server.
    ToServer(usize, u64, Box<ToServer>),
    /// A message of a connection arrives at a client.
    ToClient(usize, u64, Box<ToClient>),
    /// A client's timer runs out.
    ClientTimer(usize, u64),
    /// The server's timer runs out.
    ServerTimer(u64),
    /// A client's job is done.
    ClientJob(usize, Ticket),
    /// The server's job is done.
    ServerJob(Ticket),
    /// The server notices that a connection is gone.
    Noticed(usize, u64),
    /// A client loses its power.
    Crash(usize),
    /// A client loses a connection.
    Disconnect(usize, u64),
    /// The server is killed and starts again.
    Restart,
}

/// Happenings by time; those of one moment in the order in which they were entered.
#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Entry>,
    number: u64,
}

struct Entry {
    at: Instant,
    number: u64,
    what: Happening,
}

impl Agenda {
    /// Enters something.
    pub fn enter(&mut self, at: Instant, what: Happening) {
        self.heap.push(Entry { at, number: self.number, what });
        self.number += 1;
    }

    /// Takes what happens next.
    pub fn take(&mut self) -> Option<(Instant, Happening)> {
        self.heap.pop().map(|entry| (entry.at, entry.what))
    }
}

impl Ord for Entry {
    /// Reversed: the heap gives its greatest entry first, and that has to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_in_their_order() {
        let mut agenda = Agenda::default();
        for (client, second) in [(0, 5), (1, 2), (2, 2), (3, 9), (4, 2)] {
            agenda.enter(Instant::at(Duration::from_secs(second)), Happening::Connect(client));
        }
        let order: Vec<usize> = std::iter::from_fn(|| agenda.take())
            .map(|(_, what)| if let Happening::Connect(client) = what { client } else { usize::MAX })
            .collect();
        assert_eq!(order, [1, 2, 4, 0, 3]);
    }
}
