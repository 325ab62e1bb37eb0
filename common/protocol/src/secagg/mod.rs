//! Secure aggregation: the server learns the sum of what a cohort uploads, and of nobody's upload anything else.
//!
//! SecAgg+ (Bell et al., *Secure Single-Server Aggregation with (Poly)Logarithmic Overhead*, CCS 2020) over Bonawitz et
//! al. (CCS 2017), as pure functions and small types. In the order of a round:
//!
//! 1. [`keys`]: a [`RoundSeed`] becomes a client's [`RoundSecrets`] and the [`Advertisement`] that its enrolled identity
//!    signs; [`authority`] enrols simulated clients;
//! 2. [`roster`]: all advertisements of a cohort, fixed; every client checks every signature;
//! 3. [`parameters`]: how many neighbours, how many shares; [`graph`]: whose neighbour is who;
//! 4. [`shamir`] splits the two secrets of a client; [`sealed`] carries the shares past the server;
//! 5. [`session`]: the client's side from here: share, mask ([`mask`]), confirm the survivors ([`subset`]), reveal;
//! 6. [`unmask`]: the server's side: recover what the drop-outs left in the sum, name who lied ([`decode`]), subtract.
//!
//! Every member of a complete or sparse graph *holds* one share of each of its neighbours' secrets and one of its own.
//! With `k` neighbours there are `k + 1` holders, of whom `t` recover a secret and `t - 1` learn nothing.
//!
//! [`violation`] lists the rules by which a lying server or client is refused; `labels.rs` holds every derivation label.

pub mod authority;
pub mod decode;
mod field;
pub mod graph;
pub mod keys;
mod labels;
pub mod mask;
pub mod parameters;
pub mod roster;
pub mod sealed;
pub mod session;
pub mod shamir;
pub mod subset;
pub mod unmask;
pub mod violation;

pub use authority::{Enrolled, SimulatedAuthority, SimulatedRoll};
pub use graph::Graph;
pub use keys::{Advertisement, Claim, Identity, Roll, RoundSecrets, RoundSeed, Signature};
pub use parameters::Parameters;
pub use roster::{Joining, Member, Roster};
pub use sealed::SealedShare;
pub use session::{Holding, Revealed, Session};
pub use shamir::Share;
pub use subset::Subset;
pub use unmask::{Unmask, Unmasked};
pub use violation::Violation;

#[cfg(test)]
mod tests;
