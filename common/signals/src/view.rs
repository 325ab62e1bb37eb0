//! What may be looked at when a moment is judged.

/// Which neighbours of a moment count: those of an offline reading, or those a device has when the moment comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// What came before and what came after.
    Around,
    /// Only what came before.
    Past,
}

impl View {
    /// The `seconds` that speak for the moment `from..to`: centred on it, or ending with it.
    pub(crate) fn window(self, from: f64, to: f64, seconds: f64) -> (f64, f64) {
        match self {
            Self::Around => {
                let middle = (from + to) / 2.0;
                (middle - seconds / 2.0, middle + seconds / 2.0)
            }
            Self::Past => (to - seconds, to),
        }
    }
}
