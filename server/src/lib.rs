//! The aggregator of a Somnus federation.
//!
//! A table of contents, from the disk to the network:
//!
//! - [`federation`]: the folder of a federation; [`config`]: its `server.toml`; [`files`], [`clock`], [`error`]: the rim;
//! - [`store`]: checksummed records (sled is named in its `log.rs` alone); [`history`]: releases and rounds; [`audit`];
//!   [`backup`];
//! - [`ca`]: keys and certificates; [`roster`]: its lines and invitations; [`registry`]: all of them; [`verifier`]: who gets
//!   through the handshake;
//! - [`endpoint`], [`connection_ids`]: QUIC; [`admission`]: who may begin a handshake; [`seats`]: how many of something each may have;
//!   [`connection`], [`frame`], [`outbox`]: one peer;
//! - [`driver`]: the loop around the coordinator; [`live`]: what it tells of itself;
//! - [`privacy`]: the ledger's records, and what noise a guarantee needs; [`score`]: what evaluations come to; [`study`]: the
//!   report of all of it;
//! - [`admin`]: what operators ask; [`control`]: how they ask a running server; [`watch`]: what a browser and Prometheus see
//!   of it; [`cli`]: the commands.

pub mod admin;
pub mod admission;
pub mod audit;
pub mod backup;
pub mod ca;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connection;
pub mod connection_ids;
pub mod control;
pub mod driver;
pub mod endpoint;
pub mod error;
pub mod federation;
pub mod files;
pub mod frame;
pub mod history;
pub mod live;
pub mod outbox;
pub mod privacy;
pub mod registry;
pub mod roll;
pub mod roster;
pub mod score;
pub mod seats;
pub mod store;
pub mod study;
pub mod verifier;
pub mod watch;
