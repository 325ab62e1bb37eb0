//! Going on with a masked round that the server did not survive.
//!
//! What was written down fixes what may still be asked: the same roster, the same shares, the same survivors. A round
//! that the operator's configuration no longer describes is given up, under its number.

use super::Coordinator;
use super::open::Open;
use super::opening::Opening;
use super::phase::Phase;
use super::unmasking::Unmasking;
use crate::fault::Fault;
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
        let mut groups = Vec::new();
        for (number, steps) in (0..).zip(masked.groups) {
            let mut steps = steps.into_iter();
            let Some(Masked::Roster(bytes)) = steps.next() else {
                return Err(Fault::Malformed("no roster was written".into()));
            };
            groups.push((number, Roster::from_bytes(&bytes)?, steps));
        }
        let members = groups.iter().flat_map(|(_, roster, _)| roster.members());
        open.cohort = members.map(|member| member.client.clone()).collect();
        open.cohort.sort();
        let promise = self.promise(masked.round);
        let same = groups.iter().all(|(_, roster, _)| *roster.assignment() == promise);
        if !same || groups.len() != self.config.groups {
            return Err(Fault::Malformed("the configuration or the model is another one now".into()));
        }
        let mut open = || std::mem::replace(open, Open::new(masked.round, Vec::new(), start));
        let mut rosters = Vec::new();
        let mut shared = Vec::new();
        let mut survived = Vec::new();
        for (group, roster, mut steps) in groups {
            let mut masks = self.masks(group, roster)?;
            match (steps.next(), steps.next()) {
                (Some(Masked::Shares(shares)), Some(Masked::Survivors(survivors, sum))) => {
                    masks.resume(shares);
                    let sum = masks.read_sum(&sum)?;
                    survived.push(Opening::new(masks, survivors, sum));
                }
                (Some(Masked::Shares(shares)), _) => {
                    masks.resume(shares);
                    shared.push(masks);
                }
                _ => rosters.push(masks),
            }
        }
        // What only some groups have come to, the others were left out of.
        if survived.is_empty() && shared.is_empty() {
            return Ok(self.share(start, open(), rosters));
        }
        if survived.is_empty() {
            return Ok(self.collect(start, open(), shared));
        }
        let (groups, deadline) = (survived, start + self.config.patience);
        // Shares may have been asked for: what is set aside for this round stays so.
        let reservation =
            self.set_aside(masked.round).map_err(|refusal| Fault::Malformed(refusal.to_string()))?;
        Ok(Phase::Unmasking(Unmasking { open: open(), groups, deadline, reservation, asked: true }))
    }
}
