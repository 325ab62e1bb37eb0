//! A federation and what comes of it, whichever way its messages travel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use somnus_protocol::config::RoundConfig;
use somnus_protocol::coordinator;
use somnus_protocol::ids::{ClientId, Version};
use somnus_protocol::message::Role;
use somnus_protocol::participant;
use somnus_protocol::record::{Record, RoundRecord, Snapshot};
use somnus_protocol::seed::Seed;
use somnus_protocol::time::Instant;
use somnus_protocol::trainer::{LocalEvaluation, Trainer};

/// Everything that decides a federation's release.
#[derive(Clone)]
pub struct Federation {
    /// The rounds.
    pub config: RoundConfig,
    /// The foundation checkpoint and the release to start from.
    pub start: Snapshot,
    /// Decides selections, training seeds and the world's chance.
    pub seed: Seed,
    /// Who takes part.
    pub clients: Vec<Client>,
}

/// One client of a federation.
#[derive(Clone)]
pub struct Client {
    /// Its name.
    pub id: ClientId,
    /// What it takes part in.
    pub role: Role,
    /// Its private nights and its hands.
    pub trainer: Arc<dyn Trainer>,
}

/// The evaluations that owners of clients heard of, by release.
pub type Evaluations = BTreeMap<ClientId, BTreeMap<Version, LocalEvaluation>>;

/// What a federation came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last release's version.
    pub version: Version,
    /// Its weights.
    pub weights: Bytes,
    /// Every round that ended, in order.
    pub rounds: Vec<RoundRecord>,
    /// What each client counted, whatever its server got to know of it.
    pub evaluations: Evaluations,
    /// What it cost.
    pub statistics: Statistics,
}

/// What a federation cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Messages that arrived.
    pub messages: u64,
    /// Bytes of frames towards the server; of payloads when messages are not encoded.
    pub bytes_up: u64,
    /// The same towards the clients.
    pub bytes_down: u64,
    /// Jobs whose result was used.
    pub jobs: u64,
    /// Clients' crashes and lost connections.
    pub failures: u64,
    /// Starts of the server after the first.
    pub restarts: u64,
    /// Virtual time from the first start to the end.
    pub virtual_time: Duration,
}

/// Looks on. The default looks away.
pub trait Observer {
    /// The server has something to tell its operator.
    fn server(&mut self, _now: Instant, _event: &coordinator::Event) {}

    /// A client has something to tell its owner.
    fn client(&mut self, _now: Instant, _client: &ClientId, _event: &participant::Event) {}

    /// The server writes this down.
    fn record(&mut self, _record: &Record) {}
}

impl Observer for () {}
