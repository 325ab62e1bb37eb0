//! The aggregator of a Somnus federation.
pub mod audit;
pub mod backup;
pub mod ca;
pub mod clock;
pub mod config;
pub mod error;
pub mod federation;
pub mod files;
pub mod history;
pub mod registry;
pub mod store;
pub mod verifier;
