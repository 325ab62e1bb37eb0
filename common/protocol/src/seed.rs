//! Chance comes in from outside as one seed; every use of it has a label.

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 256 bits from which a machine derives everything it does by chance.
///
/// A deployed driver takes them from the operating system; a simulation from its scenario. No `Debug`, so that it
/// cannot end up in a log.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

/// What a derived seed is for. Two labels never yield the same stream; all labels are here.
#[derive(Clone, Copy)]
pub enum Label {
    /// Which of the clients that checked in are selected.
    Selection,
    /// The training seed that a round's plan carries.
    Training,
    /// One client's share of a round's training seed.
    Client,
    /// The initial weights of a network.
    Initialisation,
    /// How a round's cohort is dealt into groups.
    Groups,
    /// What an encoding draws by lot for all clients: no secret.
    Encoding,
    /// How one client rounds its update.
    Rounding,
    /// What a client masks a round with.
    RoundSecrets,
    /// The keys of a simulated authority and of those whom it enrols.
    Authority,
    /// A simulated world: delays, crashes, speeds.
    World,
    /// A node of the noise of running sums.
    Noise,
    /// The noise that hides a person in a sum: the server's, or one client's.
    Privacy,
}

impl Label {
    const fn text(self) -> &'static [u8] {
        match self {
            Label::Selection => b"somnus/1 selection",
            Label::Training => b"somnus/1 training",
            Label::Client => b"somnus/1 client",
            Label::Initialisation => b"somnus/1 initialisation",
            Label::Groups => b"somnus/1 groups",
            Label::Encoding => b"somnus/1 encoding",
            Label::Rounding => b"somnus/1 rounding",
            Label::RoundSecrets => b"somnus/1 round secrets",
            Label::Authority => b"somnus/1 authority",
            Label::World => b"somnus/1 world",
            Label::Noise => b"somnus/1 noise",
            Label::Privacy => b"somnus/1 privacy",
        }
    }
}

impl Seed {
    /// A seed from 32 bytes of the driver's entropy.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from a scenario's number. Such a seed is guessable: only for simulations.
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    /// The seed for one use: HKDF-SHA256 of this seed under the label and `context`.
    pub fn derive(&self, label: Label, context: &[u8]) -> Seed {
        let mut out = [0; 32];
        // Expanding 32 bytes cannot exceed HKDF's limit of 255 blocks.
        Salt::new(HKDF_SHA256, label.text())
            .extract(&self.0)
            .expand(&[context], HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes are within the limit of HKDF");
        Seed(out)
    }

    /// A generator of this seed's own stream.
    pub fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }

    /// The seed itself, for what keeps it.
    pub fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// The first 64 bits, for libraries that take a number.
    pub fn number(&self) -> u64 {
        u64::from_le_bytes(self.0[..8].try_into().expect("8 of 32 bytes"))
    }
}
