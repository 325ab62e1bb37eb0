//! FedRep (Collins et al. 2021, "Exploiting Shared Representations for Personalized Federated Learning"): as FedPer, but in
//! turns. First the client's own classifier catches up with the new body, then the body learns under that classifier.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_protocol::moments::Moments;
use somnus_protocol::plan::{TrainPlan, TrainableSet};

use super::own::Own;
use super::{Outcome, Round, fed_per};
use crate::error::ModelError;
use crate::params::Layout;

pub(super) fn own(layout: &Layout) -> Result<Own, ModelError> {
    fed_per::own(layout)
}

pub(super) fn train(
    round: &Round<'_>,
    head_steps: u32,
    seen: Option<&mut Moments>,
) -> Result<Outcome, ModelError> {
    let own = own(&round.release.net().layout)?;
    let mut shared = own.recall(round.release, round.memory)?;
    let plan =
        TrainPlan { trainable: TrainableSet::Head, steps: head_steps, passes: 0, ..round.plan.clone() };
    let seed = ChaCha8Rng::seed_from_u64(round.seed).next_u64();
    Round { seed, ..*round }.train(&mut shared, &plan, &[], None)?;
    let memory = own.remember(&shared);
    let report = round.train(&mut shared, round.plan, own.places(), seen)?;
    let shared = own.leave_out(shared, round.release);
    Ok(Outcome { shared, report, memory })
}
