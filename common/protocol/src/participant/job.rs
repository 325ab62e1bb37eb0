//! Slow work of a client: pure functions that a driver runs where blocking is allowed.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::needs::Needs;
use super::owner::Policy;
use super::training::examine;
use crate::encoding::{Contribution, Encoded};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Digest, Round, UpdateId};
use crate::message::{Assignment, Examination, Visible};
use crate::secagg::keys::statement;
use crate::secagg::{
    Holding, Identity, Joining, Member, Revealed, Roll, Roster, RoundSecrets, RoundSeed, SealedShare,
    Session, Signature, Subset,
};
use crate::secure::SecurePlan;
use crate::seed::Seed;
use crate::trainer::{LocalEvaluation, Trainer};
use crate::update::UpdateLayout;

/// What a client works with: its nights and its name in the federation.
#[derive(Clone, Copy)]
pub struct Hands<'a> {
    /// Nights and a network.
    pub trainer: &'a dyn Trainer,
    /// Its enrolled key.
    pub identity: &'a dyn Identity,
    /// Who else is enrolled.
    pub roll: &'a dyn Roll,
}

/// Work for a thread that may block; the driver adds what it needs.
pub enum Job {
    /// Train for a round.
    Train(Train),
    /// Make the keys of a round and sign them.
    Sign(Sign),
    /// Check the roster, and share this client's secrets among its neighbours.
    Share(Share),
    /// Mask the update.
    Mask(Mask),
    /// Sign who survived.
    Confirm(Confirm),
    /// Check what the others signed, and reveal this client's part of the masks.
    Reveal(Reveal),
    /// Score a release.
    Examine {
        /// What the server asks for.
        examination: Examination,
        /// What the last update that counted left behind.
        memory: Option<Bytes>,
    },
}

/// Of [`Job::Train`].
pub struct Train {
    pub(super) assignment: Assignment,
    pub(super) client: ClientId,
    /// What the last update that counted left behind.
    pub(super) memory: Option<Bytes>,
    /// What this round's masks are made of; none in a plain round.
    pub(super) secrets: Option<RoundSeed>,
    /// What its owner allows.
    pub(super) policy: Policy,
}

impl Train {
    /// What the server asks for.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// What the last update that counted left behind.
    pub fn memory(&self) -> Option<&Bytes> {
        self.memory.as_ref()
    }
}

/// Of [`Job::Sign`].
pub struct Sign {
    pub(super) assignment: Assignment,
    pub(super) client: ClientId,
    pub(super) secrets: RoundSeed,
}

/// Of [`Job::Share`].
pub struct Share {
    pub(super) roster: BlobId,
    pub(super) secrets: RoundSeed,
    pub(super) plan: SecurePlan,
    pub(super) joining: Joining,
}

/// Of [`Job::Mask`].
pub struct Mask {
    pub(super) promise: Digest,
    pub(super) session: Box<Session>,
    pub(super) present: Subset,
    pub(super) shares: Vec<(u32, SealedShare)>,
    pub(super) codec: Recipe,
    pub(super) update: Bytes,
    pub(super) visible: Visible,
    pub(super) counts: Option<Vec<u32>>,
}

/// What an update is encoded by.
pub(super) struct Recipe {
    pub(super) plan: SecurePlan,
    pub(super) layout: UpdateLayout,
    /// Of the release's companion.
    pub(super) favourites: Option<Bytes>,
    /// What earlier rounds left out.
    pub(super) residual: Option<Bytes>,
    /// The number that the assignment carries.
    pub(super) public: u64,
    /// How this client rounds; the server may know it.
    pub(super) rounding: Seed,
    /// What its noise is made of; nobody else knows it.
    pub(super) secret: Seed,
}

/// Of [`Job::Confirm`].
pub struct Confirm {
    pub(super) promise: Digest,
    pub(super) holding: Box<Holding>,
    pub(super) statement: Vec<u8>,
}

/// Of [`Job::Reveal`].
pub struct Reveal {
    pub(super) promise: Digest,
    pub(super) holding: Box<Holding>,
    pub(super) signatures: BTreeMap<u32, Signature>,
}

/// What a [`Job`] gave.
pub enum JobResult {
    /// Of [`Job::Train`].
    Trained(Assignment, Box<Update>),
    /// Of [`Job::Sign`].
    Signed(Digest, Member),
    /// Of [`Job::Share`].
    Shared(Digest, Box<Session>, Vec<(u32, SealedShare)>),
    /// Of [`Job::Mask`].
    Masked(Digest, Masked),
    /// Of [`Job::Confirm`].
    Confirmed(Digest, Box<Holding>, Signature),
    /// Of [`Job::Reveal`].
    Revealed(Digest, Box<Holding>, Vec<Revealed>),
    /// Of [`Job::Examine`].
    Examined(Examination, LocalEvaluation),
    /// It could not be done.
    Failed(Receipt, String),
}

/// A masked update, ready to travel.
pub struct Masked {
    pub(super) holding: Box<Holding>,
    pub(super) bytes: Bytes,
    /// What it left out, for the next one once this counts.
    pub(super) residual: Option<Bytes>,
    /// About those whose shares did not open.
    pub(super) faults: Vec<Fault>,
}

/// What a job was for, to be able to say that it failed when it is gone.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one for each job")]
pub enum Receipt {
    /// A training.
    Train(Assignment),
    /// A step of a masked round.
    Step(Digest),
    /// An evaluation.
    Examine(Examination),
}

impl Receipt {
    /// The result when the work could not be done.
    pub fn failed(self, why: impl Into<String>) -> JobResult {
        JobResult::Failed(self, why.into())
    }
}

/// What training gave, ready to travel or to be masked.
#[derive(Clone)]
pub struct Update {
    pub(super) bytes: Bytes,
    pub(super) id: UpdateId,
    pub(super) visible: Visible,
    /// The confusion matrix of the release that the round starts from, or why there is none; none if nobody asked.
    pub(super) counts: Option<Result<Vec<u32>, String>>,
    /// What stays here once the update counts.
    pub(super) memory: Option<Bytes>,
    /// Of the companion that it was trained beside.
    pub(super) favourites: Option<Bytes>,
    /// The round's keys, signed; none in a plain round.
    pub(super) keys: Option<Member>,
}

// Vectors of weights and secrets have no place in a log.
macro_rules! opaque_debug {
    ($($name:ty: $($kind:ident)|+),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {$(Self::$kind { .. } => stringify!($kind)),+})
            }
        }
    )*};
}

opaque_debug!(
    Job: Train | Sign | Share | Mask | Confirm | Reveal | Examine,
    JobResult: Trained | Signed | Shared | Masked | Confirmed | Revealed | Examined | Failed
);

impl Job {
    /// The blobs that the driver has to load from its cache.
    pub fn needs(&self) -> Needs<BlobId> {
        match self {
            Job::Train(train) => Needs::Model((&train.assignment).into()),
            Job::Examine { examination, .. } => Needs::Model(examination.into()),
            Job::Share(share) => Needs::Roster(share.roster),
            Job::Sign(_) | Job::Mask(_) | Job::Confirm(_) | Job::Reveal(_) => Needs::Nothing,
        }
    }

    /// What it is for, for a driver that cannot even begin it, or that sees it panic.
    pub fn receipt(&self) -> Receipt {
        match self {
            Job::Train(train) => Receipt::Train(train.assignment.clone()),
            Job::Sign(sign) => Receipt::Step(sign.assignment.promise()),
            Job::Share(share) => Receipt::Step(share.joining.assignment),
            Job::Mask(mask) => Receipt::Step(mask.promise),
            Job::Confirm(confirm) => Receipt::Step(confirm.promise),
            Job::Reveal(reveal) => Receipt::Step(reveal.promise),
            Job::Examine { examination, .. } => Receipt::Examine(examination.clone()),
        }
    }

    /// Does the work.
    pub fn run(self, hands: Hands<'_>, needs: Needs<Bytes>) -> JobResult {
        let receipt = self.receipt();
        let done = match (self, needs) {
            (Job::Train(train), Needs::Model(materials)) => train.run(hands, materials),
            (Job::Sign(sign), _) => Ok(sign.run(hands.identity)),
            (Job::Share(share), Needs::Roster(roster)) => share.run(hands.roll, &roster),
            (Job::Mask(mask), _) => mask.run(),
            (Job::Confirm(confirm), _) => Ok(confirm.run(hands.identity)),
            (Job::Reveal(reveal), _) => reveal.run(hands.roll),
            (Job::Examine { examination, memory }, Needs::Model(materials)) => {
                examine(examination, memory, hands.trainer, materials)
            }
            _ => Err("the driver brought other blobs than the work needs".into()),
        };
        done.unwrap_or_else(|why| receipt.failed(why))
    }
}

impl Sign {
    fn run(self, identity: &dyn Identity) -> JobResult {
        let Self { assignment, client, secrets } = self;
        let (round, promise) = (assignment.round, assignment.promise());
        JobResult::Signed(promise, sign(identity, client, &secrets, round, &promise))
    }
}

/// The keys of a round, signed for what it asks for.
pub(super) fn sign(
    identity: &dyn Identity,
    client: ClientId,
    secrets: &RoundSeed,
    round: Round,
    promise: &Digest,
) -> Member {
    let advertisement = RoundSecrets::new(secrets).advertisement();
    let statement = statement(round, &client, &advertisement, promise);
    let signature = Signature(identity.sign(&statement));
    Member { client, certificate: identity.certificate().clone(), advertisement, signature }
}

impl Share {
    fn run(self, roll: &dyn Roll, roster: &[u8]) -> Result<JobResult, String> {
        let Self { secrets, plan, joining, .. } = self;
        let join = || {
            let roster = Roster::from_bytes(roster)?;
            let parameters = plan.parameters(roster.size());
            Session::join(&secrets, roster, parameters, roll, &joining)
        };
        let session = join().map_err(|fault| format!("this round's roster: {fault}"))?;
        let shares = session.shares();
        Ok(JobResult::Shared(joining.assignment, Box::new(session), shares))
    }
}

impl Mask {
    fn run(self) -> Result<JobResult, String> {
        let Self { promise, session, present, shares, codec, update, visible, counts } = self;
        let members = session.roster().size();
        let (holding, faults) = session.receive(present, shares).map_err(|fault| fault.to_string())?;
        let Recipe { plan, layout, favourites, residual, public, rounding, secret } = codec;
        let codec = plan.codec(layout, members, &plan.public(public), favourites.as_deref());
        let codec = codec.map_err(|error| error.to_string())?;
        let Visible { examples, loss } = visible;
        // Weights of another set have nothing to do with these.
        let residual = residual.filter(|residual| residual.len() == 4 * layout.weights().len());
        let (evaluation, residual) = (counts.as_deref(), residual.as_deref());
        let contribution = Contribution { update: &update, examples, loss, evaluation, residual };
        let encoded =
            plan.encode(&codec, &contribution, &rounding, &secret).map_err(|fault| fault.to_string())?;
        let Encoded { mut packed, residual } = encoded;
        holding.mask(&mut packed);
        let (holding, bytes) = (Box::new(holding), packed.to_bytes().into());
        Ok(JobResult::Masked(promise, Masked { holding, bytes, residual, faults }))
    }
}

impl Confirm {
    fn run(self, identity: &dyn Identity) -> JobResult {
        let Self { promise, holding, statement } = self;
        JobResult::Confirmed(promise, holding, Signature(identity.sign(&statement)))
    }
}

impl Reveal {
    fn run(self, roll: &dyn Roll) -> Result<JobResult, String> {
        let Self { promise, holding, signatures } = self;
        let shares = holding.reveal(&signatures, roll).map_err(|fault| fault.to_string())?;
        Ok(JobResult::Revealed(promise, holding, shares))
    }
}
