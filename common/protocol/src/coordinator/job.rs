//! Slow work of the server: pure functions that a driver runs where blocking is allowed.

use std::sync::Arc;

use bytes::Bytes;

use super::total::Total;
use crate::checkpoint::{bytes_of, floats};
use crate::encoding::{Codec, Decoded, Reduce};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round};
use crate::packed::Packed;
use crate::privacy::clipped::ClippedSum;
use crate::privacy::veil::Veil;
use crate::robust::{Gather, Gathered, Verdict};
use crate::secagg;
use crate::strategy::Strategy;
use crate::update::UpdateLayout;

/// Work for a thread that may block.
#[derive(Debug)]
pub enum Job {
    /// Check an update and add it to the sum.
    Add(Add),
    /// Remove the masks from the sum.
    Unmask(Unmask),
    /// Turn the sum into the next release.
    Aggregate(Aggregate),
}

/// What a [`Job`] gave.
#[derive(Debug)]
pub enum JobResult {
    /// Of [`Job::Add`].
    Added(Added),
    /// Of [`Job::Unmask`].
    Unmasked(Unmasked),
    /// Of [`Job::Aggregate`].
    Aggregated(Aggregated),
}

/// What updates are added into.
pub(super) enum Tally {
    /// Updates that the server reads.
    Plain(Gather),
    /// The same, clipped as they come in.
    Clipped(ClippedSum),
    /// Updates that it cannot read.
    Masked(Packed),
}

/// One update on its way into the sum; it owns the sum meanwhile.
pub struct Add {
    pub(super) round: Round,
    pub(super) client: ClientId,
    pub(super) tally: Tally,
    pub(super) update: Vec<u8>,
    pub(super) weight: u32,
    pub(super) loss: f32,
}

/// The sum, and whether the update is in it.
pub struct Added {
    pub(super) round: Round,
    pub(super) client: ClientId,
    pub(super) tally: Tally,
    /// The update's buffer, for the next one.
    pub(super) spare: Vec<u8>,
    pub(super) outcome: Result<(), Fault>,
}

/// A masked sum of a group and what removes its masks.
pub struct Unmask {
    pub(super) round: Round,
    pub(super) group: u32,
    pub(super) opener: Opener,
    pub(super) sum: Packed,
}

/// What removes the masks of a round from its sum, and what reads it then.
pub(super) struct Opener {
    pub(super) unmask: secagg::Unmask,
    pub(super) codec: Arc<Codec>,
    /// What hides people in the sum.
    pub(super) veil: Option<Veil>,
}

/// The masked sum again, and what was in it.
pub struct Unmasked {
    pub(super) round: Round,
    pub(super) group: u32,
    /// As it was: another try may have more shares.
    pub(super) sum: Packed,
    pub(super) outcome: Result<Revelation, Fault>,
}

/// What was in a masked sum, and who revealed something that was not its share.
pub(super) struct Revelation {
    pub(super) decoded: Decoded,
    pub(super) liars: Vec<ClientId>,
}

/// What a group of a masked round said together.
pub(super) struct GroupSum {
    pub(super) members: Vec<ClientId>,
    pub(super) decoded: Decoded,
}

/// A sum on its way to a release.
pub struct Aggregate {
    pub(super) round: Round,
    pub(super) total: Total,
    pub(super) weights: Bytes,
    pub(super) layout: UpdateLayout,
    /// How the next round's updates are reduced.
    pub(super) reduce: Reduce,
    pub(super) strategy: Box<dyn Strategy>,
}

/// The next release.
pub struct Aggregated {
    pub(super) round: Round,
    pub(super) weights: Bytes,
    pub(super) blob: BlobId,
    pub(super) strategy: Box<dyn Strategy>,
    pub(super) state: Bytes,
    pub(super) companion: Option<(BlobId, Bytes)>,
    pub(super) verdicts: Vec<(ClientId, Verdict)>,
}

impl Job {
    /// Does the work. The same job gives the same result on every thread of a machine.
    pub fn run(self) -> JobResult {
        match self {
            Job::Add(add) => JobResult::Added(add.run()),
            Job::Unmask(unmask) => JobResult::Unmasked(unmask.run()),
            Job::Aggregate(aggregate) => JobResult::Aggregated(aggregate.run()),
        }
    }
}

impl Add {
    fn run(self) -> Added {
        let Self { round, client, mut tally, update, weight, loss } = self;
        // The offered checksum says which update is resumed; that the bytes are the client's own, TLS says.
        let outcome = match &mut tally {
            Tally::Plain(gather) => gather.add(&client, &update, weight, loss),
            Tally::Clipped(sum) => sum.add(&update),
            Tally::Masked(sum) => {
                Packed::from_bytes(&update, sum.len()).map(|update| sum.add_assign(&update))
            }
        };
        Added { round, client, tally, spare: update, outcome }
    }
}

impl Unmask {
    fn run(self) -> Unmasked {
        let Self { round, group, opener, sum } = self;
        Unmasked { round, group, outcome: opener.open(sum.clone()), sum }
    }
}

impl Opener {
    fn open(self, mut sum: Packed) -> Result<Revelation, Fault> {
        let Self { unmask, codec, veil } = self;
        let liars = unmask.run(&mut sum)?.liars;
        let survivors = unmask.survivors.len();
        let decoded = match &veil {
            Some(veil) => codec.decode_veiled(&sum, survivors, veil),
            None => codec.decode(&sum, survivors),
        };
        let decoded = decoded.map_err(|error| Fault::Malformed(error.to_string()))?;
        Ok(Revelation {
            decoded,
            liars: liars.into_iter().map(|i| unmask.roster.client(i).clone()).collect(),
        })
    }
}

impl Aggregate {
    fn run(self) -> Aggregated {
        let Self { round, total, weights, layout, reduce, mut strategy } = self;
        let Gathered { mean, updates, weight, verdicts } = total.combine();
        let mut next = floats(&weights);
        strategy.step(&mut next, &layout.mean(&mean, updates));
        let reduced = reduce != Reduce::None;
        let favourites = reduced.then(|| reduce.favourites(&floats(&weights), &next)).flatten();
        let companion = layout.companion(strategy.control(), &mean, weight, favourites.as_deref());
        let companion = companion.map(|bytes| (BlobId::of(&bytes), bytes));
        let weights = Bytes::from(bytes_of(&next));
        let state = pack(&strategy.state());
        Aggregated { round, blob: BlobId::of(&weights), weights, strategy, state, companion, verdicts }
    }
}

/// A strategy's vectors, one after the other.
fn pack(state: &[&[f32]]) -> Bytes {
    Bytes::from(state.iter().map(|vector| bytes_of(vector)).collect::<Vec<_>>().concat())
}

/// The inverse of [`pack`] for vectors of `bytes_each`.
pub(super) fn unpack(state: &[u8], bytes_each: usize) -> Vec<Vec<f32>> {
    if bytes_each == 0 { Vec::new() } else { state.chunks_exact(bytes_each).map(floats).collect() }
}

macro_rules! opaque_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).field("round", &self.round).finish_non_exhaustive()
            }
        }
    )*};
}

// Vectors of weights have no place in a log.
opaque_debug!(Add, Added, Unmask, Unmasked, Aggregate, Aggregated);
