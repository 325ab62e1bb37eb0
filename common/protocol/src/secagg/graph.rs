//! Whose neighbour is who.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::labels::Derive;
use super::parameters::Parameters;
use crate::ids::Digest;

/// A Harary graph: the members stand on a ring in random order, each next to `degree / 2` neighbours on either side.
///
/// The order comes from the digest of the roster, so it is known to all and was known to nobody who chose a key.
pub struct Graph {
    reach: u32,
    /// Place on the ring -> member; empty if the graph is complete.
    ring: Vec<u32>,
    /// Member -> place.
    place: Vec<u32>,
    members: u32,
}

impl Graph {
    /// The graph of a roster.
    pub fn new(parameters: &Parameters, roster: &Digest) -> Self {
        let (members, reach) = (parameters.members(), parameters.degree() / 2);
        if parameters.complete() {
            return Self { reach, ring: vec![], place: vec![], members };
        }
        let mut rng = ChaCha20Rng::from_seed(*Derive::Graph.from(roster.as_bytes(), &[]));
        let mut ring: Vec<u32> = (0..members).collect();
        for last in (1..ring.len()).rev() {
            // Fisher-Yates; the high half of a 64-bit product is uniform but for less than 2^-50.
            let pick = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
            ring.swap(last, pick as usize);
        }
        let mut place = vec![0; ring.len()];
        for (at, &member) in ring.iter().enumerate() {
            place[member as usize] = at as u32;
        }
        Self { reach, ring, place, members }
    }

    /// The neighbours of a member, ascending, without itself.
    ///
    /// # Panics
    /// If `member` is not of the roster.
    pub fn neighbours(&self, member: u32) -> Vec<u32> {
        assert!(member < self.members, "member {member} of {}", self.members);
        if self.ring.is_empty() {
            return (0..self.members).filter(|&other| other != member).collect();
        }
        let place = self.place[member as usize];
        let at = |place: u32| self.ring[(place % self.members) as usize];
        let mut neighbours: Vec<u32> =
            (1..=self.reach).flat_map(|step| [at(place + step), at(place + self.members - step)]).collect();
        neighbours.sort_unstable();
        neighbours
    }

    /// Who holds shares of a member's secrets: its neighbours and itself, ascending.
    ///
    /// # Panics
    /// If `member` is not of the roster.
    pub fn holders(&self, member: u32) -> Vec<u32> {
        let mut holders = self.neighbours(member);
        let own = holders.partition_point(|&other| other < member);
        holders.insert(own, member);
        holders
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn it_is_regular_symmetric_and_known_to_all(n in 1u32..600, digest: [u8; 32]) {
            let parameters = Parameters::choose(n, 0.05, 0.1);
            let digest = Digest::from(digest);
            let graph = Graph::new(&parameters, &digest);
            let again = Graph::new(&parameters, &digest);
            let all: Vec<Vec<u32>> = (0..n).map(|member| graph.neighbours(member)).collect();
            for (member, neighbours) in (0..).zip(all.clone()) {
                prop_assert_eq!(neighbours.len() as u32, parameters.degree());
                prop_assert!(neighbours.is_sorted_by(|a, b| a < b));
                prop_assert!(!neighbours.contains(&member));
                prop_assert!(neighbours.iter().all(|&other| all[other as usize].binary_search(&member).is_ok()));
                prop_assert!(graph.holders(member).is_sorted_by(|a, b| a < b));
                prop_assert_eq!(again.neighbours(member), neighbours);
            }
        }
    }

    #[test]
    fn another_roster_gives_another_graph() {
        let parameters = Parameters::choose(1000, 0.1, 0.1);
        let of = |text: &[u8]| Graph::new(&parameters, &Digest::of(text)).neighbours(0);
        assert_ne!(of(b"one"), of(b"two"));
    }
}
