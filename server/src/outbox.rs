//! What waits to be sent to one client: bounded, so that a client that does not read costs its connection and nothing
//! else.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use somnus_protocol::ids::Digest;
use somnus_protocol::message::ToClient;
use somnus_protocol::wire::encode;
use tokio::sync::Notify;

/// Messages on their way to one client. Filled by the driver, emptied by the connection's writer.
pub struct Outbox {
    state: Mutex<State>,
    wake: Notify,
    capacity: usize,
}

struct State {
    queue: VecDeque<ToClient>,
    /// The chunk that the writer has in hand.
    writing: Option<(Digest, u64)>,
    closed: bool,
}

/// The client does not read fast enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} messages wait for the client, which does not read them")]
pub struct Full(pub usize);

impl Outbox {
    /// An empty outbox for at most `capacity` messages.
    pub fn new(capacity: usize) -> Self {
        let state = State { queue: VecDeque::new(), writing: None, closed: false };
        Self { state: Mutex::new(state), wake: Notify::new(), capacity }
    }

    /// Adds a message. A chunk that waits already is not added twice: the stream is reliable, so the client that
    /// asked again will have it.
    ///
    /// # Errors
    /// [`Full`] if too many messages wait.
    pub fn push(&self, message: ToClient) -> Result<(), Full> {
        let mut state = self.lock();
        if let Some(chunk) = chunk_of(&message)
            && (state.writing == Some(chunk) || state.queue.iter().any(|m| chunk_of(m) == Some(chunk)))
        {
            return Ok(());
        }
        if state.queue.len() >= self.capacity {
            return Err(Full(self.capacity));
        }
        state.queue.push_back(message);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The next message as a frame; waits for one. `None` once the outbox is closed and empty. For one reader.
    pub async fn next(&self) -> Option<Bytes> {
        loop {
            let waiting = self.wake.notified();
            if let Some(next) = self.take() {
                return next;
            }
            waiting.await;
        }
    }

    /// What there is to write; the end, if nothing more will come; nothing, if that has to be waited for.
    fn take(&self) -> Option<Option<Bytes>> {
        let mut state = self.lock();
        if let Some(message) = state.queue.pop_front() {
            state.writing = chunk_of(&message);
            drop(state);
            return Some(Some(encode(&message).into()));
        }
        state.writing = None;
        // Most clients wait most of the time: they need no room for messages.
        state.queue = VecDeque::new();
        state.closed.then_some(None)
    }

    /// Lets the reader end when it has sent what is here.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn chunk_of(message: &ToClient) -> Option<(Digest, u64)> {
    match message {
        ToClient::Chunk { digest, offset, .. } => Some((*digest, *offset)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use somnus_protocol::ids::Round;

    use super::*;

    fn frame(message: &ToClient) -> Option<Bytes> {
        Some(encode(message).into())
    }

    fn over(n: u64) -> ToClient {
        ToClient::Over { round: Round(n) }
    }

    fn chunk(offset: u64) -> ToClient {
        ToClient::Chunk { digest: Digest::of(b"blob"), offset, bytes: Bytes::new() }
    }

    #[tokio::test]
    async fn messages_come_in_order_and_then_the_end() {
        let outbox = Outbox::new(8);
        outbox.push(over(1)).unwrap();
        outbox.push(over(2)).unwrap();
        outbox.close();
        assert_eq!(outbox.next().await, frame(&over(1)));
        assert_eq!(outbox.next().await, frame(&over(2)));
        assert_eq!(outbox.next().await, None);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_fills_it_and_repeated_requests_do_not() {
        let outbox = Outbox::new(3);
        for _ in 0..100 {
            outbox.push(chunk(0)).unwrap();
        }
        assert_eq!(outbox.next().await, frame(&chunk(0)));
        // It is being written now: still not twice.
        outbox.push(chunk(0)).unwrap();
        for n in 1..4 {
            outbox.push(over(n)).unwrap();
        }
        assert_eq!(outbox.push(over(4)), Err(Full(3)));
        assert_eq!(outbox.next().await, frame(&over(1)));
        outbox.push(chunk(0)).unwrap();
    }
}
