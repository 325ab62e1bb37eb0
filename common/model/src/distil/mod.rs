//! Small networks taught by big ones ("Towards Characterizing Knowledge Distillation of PPG Heart Rate Estimation
//! Models", arXiv 2511.18829, compares four ways).
//!
//! [`Strategy`] is the way. Its losses under autodiff, for encoders of waveforms, are in [`objective`](crate::objective).

mod strategy;

pub use strategy::Strategy;
