//! What happens between two steps of a training: nothing, unless the machine's owner wants to have a say.

use std::sync::Arc;

use crate::error::ModelError;

/// Asked before every step whether to go on. It may take its time over the answer, which is how a training is slowed down or
/// paused; the result does not depend on it.
#[derive(Clone, Default)]
pub struct Between(Option<Arc<Ask>>);

type Ask = dyn Fn() -> Result<(), String> + Send + Sync;

impl Between {
    /// Asks `ask`; its error, a sentence, ends the training.
    pub fn asking(ask: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(crate) fn steps(&self) -> Result<(), ModelError> {
        self.0.as_ref().map_or(Ok(()), |ask| ask()).map_err(ModelError::Stopped)
    }
}
