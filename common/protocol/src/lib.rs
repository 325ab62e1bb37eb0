//! The federation of Somnus as two state machines that do no I/O.
//!
//! A table of contents, in the order in which a weight travels:
//!
//! - [`trainer`]: what a client does with a model and its private nights;
//! - [`participant`]: the client's machine: fetch, train, offer, upload, evaluate;
//! - [`message`] and [`wire`]: what the two machines say, and how it looks as bytes;
//! - [`coordinator`]: the server's machine: select, distribute, collect, aggregate, publish, evaluate;
//! - [`update`]: the sections of what one client sends, and of what comes back beside a release; [`moments`]: the section
//!   of subject-invariance; [`encoding`] and [`packed`]: updates as the integers that masks
//!   hide and sums add; [`sum`]: the fixed-point ring in which updates are added; [`strategy`]: what the server does
//!   with their mean;
//! - [`robust`]: rules that make one update of many although some may lie;
//! - [`secagg`]: masks that hide every client's update and cancel in the sum; [`secure`]: what an operator decides about
//!   them; [`credentials`]: who is who while they are made;
//! - [`privacy`]: noise that hides a person in the sum, and a ledger of what was told;
//! - [`record`]: what the server must not forget; [`checkpoint`]: the file that a model travels in;
//! - [`config`], [`plan`]: what an operator decides; [`asynchronous`], [`deadline`]: about stragglers; [`evaluation`]: what a server gets to know of evaluations;
//!   [`fault`]: who is to blame;
//! - [`ids`], [`time`], [`seed`]: names, moments and chance.
//!
//! Both machines are driven alike by QUIC, by the simulator and by the tests: one call to `handle` for each thing
//! that happens, then `poll` until it says `Wait`. Time and chance come in as arguments. Nothing here reads a clock, a
//! disk, a socket or entropy, and `clippy.toml` keeps it so.

pub mod asynchronous;
pub mod checkpoint;
pub mod config;
pub mod coordinator;
pub mod credentials;
pub mod deadline;
pub mod encoding;
pub mod evaluation;
pub mod fault;
pub mod ids;
mod memory;
pub mod message;
pub mod moments;
pub mod packed;
pub mod participant;
pub mod plan;
pub mod privacy;
pub mod record;
pub mod robust;
mod round_config;
pub mod secagg;
pub mod secure;
pub mod seed;
pub mod strategy;
pub mod sum;
pub mod time;
pub mod token;
pub mod trainer;
pub mod update;
pub mod wire;

#[cfg(test)]
mod tests;
