//! Somnus's federation as two sans-IO state machines.
