//! Noise for running sums (Dwork et al. 2010; Chan, Shi and Song 2011; DP-FTRL, Kairouz et al. 2021): after t rounds their
//! sum carries the noise of the log2(t) nodes that make up t, not that of t rounds.

use super::{BadVariance, Gaussian};
use crate::seed::{Label, Seed};

/// A binary tree whose leaves are rounds. Nodes are made from the seed when they are needed, so there is no state to lose;
/// the seed is the server's secret for as long as any release is public.
#[derive(Clone)]
pub struct Tree {
    seed: Seed,
    node: Gaussian,
}

impl Tree {
    /// Noise whose nodes have this variance.
    ///
    /// # Errors
    /// [`BadVariance`] if it is not positive and finite.
    pub fn new(seed: Seed, variance: f64) -> Result<Self, BadVariance> {
        Ok(Self { seed, node: Gaussian::new(variance)? })
    }

    /// Adds the noise of the sum over rounds 1 to `round`.
    pub fn add_to_running_sum(&self, round: u64, sum: &mut [f64]) {
        for level in (0..u64::BITS).filter(|level| round >> level & 1 == 1) {
            self.add_node(level, round >> level, 1.0, sum);
        }
    }

    /// Adds what the running sum's noise changes by in `round`, counted from 1: added to every round's own sum, it makes
    /// [`Tree::add_to_running_sum`] of their total.
    pub fn add_to_round(&self, round: u64, sum: &mut [f64]) {
        let Some(before) = round.checked_sub(1) else { return };
        let level = round.trailing_zeros();
        self.add_node(level, round >> level, 1.0, sum);
        for level in 0..level {
            self.add_node(level, before >> level, -1.0, sum);
        }
    }

    /// The node over leaves (number - 1) 2^level + 1 to number 2^level.
    fn add_node(&self, level: u32, number: u64, factor: f64, sum: &mut [f64]) {
        let name = [&level.to_le_bytes()[..], &number.to_le_bytes()].concat();
        let mut rng = self.seed.derive(Label::Noise, &name).rng();
        self.node.add_scaled(&mut rng, factor, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_add_up_to_the_running_sum_which_carries_a_logarithm_of_noise() {
        let tree = Tree::new(Seed::from_number(9), 4.0).unwrap();
        let n = 2000;
        let mut total = vec![0.0; n];
        for round in 1..=37 {
            tree.add_to_round(round, &mut total);
            let mut running = vec![0.0; n];
            tree.add_to_running_sum(round, &mut running);
            let apart = total.iter().zip(&running).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-12, "round {round}: {apart}");
            let variance = running.iter().map(|v| v * v).sum::<f64>() / n as f64;
            let expected = 4.0 * f64::from(round.count_ones());
            assert!(
                (variance / expected - 1.0).abs() < 3.9 * (2.0 / n as f64).sqrt(),
                "round {round}: {variance}"
            );
        }
        let mut nothing = [0.0];
        tree.add_to_round(0, &mut nothing);
        tree.add_to_running_sum(0, &mut nothing);
        assert_eq!(nothing, [0.0]);
    }
}
