//! FedPer (Arivazhagan et al. 2019, "Federated Learning with Personalization Layers"): the classifier stays with its
//! client, everything before it is shared; both are trained together.

use somnus_protocol::moments::Moments;
use somnus_protocol::plan::TrainableSet;

use super::own::{Kind, Own};
use super::{Outcome, Round};
use crate::error::ModelError;
use crate::params::Layout;

pub(super) fn own(layout: &Layout) -> Result<Own, ModelError> {
    Ok(Own::new(Kind::Head, layout.order(TrainableSet::Head)?.to_vec()))
}

pub(super) fn train(round: &Round<'_>, seen: Option<&mut Moments>) -> Result<Outcome, ModelError> {
    together(round, &own(&round.release.net().layout)?, seen)
}

/// Trains what is shared and what is the client's own together, and parts them afterwards.
pub(super) fn together(
    round: &Round<'_>,
    own: &Own,
    seen: Option<&mut Moments>,
) -> Result<Outcome, ModelError> {
    let mut shared = own.recall(round.release, round.memory)?;
    let report = round.train(&mut shared, round.plan, &[], seen)?;
    let memory = own.remember(&shared);
    let shared = own.leave_out(shared, round.release);
    Ok(Outcome { shared, report, memory })
}
