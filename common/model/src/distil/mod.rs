//! Small networks taught by big ones ("Towards Characterizing Knowledge Distillation of PPG Heart Rate Estimation
//! Models", arXiv 2511.18829, compares four ways).
//!
//! [`Strategy`] is the way. Its losses under autodiff, for encoders of waveforms, are in [`objective`](crate::objective).
//! For the staging network, [`Teacher`] is who knows and [`Course::distilled`](crate::Course::distilled) the training:
//! `divergence` compares logits, `projection` embeddings, `terms` puts the losses together, `sight` gives a student what its
//! teacher sees, `lesson` is a step.

mod divergence;
mod lesson;
mod projection;
mod sight;
mod strategy;
mod terms;
#[cfg(test)]
mod tests;

pub(crate) use lesson::Distilled;
pub use lesson::Teacher;
pub use strategy::Strategy;
