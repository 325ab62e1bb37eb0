//! What must be true of what is on disk, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::hands::Arithmetic;
use super::{SEED, World};
use crate::checkpoint::bytes_of;
use crate::encoding::{Codec, Contribution};
use crate::ids::{BlobId, Round, Version};
use crate::message::{Examination, Role, ToClient};
use crate::packed::Packed;
use crate::record::{Masked, Outcome, Record, RoundRecord};
use crate::secagg::{Roster, SealedShare};
use crate::seed::{Label, Seed};
use crate::strategy::Strategy;
use crate::sum::{Sum, Weighting};
use crate::update::UpdateLayout;

impl World {
    /// `persist-then-send`: nobody hears of a release or of a step of a masked round that a crash could undo.
    pub(super) fn check_send(&self, message: &ToClient) {
        let steps = |wanted: Round| {
            self.disk.iter().filter_map(move |record| match record {
                Record::Masked(round, step) if *round == wanted => Some(step),
                _ => None,
            })
        };
        let written = match message {
            ToClient::Evaluate(Examination { version, .. }) | ToClient::Finished { version } => {
                *version <= self.last_release()
            }
            ToClient::Share { round, roster } => steps(*round)
                .any(|step| matches!(step, Masked::Roster(bytes) if BlobId::of(bytes) == *roster)),
            ToClient::Mask { round, present, shares } => steps(*round).any(|step| {
                let Masked::Shares(all) = step else { return false };
                let of = |sender: &u32, share: &SealedShare| {
                    all.get(sender).is_some_and(|sent| sent.iter().any(|(_, sent)| sent == share))
                };
                present.iter().eq(all.keys().copied()) && shares.iter().all(|(from, share)| of(from, share))
            }),
            ToClient::Survivors { round, survivors } => {
                steps(*round).any(|step| matches!(step, Masked::Survivors(fixed, _) if fixed == survivors))
            }
            ToClient::Reveal { round, .. } => steps(*round).any(|step| matches!(step, Masked::Survivors(..))),
            _ => true,
        };
        assert!(written, "persist-then-send: {message:?} before it was written");
    }

    fn last_release(&self) -> Version {
        let versions = self.disk.iter().filter_map(|record| match record {
            Record::Release(release) => Some(release.version),
            Record::Round(_) | Record::Masked(..) => None,
        });
        versions.max().unwrap_or_default()
    }

    /// The rounds on disk, each as it was written last.
    pub(in crate::tests) fn rounds(&self) -> Vec<&RoundRecord> {
        let rounds = self.disk.iter().filter_map(|record| match record {
            Record::Round(round) => Some((round.round, round)),
            Record::Release(_) | Record::Masked(..) => None,
        });
        rounds.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Checks everything that must be true of what is on disk, whatever happened.
    pub(in crate::tests) fn check(&self) {
        let mut version = Version(0);
        let mut weights = vec![0.25; self.weights];
        let mut rule = self.config.clone().check().unwrap().rule(self.weights, version);
        let sections = self.config.clone().check().unwrap().sections(&self.foundation).unwrap();
        let layout = UpdateLayout::new(self.weights, sections);
        let mut rounds = BTreeSet::new();
        let records = |wanted: Round| {
            self.rounds()
                .into_iter()
                .find(move |r| r.round == wanted && matches!(r.outcome, Outcome::Released(_)))
        };
        for record in &self.disk {
            match record {
                Record::Release(release) => {
                    assert_eq!(release.version.0, version.0 + 1, "contiguous-releases");
                    version = release.version;
                    assert!(rounds.insert(release.round), "one-release-a-round: round {}", release.round);
                    let round = records(release.round).expect("a-release-has-its-round");
                    let companion = self.recompute(&mut *rule, &mut weights, round, layout);
                    assert_eq!(bytes_of(&weights), release.weights, "exact-sum: version {version}");
                    assert_eq!(companion, release.companion, "exact-companion: version {version}");
                }
                Record::Masked(..) => {}
                Record::Round(round) => {
                    let cohort: BTreeSet<_> = round.cohort.iter().collect();
                    assert!(round.counted.iter().all(|c| cohort.contains(c)), "counted-in-cohort");
                    let evaluators = self.hubs.iter().filter(|h| h.role == Role::Evaluates);
                    assert!(
                        evaluators.into_iter().all(|h| !cohort.contains(&h.id)),
                        "evaluators-never-train"
                    );
                    if let Outcome::Released(_) = round.outcome {
                        assert!(round.counted.len() >= self.config.min_reports as usize, "threshold");
                    }
                }
            }
        }
    }

    /// The encoding of a masked round, from the roster on the disk, and nothing in it yet.
    fn masked_sum(&self, round: &RoundRecord, layout: UpdateLayout, seed: u64) -> Option<(Codec, Packed)> {
        let secure = self.config.clone().check().unwrap().secure?;
        let rosters = self.disk.iter().filter_map(|record| match record {
            Record::Masked(of, Masked::Roster(roster)) if *of == round.round => Some(roster),
            _ => None,
        });
        let roster = Roster::from_bytes(rosters.last().expect("a-release-has-its-roster")).unwrap();
        let codec = secure.codec(layout, roster.size(), &secure.public(seed)).unwrap();
        let sum = Packed::zero(codec.words());
        Some((codec, sum))
    }

    /// `exact-sum`: the release from the updates of exactly those who were counted, each once; and what goes beside it.
    fn recompute(
        &self,
        rule: &mut dyn Strategy,
        weights: &mut [f32],
        round: &RoundRecord,
        layout: UpdateLayout,
    ) -> Option<Bytes> {
        let mut sum = Sum::new(layout.numbers());
        let seed = Seed::from_number(SEED).derive(Label::Training, &round.round.0.to_le_bytes()).number();
        let mut masked = self.masked_sum(round, layout, seed);
        for client in &round.counted {
            let own = Seed::from_number(seed).derive(Label::Client, client.as_str().as_bytes());
            let mine = own.number();
            let count = self.begun[&(client.clone(), round.round)];
            let hands = Arithmetic { weights: self.weights, mood: 0 };
            let update = hands.update(mine, count, rule.control(), layout.sections());
            let weight = if self.config.weighting == Weighting::Uniform { 1 } else { update.examples };
            let (examples, bytes) = (update.examples, layout.pack(update).unwrap());
            if let Some((codec, sum)) = &mut masked {
                let update =
                    Contribution { update: &bytes, examples, loss: 1.0, evaluation: None, residual: None };
                let plain = codec.encode(&update, &own.derive(Label::Rounding, &[])).unwrap().packed;
                self.witness.hidden(client, round.round, &plain);
                sum.add_assign(&plain);
            }
            sum.add(&bytes, weight, 1.0).unwrap();
        }
        let (mean, weight) = match masked {
            None => (sum.mean(), sum.examples()),
            Some((codec, sum)) => {
                let decoded = codec.decode(&sum, round.counted.len() as u32).unwrap();
                (decoded.mean, decoded.weight)
            }
        };
        rule.step(weights, &layout.mean(&mean, round.counted.len() as u32));
        layout.companion(rule.control(), &mean, weight)
    }
}
