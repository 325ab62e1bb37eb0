//! The aggregator of a Somnus federation.
pub mod audit;
pub mod ca;
pub mod clock;
pub mod error;
pub mod files;
pub mod registry;
pub mod store;
pub mod verifier;
