//! System tests across the crates, on the real binaries.
