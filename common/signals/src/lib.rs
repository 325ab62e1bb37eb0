//! Recordings on disk become nights of 30-second epochs.
