//! Lying clients: trainers that send something else than they were asked for.
//!
//! - [`config`]: which lie, and how many tell it;
//! - [`nights`]: lies that are trained, from nights whose labels or inputs were changed;
//! - [`forge`]: lies that are made of an update;
//! - [`ring`]: lies that need to know what honest updates look like, which liars learn from one another;
//! - [`crew`]: who lies in a federation, and the trainers they get.
//!
//! Liars keep to what the server checks: their updates are finite, in range and of the right length, their counts are true.
//! They take part in evaluation honestly.

pub mod config;
pub mod crew;
pub mod forge;
pub mod nights;
pub mod ring;

pub use config::{Attack, AttackConfig};
pub use crew::Crew;
