//! System tests: real processes, real files, real refusals.

mod policy;
