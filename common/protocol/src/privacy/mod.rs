//! Differential privacy for the person: what noise is needed, how it is made, and what has been spent.
//!
//! A table of contents:
//!
//! - [`mechanism`] and [`clip`]: what an operator decides; [`planning`]: the noise that makes it true;
//! - [`noise`]: samplers, each from a seed's own stream;
//! - [`cost`]: what a look at a noisy sum costs; [`rdp`] and [`pld`] add costs up to an epsilon, over [`skellam`],
//!   [`discrete`] and Gaussian noise; [`sensitivity`]: how much one person can move a sum;
//! - [`ledger`]: what was spent in which round, and whether the next round can be afforded;
//! - [`terms`]: what a federation's configuration comes to;
//! - [`clipped`] and [`veil`]: what the server does to updates and to their sum before anybody sees what comes of it;
//! - [`dp_sgd`]: the same for one epoch of a night within a client.
//!
//! *Neighbours* are two federations that differ by one person's presence, who contributes zero when absent. Replacing a
//! person's data doubles the sensitivity. Everything here bounds from above: what cannot be computed costs infinity.

pub mod clip;
pub mod clipped;
pub mod cost;
pub mod discrete;
mod dominating;
pub mod dp_sgd;
mod fft;
pub mod ledger;
pub mod mechanism;
pub mod noise;
mod normal;
pub mod planning;
pub mod pld;
pub mod rdp;
pub mod sensitivity;
pub mod skellam;
pub mod terms;
pub mod veil;

#[cfg(test)]
mod tests;
