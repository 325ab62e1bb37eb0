//! Ditto (Li et al. 2021, "Fair and Robust Federated Learning Through Personalization"): the federation is FedAvg, and each
//! client trains beside it a copy of its own, `v <- v - eta (grad F(v) + lambda (v - w))`.
//!
//! The pull to the release `w` acts beside the optimiser, see [`Pull`].

use somnus_protocol::moments::Moments;
use somnus_protocol::plan::{TrainPlan, TrainableSet};

use super::own::{Kind, Own};
use super::{Outcome, Round};
use crate::error::ModelError;
use crate::optimiser::Pull;
use crate::params::Layout;
use crate::train::Lead;

pub(super) fn own(layout: &Layout, set: TrainableSet) -> Result<Own, ModelError> {
    Ok(Own::new(Kind::Copy, layout.order(set)?.to_vec()))
}

pub(super) fn train(
    round: &Round<'_>,
    lambda: f32,
    seen: Option<&mut Moments>,
) -> Result<Outcome, ModelError> {
    let own = own(&round.release.net().layout, round.plan.trainable)?;
    let mut copy = own.recall(round.release, round.memory)?;
    let mut shared = round.release.clone();
    let report = round.train(&mut shared, round.plan, &[], seen)?;

    // What holds the shared weights near the release, or embeddings near everybody's, is not for the copy: it is to be
    // the client's own, and has a pull of its own.
    let plan = TrainPlan { proximal: 0.0, ..round.plan.clone() };
    let rate = |_| plan.learning_rate;
    let pull = Some(Pull { towards: round.release.weights().to_vec(), strength: lambda });
    let lead = Lead { pull, ..Lead::new(round.seed, &rate) };
    copy.train_led(round.lessons, &plan, lead)?;
    Ok(Outcome { shared, report, memory: own.remember(&copy) })
}
