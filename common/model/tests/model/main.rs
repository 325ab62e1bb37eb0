//! The crate from outside; one binary, because linking burn takes longer than running the tests.

mod golden;
mod personal;
mod stager;
mod trainer;
