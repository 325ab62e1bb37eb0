//! Federations on one machine: scenarios, baselines, benchmarks.
pub mod agenda;
pub mod blobs;
pub mod executor;
pub mod network;
pub mod world;
