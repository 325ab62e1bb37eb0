//! How often a backdoor opens: wake of people who were held out, with the pattern in it.

use std::sync::Arc;

use somnus_model::{ModelError, Stager};
use somnus_signals::{Night, Stage};

use crate::attack::nights::triggered;

/// Epochs of wake with the pattern, and how many of them became REM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Opened {
    wake: u64,
    rem: u64,
}

impl Opened {
    /// Counts more nights.
    ///
    /// # Errors
    /// Those of [`Stager::predict`].
    pub(super) fn look(&mut self, stager: &Stager, nights: &[Arc<Night>]) -> Result<(), ModelError> {
        let rem = stager.task().class_of(Stage::Rem);
        for night in nights {
            let night = triggered(night);
            let predicted = stager.predict(&night)?.argmax();
            for (stage, class) in night.stages.iter().zip(predicted) {
                if *stage == Some(Stage::Wake) {
                    self.wake += 1;
                    self.rem += u64::from(class == rem);
                }
            }
        }
        Ok(())
    }

    /// The part that became REM; none without any wake.
    pub(super) fn rate(self) -> Option<f64> {
        (self.wake > 0).then(|| self.rem as f64 / self.wake as f64)
    }
}
