//! The last release is the mean of the late ones (Polyak and Juditsky 1992; Izmailov et al. 2018, "Averaging Weights
//! Leads to Wider Optima"). Clients train from the plain iterate all the while.

use super::Strategy;
use crate::update::Mean;

/// Any rule, with its late iterates averaged into the last one.
pub struct LateAverage {
    inner: Box<dyn Strategy>,
    /// Mean of the iterates after the first `skip`.
    average: Vec<f32>,
    skip: u64,
    rounds: u64,
    done: u64,
}

impl LateAverage {
    /// Averages the last `fraction` of `rounds` iterates of `inner` over `len` weights, `done` of which are made.
    pub fn new(inner: Box<dyn Strategy>, len: usize, fraction: f64, rounds: u64, done: u64) -> Self {
        let late = (rounds as f64 * fraction).ceil() as u64;
        Self { inner, average: vec![0.0; len], skip: rounds.saturating_sub(late), rounds, done }
    }
}

impl Strategy for LateAverage {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        self.inner.step(weights, mean);
        self.done += 1;
        if self.done <= self.skip {
            return;
        }
        let share = 1.0 / (self.done - self.skip) as f32;
        for (average, weight) in self.average.iter_mut().zip(weights.iter()) {
            *average += share * (weight - *average);
        }
        if self.done == self.rounds {
            weights.copy_from_slice(&self.average);
        }
    }

    fn control(&self) -> Option<&[f32]> {
        self.inner.control()
    }

    fn state(&self) -> Vec<&[f32]> {
        let mut state = self.inner.state();
        state.push(&self.average);
        state
    }

    fn restore(&mut self, mut state: Vec<Vec<f32>>) {
        if let Some(average) = state.pop() {
            self.average = average;
            self.inner.restore(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FedAvgM, StrategyConfig};
    use super::*;

    #[test]
    fn the_last_release_is_the_mean_of_the_late_iterates() {
        let inner = StrategyConfig::default().build(1);
        let mut rule = LateAverage::new(inner, 1, 0.5, 4, 0);
        let mut weights = [0.0];
        let releases: Vec<f32> = [1.0, 1.0, 1.0, 5.0]
            .into_iter()
            .map(|step| {
                rule.step(&mut weights, &Mean::plain(&[step], 1));
                weights[0]
            })
            .collect();
        assert_eq!(releases, [1.0, 2.0, 3.0, (3.0 + 8.0) / 2.0]);
    }

    #[test]
    fn a_restart_in_the_middle_changes_nothing() {
        let build = |done| LateAverage::new(Box::new(FedAvgM::new(0.9, 1.0, 2)), 2, 0.6, 5, done);
        let (mut lasting, mut a, mut b) = (build(0), [0.1f32, 0.2], [0.1f32, 0.2]);
        let mut saved: Vec<Vec<f32>> = Vec::new();
        for round in 0..5 {
            let mean = [round as f32, 0.5];
            let mean = Mean::plain(&mean, 1);
            lasting.step(&mut a, &mean);
            let mut broken = build(round);
            broken.restore(saved);
            broken.step(&mut b, &mean);
            saved = broken.state().into_iter().map(<[f32]>::to_vec).collect();
            assert_eq!(a, b, "round {round}");
        }
    }
}
