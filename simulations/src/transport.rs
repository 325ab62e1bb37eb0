//! How the messages of a federation travel: as values through virtual time, or over real QUIC on this machine.

use std::str::FromStr;

use crate::federation::{Federation, Observer, Outcome};
use crate::network::WorldConfig;
use crate::quic::{self, QuicError};
use crate::world::{self, WorldError};

/// The way that messages take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// In memory and virtual time, with the scenario's world.
    #[default]
    Memory,
    /// Over QUIC on the loopback interface, in real time; the scenario's world has no say.
    Quic,
}

/// Why a federation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// In virtual time.
    #[error(transparent)]
    World(#[from] WorldError),
    /// Over QUIC.
    #[error(transparent)]
    Quic(#[from] QuicError),
}

impl Transport {
    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Quic => "quic",
        }
    }

    /// Runs a federation to its end on `jobs` threads.
    ///
    /// # Errors
    /// [`TransportError`] if it cannot end.
    pub fn run(
        self,
        federation: &Federation,
        world: &WorldConfig,
        jobs: usize,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TransportError> {
        match self {
            Self::Memory => Ok(world::run(federation, world, jobs, observer)?),
            Self::Quic => Ok(quic::run(federation, jobs, observer)?),
        }
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "memory" => Ok(Self::Memory),
            "quic" => Ok(Self::Quic),
            other => Err(format!("unknown transport {other:?}: memory or quic")),
        }
    }
}
