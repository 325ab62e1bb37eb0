//! What a plain round keeps of its updates until it ends: their sum, or all of them.

use crate::fault::Fault;
use crate::ids::ClientId;
use crate::seed::Seed;
use crate::sum::Sum;

use super::{Combined, RobustConfig, RobustRule, Verdict, Weighted, groups};

/// The updates of a round that have come in.
pub enum Gather {
    /// The mean needs their sum alone: 8 bytes a weight, however many clients.
    Sum(Sum),
    /// Other rules need every one: 4 bytes a weight and client more.
    Kept(Kept),
}

/// Updates that wait for a rule.
pub struct Kept {
    /// Refuses bad updates, counts examples and losses.
    sum: Sum,
    updates: Vec<KeptUpdate>,
    rule: Box<dyn RobustRule>,
    groups: usize,
    seed: Seed,
}

struct KeptUpdate {
    client: ClientId,
    weight: u32,
    update: Vec<f32>,
}

/// What a round's updates came to.
#[derive(Clone, PartialEq, Debug)]
pub struct Gathered {
    /// The combined update; zeros if there was none.
    pub mean: Vec<f32>,
    /// Updates behind it, those included that a rule left out.
    pub updates: u32,
    /// Their weight.
    pub weight: u64,
    /// Whom the rule did not take at face value.
    pub verdicts: Vec<(ClientId, Verdict)>,
}

impl Gather {
    /// Nothing yet, for updates of `len` numbers. With more than one group, `seed` deals the clients of this round.
    pub fn new(len: usize, rule: &RobustConfig, groups: usize, seed: Seed) -> Self {
        let sum = Sum::new(len);
        if rule.is_mean() {
            return Self::Sum(sum);
        }
        Self::Kept(Kept { sum, updates: Vec::new(), rule: rule.build(), groups, seed })
    }

    /// Adds one client's update: `delta` is little-endian f32, `weight` its examples or 1.
    ///
    /// # Errors
    /// A [`Fault`] of the client; nothing has changed then.
    pub fn add(&mut self, client: &ClientId, delta: &[u8], weight: u32, loss: f32) -> Result<(), Fault> {
        match self {
            Self::Sum(sum) => sum.add(delta, weight, loss),
            Self::Kept(kept) => {
                kept.sum.add(delta, weight, loss)?;
                let update = crate::checkpoint::floats(delta);
                kept.updates.push(KeptUpdate { client: client.clone(), weight, update });
                Ok(())
            }
        }
    }

    fn sum(&self) -> &Sum {
        match self {
            Self::Sum(sum) => sum,
            Self::Kept(kept) => &kept.sum,
        }
    }

    /// Total weight.
    pub fn examples(&self) -> u64 {
        self.sum().examples()
    }

    /// The weighted mean of the clients' losses.
    pub fn mean_loss(&self) -> f32 {
        self.sum().mean_loss()
    }

    /// Number of updates.
    pub fn updates(&self) -> u32 {
        self.sum().updates()
    }

    /// Combines them; what was kept is gone.
    pub fn finish(self) -> Gathered {
        let (updates, weight) = (self.updates(), self.examples());
        let Combined { update: mean, verdicts } = match self {
            Self::Kept(kept) if updates > 0 => kept.combine(),
            Self::Sum(sum) | Self::Kept(Kept { sum, .. }) => {
                Combined { update: sum.mean(), verdicts: Vec::new() }
            }
        };
        Gathered { mean, updates, weight, verdicts }
    }
}

impl Kept {
    fn combine(self) -> Combined {
        let updates: Vec<Weighted<'_>> = self
            .updates
            .iter()
            .map(|KeptUpdate { client, weight, update }| Weighted { client, weight: *weight, update })
            .collect();
        if self.groups <= 1 {
            return self.rule.combine(&updates);
        }
        let clients: Vec<ClientId> = updates.iter().map(|one| one.client.clone()).collect();
        // With too few for groups the rule looks at everybody: this server sees them anyway.
        let Some(dealt) = groups::partition(&clients, self.groups, groups::SMALLEST, &self.seed) else {
            return self.rule.combine(&updates);
        };
        let mean = |members: &Vec<ClientId>| {
            let members: Vec<Weighted<'_>> =
                updates.iter().filter(|one| members.binary_search(one.client).is_ok()).copied().collect();
            groups::group_mean(&members)
        };
        let means: Vec<groups::GroupMean> = dealt.iter().map(mean).collect();
        groups::combine(&*self.rule, means)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::bytes_of;
    use crate::robust::properties::name;

    fn gather(rule: &RobustConfig, groups: usize, values: &[(usize, f32)]) -> Gather {
        let mut gather = Gather::new(2, rule, groups, Seed::from_number(3));
        for (client, value) in values {
            gather.add(&name(*client), &bytes_of(&[*value, -value]), 2, 0.5).unwrap();
        }
        gather
    }

    #[test]
    fn the_mean_is_the_sum_s_and_keeps_nothing() {
        let gather = gather(&RobustConfig::default(), 1, &[(0, 1.0), (1, 2.0), (2, 6.0)]);
        assert!(matches!(gather, Gather::Sum(_)));
        assert_eq!((gather.examples(), gather.updates(), gather.mean_loss()), (6, 3, 0.5));
        let expected = Gathered { mean: vec![3.0, -3.0], updates: 3, weight: 6, verdicts: Vec::new() };
        assert_eq!(gather.finish(), expected);
    }

    #[test]
    fn a_rule_sees_everybody_in_whatever_order_they_came() {
        let values = [(0, 1.0), (1, 2.0), (2, 3.0), (3, 5.0), (4, 99.0)];
        let backwards: Vec<_> = values.iter().rev().copied().collect();
        for rule in [RobustConfig::Median {}, RobustConfig::Krum { fraction: 0.2 }] {
            let forward = gather(&rule, 1, &values);
            assert_eq!((forward.examples(), forward.updates(), forward.mean_loss()), (10, 5, 0.5));
            let found = forward.finish();
            assert_eq!(found, gather(&rule, 1, &backwards).finish());
            assert!(found.mean[0] <= 3.0 && found.updates == 5 && found.weight == 10);
        }
        let krum = gather(&RobustConfig::Krum { fraction: 0.2 }, 1, &values).finish();
        assert_eq!(krum.verdicts.len(), 4);
    }

    #[test]
    fn groups_are_averaged_before_the_rule() {
        let values: Vec<(usize, f32)> = (0..9).map(|i| (i, if i == 4 { 100.0 } else { 2.0 })).collect();
        assert_eq!(gather(&RobustConfig::Median {}, 3, &values).finish().mean, [2.0, -2.0]);
        // Too few for three groups of three.
        assert_eq!(gather(&RobustConfig::Median {}, 3, &values[..5]).finish().mean, [2.0, -2.0]);
    }

    #[test]
    fn a_bad_update_is_refused_and_not_kept() {
        let rule = RobustConfig::Median {};
        let mut all = gather(&rule, 1, &[(0, 1.0), (1, 3.0)]);
        let nan = all.add(&name(2), &bytes_of(&[0.0, f32::NAN]), 2, 0.5);
        assert_eq!(nan, Err(Fault::NotFinite { index: 1 }));
        assert!(all.add(&name(2), &bytes_of(&[0.0]), 2, 0.5).is_err());
        assert_eq!(all.finish(), gather(&rule, 1, &[(0, 1.0), (1, 3.0)]).finish());
    }

    #[test]
    fn nobody_is_a_zero_update() {
        for rule in [RobustConfig::default(), RobustConfig::Median {}] {
            assert_eq!(gather(&rule, 1, &[]).finish().mean, [0.0, 0.0]);
        }
    }
}
