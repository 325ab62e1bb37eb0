//! The federation of Somnus as two state machines that do no I/O.
pub mod checkpoint;
pub mod fault;
pub mod ids;
pub mod plan;
pub mod seed;
pub mod time;
pub mod token;
pub mod trainer;
