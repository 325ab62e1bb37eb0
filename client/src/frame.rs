//! Frames from a QUIC stream: bounded before they are read, decoded once they are whole.

use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{ReadError, ReadExactError, RecvStream};
use serde::de::DeserializeOwned;
use somnus_protocol::fault::Fault;
use somnus_protocol::wire::{HEADER, body_len, decode};
use tokio::io::AsyncReadExt;

/// Memory for a frame is taken in steps of this size as its bytes arrive, whatever its header promises.
const STEP: usize = 16 * 1024;

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The server's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The stream ended inside of a frame.
    #[error("torn frame: the stream ended inside of it")]
    Torn,
    /// The connection is gone.
    #[error(transparent)]
    Gone(#[from] ReadError),
}

/// The next message, counting bytes into `received` as they arrive; `None` if the stream ended between two frames.
///
/// # Errors
/// [`FrameError`]; the stream is of no use after it.
pub async fn read<T: DeserializeOwned>(
    stream: &mut RecvStream,
    received: &AtomicU64,
) -> Result<Option<T>, FrameError> {
    let mut header = [0; HEADER];
    match stream.read_exact(&mut header).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(ReadExactError::FinishedEarly(_)) => return Err(FrameError::Torn),
        Err(ReadExactError::ReadError(error)) => return Err(error.into()),
    }
    let len = body_len(header)?;
    let mut body = Vec::with_capacity(len.min(STEP));
    while body.len() < len {
        let want = (len - body.len()).min(STEP) as u64;
        match (&mut *stream).take(want).read_to_end(&mut body).await {
            Ok(0) => return Err(FrameError::Torn),
            Ok(read) => received.fetch_add(read as u64, Ordering::Relaxed),
            Err(error) => {
                return Err(error.downcast::<ReadError>().map_or(FrameError::Torn, FrameError::Gone));
            }
        };
    }
    Ok(Some(decode(&body)?))
}
