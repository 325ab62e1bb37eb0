//! Robust rules over sums of groups: what is left of them where single updates are hidden.
//!
//! The cohort of a round is dealt at random into groups, each group is summed under its own masks, and a rule combines the
//! groups' means. It is a trade:
//!
//! * the server sees one sum a group in place of one sum: a client is hidden among its group and no longer among the
//!   cohort. Differences between rounds, which deal anew, tell it more than those of one sum would; noise for differential
//!   privacy has to be planned for a group;
//! * one liar spoils a whole group, so `g` groups bear fewer than `g / 2` liars, however many clients there are;
//! * means of groups differ less than people do, so a median over them costs less accuracy.

use rand::seq::SliceRandom;

use super::{Combined, RobustRule, Weighted, mean};
use crate::ids::ClientId;
use crate::seed::Seed;

/// Fewest clients of a group: a sum of two tells each of them the other's update.
pub const SMALLEST: usize = 3;

/// One group's weighted mean.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupMean {
    /// Who is in it.
    pub members: Vec<ClientId>,
    /// The weight of all of them together.
    pub weight: u32,
    /// Their weighted mean.
    pub mean: Vec<f32>,
}

/// Deals a cohort into groups whose sizes differ by one at most; the same for the same seed, whatever the cohort's order.
/// Members are in order. `None` if a group would have fewer than `least`.
pub fn partition(
    cohort: &[ClientId],
    groups: usize,
    least: usize,
    seed: &Seed,
) -> Option<Vec<Vec<ClientId>>> {
    if groups == 0 || cohort.len() / groups < least.max(1) {
        return None;
    }
    let mut dealt = cohort.to_vec();
    dealt.sort();
    dealt.shuffle(&mut seed.rng());
    let mut rest = dealt.as_slice();
    let take = |left: usize| {
        let (group, others) = rest.split_at(rest.len() / left);
        rest = others;
        let mut group = group.to_vec();
        group.sort();
        group
    };
    Some((1..=groups).rev().map(take).collect())
}

/// The groups' means under a rule; of one group its mean, whatever the rule. A verdict on a group is one on each of its
/// members.
pub fn combine(rule: &dyn RobustRule, mut groups: Vec<GroupMean>) -> Combined {
    if groups.len() == 1
        && let Some(only) = groups.pop()
    {
        return Combined { update: only.mean, verdicts: Vec::new() };
    }
    // A group goes by its first member, whom no other group has.
    let named = groups.iter().filter_map(|group| Some((group.members.first()?, group)));
    let votes: Vec<Weighted<'_>> =
        named.map(|(client, group)| Weighted { client, weight: group.weight, update: &group.mean }).collect();
    let Combined { update, verdicts } = rule.combine(&votes);
    let mut of_members: Vec<_> = verdicts
        .into_iter()
        .filter_map(|(name, why)| {
            Some((groups.iter().find(|group| group.members.first() == Some(&name))?, why))
        })
        .flat_map(|(group, why)| group.members.iter().map(move |member| (member.clone(), why)))
        .collect();
    of_members.sort_by(|a, b| a.0.cmp(&b.0));
    Combined { update, verdicts: of_members }
}

/// The weighted mean of visible updates, as a group's sum would give it.
///
/// # Panics
/// If lengths differ.
pub fn group_mean(members: &[Weighted<'_>]) -> GroupMean {
    let members = super::by_client(members);
    GroupMean {
        members: members.iter().map(|one| one.client.clone()).collect(),
        weight: members.iter().map(|one| one.weight).fold(0, u32::saturating_add),
        mean: mean::mean(&members),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::robust::properties::{name, round};
    use crate::robust::{Median, MultiKrum, Verdict};

    proptest! {
        #[test]
        fn everybody_is_in_one_group_and_groups_are_of_a_size(
            clients in 1usize..80, groups in 0usize..12, least in 0usize..6, seed in any::<u64>()
        ) {
            let cohort: Vec<ClientId> = (0..clients).map(name).collect();
            let seed = Seed::from_number(seed);
            let Some(dealt) = partition(&cohort, groups, least, &seed) else {
                prop_assert!(groups == 0 || clients / groups < least.max(1));
                return Ok(());
            };
            prop_assert_eq!(dealt.len(), groups);
            let sizes: BTreeSet<usize> = dealt.iter().map(Vec::len).collect();
            let (small, large) = (sizes.first().unwrap(), sizes.last().unwrap());
            prop_assert!(*small >= least.max(1) && large - small <= 1);
            let mut all: Vec<ClientId> = dealt.concat();
            all.sort();
            prop_assert_eq!(&all, &cohort);
            let backwards: Vec<ClientId> = cohort.iter().rev().cloned().collect();
            prop_assert_eq!(partition(&backwards, groups, least, &seed), Some(dealt));
        }
    }

    #[test]
    fn another_seed_deals_otherwise() {
        let cohort: Vec<ClientId> = (0..30).map(name).collect();
        let deal = |seed| partition(&cohort, 5, SMALLEST, &Seed::from_number(seed));
        assert_ne!(deal(1), deal(2));
    }

    #[test]
    fn one_group_is_the_mean_and_one_liar_costs_its_group() {
        let values: Vec<f32> = (0..9).map(|i| if i == 4 { 1e6 } else { 1.0 + (i % 3) as f32 }).collect();
        let updates: Vec<(u32, &[f32])> = values.iter().map(|v| (2, std::slice::from_ref(v))).collect();
        let round = round(&updates);
        let updates = round.updates();
        let whole = group_mean(&updates);
        assert_eq!(whole.weight, 18);
        assert_eq!(combine(&Median, vec![whole.clone()]).update, whole.mean);

        let groups: Vec<GroupMean> = updates.chunks(3).map(group_mean).collect();
        assert_eq!(groups[0].mean, [2.0]);
        assert_eq!(combine(&Median, groups.clone()).update, [2.0]);
        let Combined { update, verdicts } = combine(&MultiKrum { fraction: 0.3 }, groups);
        assert_eq!(update, [2.0]);
        assert_eq!(
            verdicts.iter().map(|(client, _)| client.clone()).collect::<Vec<_>>(),
            [3, 4, 5].map(name)
        );
        assert!(verdicts.iter().all(|(_, why)| matches!(why, Verdict::FarFromNeighbours { .. })));
    }
}
