//! The two machines in a world of virtual time, without a network, a disk or a clock.

mod asynchronous;
mod evaluations;
mod federation;
mod grouped;
mod malice;
mod masked;
mod peers;
mod private;
mod reduced;
mod schedules;
mod table;
mod world;
