//! Real QUIC on loopback: a server and hubs in one process, with a clock to turn and a trainer that only adds.

mod common;
mod enrolment;
mod federation;
mod limits;
mod misbehaviour;
