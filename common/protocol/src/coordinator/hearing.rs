//! What a client says, to whom it may concern: the phase that is open, or nobody.

use super::masks::Masks;
use super::phase::Phase;
use super::uploads::Offer;
use super::{Coordinator, Event, Peer};
use crate::fault::Fault;
use crate::ids::ClientId;
use crate::message::{CHUNK, PROTOCOL, ToClient, ToServer};
use crate::time::Instant;

impl Coordinator {
    /// Answers a message.
    ///
    /// # Errors
    /// The [`Fault`] for which it is refused.
    pub(super) fn message(
        &mut self,
        now: Instant,
        client: &ClientId,
        message: ToServer,
    ) -> Result<(), Fault> {
        let Some(peer) = self.peers.get_mut(client) else {
            return Err(Fault::Unsolicited("a message without a connection"));
        };
        match (message, *peer) {
            (ToServer::CheckIn { protocol, role }, _) => {
                if protocol != PROTOCOL {
                    return Err(Fault::WrongProtocol { expected: PROTOCOL, got: protocol });
                }
                *peer = Peer::CheckedIn(role);
                self.event(Event::CheckedIn(client.clone(), role));
                self.send(client, ToClient::Welcome { version: self.version });
                self.greet(now, client);
                Ok(())
            }
            (_, Peer::New) => Err(Fault::Unsolicited("a message before checking in")),
            (ToServer::Fetch { digest, offset }, _) => {
                let roster = self.phase.masks(client).map(Masks::blob);
                let all = [&self.weights, &self.foundation].into_iter().chain(&self.companion).chain(roster);
                let held = all.into_iter().find(|held| held.id.digest == digest);
                let bytes = held.map(|held| held.bytes.clone()).ok_or(Fault::NoSuchBlob)?;
                let start = usize::try_from(offset)
                    .ok()
                    .filter(|start| *start < bytes.len())
                    .ok_or(Fault::NoSuchBlob)?;
                let chunk = bytes.slice(start..bytes.len().min(start + CHUNK));
                self.bytes_down += chunk.len() as u64;
                self.send(client, ToClient::Chunk { digest, offset, bytes: chunk });
                Ok(())
            }
            (ToServer::Ready { round, keys }, _) => self.ready(now, client, round, keys),
            (ToServer::Shares { round, shares }, _) => self.shared(client, round, shares),
            (ToServer::Confirm { round, signature }, _) => self.confirmed(client, round, signature),
            (ToServer::Revealed { round, shares }, _) => self.revealed(client, round, shares),
            (ToServer::Offer { round, update, visible }, _) => {
                self.offered(now, client, round, Offer { update, visible })
            }
            (ToServer::Part { round, offset, bytes }, _) => self.part(now, client, round, offset, &bytes),
            (ToServer::Decline { round, reason }, _) => self.declined(client, round, &reason),
            (ToServer::Evaluated { version, counts }, _) => self.evaluated(client, version, counts),
            (ToServer::DeclineEvaluation { version, reason }, _) => {
                self.evaluation_declined(client, version, &reason)
            }
        }
    }

    /// Tells a client that has just checked in what it may have missed.
    pub(super) fn greet(&mut self, now: Instant, client: &ClientId) {
        match &self.phase {
            Phase::Keying(_) => self.greet_keying(now, client),
            Phase::Sharing(_) => self.greet_sharing(now, client),
            Phase::Collecting(_) => self.greet_collecting(now, client),
            Phase::Unmasking(_) => self.greet_unmasking(now, client),
            Phase::Evaluating(_) => self.greet_evaluating(client),
            Phase::Finished => self.send(client, ToClient::Finished { version: self.version }),
            Phase::Idle(_) | Phase::Selecting(_) | Phase::Aggregating(_) => {}
        }
    }
}
