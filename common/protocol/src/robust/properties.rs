//! What every rule has to keep, over random rounds.

use proptest::prelude::*;

use super::{Combined, RobustConfig, RobustRule, Weighted, vector};
use crate::ids::ClientId;

/// A round's updates, owned: what tests build by hand.
pub(super) struct Round(Vec<(ClientId, u32, Vec<f32>)>);

/// Client `number`; names order like numbers.
pub(super) fn name(number: usize) -> ClientId {
    format!("client-{number:03}").parse().unwrap()
}

pub(super) fn round(updates: &[(u32, &[f32])]) -> Round {
    let own = |(number, (weight, update)): (usize, &(u32, &[f32]))| (name(number), *weight, update.to_vec());
    Round(updates.iter().enumerate().map(own).collect())
}

impl Round {
    pub(super) fn updates(&self) -> Vec<Weighted<'_>> {
        self.0.iter().map(|(client, weight, update)| Weighted { client, weight: *weight, update }).collect()
    }
}

/// Every rule but the mean, for liars up to `fraction`; client 0 is trusted.
fn rules(fraction: f64) -> Vec<RobustConfig> {
    vec![
        RobustConfig::Median {},
        RobustConfig::TrimmedMean { fraction },
        RobustConfig::Krum { fraction },
        RobustConfig::MultiKrum { fraction },
        RobustConfig::GeometricMedian { iterations: 50, smoothing: 1e-6 },
        RobustConfig::NormClip { factor: 1.0 },
        RobustConfig::FlTrust { reference: name(0) },
    ]
}

/// Coordinates of an update: more than one block of no rule, but not a multiple of the lanes.
const LEN: usize = 19;

fn update() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1f32..=1.0, LEN)
}

/// What a liar sends: any direction, any length that a float can have.
fn lie() -> impl Strategy<Value = Vec<f32>> {
    (update(), -3i32..=37).prop_map(|(update, power)| {
        let scale = 10f32.powi(power);
        update.into_iter().map(|value| value * scale).collect()
    })
}

/// At least `2 f + 3` clients of which `f` lie; client 0 does not.
fn attacked() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<Vec<f32>>)> {
    (0usize..6).prop_flat_map(|lying| {
        (prop::collection::vec(update(), lying + 3..lying + 9), prop::collection::vec(lie(), lying))
    })
}

proptest! {
    #[test]
    fn the_order_of_arrival_changes_no_bit(
        updates in prop::collection::vec((1u32..=4096, lie()), 9..16), order in any::<u64>()
    ) {
        use rand::seq::SliceRandom;
        let parts: Vec<(u32, &[f32])> = updates.iter().map(|(w, u)| (*w, u.as_slice())).collect();
        let round = round(&parts);
        let mut shuffled = round.updates();
        shuffled.shuffle(&mut crate::seed::Seed::from_number(order).rng());
        for rule in rules(0.2).into_iter().chain([RobustConfig::default()]) {
            let built = rule.build();
            let (a, b) = (built.combine(&round.updates()), built.combine(&shuffled));
            let bits = |c: &Combined| c.update.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&a), bits(&b), "{}", rule.name());
            prop_assert_eq!(a.verdicts, b.verdicts, "{}", rule.name());
        }
    }

    #[test]
    fn who_agrees_gets_what_was_agreed(update in update(), clients in 5usize..12, weight in 1u32..=4096) {
        let parts = vec![(weight, update.as_slice()); clients];
        let round = round(&parts);
        let mean = RobustConfig::default().build().combine(&round.updates()).update;
        prop_assert_eq!(&mean, &update);
        for rule in rules(0.2) {
            let combined = rule.build().combine(&round.updates()).update;
            for (value, expected) in combined.iter().zip(&update) {
                prop_assert!((value - expected).abs() <= 1e-6, "{}: {value} for {expected}", rule.name());
            }
        }
    }

    /// Honest updates lie within a ball of radius `r` around their mean `c`. Whatever liars send, the distance of the result
    /// to `c` is bounded by what honest clients sent alone: the bounds below hold no liar's number.
    #[test]
    fn liars_of_any_magnitude_move_the_result_by_a_bounded_amount((honest, lies) in attacked()) {
        let (n, f) = (honest.len() + lies.len(), lies.len());
        let parts: Vec<(u32, &[f32])> = honest.iter().chain(&lies).map(|u| (7, u.as_slice())).collect();
        let (round, alone) = (round(&parts), round(&parts[..honest.len()]));
        let centre = RobustConfig::default().build().combine(&alone.updates()).update;
        let far = |points: &[Vec<f32>], from: &[f32]| {
            points.iter().map(|u| vector::squared_distance(u, from).sqrt()).fold(0.0, f64::max)
        };
        let radius = far(&honest, &centre);
        let longest = honest.iter().map(|u| vector::norm(u)).fold(0.0, f64::max);
        let fraction = f as f64 / n as f64;
        for rule in rules(fraction) {
            rule.check(&super::Voters { reports: n..=n, groups: 1, masked: false }).unwrap();
            let found = rule.build().combine(&round.updates()).update;
            prop_assert!(found.iter().all(|v| v.is_finite()), "{}", rule.name());
            let moved = vector::squared_distance(&found, &centre).sqrt();
            let slack = 1e-5 * (1.0 + radius);
            match rule {
                // Within what honest clients sent, coordinate by coordinate.
                RobustConfig::Median {} | RobustConfig::TrimmedMean { .. } => {
                    for (i, value) in found.iter().enumerate() {
                        let column = || honest.iter().map(|u| u[i]);
                        let (low, high) = (column().fold(f32::MAX, f32::min), column().fold(f32::MIN, f32::max));
                        prop_assert!((low..=high).contains(value), "{}: {value}", rule.name());
                    }
                }
                // An honest client's score is at most (n - f - 2) (2 r)^2, so is that of whoever is chosen, and one of its
                // neighbours is honest.
                RobustConfig::Krum { .. } | RobustConfig::MultiKrum { .. } => {
                    let bound = 2.0 * radius * ((n - f - 2) as f64).sqrt() + radius;
                    prop_assert!(moved <= bound + slack, "{}: {moved} beyond {bound}", rule.name());
                }
                // No step lengthens the sum of distances, which the start's distance to honest updates bounds.
                RobustConfig::GeometricMedian { .. } => {
                    let start = RobustConfig::Median {}.build().combine(&round.updates()).update;
                    let bound = 2.0 * (n - f) as f64 / (n - 2 * f) as f64 * far(&honest, &start)
                        + vector::squared_distance(&start, &centre).sqrt();
                    prop_assert!(moved <= bound + slack, "{}: {moved} beyond {bound}", rule.name());
                }
                // No longer than an honest update.
                RobustConfig::NormClip { .. } | RobustConfig::FlTrust { .. } => {
                    prop_assert!(vector::norm(&found) <= longest * (1.0 + 1e-5), "{}", rule.name());
                }
                RobustConfig::Mean {} => unreachable!("not among the rules"),
            }
        }
    }
}

/// What the rules are for: one liar in three moves the mean, and no rule, by as much as it wants.
#[test]
fn the_mean_is_moved_by_one_liar() {
    let one = [1.0f32; LEN];
    let lie = [-1e6f32; LEN];
    let mut parts: Vec<(u32, &[f32])> = vec![(1, &one); 8];
    parts.push((1, &lie));
    let round = round(&parts);
    let first = |rule: &dyn RobustRule| rule.combine(&round.updates()).update[0];
    assert!(first(&*RobustConfig::default().build()) < -1e5);
    for rule in rules(0.2) {
        let found = first(&*rule.build());
        let expected = if rule.name() == "norm-clip" { 7.0 / 9.0 } else { 1.0 };
        assert!((found - expected).abs() < 1e-5, "{}: {found}", rule.name());
    }
}
