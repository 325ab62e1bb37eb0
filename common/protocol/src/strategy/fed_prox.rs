//! FedProx (Li et al. 2020): clients add `mu/2 |w - w_t|^2` to their loss; the server averages as FedAvg does.

use super::{FedAvg, Strategy};
use crate::update::Mean;

/// The server half of FedProx; the client half is `TrainPlan::proximal`.
pub struct FedProx;

impl Strategy for FedProx {
    fn step(&mut self, weights: &mut [f32], mean: &Mean<'_>) {
        FedAvg::new(1.0).step(weights, mean);
    }
}
