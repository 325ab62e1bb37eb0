//! The audit log: append-only, who was let in and who was not, what was released.
//!
//! Refusals come from anyone on the network, so they are rationed: a flood costs a bounded number of writes, and the
//! log says how many it left out.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use somnus_protocol::ids::{ClientId, Round};

use crate::clock::Seconds;
use crate::error::StoreError;
use crate::store::{Change, Key, Store, Table};

/// Refusals written per [`WINDOW`].
const RATION: u32 = 20;
/// Length of a window in seconds.
const WINDOW: Seconds = 60;

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since 1970 UTC.
    pub at: Seconds,
    /// What.
    pub event: AuditEvent,
}

/// What is worth remembering.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditEvent {
    /// The federation was made.
    Created,
    /// The store was filled from a backup.
    Restored,
    /// A server began to serve.
    Started,
    /// An invitation was made.
    Invited {
        /// For whom.
        name: ClientId,
        /// Until when.
        expires: Seconds,
    },
    /// A hub used its invitation.
    Enrolled {
        /// Its name.
        name: ClientId,
        /// SHA-256 of its public key, hexadecimal.
        key: String,
    },
    /// A hub's certificate was renewed.
    Renewed {
        /// Its name.
        name: ClientId,
    },
    /// A hub was taken off the roster, or its invitation withdrawn.
    Revoked {
        /// Its name.
        name: ClientId,
    },
    /// A round began.
    RoundOpened {
        /// Which.
        round: Round,
    },
    /// A round ended.
    RoundEnded {
        /// Which.
        round: Round,
        /// How.
        outcome: String,
    },
    /// A peer was turned away, or did what no honest peer does.
    Refused {
        /// Its name or address.
        peer: String,
        /// Why.
        why: String,
        /// Refusals since the last one in this log that were not written.
        unlogged: u64,
    },
}

/// Appends to the log.
pub struct Audit {
    store: Arc<Store>,
    state: Mutex<State>,
}

struct State {
    next: u64,
    window: Seconds,
    written: u32,
    unlogged: u64,
}

impl Audit {
    /// Continues the log of `store`.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn open(store: Arc<Store>) -> Result<Self, StoreError> {
        let last = store.keys(Table::Audit)?.pop().and_then(|key| key.try_into().ok());
        let next = last.map_or(0, |bytes| u64::from_be_bytes(bytes) + 1);
        let state = Mutex::new(State { next, window: 0, written: 0, unlogged: 0 });
        Ok(Self { store, state })
    }

    /// The write that appends `event`; to be part of the batch that does what it tells.
    pub fn line(&self, at: Seconds, event: AuditEvent) -> Change {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        let text = serde_json::to_vec(&Entry { at, event }).expect("an entry is plain data");
        Change::Put(Key::number(Table::Audit, number), text)
    }

    /// Appends `event` by itself.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn append(&self, at: Seconds, event: AuditEvent) -> Result<(), StoreError> {
        self.store.write(&[self.line(at, event)])
    }

    /// Appends a refusal unless this window's ration is used up; whether it did.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub fn refused(&self, at: Seconds, peer: &str, why: &str) -> Result<bool, StoreError> {
        let unlogged = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if at >= state.window + WINDOW || at < state.window {
                (state.window, state.written) = (at, 0);
            }
            if state.written >= RATION {
                state.unlogged += 1;
                return Ok(false);
            }
            state.written += 1;
            std::mem::take(&mut state.unlogged)
        };
        let event = AuditEvent::Refused { peer: peer.to_owned(), why: why.to_owned(), unlogged };
        self.append(at, event).map(|()| true)
    }

    /// The last `count` lines, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if the log cannot be read.
    pub fn tail(&self, count: usize) -> Result<Vec<Entry>, StoreError> {
        let lines = self.store.table(Table::Audit)?;
        let skip = lines.len().saturating_sub(count);
        let read = |(key, text): &(Vec<u8>, Vec<u8>)| {
            serde_json::from_slice(text).map_err(|why| self.store.damaged(&Key::new(Table::Audit, key), &why))
        };
        lines.iter().skip(skip).map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_on_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let audit = Audit::open(Arc::new(Store::create(&path).unwrap())).unwrap();
        audit.append(5, AuditEvent::Created).unwrap();
        drop(audit);
        let audit = Audit::open(Arc::new(Store::open(&path).unwrap())).unwrap();
        audit.append(6, AuditEvent::Started).unwrap();
        let events: Vec<_> = audit.tail(10).unwrap().into_iter().map(|e| (e.at, e.event)).collect();
        assert_eq!(events, [(5, AuditEvent::Created), (6, AuditEvent::Started)]);
    }

    #[test]
    fn a_flood_of_refusals_is_counted_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(Arc::new(Store::create(&dir.path().join("store")).unwrap())).unwrap();
        let written =
            (0..1000).filter(|_| audit.refused(1000, "192.0.2.1", "no certificate").unwrap()).count();
        assert_eq!(written, RATION as usize);
        audit.refused(1000 + WINDOW, "192.0.2.1", "no certificate").unwrap();
        let lines = audit.tail(usize::MAX).unwrap();
        assert_eq!(lines.len(), RATION as usize + 1);
        let last = &lines[RATION as usize].event;
        assert!(matches!(last, AuditEvent::Refused { unlogged: 980, .. }), "{last:?}");
    }
}
