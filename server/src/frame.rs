//! Frames from a QUIC stream: bounded before they are read, whole before anybody decodes them.

use std::time::Duration;

use quinn::{ReadError, ReadExactError, RecvStream};
use somnus_protocol::fault::Fault;
use somnus_protocol::wire::{HEADER, body_len};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Memory for a frame is taken in steps of this size as its bytes arrive, whatever its header promises.
const STEP: usize = 16 * 1024;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The stream ended inside of a frame.
    #[error("torn frame: the stream ended inside of it")]
    Torn,
    /// It trickles in.
    #[error("slow frame: no {STEP} bytes more of it came in time")]
    Slow,
    /// The connection is gone.
    #[error(transparent)]
    Gone(#[from] ReadError),
}

/// The next frame's body; `None` if the stream ended between two frames. A frame may come at any time; once it has begun, each
/// 16 KiB of it have to come within `patience`.
///
/// # Errors
/// [`FrameError`]; the stream is of no use after it.
pub async fn read(stream: &mut RecvStream, patience: Duration) -> Result<Option<Vec<u8>>, FrameError> {
    let mut header = [0; HEADER];
    let (first, rest) = header.split_at_mut(1);
    if stream.read(first).await?.is_none() {
        return Ok(None);
    }
    timeout(patience, stream.read_exact(rest)).await.map_err(|_| FrameError::Slow)?.map_err(exact)?;
    let len = body_len(header)?;
    let mut body = Vec::with_capacity(len.min(STEP));
    while body.len() < len {
        let want = (len - body.len()).min(STEP) as u64;
        let before = body.len();
        let mut step = (&mut *stream).take(want);
        match timeout(patience, step.read_to_end(&mut body)).await.map_err(|_| FrameError::Slow)? {
            Ok(_) if body.len() == before => return Err(FrameError::Torn),
            Ok(_) => {}
            Err(error) => return Err(gone(error)),
        }
    }
    Ok(Some(body))
}

fn exact(error: ReadExactError) -> FrameError {
    match error {
        ReadExactError::FinishedEarly(_) => FrameError::Torn,
        ReadExactError::ReadError(error) => error.into(),
    }
}

/// quinn puts its own error into the I/O error.
fn gone(error: std::io::Error) -> FrameError {
    match error.downcast::<ReadError>() {
        Ok(error) => FrameError::Gone(error),
        Err(_) => FrameError::Torn,
    }
}
