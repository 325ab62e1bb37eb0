//! The hub of a Somnus federation: one person's nights.
//!
//! A table of contents, from the disk to the network:
//!
//! - [`identity`]: the hub's folder, key and membership; [`config`]: its `client.toml`; [`files`]: whole or absent; [`kept`]: and checked;
//! - [`limits`]: what the machine's owner lets it use, and when;
//! - [`division`]: what trains and what judges; [`trained`], [`ledger`]: what has trained never does;
//! - [`training`]: the one file that names the model; [`hands`]: what the driver needs of it; [`fresh`]: nights that come later; [`listen`]: nights that are streamed; [`check`]: what recordings are worth;
//! - [`cache`]: models on disk; [`report`]: what the person gets to see;
//! - [`link`]: QUIC, TLS and its sentences; [`enrol`]: certificates; [`session`], [`frame`]: one connection;
//! - [`hub`]: the loop around the participant, `work`: what it does on a thread of its own; [`cli`]: the commands.

pub mod cache;
pub mod check;
pub mod cli;
pub mod config;
pub(crate) mod credentials;
pub mod division;
pub mod enrol;
pub mod files;
pub mod frame;
pub mod fresh;
pub mod hands;
pub mod hub;
pub mod identity;
pub mod kept;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod listen;
pub mod report;
pub mod session;
pub mod trained;
pub mod training;
pub(crate) mod work;
