//! System tests: real processes, real files, real refusals.

mod arm;
mod crashes;
mod federation;
mod harness;
mod load;
mod network;
mod policy;
mod readme;
mod refusals;
mod service;
