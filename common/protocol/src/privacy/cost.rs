//! What looking at noisy sums costs, before anybody has added it up.

use serde::{Deserialize, Serialize};

use super::{pld, rdp};

/// The noise in one sum that somebody gets to see.
///
/// Neighbouring federations differ by one person's presence; an absent person's update is zero.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Noise {
    /// Continuous Gaussian.
    Gaussian {
        /// Standard deviation over the largest norm of one update.
        multiplier: f64,
    },
    /// Sum of discrete Gaussians, one from each of several clients (Kairouz, Liu and Steinke 2021).
    DiscreteGaussian {
        /// Largest Euclidean norm of one update, in lane units.
        l2: f64,
        /// Variance of one client's noise, lane units squared.
        variance: f64,
        /// Clients whose noise is in the sum; 1 for a server that adds all of it.
        clients: u32,
        /// Coordinates with noise.
        weights: u64,
    },
    /// Skellam (Agarwal, Kairouz and Liu 2021).
    Skellam {
        /// Largest sum of absolute values of one update, in lane units.
        l1: f64,
        /// Largest Euclidean norm of one update, in lane units.
        l2: f64,
        /// Variance of the noise in the whole sum, lane units squared.
        variance: f64,
    },
    /// One more leaf of a binary tree of Gaussian noise (Kairouz et al. 2021, DP-FTRL). Leaves of equal noise are leaves of
    /// one tree.
    Tree {
        /// Standard deviation of a node over the largest norm of one update.
        multiplier: f64,
        /// A person takes part in at most one of so many consecutive rounds.
        separation: u64,
    },
}

/// A noisy sum over a sample of the population.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// Its noise.
    pub noise: Noise,
    /// Probability with which each person is in the sum, independently and unknown to those who see it; 1 if people are
    /// not sampled.
    pub rate: f64,
}

impl Spend {
    /// Noise over everybody, or over a cohort that nobody drew at random.
    pub fn everybody(noise: Noise) -> Self {
        Self { noise, rate: 1.0 }
    }

    /// Whether the numbers mean anything. What does not is taken to cost everything.
    pub(super) fn is_sound(&self) -> bool {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let sound = match self.noise {
            Noise::Gaussian { multiplier } => positive(multiplier),
            Noise::Tree { multiplier, separation } => positive(multiplier) && separation > 0,
            Noise::DiscreteGaussian { l2, variance, clients, .. } => {
                positive(l2) && positive(variance) && clients > 0
            }
            Noise::Skellam { l1, l2, variance } => positive(l1) && positive(l2) && positive(variance),
        };
        sound && (0.0..=1.0).contains(&self.rate)
    }
}

/// Spends, equal ones counted together. Adds up in any order to the same epsilon.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Cost(Vec<(Spend, u64)>);

impl Cost {
    /// The same spend several times.
    pub fn of(spend: Spend, times: u64) -> Self {
        let mut cost = Self::default();
        cost.add(spend, times);
        cost
    }

    /// Adds the same spend several times.
    pub fn add(&mut self, spend: Spend, times: u64) {
        if times == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == spend) {
            Some((_, count)) => *count = count.saturating_add(times),
            None => self.0.push((spend, times)),
        }
    }

    /// Adds all of another cost, `times` over.
    pub fn extend(&mut self, other: &Cost, times: u64) {
        for (spend, count) in &other.0 {
            self.add(*spend, count.saturating_mul(times));
        }
    }

    /// Spends and how often each.
    pub fn spends(&self) -> &[(Spend, u64)] {
        &self.0
    }

    /// Whether nothing was spent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An upper bound on epsilon at `delta`: the better of [`pld::epsilon`] and [`rdp::epsilon`]; infinite if neither
    /// gives one.
    pub fn epsilon(&self, delta: f64) -> f64 {
        let moments = rdp::epsilon(self, delta);
        pld::epsilon(self, delta).map_or(moments, |losses| losses.min(moments))
    }

    /// The same, with all Gaussian noise that is not over a sample (trees included) as one Gaussian, which it is: the sum
    /// of 1/multiplier² is all that counts. Infinite costs become a multiplier of 0.
    pub(super) fn folded(&self) -> Cost {
        let mut folded = Cost::default();
        let mut inverse_squares = 0.0;
        for (spend, times) in &self.0 {
            match spend.noise {
                _ if spend.rate == 0.0 => {}
                Noise::Gaussian { multiplier } if spend.rate == 1.0 => {
                    inverse_squares += *times as f64 / multiplier / multiplier;
                }
                // Whatever the sampling, which a tree cannot make use of.
                Noise::Tree { multiplier, separation } => {
                    inverse_squares += tree_sensitivity(*times, separation) / multiplier / multiplier;
                }
                _ => folded.add(*spend, *times),
            }
        }
        if inverse_squares > 0.0 {
            let multiplier = inverse_squares.sqrt().recip();
            folded.add(Spend::everybody(Noise::Gaussian { multiplier }), 1);
        }
        folded
    }
}

/// An upper bound on the squared norm of what one person adds to all nodes of a tree over `leaves` rounds, per squared norm
/// of one update.
///
/// A level's nodes hold k = ceil(leaves / separation) participations at most, one of its nodes that spans s leaves at most
/// ceil(s / separation) of them: a sum of squares is at most k times the largest. Kairouz et al. (2021, appendix D) count
/// patterns; this bound is equal to theirs for one participation.
pub(super) fn tree_sensitivity(leaves: u64, separation: u64) -> f64 {
    let times = leaves.div_ceil(separation.max(1));
    let levels = u64::BITS - leaves.leading_zeros();
    let in_one = |level: u32| (1u64 << level).div_ceil(separation.max(1)).min(times);
    (0..levels).map(|level| times as f64 * in_one(level) as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest squared norm over all patterns of participation, by trying them.
    fn tried(leaves: u64, separation: u64) -> f64 {
        let mut largest = 0;
        'pattern: for pattern in 1u64..1 << leaves {
            let mut last = None;
            for leaf in (0..leaves).filter(|leaf| pattern >> leaf & 1 == 1) {
                if last.is_some_and(|last| leaf - last < separation) {
                    continue 'pattern;
                }
                last = Some(leaf);
            }
            let mut squares = 0;
            let mut span = 1;
            while span <= leaves {
                // Only nodes whose leaves are all there are ever used.
                for node in 0..leaves / span {
                    let held = pattern >> (node * span) & ((1 << span) - 1);
                    squares += u64::from(held.count_ones()).pow(2);
                }
                span *= 2;
            }
            largest = largest.max(squares);
        }
        largest as f64
    }

    #[test]
    fn a_tree_costs_no_less_than_its_worst_pattern_and_little_more() {
        for leaves in 1..=12 {
            for separation in 1..=leaves {
                let (bound, tried) = (tree_sensitivity(leaves, separation), tried(leaves, separation));
                assert!(bound >= tried, "{leaves} leaves, {separation} apart: {bound} < {tried}");
                if separation == leaves {
                    assert_eq!(bound, tried, "{leaves} leaves, once");
                }
            }
        }
        assert_eq!(tree_sensitivity(8, 1), tried(8, 1));
        assert!(tree_sensitivity(u64::MAX, 1).is_finite());
    }

    #[test]
    fn equal_spends_are_counted_together() {
        let spend = |multiplier| Spend::everybody(Noise::Gaussian { multiplier });
        let mut cost = Cost::of(spend(2.0), 3);
        cost.add(spend(1.0), 1);
        cost.extend(&Cost::of(spend(2.0), 2), 2);
        assert_eq!(cost.spends(), [(spend(2.0), 7), (spend(1.0), 1)]);
        // 7/4 + 1 = 2.75 = 1/multiplier².
        let folded = cost.folded();
        let [(Spend { noise: Noise::Gaussian { multiplier }, .. }, 1)] = folded.spends() else { panic!() };
        assert!((multiplier.powi(-2) - 2.75).abs() < 1e-12);
        assert_eq!(Cost::of(spend(1.0), 0), Cost::default());
    }

    #[test]
    fn nonsense_costs_everything() {
        let noises = [
            Noise::Gaussian { multiplier: 0.0 },
            Noise::Gaussian { multiplier: f64::NAN },
            Noise::Tree { multiplier: 1.0, separation: 0 },
            Noise::Skellam { l1: 1.0, l2: -1.0, variance: 1.0 },
            Noise::DiscreteGaussian { l2: 1.0, variance: 1.0, clients: 0, weights: 1 },
        ];
        for noise in noises {
            assert_eq!(Cost::of(Spend::everybody(noise), 1).epsilon(1e-5), f64::INFINITY, "{noise:?}");
        }
        let spend = Spend { noise: Noise::Gaussian { multiplier: 1.0 }, rate: 1.5 };
        assert_eq!(Cost::of(spend, 1).epsilon(1e-5), f64::INFINITY);
    }
}
