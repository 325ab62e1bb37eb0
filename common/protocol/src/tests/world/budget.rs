//! What was promised about privacy, what is written down of it, and the noise that came of it.

use super::hands::Arithmetic;
use super::{SEED, World};
use crate::checkpoint::floats;
use crate::privacy::clipped::ClippedSum;
use crate::privacy::cost::Cost;
use crate::privacy::ledger::{Budget, Entry, Ledger};
use crate::privacy::terms::Terms;
use crate::privacy::veil::{Source, Veil};
use crate::record::Record;
use crate::seed::{Label, Seed};
use crate::update::{Sections, UpdateLayout};

impl World {
    /// `never-underspent`: whatever could be known is in the ledger on the disk, and the budget holds.
    pub(super) fn check_ledger(&self) {
        let Some(terms) = self.terms() else { return };
        let mut known = self.told.clone();
        known.extend(self.disk.iter().filter_map(|record| match record {
            Record::Release(release) => Some(release.round),
            _ => None,
        }));
        let ledger = self.ledger(&terms);
        let mut cost = Cost::default();
        cost.extend(&terms.plan.round, known.len() as u64);
        assert!(ledger.epsilon() >= cost.epsilon(terms.plan.delta), "never-underspent: {known:?}");
        assert!(ledger.epsilon() <= terms.config.epsilon, "never-overspent");
        let returned = |record: &Record| matches!(record, Record::Privacy(Entry::Returned { round }) if known.contains(round));
        assert!(!self.disk.iter().any(returned), "given-back-is-unknown");
    }

    pub(in crate::tests) fn terms(&self) -> Option<Terms> {
        self.config.clone().check().unwrap().terms(self.weights).unwrap()
    }

    fn ledger(&self, terms: &Terms) -> Ledger {
        let budget = Budget { epsilon: terms.config.epsilon, delta: terms.plan.delta };
        let entries = self.disk.iter().filter_map(|record| match record {
            Record::Privacy(entry) => Some(entry.clone()),
            _ => None,
        });
        Ledger::replay(budget, entries)
    }

    /// What the first release is beside the mean of its updates, clipped to the first norm, over the cohort.
    pub(in crate::tests) fn noise_of_first_release(&self) -> Vec<f64> {
        let round = self.rounds()[0];
        let layout = UpdateLayout::new(self.weights, Sections::default());
        let seed = Seed::from_number(SEED).derive(Label::Training, &round.round.0.to_le_bytes()).number();
        let mut sum = ClippedSum::new(self.weights, self.terms().unwrap().config.clip.initial());
        for client in &round.counted {
            let mine = Seed::from_number(seed).derive(Label::Client, client.as_str().as_bytes()).number();
            let hands = Arithmetic::new(self.weights);
            sum.add(&layout.pack(hands.update(mine, 0, None, layout.sections())).unwrap()).unwrap();
        }
        let clean = sum.veiled(&Veil::new(self.config.cohort, 1.0, 0.0, Source::Clients));
        let released = floats(self.server.weights());
        released.iter().zip(clean).map(|(noisy, clean)| f64::from(*noisy) - 0.25 - f64::from(clean)).collect()
    }
}
