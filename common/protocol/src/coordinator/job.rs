//! Slow work of the server: pure functions that a driver runs where blocking is allowed.

use bytes::Bytes;

use crate::checkpoint::{bytes_of, floats};
use crate::fault::Fault;
use crate::ids::{BlobId, ClientId, Round};
use crate::strategy::Strategy;
use crate::sum::Sum;
use crate::update::UpdateLayout;

/// Work for a thread that may block.
#[derive(Debug)]
pub enum Job {
    /// Check an update and add it to the sum.
    Add(Add),
    /// Turn the sum into the next release.
    Aggregate(Aggregate),
}

/// What a [`Job`] gave.
#[derive(Debug)]
pub enum JobResult {
    /// Of [`Job::Add`].
    Added(Added),
    /// Of [`Job::Aggregate`].
    Aggregated(Aggregated),
}

/// One update on its way into the sum; it owns the sum meanwhile.
pub struct Add {
    pub(super) round: Round,
    pub(super) client: ClientId,
    pub(super) sum: Sum,
    pub(super) update: Bytes,
    pub(super) weight: u32,
    pub(super) loss: f32,
}

/// The sum, and whether the update is in it.
pub struct Added {
    pub(super) round: Round,
    pub(super) client: ClientId,
    pub(super) sum: Sum,
    pub(super) outcome: Result<(), Fault>,
}

/// A sum on its way to a release.
pub struct Aggregate {
    pub(super) round: Round,
    pub(super) sum: Sum,
    pub(super) weights: Bytes,
    pub(super) layout: UpdateLayout,
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
}

impl Job {
    /// Does the work. The same job gives the same result on every thread of a machine.
    pub fn run(self) -> JobResult {
        match self {
            Job::Add(add) => JobResult::Added(add.run()),
            Job::Aggregate(aggregate) => JobResult::Aggregated(aggregate.run()),
        }
    }
}

impl Add {
    fn run(self) -> Added {
        let Self { round, client, mut sum, update, weight, loss } = self;
        // The offered checksum says which update is resumed; that the bytes are the client's own, TLS says.
        let outcome = sum.add(&update, weight, loss);
        Added { round, client, sum, outcome }
    }
}

impl Aggregate {
    fn run(self) -> Aggregated {
        let Self { round, sum, weights, layout, mut strategy } = self;
        let (mean, updates, weight) = (sum.mean(), sum.updates(), sum.examples());
        drop(sum);
        let mut next = floats(&weights);
        strategy.step(&mut next, &layout.mean(&mean, updates));
        let companion = layout.companion(strategy.control(), &mean, weight);
        let companion = companion.map(|bytes| (BlobId::of(&bytes), bytes));
        let weights = Bytes::from(bytes_of(&next));
        let state = pack(&strategy.state());
        Aggregated { round, blob: BlobId::of(&weights), weights, strategy, state, companion }
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
opaque_debug!(Add, Added, Aggregate, Aggregated);
