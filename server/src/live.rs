//! What a running server tells of itself, and what can be asked of it from outside of its driver.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use somnus_protocol::ids::{ClientId, Round, Version};
use tokio::sync::mpsc;

/// A running server, for operator commands.
pub struct Live {
    listening: SocketAddr,
    state: Mutex<State>,
    /// Clients to disconnect: the driver reads it. Revocations are rare and written to disk first.
    dropped: mpsc::UnboundedSender<ClientId>,
}

#[derive(Default)]
struct State {
    phase: &'static str,
    round: Round,
    version: Version,
    finished: bool,
    connected: BTreeSet<ClientId>,
}

/// The moment's state, as `status` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The address in use.
    pub listening: SocketAddr,
    /// The phase of the open round.
    pub phase: String,
    /// The open round, or the last one.
    pub round: Round,
    /// The last release.
    pub version: Version,
    /// Whether all releases are made.
    pub finished: bool,
    /// Clients that are connected.
    pub connected: BTreeSet<ClientId>,
}

impl Live {
    /// A server on `listening`, and the clients that operators want disconnected.
    pub fn new(listening: SocketAddr) -> (Self, mpsc::UnboundedReceiver<ClientId>) {
        let (dropped, wanted) = mpsc::unbounded_channel();
        (Self { listening, state: Mutex::default(), dropped }, wanted)
    }

    /// The address in use.
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// The moment's state.
    pub fn running(&self) -> Running {
        let state = self.lock();
        Running {
            listening: self.listening,
            phase: state.phase.to_owned(),
            round: state.round,
            version: state.version,
            finished: state.finished,
            connected: state.connected.clone(),
        }
    }

    /// Ends a client's connection, if it has one.
    pub fn disconnect(&self, client: &ClientId) {
        // Without a driver there is no connection to end.
        let _ = self.dropped.send(client.clone());
    }

    pub(crate) fn moved(&self, phase: &'static str, round: Round, version: Version, finished: bool) {
        let mut state = self.lock();
        (state.phase, state.round, state.version, state.finished) = (phase, round, version, finished);
    }

    pub(crate) fn connected(&self, client: &ClientId, is: bool) {
        let mut state = self.lock();
        if is {
            state.connected.insert(client.clone());
        } else {
            state.connected.remove(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
