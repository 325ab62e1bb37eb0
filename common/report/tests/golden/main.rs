//! Numbers that others computed, reproduced.

mod metrics;
mod sri;
