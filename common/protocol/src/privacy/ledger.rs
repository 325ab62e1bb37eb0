//! What was spent in which round, so that nothing is ever spent that was not there.
//!
//! A round passes through types: [`Ledger::reserve`] gives a [`Reservation`], whose [`Entry`] must be on the disk before
//! anything that could tell the noisy sum is asked of anybody. Its end is [`Reservation::spend`], or
//! [`Reservation::give_back`] if the round was aborted before the sum could be known. A crash between is no end: what is
//! reserved counts.
//!
//! Entries form a lattice, Reserved below Returned below Spent: replayed twice, in part, or in another order, they add
//! up to the same ledger or a dearer one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::{pld, rdp};
use crate::ids::Round;

/// One line of the ledger's log.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// A round is about to make a sum that costs this. Written before the sum can be known.
    Reserved {
        /// The round.
        round: Round,
        /// What knowing its sum costs.
        cost: Cost,
    },
    /// The round ended before anybody could know its sum.
    Returned {
        /// The round.
        round: Round,
    },
    /// Somebody knows the round's sum.
    Spent {
        /// The round.
        round: Round,
    },
}

/// How far a round has come; a later one wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
enum Stage {
    #[default]
    Reserved,
    Returned,
    Spent,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Account {
    stage: Stage,
    /// One, unless a log contradicts itself: then all of them count.
    costs: Vec<Cost>,
}

/// The most that may be spent on one person's privacy.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Epsilon, above 0.
    pub epsilon: f64,
    /// Delta, within 0 to 1.
    pub delta: f64,
}

/// A budget and what was spent of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Ledger {
    budget: Budget,
    rounds: BTreeMap<Round, Account>,
}

/// What a ledger says, for people and as JSON.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Balance {
    /// The budget.
    pub budget: Budget,
    /// Epsilon spent and reserved: the better of the two below; `null` in JSON if it is infinite.
    pub epsilon: f64,
    /// By loss distributions, where they apply.
    pub epsilon_pld: Option<f64>,
    /// By Rényi divergences.
    pub epsilon_rdp: f64,
    /// Rounds whose sum is known.
    pub spent: u64,
    /// Rounds that are under way, or were when a server was killed: they count in full.
    pub reserved: u64,
    /// Rounds that ended before their sum could be known: they cost nothing.
    pub returned: u64,
}

/// Why a round may not be made.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It would cost more than is left.
    #[error(transparent)]
    Overspent(#[from] Overspent),
    /// The ledger has this round already; a round is reserved once.
    #[error("{0} is in the privacy ledger already")]
    Again(Round),
}

/// The next round would cost more than is left.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[error(
    "the privacy budget is spent: epsilon is {spent:.4} now and would be {would_be:.4} after this round, {} at delta {} is allowed",
    budget.epsilon, budget.delta
)]
pub struct Overspent {
    /// What is allowed.
    pub budget: Budget,
    /// Epsilon so far.
    pub spent: f64,
    /// Epsilon with the round.
    pub would_be: f64,
}

/// A round whose cost is set aside. Dropping it changes nothing: its cost counts.
#[must_use = "what is reserved counts until it is given back"]
#[derive(PartialEq, Debug)]
pub struct Reservation {
    round: Round,
    cost: Cost,
}

impl Ledger {
    /// A ledger of which nothing is spent.
    pub fn new(budget: Budget) -> Self {
        Self { budget, rounds: BTreeMap::new() }
    }

    /// The ledger that a log adds up to.
    pub fn replay(budget: Budget, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut ledger = Self::new(budget);
        entries.into_iter().for_each(|entry| ledger.apply(entry));
        ledger
    }

    /// The same after `entry`. Every entry may come any number of times.
    pub fn apply(&mut self, entry: Entry) {
        let (round, stage, cost) = match entry {
            Entry::Reserved { round, cost } => (round, Stage::Reserved, Some(cost)),
            Entry::Returned { round } => (round, Stage::Returned, None),
            Entry::Spent { round } => (round, Stage::Spent, None),
        };
        let account = self.rounds.entry(round).or_default();
        account.stage = account.stage.max(stage);
        if let Some(cost) = cost.filter(|cost| !account.costs.contains(cost)) {
            account.costs.push(cost);
        }
    }

    /// Whether a round of this cost fits into what is left.
    ///
    /// # Errors
    /// [`Overspent`] with what it would come to.
    pub fn afford(&self, next: &Cost) -> Result<(), Overspent> {
        let spent = self.cost();
        let mut after = spent.clone();
        after.extend(next, 1);
        let would_be = after.epsilon(self.budget.delta);
        if would_be <= self.budget.epsilon {
            return Ok(());
        }
        Err(Overspent { budget: self.budget, spent: spent.epsilon(self.budget.delta), would_be })
    }

    /// Sets the cost of a round aside, here and, once its entry is on the disk, for good.
    ///
    /// # Errors
    /// [`Refusal`] if it is more than is left or the round was reserved before; nothing is set aside then.
    pub fn reserve(&mut self, round: Round, cost: Cost) -> Result<Reservation, Refusal> {
        if self.rounds.contains_key(&round) {
            return Err(Refusal::Again(round));
        }
        self.afford(&cost)?;
        let reservation = Reservation { round, cost };
        self.apply(reservation.entry());
        Ok(reservation)
    }

    /// The reservation of a round that a crash interrupted, for a server that can go on with that round.
    pub fn resume(&self, round: Round) -> Option<Reservation> {
        let account = self.rounds.get(&round).filter(|account| account.stage == Stage::Reserved)?;
        Some(Reservation { round, cost: account.costs.first()?.clone() })
    }

    /// All that is spent or reserved.
    pub fn cost(&self) -> Cost {
        let mut total = Cost::default();
        for account in self.rounds.values().filter(|account| account.stage != Stage::Returned) {
            account.costs.iter().for_each(|cost| total.extend(cost, 1));
        }
        total
    }

    /// Epsilon of all that is spent or reserved; an upper bound, 0 to infinity.
    pub fn epsilon(&self) -> f64 {
        self.cost().epsilon(self.budget.delta)
    }

    /// What was spent, by both accountants.
    pub fn balance(&self) -> Balance {
        let (cost, delta) = (self.cost(), self.budget.delta);
        let count = |stage| self.rounds.values().filter(|account| account.stage == stage).count() as u64;
        let (epsilon_pld, epsilon_rdp) = (pld::epsilon(&cost, delta), rdp::epsilon(&cost, delta));
        Balance {
            budget: self.budget,
            epsilon: epsilon_pld.map_or(epsilon_rdp, |pld| pld.min(epsilon_rdp)),
            epsilon_pld,
            epsilon_rdp,
            spent: count(Stage::Spent),
            reserved: count(Stage::Reserved),
            returned: count(Stage::Returned),
        }
    }

    /// The budget.
    pub fn budget(&self) -> Budget {
        self.budget
    }
}

impl Reservation {
    /// What has to be on the disk before the sum can be known.
    pub fn entry(&self) -> Entry {
        Entry::Reserved { round: self.round, cost: self.cost.clone() }
    }

    /// The round.
    pub fn round(&self) -> Round {
        self.round
    }

    /// The sum can be known from here on.
    pub fn spend(self, ledger: &mut Ledger) -> Entry {
        let entry = Entry::Spent { round: self.round };
        ledger.apply(entry.clone());
        entry
    }

    /// The round ended, and nobody can ever know its sum: no unmasking was asked of any client.
    pub fn give_back(self, ledger: &mut Ledger) -> Entry {
        let entry = Entry::Returned { round: self.round };
        ledger.apply(entry.clone());
        entry
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cost::{Noise, Spend};
    use super::*;

    const BUDGET: Budget = Budget { epsilon: 4.0, delta: 1e-3 };

    fn cost(multiplier: f64) -> Cost {
        Cost::of(Spend::everybody(Noise::Gaussian { multiplier }), 1)
    }

    #[test]
    fn the_round_that_would_overspend_is_refused_with_its_numbers() {
        let mut ledger = Ledger::new(BUDGET);
        let mut made = 0;
        let refusal = loop {
            match ledger.reserve(Round(made + 1), cost(4.0)) {
                Ok(reservation) => _ = reservation.spend(&mut ledger),
                Err(refusal) => break refusal,
            }
            made += 1;
        };
        let Refusal::Overspent(overspent) = refusal else { panic!("{refusal}") };
        assert!(overspent.spent <= 4.0 && overspent.would_be > 4.0);
        assert_eq!(ledger.epsilon(), overspent.spent);
        assert!(made > 5 && ledger.balance().spent == made);
        assert!(ledger.afford(&cost(1e3)).is_ok(), "a smaller round still fits");
        assert!(overspent.to_string().contains("4 at delta 0.001 is allowed"), "{overspent}");
    }

    #[test]
    fn only_what_nobody_can_know_is_given_back() {
        let mut ledger = Ledger::new(BUDGET);
        let one = ledger.reserve(Round(1), cost(2.0)).unwrap();
        let full = ledger.epsilon();
        assert!(full > 0.0, "what is reserved counts");
        let returned = one.give_back(&mut ledger);
        assert_eq!(ledger.epsilon(), 0.0);
        // The number is used up all the same.
        assert_eq!(ledger.reserve(Round(1), cost(2.0)), Err(Refusal::Again(Round(1))));
        let spent = ledger.reserve(Round(2), cost(2.0)).unwrap().spend(&mut ledger);
        assert_eq!(ledger.epsilon(), full);
        // A lie in the log cannot take it back.
        ledger.apply(Entry::Returned { round: Round(2) });
        assert_eq!(ledger.epsilon(), full);
        assert!(ledger.resume(Round(2)).is_none() && ledger.resume(Round(9)).is_none());
        assert_eq!(
            (returned, spent),
            (Entry::Returned { round: Round(1) }, Entry::Spent { round: Round(2) })
        );
    }

    #[test]
    fn a_log_that_contradicts_itself_counts_all_it_says() {
        let twice = [2.0, 3.0].map(|z| Entry::Reserved { round: Round(1), cost: cost(z) });
        let ledger = Ledger::replay(BUDGET, twice);
        assert_eq!(ledger.cost().spends().len(), 2);
        let impossible = Cost::of(Spend { noise: Noise::Gaussian { multiplier: f64::NAN }, rate: 1.0 }, 1);
        let ledger = Ledger::replay(BUDGET, [Entry::Reserved { round: Round(1), cost: impossible }]);
        assert_eq!(ledger.epsilon(), f64::INFINITY);
        assert!(ledger.afford(&cost(1e4)).is_err());
    }

    #[test]
    fn entries_survive_both_of_our_formats() {
        let noises = [
            Noise::Gaussian { multiplier: 1.25 },
            Noise::DiscreteGaussian { l2: 3.0, variance: 2.5, clients: 9, weights: 77 },
            Noise::Skellam { l1: 9.0, l2: 3.0, variance: 10.0 },
            Noise::Tree { multiplier: 2.0, separation: 5 },
        ];
        for noise in noises {
            let cost = Cost::of(Spend { noise, rate: 0.25 }, 2);
            for entry in [
                Entry::Reserved { round: Round(7), cost },
                Entry::Returned { round: Round(7) },
                Entry::Spent { round: Round(7) },
            ] {
                assert_eq!(crate::wire::from_disk::<Entry>(&crate::wire::to_disk(&entry)).unwrap(), entry);
                let json = serde_json::to_string(&entry).unwrap();
                assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry, "{json}");
            }
        }
    }

    /// A server that dies whenever it wants to. Its disk holds entries that were flushed; its sums are known from the moment
    /// it asks for unmasking, which it does only with the reservation on the disk.
    #[derive(Default)]
    struct Server {
        disk: Vec<Entry>,
        known: Vec<Cost>,
        round: u64,
    }

    #[derive(Clone, Copy, Debug)]
    enum Fate {
        DiesBeforeFlush,
        DiesReserved,
        AbortsEarly,
        DiesAbortingEarly,
        DiesUnmasked,
        AbortsUnmasked,
        Releases,
    }

    impl Server {
        /// One round after a restart; whether it was made.
        fn round(&mut self, multiplier: f64, fate: Fate) -> bool {
            let mut ledger = Ledger::replay(BUDGET, self.disk.clone());
            self.round += 1;
            let cost = cost(multiplier);
            let Ok(reservation) = ledger.reserve(Round(self.round), cost.clone()) else { return false };
            if let Fate::DiesBeforeFlush = fate {
                return true;
            }
            self.disk.push(reservation.entry());
            match fate {
                Fate::DiesBeforeFlush | Fate::DiesReserved | Fate::DiesAbortingEarly => {}
                Fate::AbortsEarly => self.disk.push(reservation.give_back(&mut ledger)),
                Fate::DiesUnmasked => self.known.push(cost),
                Fate::AbortsUnmasked | Fate::Releases => {
                    self.known.push(cost);
                    self.disk.push(reservation.spend(&mut ledger));
                }
            }
            true
        }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        use Fate::*;
        prop::sample::select(vec![
            DiesBeforeFlush,
            DiesReserved,
            AbortsEarly,
            DiesAbortingEarly,
            DiesUnmasked,
            AbortsUnmasked,
            Releases,
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn never_underspent_never_over_budget(
            schedule in prop::collection::vec((1.0..20.0f64, fate()), 0..40),
            shuffle in any::<u64>(),
        ) {
            let mut server = Server::default();
            for (multiplier, fate) in schedule {
                let before = Ledger::replay(BUDGET, server.disk.clone());
                let fits = before.afford(&cost(multiplier)).is_ok();
                prop_assert_eq!(server.round(multiplier, fate), fits);
            }
            let ledger = Ledger::replay(BUDGET, server.disk.clone());
            let mut known = Cost::default();
            server.known.iter().for_each(|cost| known.extend(cost, 1));
            let truth = known.epsilon(BUDGET.delta);
            prop_assert!(ledger.epsilon() >= truth * (1.0 - 1e-12), "underspent: {} < {truth}", ledger.epsilon());
            prop_assert!(truth <= BUDGET.epsilon && ledger.epsilon() <= BUDGET.epsilon);
            // Doubled and in another order, it is the same ledger.
            let mut log = [server.disk.clone(), server.disk.clone()].concat();
            let len = log.len().max(1) as u64;
            (0..log.len()).for_each(|i| log.swap(i, (shuffle.wrapping_mul(i as u64 + 1) % len) as usize));
            prop_assert_eq!(Ledger::replay(BUDGET, log), ledger);
        }
    }
}
