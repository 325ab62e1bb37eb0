//! The crate from outside; one binary, because linking burn takes longer than running the tests.

mod golden;
mod stager;
mod trainer;
