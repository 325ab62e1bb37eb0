//! The two machines in a world of virtual time, without a network, a disk or a clock.

mod federation;
mod schedules;
mod world;
