//! Unmasking: those whose updates are in the sum first sign who they are, then reveal, for each neighbour, the one share
//! that removes its mask.
//!
//! The list of survivors and the masked sum are written down before anybody hears of the list: a server that is killed
//! afterwards can ask for the same again, and for nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::job::{Job, Total, Unmask, Unmasked};
use super::masks::Masks;
use super::open::Open;
use super::phase::{Phase, Step};
use super::{Coordinator, Event, Output};
use crate::fault::Fault;
use crate::ids::{ClientId, Round};
use crate::message::{REASON, ToClient};
use crate::packed::Packed;
use crate::privacy::ledger::Reservation;
use crate::record::{Masked, Record};
use crate::secagg::{Revealed, Signature, Subset, Violation};
use crate::time::Instant;

/// The open round while masks are removed.
pub(super) struct Unmasking {
    pub(super) open: Open,
    pub(super) masks: Masks,
    pub(super) survivors: Subset,
    pub(super) counted: Vec<ClientId>,
    pub(super) deadline: Instant,
    /// What knowing the sum costs.
    pub(super) reservation: Option<Reservation>,
    /// Whether anybody may have been asked for what tells the sum, in this life of the server or in an earlier one.
    pub(super) asked: bool,
    sum: SumAt,
    signatures: BTreeMap<u32, Signature>,
    revealed: BTreeMap<u32, Vec<Revealed>>,
    /// Of the survivors, who has said that it will not take part.
    declined: BTreeSet<ClientId>,
    /// Reveals that a try had which found too many lies among them, and what it said.
    tried: usize,
    trouble: Option<Fault>,
}

/// Where the masked sum is.
enum SumAt {
    Here(Packed),
    WithJob,
}

impl Unmasking {
    pub(super) fn new(
        open: Open,
        masks: Masks,
        counted: Vec<ClientId>,
        sum: Packed,
        deadline: Instant,
    ) -> Self {
        let survivors = masks.subset(&counted);
        Self {
            open,
            masks,
            survivors,
            counted,
            deadline,
            reservation: None,
            asked: false,
            sum: SumAt::Here(sum),
            signatures: BTreeMap::new(),
            revealed: BTreeMap::new(),
            declined: BTreeSet::new(),
            tried: 0,
            trouble: None,
        }
    }

    /// With what knowing the sum costs; `asked` if that was set aside in an earlier life.
    pub(super) fn costing(self, reservation: Option<Reservation>, asked: bool) -> Self {
        Self { reservation, asked, ..self }
    }

    /// Whether enough have signed: more than could sign two lists.
    fn is_confirmed(&self) -> bool {
        self.masks.is_confirmed(&self.survivors, &self.signatures)
    }

    fn signed(&self) -> Subset {
        Subset::of(self.survivors.members(), self.signatures.keys().copied())
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.sum, SumAt::WithJob)
    }
}

impl Coordinator {
    /// Fixes who survived.
    pub(super) fn survive(
        &mut self,
        now: Instant,
        mut open: Open,
        masks: Masks,
        counted: Vec<ClientId>,
        sum: Packed,
    ) -> Phase {
        let needed = masks.threshold();
        if counted.len() < needed {
            let why = format!("{} of {needed} masked updates, too few to unmask their sum", counted.len());
            return self.abort(now, open, Vec::new(), &why);
        }
        for client in masks.present() {
            if !counted.contains(client) {
                open.drop_out(client, "no masked update in time");
            }
        }
        let round = open.round;
        let reservation = match self.set_aside(round) {
            Ok(reservation) => reservation,
            Err(refusal) => return self.abort(now, open, Vec::new(), &refusal.to_string()),
        };
        let fixed = Masked::Survivors(masks.subset(&counted), sum.to_bytes().into());
        self.out.push_back(Output::Persist(Record::Masked(round, fixed)));
        let unmasking = Unmasking::new(open, masks, counted, sum, now + self.config.patience);
        self.unmask(unmasking.costing(reservation, false))
    }

    fn unmask(&mut self, unmasking: Unmasking) -> Phase {
        let round = unmasking.open.round;
        self.event(Event::Unmasking(round, unmasking.counted.len()));
        for client in &unmasking.counted {
            self.send(client, ToClient::Survivors { round, survivors: unmasking.survivors.clone() });
        }
        Phase::Unmasking(Box::new(unmasking))
    }

    pub(super) fn greet_unmasking(&mut self, now: Instant, client: &ClientId) {
        let Phase::Unmasking(unmasking) = &self.phase else { return };
        if unmasking.counted.contains(client) {
            let message = self.assignment(client, unmasking.open.round, unmasking.deadline.since(now));
            self.send(client, message);
        }
    }

    /// A client whose update counts offers it again: it came back.
    pub(super) fn survivors_again(&mut self, client: &ClientId, round: Round) -> Result<(), Fault> {
        let unmasking = self.unmasking(round)?;
        let message = if unmasking.counted.contains(client) {
            ToClient::Survivors { round, survivors: unmasking.survivors.clone() }
        } else {
            ToClient::Over { round }
        };
        self.send(client, message);
        Ok(())
    }

    pub(super) fn declined_unmasking(
        &mut self,
        client: &ClientId,
        round: Round,
        reason: &str,
    ) -> Result<(), Fault> {
        let unmasking = self.unmasking(round)?;
        if !unmasking.counted.contains(client) {
            return Err(Fault::Unsolicited("a decline"));
        }
        unmasking.declined.insert(client.clone());
        self.event(Event::Declined(round, client.clone(), reason.chars().take(REASON).collect()));
        Ok(())
    }

    pub(super) fn confirmed(
        &mut self,
        client: &ClientId,
        round: Round,
        signature: Signature,
    ) -> Result<(), Fault> {
        let roll = std::sync::Arc::clone(&self.roll);
        let unmasking = self.unmasking(round)?;
        let index = unmasking.masks.index(client).filter(|_| unmasking.counted.contains(client));
        let index = index.ok_or(Fault::Unsolicited("a signature"))?;
        let before = unmasking.is_confirmed();
        unmasking.masks.verify(&*roll, index, &unmasking.survivors, &signature)?;
        unmasking.signatures.insert(index, signature);
        if !unmasking.is_confirmed() {
            return Ok(());
        }
        unmasking.asked = true;
        // Whoever signs later is answered then; all others now, once.
        let told = if before { vec![client.clone()] } else { unmasking.masks.clients(&unmasking.signed()) };
        let show = |client: &ClientId| unmasking.masks.signatures_for(client, &unmasking.signatures);
        let answers: Vec<_> = told.iter().map(|client| (client.clone(), show(client))).collect();
        for (client, signatures) in answers {
            self.send(&client, ToClient::Reveal { round, signatures });
        }
        Ok(())
    }

    pub(super) fn revealed(
        &mut self,
        client: &ClientId,
        round: Round,
        shares: Vec<Revealed>,
    ) -> Result<(), Fault> {
        let unmasking = self.unmasking(round)?;
        let index = unmasking.masks.index(client).filter(|index| unmasking.signatures.contains_key(index));
        let index = index.filter(|_| unmasking.is_confirmed()).ok_or(Fault::Unsolicited("a share"))?;
        unmasking.revealed.entry(index).or_insert(shares);
        Ok(())
    }

    /// Unmasks as soon as everybody who is still there has revealed, or enough have and time is up.
    pub(super) fn try_unmask(&mut self, now: Instant, mut unmasking: Box<Unmasking>) -> Step {
        if unmasking.is_busy() {
            return Step::Stay(Phase::Unmasking(unmasking));
        }
        let here =
            |client: &&ClientId| self.peers.contains_key(*client) && !unmasking.declined.contains(*client);
        let answered = |client: &ClientId| {
            unmasking.masks.index(client).is_some_and(|index| unmasking.revealed.contains_key(&index))
        };
        let everybody = unmasking.counted.iter().filter(here).all(answered);
        let late = now >= unmasking.deadline;
        let more = unmasking.revealed.len() > unmasking.tried;
        if more && (everybody || late) {
            let veil = self.veil(unmasking.open.round);
            let opener = unmasking.masks.opener(&unmasking.survivors, &unmasking.revealed, veil);
            if opener.unmask.enough()
                && let SumAt::Here(sum) = std::mem::replace(&mut unmasking.sum, SumAt::WithJob)
            {
                unmasking.tried = unmasking.revealed.len();
                let round = unmasking.open.round;
                self.out.push_back(Output::Run(Job::Unmask(Unmask { round, opener, sum })));
                return Step::Stay(Phase::Unmasking(unmasking));
            }
        }
        if late {
            let got = unmasking.revealed.len();
            let why = match &unmasking.trouble {
                Some(fault) => format!("the sum cannot be unmasked: {fault}"),
                None => format!("{got} clients have revealed, too few to unmask the sum"),
            };
            return Step::Go(self.abort_unmasking(now, *unmasking, &why));
        }
        Step::Stay(Phase::Unmasking(unmasking))
    }

    pub(super) fn unmasked(&mut self, now: Instant, done: Unmasked) {
        let Unmasked { round, sum, outcome } = done;
        let Ok(unmasking) = self.unmasking(round) else { return };
        let opened = match outcome {
            Ok(opened) => opened,
            Err(fault @ Fault::Secagg(Violation::Unrecoverable { .. } | Violation::TooFewShares { .. })) => {
                // Somebody lies; more shares can tell who.
                unmasking.sum = SumAt::Here(sum);
                unmasking.trouble = Some(fault);
                return;
            }
            Err(fault) => {
                let Phase::Unmasking(unmasking) = std::mem::replace(&mut self.phase, Phase::Finished) else {
                    return;
                };
                self.phase = self.abort_unmasking(now, *unmasking, &fault.to_string());
                return;
            }
        };
        let Phase::Unmasking(unmasking) = std::mem::replace(&mut self.phase, Phase::Finished) else { return };
        let Unmasking { open, counted, reservation, .. } = *unmasking;
        for liar in opened.liars {
            self.event(Event::Refused(liar, Fault::Unsolicited("a share of another secret")));
        }
        self.phase = self.aggregate(now, open, counted, Total::Opened(opened.decoded), reservation);
    }

    fn unmasking(&mut self, round: Round) -> Result<&mut Unmasking, Fault> {
        match &mut self.phase {
            Phase::Unmasking(unmasking) if unmasking.open.round == round => Ok(unmasking),
            _ => Err(Fault::Stale { got: round }),
        }
    }
}
