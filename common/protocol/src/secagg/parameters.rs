//! How many neighbours a client has and how many shares recover a secret.
//!
//! With `k` neighbours each secret has `k + 1` holders, its owner among them; any `t` of them recover it. The server may
//! show different survivors to different clients. Of one client's holders at most `c` collude with it, the others reveal
//! one of the two secrets each, so it gets at most `k + 1 + c` shares of both together. Everything here keeps
//!
//! > `2 t > k + 1 + c`:
//!
//! nobody's self-mask *and* mask key can both be recovered, whatever the server says to whom. (It follows that the
//! colluders alone, `c < t`, recover nothing.)
//!
//! Up to 128 members the graph is complete, `k = n - 1`, and `t = floor(2n/3) + 1`: that holds for `c = 2t - n - 1`, at
//! least `floor(n/3) - 1` colluders, **without any probability**, and `n - t` drop-outs are survived. Beyond, `k` is the
//! smallest even number for which each of three events has a probability of at most 2^-40 over the random order of the
//! members on the ring ([`Graph`](super::Graph)), when `floor(colluding n)` members collude and `floor(dropping n)` drop out:
//!
//! - *some client has more than `c` colluders among its neighbours*: at most `n` times a hypergeometric tail; `c` is
//!   the smallest number for which that is rare enough, and `t` is at least what the rule then asks for;
//! - *some client has fewer than `t` living holders*: likewise. Then the round aborts, nothing is revealed;
//! - *the graph can be cut*: survivors on both sides of a cut sum up apart, and the server learns two sums. A cut of the
//!   ring has two gaps of `k/2` neighbouring places each. The survivor at the rim of a gap lost half its holders, and as
//!   `t` is more than half, its self-mask stays in the sum unless colluders in the gap give `t - k/2 - 1` shares; `t` is
//!   large enough for that to be rare. Two such gaps have at most the squared probability of one (hypergeometric
//!   indicators are negatively associated). So even a server that picks the drop-outs itself cannot cut the graph.
//!
//! The probabilities are over the order, which hangs on the digest of the roster. A server that composes 2^g rosters and
//! keeps the worst has 2^g times these chances; complete graphs do not care.

/// Cohorts up to this size use the complete graph.
pub const COMPLETE_UP_TO: u32 = 128;

/// The most that each bad event may have of probability: 2^-40.
pub const FAILURE: f64 = 1.0 / (1u64 << 40) as f64;

/// Degree of the graph and threshold of the shares, for one size of cohort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    members: u32,
    degree: u32,
    threshold: u32,
}

impl Parameters {
    /// For `members` of which at most the fraction `colluding` help the server and at most `dropping` disappear.
    ///
    /// Only additions, multiplications and divisions are involved: every machine gets the same parameters. If no sparse
    /// graph suffices, the graph is complete.
    pub fn choose(members: u32, colluding: f64, dropping: f64) -> Self {
        if members > COMPLETE_UP_TO {
            let colluders = (f64::from(members) * colluding) as u32;
            let dropouts = (f64::from(members) * dropping) as u32;
            for degree in (2..members - 1).step_by(2) {
                if let Some(threshold) = sparse_threshold(members, degree, colluders, dropouts) {
                    return Self { members, degree, threshold };
                }
            }
        }
        Self { members, degree: members.saturating_sub(1), threshold: 2 * members / 3 + 1 }
    }

    /// Size of the cohort, n.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// Neighbours of each member, k.
    pub fn degree(&self) -> u32 {
        self.degree
    }

    /// Shares that recover a secret, t; never more than `degree + 1`.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Whether all are neighbours of all.
    pub fn complete(&self) -> bool {
        self.degree + 1 >= self.members
    }

    /// Colluders among one client's holders up to which nothing of it is learnt, c.
    pub fn colluders(&self) -> u32 {
        (2 * self.threshold).saturating_sub(self.degree + 2)
    }
}

/// The threshold for a sparse graph, if each bad event is rare enough with one.
fn sparse_threshold(members: u32, degree: u32, colluders: u32, dropouts: u32) -> Option<u32> {
    let (n, others) = (f64::from(members), members - 1);
    let neighbours = Tail::new(others, colluders, degree);
    let most_colluders = (0..=degree).find(|&c| n * neighbours.at_least(c + 1) <= FAILURE)?;
    let half = degree / 2;
    let gap = Tail::new(members, colluders, half);
    let in_gap = (0..=half).find(|&c| (n * gap.at_least(c + 1)).powi(2) <= FAILURE)?;
    let threshold = ((degree + 1 + most_colluders) / 2 + 1).max(half + 2 + in_gap);
    // One's own share is always there.
    let spare = (degree + 1).checked_sub(threshold)?;
    let starved = n * Tail::new(others, dropouts, degree).at_least(spare + 1);
    (starved <= FAILURE).then_some(threshold)
}

/// Upper tails of the hypergeometric distribution: `draws` of `population` without replacement, `marked` of them marked.
struct Tail {
    lowest: u32,
    /// P(X >= lowest + i).
    tails: Vec<f64>,
}

impl Tail {
    fn new(population: u32, marked: u32, draws: u32) -> Self {
        let (marked, draws) = (marked.min(population), draws.min(population));
        let (lowest, highest) = ((marked + draws).saturating_sub(population), marked.min(draws));
        // Relative to the mode nothing overflows, and what underflows is far below any probability of interest.
        let mode = (u64::from(draws + 1) * u64::from(marked + 1) / u64::from(population + 2)) as u32;
        let mode = mode.clamp(lowest, highest);
        // P(x + 1) / P(x).
        let ratio = |x: u32| {
            let up = f64::from(marked - x) * f64::from(draws - x);
            up / (f64::from(x + 1) * f64::from(population + x + 1 - marked - draws))
        };
        let mut weights = vec![1.0; (highest - lowest + 1) as usize];
        for x in mode..highest {
            weights[(x + 1 - lowest) as usize] = weights[(x - lowest) as usize] * ratio(x);
        }
        for x in (lowest..mode).rev() {
            weights[(x - lowest) as usize] = weights[(x + 1 - lowest) as usize] / ratio(x);
        }
        // Small ones first.
        let mut tail = 0.0;
        for weight in weights.iter_mut().rev() {
            tail += *weight;
            *weight = tail;
        }
        weights.iter_mut().for_each(|weight| *weight /= tail);
        Self { lowest, tails: weights }
    }

    fn at_least(&self, x: u32) -> f64 {
        match x.checked_sub(self.lowest) {
            None => 1.0,
            Some(i) => self.tails.get(i as usize).copied().unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_cohorts_are_complete_and_three_can_recover_together() {
        let chosen = |n| {
            let p = Parameters::choose(n, 0.2, 0.2);
            (p.degree(), p.threshold(), p.colluders())
        };
        assert_eq!(chosen(1), (0, 1, 0));
        assert_eq!(chosen(2), (1, 2, 1));
        assert_eq!(chosen(3), (2, 3, 2));
        assert_eq!(chosen(10), (9, 7, 3));
        assert_eq!(chosen(30), (29, 21, 11));
        assert_eq!(chosen(100), (99, 67, 33));
        assert_eq!(chosen(128), (127, 86, 43));
    }

    #[test]
    fn tails_are_those_of_the_urn() {
        // 4 of 10 with 3 marked: P(0) = C(7,4)/C(10,4) = 35/210, P(3) = C(7,1)/210.
        let tail = Tail::new(10, 3, 4);
        let exact = [1.0, 175.0 / 210.0, 70.0 / 210.0, 7.0 / 210.0, 0.0];
        for (x, exact) in exact.into_iter().enumerate() {
            assert!((tail.at_least(x as u32) - exact).abs() < 1e-15, "P(X >= {x})");
        }
        assert_eq!(Tail::new(10, 8, 5).at_least(3), 1.0, "three must be marked");
    }

    #[test]
    fn large_cohorts_have_few_neighbours() {
        for n in [1000, 4096] {
            let p = Parameters::choose(n, 0.1, 0.1);
            assert!(!p.complete() && p.degree() < 250, "{p:?}");
            let less = sparse_threshold(n, p.degree() - 2, n / 10, n / 10);
            assert_eq!(less, None, "two neighbours less would do: {p:?}");
        }
    }

    #[test]
    fn every_machine_chooses_these() {
        // Client and server have to agree: a change here is a change of the protocol.
        let chosen = |n, colluding, dropping| {
            let p = Parameters::choose(n, colluding, dropping);
            (p.degree(), p.threshold(), p.colluders())
        };
        assert_eq!(chosen(129, 0.1, 0.1), (46, 35, 22));
        assert_eq!(chosen(300, 0.1, 0.1), (92, 65, 36));
        assert_eq!(chosen(300, 0.2, 0.2), (200, 141, 80));
        assert_eq!(chosen(1000, 0.1, 0.1), (138, 95, 50));
        assert_eq!(chosen(4096, 0.1, 0.1), (168, 115, 60));
        assert_eq!(chosen(4096, 0.1, 0.2), (372, 235, 96));
        assert_eq!(chosen(300, 0.4, 0.3), (299, 201, 101), "nothing sparse will do");
    }

    proptest! {
        #[test]
        fn nobody_gives_up_both_secrets(n in 1u32..=4096, colluding in 0.0..0.5f64, dropping in 0.0..0.5f64) {
            let p = Parameters::choose(n, colluding, dropping);
            prop_assert!(p.threshold() <= p.degree() + 1);
            prop_assert!(2 * p.threshold() > p.degree() + 1 + p.colluders());
            prop_assert!(p.colluders() < p.threshold());
            prop_assert!(p.complete() || p.degree().is_multiple_of(2));
        }
    }
}
