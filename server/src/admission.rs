//! Who may begin a handshake: what peers that have proved nothing may cost, all of them and each of them.
//!
//! A datagram that opens no connection leaves nothing behind. One that does is let in, sent away, or asked to prove its
//! address first (RFC 9000 section 8.1.2), which costs an answer that is smaller than the question and no memory.
//!
//! - All handshakes together: `limits.handshakes` at a time; from half of it on nobody enters without proof.
//! - One address: a single handshake without proof, and a quarter of all of them with it. One that failed counts for a while.
//! - Connections: `limits.connections` of enrolled hubs. Handshakes do not count as such, so strangers take nobody's place.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use crate::config::Limits;
use crate::connection::Hall;
use crate::seats::{Seat, Seats};

/// Lets peers in as far as the limits allow.
pub async fn admit(endpoint: &Endpoint, hall: &Arc<Hall>) {
    let door = Door::new(hall.federation.config.limits);
    while let Some(incoming) = endpoint.accept().await {
        let proven = incoming.remote_address_validated();
        match door.verdict(incoming.remote_address().ip(), proven, hall.held(), endpoint.open_connections()) {
            Verdict::Enter(visit) => drop(tokio::spawn(Arc::clone(hall).receive(incoming, visit))),
            Verdict::Prove => prove(incoming),
            Verdict::Leave => incoming.refuse(),
        }
    }
}

/// A peer that lies about its address never comes back from this.
fn prove(incoming: Incoming) {
    if let Err(error) = incoming.retry() {
        error.into_incoming().refuse();
    }
}

/// What becomes of a peer that wants to begin a handshake.
enum Verdict {
    Enter(Visit),
    Prove,
    Leave,
}

/// A handshake, until it is dropped.
pub struct Visit {
    handshake: OwnedSemaphorePermit,
    seat: Seat<IpAddr>,
}

impl Visit {
    /// Makes room for another address at once, and for this one later: whoever fails is not served at any rate.
    pub async fn linger(self, time: Duration) {
        let Self { handshake, seat } = self;
        drop(handshake);
        sleep(time).await;
        drop(seat);
    }
}

struct Door {
    limits: Limits,
    handshakes: Arc<Semaphore>,
    addresses: Seats<IpAddr>,
}

impl Door {
    fn new(limits: Limits) -> Self {
        let handshakes = Arc::new(Semaphore::new(limits.handshakes as usize));
        Self { limits, handshakes, addresses: Seats::new((limits.handshakes / 4).max(1), usize::MAX) }
    }

    /// `held` connections belong to enrolled hubs, `open` are known to QUIC: also those that begin, and those that ended a
    /// moment ago.
    fn verdict(&self, from: IpAddr, proven: bool, held: usize, open: usize) -> Verdict {
        let (connections, handshakes) = (self.limits.connections as usize, self.limits.handshakes as usize);
        // All hubs may come back at once, before the ends of their last connections are forgotten.
        if held >= connections || open >= 2 * connections + handshakes {
            return Verdict::Leave;
        }
        let (from, crowded) = (household(from), self.handshakes.available_permits() < handshakes / 2);
        if !proven && (crowded || self.addresses.has(&from)) {
            return Verdict::Prove;
        }
        match (self.addresses.take(from), Arc::clone(&self.handshakes).try_acquire_owned()) {
            (Ok(seat), Ok(handshake)) => Verdict::Enter(Visit { handshake, seat }),
            _ => Verdict::Leave,
        }
    }
}

/// Whom an address belongs to: of IPv6, the 64 bits that whoever has one address has all of (RFC 6177).
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { connections: 10, handshakes: 16, outbound_messages: 8, idle_seconds: 60 };

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn name(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Enter(_) => "enter",
            Verdict::Prove => "prove",
            Verdict::Leave => "leave",
        }
    }

    #[test]
    fn an_address_enters_once_without_proof_and_has_a_quarter_with_it() {
        let door = Door::new(LIMITS);
        let ask = |n, proven| door.verdict(address(n), proven, 0, 0);
        let mut inside = vec![ask(1, false)];
        assert_eq!(name(&inside[0]), "enter");
        assert_eq!(name(&ask(1, false)), "prove");
        inside.extend((0..3).map(|_| ask(1, true)));
        assert!(inside.iter().all(|verdict| name(verdict) == "enter"));
        assert_eq!(name(&ask(1, true)), "leave");
        // Another address does not notice.
        assert_eq!(name(&ask(2, false)), "enter");
        inside.clear();
        assert_eq!(name(&ask(1, false)), "enter");
    }

    #[test]
    fn addresses_that_are_made_up_take_half_of_the_handshakes_and_no_more() {
        let door = Door::new(LIMITS);
        let made_up: Vec<Verdict> = (0..200).map(|n| door.verdict(address(n), false, 0, 0)).collect();
        assert_eq!(made_up.iter().filter(|verdict| name(verdict) == "enter").count(), 9);
        assert!(made_up[9..].iter().all(|verdict| name(verdict) == "prove"));
        assert_eq!(name(&door.verdict(address(250), true, 0, 0)), "enter");
    }

    #[tokio::test]
    async fn a_failure_counts_against_its_address_alone_and_for_a_while() {
        let door = Door::new(LIMITS);
        let mut failures = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let Verdict::Enter(visit) = door.verdict(address(1), true, 0, 0) else { panic!("sent away") };
            failures.spawn(visit.linger(Duration::MAX));
        }
        tokio::task::yield_now().await;
        assert_eq!(door.handshakes.available_permits(), 16);
        assert_eq!(name(&door.verdict(address(1), true, 0, 0)), "leave");
        assert_eq!(name(&door.verdict(address(2), true, 0, 0)), "enter");
        // As the end of that while does.
        failures.shutdown().await;
        assert_eq!(name(&door.verdict(address(1), true, 0, 0)), "enter");
    }

    #[test]
    fn strangers_take_nobodys_place_and_a_full_house_lets_nobody_in() {
        let door = Door::new(LIMITS);
        assert_eq!(name(&door.verdict(address(1), true, 9, 9 + 16 + 9)), "enter");
        assert_eq!(name(&door.verdict(address(1), true, 10, 10)), "leave");
        assert_eq!(name(&door.verdict(address(1), true, 0, 36)), "leave");
    }

    #[test]
    fn a_household_is_an_address_or_a_network_of_64_bits() {
        let same = |a: &str, b: &str| household(a.parse().unwrap()) == household(b.parse().unwrap());
        assert!(
            same("2001:db8:1:2::1", "2001:db8:1:2:ffff::7") && !same("2001:db8:1:2::1", "2001:db8:1:3::1")
        );
        assert!(same("::ffff:192.0.2.1", "192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
