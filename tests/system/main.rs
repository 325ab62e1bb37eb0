//! System tests: real processes, real files, real refusals.

mod arm;
mod arrivals;
mod book;
mod commands;
mod configuration;
mod crashes;
mod disk;
mod federation;
mod harness;
mod kills;
mod load;
mod moving;
mod network;
mod policy;
mod python;
mod readme;
mod refusals;
mod service;
mod types;
