//! System tests: real processes, real files, real refusals.

mod crashes;
mod federation;
mod harness;
mod network;
mod policy;
mod readme;
mod refusals;
