//! Networks for waveforms, trained under autodiff: RelCon's ResNet-1D, a masked autoencoder and the hub's small
//! encoders.
//!
//! A network is a plain description: it says which [`Weights`] it needs ([`Spec`]) and computes from them. The same
//! description serves training, use and checkpoints, and holds nothing that changes.
//!
//! Activations are `[C, B, L]`, channels first over the whole batch, so that a convolution is one matrix product (see
//! [`conv`](crate::conv)). [`windows`] brings samples from host memory into that shape.

pub(crate) mod layers;
mod mlp;
mod patches;
mod resnet;
mod wave;
pub(crate) mod weights;

pub use layers::windows;
pub use mlp::Mlp;
pub use patches::Patches;
pub use resnet::{BatchMoments, ResNet, Stage};
pub use wave::{Standardise, Wave};
pub use weights::{Spec, Start, Weights};
