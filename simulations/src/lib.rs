//! Federations on one machine: scenarios, baselines, benchmarks.
