//! The simulator from outside: the program, parity of transports and threads, and the world against an oracle.

mod cli;
mod heart_rate;
mod invariance;
mod lab;
mod parity;
mod personal;
mod poisoning;
mod pretrain;
mod privacy_attack;
mod probe;
mod release;
mod slpdb;
mod variants;
mod world;
