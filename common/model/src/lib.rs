//! The sleep-staging network of Somnus: encoders, night-level mixer, training; burn is named only here.
//!
//! A [`Stager`] is a network with its weights. It takes nights of any subset of its streams, predicts a [`Posterior`],
//! trains whatever [`TrainableSet`](somnus_protocol::plan::TrainableSet) a plan names, and travels as a checkpoint.
//! [`NightTrainer`] puts it behind the federation's [`Trainer`](somnus_protocol::trainer::Trainer).
//!
//! | file | holds |
//! |---|---|
//! | `config` | what a network is built from |
//! | `params` | where each weight lives, inside and in a checkpoint |
//! | `input`, `context`, `augment` | nights as rows of numbers, and their random views |
//! | `net`, `block`, `adapter`, `conv` | forward and backward |
//! | `loss`, `optimiser`, `train` | from a night to a step |
//! | `invariance` | embeddings that do not tell who sleeps |
//! | `masked`, `course` | hidden measurements to guess; long trainings that can be put away |
//! | `personal` | what of a network stays with its client: FedPer, FedRep, local norms, Ditto; fine-tuning |
//! | `level` | nights at one level of wake |
//! | `distil` | small networks taught by big ones |
//! | `stager`, `trainer` | what others use |
//! | `int8` | the same staging in eight bits |
//! | `encoder`, `objective` | waveform networks under autodiff, and what they are pretrained for |
//! | `vector`, `matrix` | loops for wide vectors; the bridge to burn |
//!
//! Everything random comes from a seed in the call, through ChaCha, and every sum has a fixed order: the same call gives
//! the same bits on one kind of processor, whatever else the process does. A training runs on its caller's thread only.

mod adapter;
mod augment;
mod between;
mod block;
mod config;
mod context;
pub mod conv;
mod course;
pub mod distil;
pub mod encoder;
mod error;
mod export;
mod footprint;
mod input;
mod int8;
mod invariance;
mod level;
mod loss;
mod masked;
mod matrix;
mod net;
pub mod objective;
mod optimiser;
mod params;
mod personal;
#[cfg(test)]
mod reference;
mod stager;
mod train;
mod trainer;
mod vector;

pub use between::Between;
/// burn's tensors, for those who drive a step of pretraining: its version is this crate's business.
pub use burn::tensor;
pub use config::{DeviceKind, NetConfig};
pub use course::Course;
pub use error::ModelError;
pub use input::Prepared;
pub use int8::Quantised;
pub use invariance::{Alike, Likeness};
pub use masked::MaskedPlan;
pub use personal::FineTuning;
pub use stager::{Posterior, Stager, one_cycle};
pub use train::{Embedded, TrainReport};
pub use trainer::{Foundations, NightPart, NightTrainer};
