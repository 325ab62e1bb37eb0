//! Connections that come and go, and machines that are killed: what a disk has is all that is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Action, SEED, World};
use crate::checkpoint::bytes_of;
use crate::coordinator::{self, Coordinator};
use crate::ids::ClientId;
use crate::message::Role;
use crate::participant::{self, Kept, Participant, Policy};
use crate::record::Snapshot;
use crate::seed::{Label, Seed};

/// When a server dies at a flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::tests) enum Dies {
    /// Nothing of it is on the disk.
    Before,
    /// All of it is; nothing that should follow has left.
    After,
}

/// A client's machine with the entropy of one of its lives.
pub(super) fn participant(id: &ClientId, role: Role, policy: Policy, kept: &Kept, life: u64) -> Participant {
    let entropy = Seed::from_number(life).derive(Label::World, id.as_str().as_bytes());
    Participant::new(id.clone(), role, policy, kept, entropy)
}

impl World {
    pub(super) fn connect(&mut self, who: usize) {
        if !self.hubs[who].connected && !self.gone.contains(&who) {
            self.hubs[who].connected = true;
            self.tell_server(coordinator::Input::Connected(self.hubs[who].id.clone()));
            self.tell_client(who, participant::Input::Connected);
        }
    }

    pub(super) fn cut(&mut self, who: usize) {
        let hub = &mut self.hubs[who];
        if std::mem::take(&mut hub.connected) {
            hub.to_server.clear();
            hub.to_client.clear();
            let id = hub.id.clone();
            self.tell_server(coordinator::Input::Disconnected(id));
            self.tell_client(who, participant::Input::Disconnected);
        }
    }

    pub(super) fn kill_client(&mut self, who: usize) {
        self.cut(who);
        self.lives += 1;
        let hub = &mut self.hubs[who];
        hub.machine = participant(&hub.id, hub.role, self.policy, &hub.kept, self.lives);
        hub.started = self.now;
        hub.jobs.clear();
        // A torn write: the last blob lost its tail.
        if let Some(blob) = hub.cache.values_mut().next_back() {
            blob.truncate(blob.len() / 2);
        }
    }

    /// Kills a client and takes its disk away.
    pub(in crate::tests) fn wipe(&mut self, who: usize) {
        let hub = &mut self.hubs[who];
        (hub.kept, hub.cache) = (Kept::default(), BTreeMap::new());
        self.step(Action::KillClient(who));
    }

    pub(super) fn kill_server(&mut self) {
        let start = Bytes::from(bytes_of(&vec![0.25; self.weights]));
        let mut snapshot = Snapshot::fresh(self.foundation.clone(), start);
        self.disk.iter().cloned().for_each(|record| snapshot.apply(record));
        let config = self.config.clone().check().unwrap();
        let roll = Arc::new(self.authority.roll());
        self.server = Coordinator::new(config, snapshot, Seed::from_number(SEED), roll);
        self.started = self.now;
        self.server_jobs.clear();
        for who in 0..self.hubs.len() {
            let hub = &mut self.hubs[who];
            hub.to_server.clear();
            hub.to_client.clear();
            if std::mem::take(&mut hub.connected) {
                self.tell_client(who, participant::Input::Disconnected);
            }
        }
    }
}
