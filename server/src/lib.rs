//! The aggregator of a Somnus federation.
