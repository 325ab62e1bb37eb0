//! What must be true of what is on disk, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::driving::boosted;
use super::hands::Arithmetic;
use super::{SEED, World};
use crate::checkpoint::{bytes_of, floats};
use crate::encoding::{Codec, Contribution, Encoded, Reduce};
use crate::evaluation::Counting;
use crate::ids::{BlobId, ClientId, Round, Version};
use crate::message::{Examination, Role, ToClient};
use crate::packed::Packed;
use crate::privacy::clipped::ClippedSum;
use crate::privacy::mechanism::Mechanism;
use crate::privacy::noise::{DiscreteGaussian, Skellam};
use crate::privacy::planning::Plan;
use crate::privacy::terms::Terms;
use crate::privacy::veil::{Source, Veil};
use crate::record::{Masked, Outcome, Record, RoundRecord};
use crate::robust::{self, groups::GroupMean};
use crate::secagg::{Roster, SealedShare};
use crate::secure::{ClientNoise, SecurePlan};
use crate::seed::{Label, Seed};
use crate::strategy::Strategy;
use crate::sum::{Sum, Weighting};
use crate::update::{Sections, UpdateLayout};

/// What earlier releases leave for the next one: what goes beside it, and what each client has at home.
#[derive(Default)]
struct Past {
    companion: Option<Bytes>,
    residuals: BTreeMap<ClientId, Bytes>,
}

impl World {
    /// `persist-then-send`: nobody hears of a release or of a step of a masked round that a crash could undo.
    pub(super) fn check_send(&self, message: &ToClient) {
        let steps = |wanted: Round| {
            self.disk.iter().filter_map(move |record| match record {
                Record::Masked(round, _, step) if *round == wanted => Some(step),
                _ => None,
            })
        };
        let written = match message {
            ToClient::Evaluate(Examination { version, .. }) | ToClient::Finished { version } => {
                *version <= self.last_release()
            }
            ToClient::Train(assignment) => {
                assignment.counting().scoring().is_none_or(|scoring| scoring.version <= self.last_release())
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
            Record::Round(_) | Record::Masked(..) | Record::Privacy(_) => None,
        });
        versions.max().unwrap_or_default()
    }

    /// The rounds on disk, each as it was written last.
    pub(in crate::tests) fn rounds(&self) -> Vec<&RoundRecord> {
        let rounds = self.disk.iter().filter_map(|record| match record {
            Record::Round(round) => Some((round.round, round)),
            Record::Release(_) | Record::Masked(..) | Record::Privacy(_) => None,
        });
        rounds.collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Checks everything that must be true of what is on disk, whatever happened.
    pub(in crate::tests) fn check(&self) {
        self.check_ledger();
        self.check_evaluations();
        let (mut version, mut norm) = (Version(0), None);
        let mut weights = vec![0.25; self.weights];
        let mut rule = self.config.clone().check().unwrap().rule(self.weights, version);
        let sections = self.config.clone().check().unwrap().sections(&self.foundation).unwrap();
        let layout = UpdateLayout::new(self.weights, sections).reduced(&self.reduce());
        let mut rounds = BTreeSet::new();
        let mut past = Past::default();
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
                    past = self.recompute(&mut *rule, &mut weights, round, layout, (version, norm), past);
                    norm = release.norm;
                    assert_eq!(bytes_of(&weights), release.weights, "exact-sum: version {version}");
                    assert_eq!(past.companion, release.companion, "exact-companion: version {version}");
                }
                Record::Masked(..) | Record::Privacy(_) => {}
                Record::Round(round) => {
                    let cohort: BTreeSet<_> = round.cohort.iter().collect();
                    assert!(round.counted.iter().all(|c| cohort.contains(c)), "counted-in-cohort");
                    let evaluators = self.hubs.iter().filter(|h| h.role == Role::Evaluates);
                    // All who are there may count the last release.
                    let closing = version.0 >= self.config.rounds && !rounds.contains(&round.round);
                    assert!(
                        closing || evaluators.into_iter().all(|h| !cohort.contains(&h.id)),
                        "evaluators-never-train"
                    );
                    if let Outcome::Released(_) = round.outcome {
                        assert!(round.counted.len() >= self.config.min_reports as usize, "threshold");
                    }
                }
            }
        }
        for (hub, left_out) in self.hubs.iter().zip(self.left_out()) {
            assert_eq!(
                left_out,
                past.residuals.get(&hub.id).cloned(),
                "nothing-lost: {} keeps other",
                hub.id
            );
        }
    }

    /// Over all releases, if they are uniform means: what came out of them, what clients still have at home, and what all
    /// counted updates said; and how far rounding may have moved the sum of the first two.
    pub(in crate::tests) fn balance(&self) -> ([Vec<f64>; 3], f64) {
        let mut sums = [0, 1, 2].map(|_| vec![0.0; self.weights]);
        let add = |sum: &mut Vec<f64>, x: &[f32], times: f64| {
            sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += f64::from(*x) * times);
        };
        let layout = UpdateLayout::new(self.weights, Sections::default());
        let (mut before, mut slack) = (vec![0.25; self.weights], 0.0);
        for record in &self.disk {
            let Record::Release(release) = record else { continue };
            let round = self.rounds().into_iter().find(|round| round.round == release.round).unwrap();
            let (after, clients) = (floats(&release.weights), round.counted.len() as f64);
            add(&mut sums[0], &after, clients);
            add(&mut sums[0], &before, -clients);
            before = after;
            let seed = Seed::from_number(SEED).derive(Label::Training, &round.round.0.to_le_bytes()).number();
            for client in &round.counted {
                let own = Seed::from_number(seed).derive(Label::Client, client.as_str().as_bytes());
                let count = self.begun[&(client.clone(), round.round)];
                let hands = Arithmetic::new(self.weights);
                add(&mut sums[2], &hands.update(own.number(), count, None, layout.sections()).delta, 1.0);
            }
            let beside = (None, self.counting(Version(release.version.0 - 1)));
            let (_, groups) = self.masked_sums(round.round, layout, seed, None, beside).unwrap();
            let lanes = groups[0].codec.sensitivity();
            slack += clients * lanes.unit * (lanes.lanes as f64).sqrt();
        }
        self.left_out().iter().flatten().for_each(|rest| add(&mut sums[1], &floats(rest), 1.0));
        (sums, slack)
    }

    fn reduce(&self) -> Reduce {
        self.config.clone().check().unwrap().reduce()
    }

    /// The rosters of a masked round, group by group, as they are on the disk.
    pub(in crate::tests) fn rosters(&self, round: Round) -> Vec<Roster> {
        rosters(&self.disk, round)
    }

    /// The encodings of a masked round, from the rosters on the disk, and nothing in them yet.
    pub(super) fn masked_sums(
        &self,
        round: Round,
        layout: UpdateLayout,
        seed: u64,
        norm: Option<f64>,
        (companion, counting): (Option<&Bytes>, Counting),
    ) -> Option<(SecurePlan, Vec<GroupSum>)> {
        let mut secure = match self.terms() {
            Some(terms) => terms.secure?,
            None => self.config.clone().check().unwrap().secure?,
        };
        secure.encoding.clip_norm = norm.unwrap_or(secure.encoding.clip_norm);
        secure.counting = counting;
        let favourites = companion.and_then(|companion| layout.favourites(companion));
        let public = secure.public(seed);
        let sum = |roster: Roster| {
            let codec = secure.codec(layout, roster.size(), &public, favourites.as_deref()).unwrap();
            GroupSum { sum: Packed::zero(codec.words()), codec, roster, counted: Vec::new() }
        };
        let sums: Vec<GroupSum> = self.rosters(round).into_iter().map(sum).collect();
        assert_eq!(sums.len(), self.config.groups as usize, "a-release-has-its-rosters");
        Some((secure, sums))
    }

    /// The round that a client's update in `round` was trained for, and what the change counts that it brings to `release`.
    fn base(&self, client: &ClientId, round: Round, release: Version) -> (Round, f32) {
        let Some(rules) = self.config.asynchronous else { return (round, 1.0) };
        let (base, version) = self.witness.bases[&(client.clone(), round)];
        let late = release.0 - 1 - version.0;
        assert!(late <= rules.max_staleness, "not-too-late: {client} is {late} releases late");
        (base, (1.0 + late as f64).powf(-rules.exponent) as f32)
    }

    /// `exact-sum`: the release from the updates of exactly those who were counted, each once; and what goes beside it.
    fn recompute(
        &self,
        rule: &mut dyn Strategy,
        weights: &mut [f32],
        round: &RoundRecord,
        layout: UpdateLayout,
        (version, norm): (Version, Option<f64>),
        past: Past,
    ) -> Past {
        let terms = self.terms();
        let initial = terms.as_ref().map_or(0.0, |terms| terms.config.clip.initial());
        let mut clipped = ClippedSum::new(layout.numbers(), norm.unwrap_or(initial));
        let mut sum = Sum::new(layout.numbers());
        let seed = Seed::from_number(SEED).derive(Label::Training, &round.round.0.to_le_bytes()).number();
        let Past { companion, mut residuals } = past;
        let counting = self.counting(Version(version.0 - 1));
        let beside = (companion.as_ref(), counting);
        let mut masked = self.masked_sums(round.round, layout, seed, norm, beside);
        for client in &round.counted {
            let own = Seed::from_number(seed).derive(Label::Client, client.as_str().as_bytes());
            let (base, late) = self.base(client, round.round, version);
            let trained = Seed::from_number(SEED).derive(Label::Training, &base.0.to_le_bytes()).number();
            let mine = Seed::from_number(trained).derive(Label::Client, client.as_str().as_bytes()).number();
            let count = self.begun[&(client.clone(), base)];
            let hands = boosted(&self.boosts, client, self.weights);
            let update = hands.hands.update(mine, count, rule.control(), layout.sections());
            let update = hands.boost(update);
            let weight = if self.config.weighting == Weighting::Uniform { 1 } else { update.examples };
            let (examples, bytes) = (update.examples, layout.pack(update).unwrap());
            let bytes = layout.weigh(&bytes, late).unwrap();
            if terms.is_some() {
                clipped.add(&bytes).unwrap();
            }
            if let Some((secure, groups)) = &mut masked {
                let group = groups.iter_mut().find(|group| group.roster.index_of(client).is_some());
                let GroupSum { codec, sum, counted, .. } = group.expect("counted-in-a-group");
                counted.push(client.clone());
                let residual = residuals.remove(client);
                let counts = self.counts(client, round.round, counting);
                let (evaluation, residual) = (counts.as_deref(), residual.as_deref());
                let update = Contribution { update: &bytes, examples, loss: 1.0, evaluation, residual };
                let rounding = own.derive(Label::Rounding, &[]);
                let secret = Seed::new(self.witness.seeds[&(client.clone(), round.round)]);
                let mut rng = secret.derive(Label::Privacy, b"client").rng();
                let encoded = match secure.noise {
                    None => codec.encode(&update, &rounding),
                    Some(ClientNoise::Skellam { variance }) => {
                        let noise = Skellam::new(variance).unwrap();
                        codec.encode_noisy(&update, &rounding, &mut || noise.sample(&mut rng))
                    }
                    Some(ClientNoise::DiscreteGaussian { variance }) => {
                        let noise = DiscreteGaussian::new(variance).unwrap();
                        codec.encode_noisy(&update, &rounding, &mut || noise.sample(&mut rng))
                    }
                };
                let Encoded { packed: plain, residual } = encoded.unwrap();
                residuals.extend(residual.map(|residual| (client.clone(), residual)));
                self.witness.hidden(client, round.round, &plain);
                sum.add_assign(&plain);
            }
            sum.add(&bytes, weight, 1.0).unwrap();
        }
        let (mean, weight) = match masked {
            None => match terms.as_ref().map(|terms| veil(terms, round.round, version)) {
                Some(veil) => (clipped.veiled(&veil), sum.examples()),
                None => (sum.mean(), sum.examples()),
            },
            Some((_, groups)) => {
                let mut means = Vec::new();
                for GroupSum { codec, sum, counted, .. } in
                    groups.iter().filter(|one| !one.counted.is_empty())
                {
                    let survivors = counted.len() as u32;
                    let decoded = match terms.as_ref().map(|terms| veil(terms, round.round, version)) {
                        Some(veil) => codec.decode_veiled(sum, survivors, &veil).unwrap(),
                        None => codec.decode(sum, survivors).unwrap(),
                    };
                    let weight = decoded.weight as u32;
                    means.push(GroupMean { members: counted.clone(), weight, mean: decoded.mean });
                }
                let weight = means.iter().map(|group| u64::from(group.weight)).sum();
                (robust::groups::combine(&*self.config.robust.build(), means).update, weight)
            }
        };
        let before = weights.to_vec();
        rule.step(weights, &layout.mean(&mean, round.counted.len() as u32));
        let favourites = self.reduce().favourites(&before, weights);
        let companion = layout.companion(rule.control(), &mean, weight, favourites.as_deref());
        Past { companion, residuals }
    }
}

/// The sum of one group of a masked round.
pub(super) struct GroupSum {
    pub(super) roster: Roster,
    pub(super) codec: Codec,
    sum: Packed,
    counted: Vec<ClientId>,
}

/// The rosters of a masked round that are on a disk, group by group.
pub(super) fn rosters(disk: &[Record], round: Round) -> Vec<Roster> {
    let bytes = disk.iter().filter_map(|record| match record {
        Record::Masked(of, group, Masked::Roster(bytes)) if *of == round => Some((*group, bytes)),
        _ => None,
    });
    let last: BTreeMap<_, _> = bytes.collect();
    last.into_values().map(|bytes| Roster::from_bytes(bytes).unwrap()).collect()
}

/// What hides people in a release, made anew.
fn veil(terms: &Terms, round: Round, release: Version) -> Veil {
    let secret = Seed::from_number(SEED).derive(Label::Privacy, &[]);
    let source = match terms.config.mechanism {
        Mechanism::Gaussian => Source::Round { secret, round },
        Mechanism::Ftrl { .. } => Source::Tree { secret, leaf: release.0 },
        Mechanism::Skellam(_) | Mechanism::DiscreteGaussian(_) => Source::Clients,
    };
    let Plan { setting, multiplier, count_deviation, .. } = &terms.plan;
    Veil::new(setting.cohort, *multiplier, count_deviation.unwrap_or_default(), source)
}
