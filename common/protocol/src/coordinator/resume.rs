//! Going on with a masked round that the server did not survive.
//!
//! What was written down fixes what may still be asked: the same roster, the same shares, the same survivors. A round
//! that the operator's configuration no longer describes is given up, under its number.

use super::Coordinator;
use super::open::Open;
use super::phase::Phase;
use super::unmasking::Unmasking;
use crate::fault::Fault;
use crate::ids::ClientId;
use crate::record::{Interrupted, Masked};
use crate::secagg::Roster;
use crate::time::Instant;

impl Coordinator {
    /// Enters the phase that the last step of `masked` leads to.
    pub(super) fn resume(&mut self, masked: Interrupted) {
        self.round = masked.round;
        let start = Instant::default();
        let mut open = Open::new(masked.round, Vec::new(), start);
        self.phase = match self.again(&mut open, masked) {
            Ok(phase) => phase,
            Err(fault) => self.abort(start, open, Vec::new(), &format!("it cannot be resumed: {fault}")),
        };
    }

    fn again(&mut self, open: &mut Open, masked: Interrupted) -> Result<Phase, Fault> {
        let start = Instant::default();
        let mut steps = masked.steps.into_iter();
        let Some(Masked::Roster(bytes)) = steps.next() else {
            return Err(Fault::Malformed("no roster was written".into()));
        };
        let roster = Roster::from_bytes(&bytes)?;
        open.cohort = roster.members().iter().map(|member| member.client.clone()).collect();
        if *roster.assignment() != self.promise(masked.round) {
            return Err(Fault::Malformed("the configuration or the model is another one now".into()));
        }
        let mut masks = self.masks(roster)?;
        let mut open = || std::mem::replace(open, Open::new(masked.round, Vec::new(), start));
        let Some(Masked::Shares(shares)) = steps.next() else {
            return Ok(self.share(start, open(), masks));
        };
        masks.resume(shares);
        let Some(Masked::Survivors(survivors, sum)) = steps.next() else {
            return Ok(self.collect(start, open(), masks));
        };
        let sum = masks.read_sum(&sum)?;
        let counted: Vec<ClientId> = masks.clients(&survivors);
        let deadline = start + self.config.patience;
        // Shares may have been asked for: what is set aside for this round stays so.
        let reservation =
            self.set_aside(masked.round).map_err(|refusal| Fault::Malformed(refusal.to_string()))?;
        let unmasking = Unmasking::new(open(), masks, counted, sum, deadline).costing(reservation, true);
        Ok(Phase::Unmasking(Box::new(unmasking)))
    }
}
