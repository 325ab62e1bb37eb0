//! Example-level privacy within one client (DP-SGD, Abadi et al. 2016): clipped gradients of single examples, noise on
//! their sum, in every step.

use super::cost::{Cost, Noise, Spend};

/// Epsilon at `delta` of one epoch (or whatever the example is whose gradient is clipped), for noise of `multiplier` clip
/// norms on each step's sum.
///
/// `batch` is the expected number of `examples` in a step, each drawn independently (Poisson); a shuffled pass is not
/// that, and with `batch >= examples` nothing is sampled.
///
/// This protects *one example*, such as one epoch of 30 s, within everything that the person sends. A person who has
/// 1,000 epochs is not protected by it at all: for that, see [`super::mechanism`].
pub fn epsilon(multiplier: f64, batch: f64, examples: u64, steps: u64, delta: f64) -> f64 {
    let rate = (batch / examples as f64).min(1.0);
    Cost::of(Spend { noise: Noise::Gaussian { multiplier }, rate }, steps).epsilon(delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_batches_cost_less_and_nonsense_costs_everything() {
        let some = epsilon(1.0, 32.0, 9600, 300, 1e-5);
        let more = epsilon(1.0, 320.0, 9600, 300, 1e-5);
        assert!(some > 0.0 && some < more, "{some} {more}");
        assert_eq!(epsilon(1.0, 1e9, 10, 1, 1e-5), epsilon(1.0, 10.0, 10, 1, 1e-5));
        for bad in [epsilon(0.0, 32.0, 960, 1, 1e-5), epsilon(1.0, -1.0, 9, 1, 1e-5)] {
            assert_eq!(bad, f64::INFINITY);
        }
    }
}
