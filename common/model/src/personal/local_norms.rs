//! Local norms after FedBN (Li et al. 2021, "Federated Learning on Non-IID Features via Local Batch Normalization"): what
//! scales and shifts features stays with its client. Ours are layer norms, so there are no statistics to keep; a new person
//! gets the norms that the release began with.

use somnus_protocol::moments::Moments;

use super::own::{Kind, Own};
use super::{Outcome, Round, fed_per};
use crate::error::ModelError;
use crate::params::Layout;

pub(super) fn own(layout: &Layout) -> Own {
    Own::new(Kind::Norms, layout.norms())
}

pub(super) fn train(round: &Round<'_>, seen: Option<&mut Moments>) -> Result<Outcome, ModelError> {
    fed_per::together(round, &own(&round.release.net().layout), seen)
}
