//! Federations on one machine: the real state machines in a virtual world, and what they are compared with.
//!
//! From the inside out:
//!
//! * [`federation`] is what is run and what comes of it;
//! * [`world`] drives one coordinator and many participants in virtual time; [`agenda`] is what happens next,
//!   [`network`] how long things take, [`blobs`] the clients' disks, [`executor`] the threads that really train;
//! * [`transport`] chooses between that world and [`quic`] on this machine; the release is the same;
//! * [`scenario`] is the TOML file, [`cohort`] its people and folds, [`start`](mod@start) what training starts from,
//!   [`recipe`] the exact federation of one fold and seed: rules, foundation, clients;
//! * [`federate`] runs the federations of all folds and seeds, [`baselines`] and [`time_only`] make the other rows of the
//!   table, [`merge`] reads four stages as fewer, `levelled` brings nights to
//!   one level of wake, [`study`] is all of it, with one summary;
//! * [`personal`] asks what is best for the same people later: the own data, everybody's, or both;
//! * [`attack`] makes clients lie, [`poisoning`] asks what that costs under each rule that bears liars;
//! * [`privacy_attack`] asks what updates, sums and releases give away, with and without each defence;
//! * [`variants`] runs the same federation under several settings, what privacy or an encoding costs;
//! * [`probe`] asks what is in an embedding, whose it is among others by [`regression`]; [`invariance`] what it costs to
//!   prevent that;
//! * [`lab`] studies representations and small models, without a federation;
//! * [`train`] makes one release of everybody, [`evaluate`] scores any checkpoint
//!   ([`model_file`]) on any folder;
//! * [`eight_bits`] is the same staging in int8, and what that costs;
//! * [`pretrain`] makes the foundation that a federation starts from;
//! * [`bench`](mod@bench) and [`memory`] measure, [`hub`] what a hub has to bear, [`load`] a real server with a thousand clients,
//!   [`thousands`] the world with ten thousand; [`cli`], [`progress`] and [`rss`] serve `somnus-sim`.

pub mod agenda;
pub mod attack;
pub mod baselines;
pub mod bench;
pub mod blobs;
pub mod cli;
pub mod cohort;
pub mod course;
pub mod eight_bits;
pub mod evaluate;
pub mod executor;
pub mod federate;
pub mod federation;
pub mod hub;
pub mod invariance;
pub mod lab;
mod levelled;
pub mod load;
mod members;
pub mod memory;
pub mod merge;
pub mod model_file;
pub mod network;
pub mod personal;
pub mod poisoning;
pub mod pretrain;
pub mod privacy_attack;
pub mod probe;
pub mod progress;
pub mod quic;
pub mod recipe;
pub mod regression;
pub mod rss;
pub mod scenario;
pub mod stage;
pub mod start;
mod steady;
pub mod study;
mod summary;
pub mod thousands;
pub mod time_only;
pub mod train;
pub mod transport;
pub mod variants;
pub mod world;
