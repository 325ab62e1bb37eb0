//! What encoders are pretrained for, without labels: each objective is one file, a pure function to a scalar loss.
//!
//! A step of pretraining, wherever it is driven from:
//!
//! ```text
//! let loss = objective.loss(..);
//! let mut gradients = loss.backward();
//! adam.step(&mut weights, &mut gradients, rate);
//! ```
//!
//! | file | objective |
//! |---|---|
//! | `augment` | eight random changes of an accelerometer's window (RelCon, table of its appendix) |
//! | `motif`, `sparsemax` | RelCon's learnt distance: one window rebuilt from another's motifs |
//! | `relative` | RelCon's loss: candidates ranked by that distance |
//! | `contrast` | InfoNCE, NT-Xent, and KoLeo beside them |
//! | `focal` | FOCAL: shared and private halves of two modalities |
//! | `adversary` | subjects that cannot be told apart |
//! | `masked` | hidden spans rebuilt from what is around them |
//! | `distil`, `decoupled` | a teacher's choice, doubts or embedding; see [`Strategy`](crate::distil::Strategy) |
//! | `adam` | from gradients to steps, resumable |
//!
//! Losses are means over the batch, so that a weight between two of them means the same at every batch size.

mod adam;
mod adversary;
mod augment;
mod contrast;
mod decoupled;
mod distil;
mod focal;
mod masked;
mod motif;
mod relative;
mod similarity;
mod sparsemax;

pub use adam::{Adam, AdamRule};
pub use adversary::{Adversary, Game};
pub use augment::{Change, augment};
pub use contrast::{info_nce, koleo, nt_xent, symmetric_info_nce};
pub use decoupled::{Decoupled, decoupled};
pub use distil::{Seen, apart, cross_entropy, soft};
pub use focal::{Focal, FocalTerms, temporal};
pub use masked::{Spans, masked_error};
pub use motif::{Attention, Comparison, MotifDistance};
pub use relative::RelativeLoss;
pub use sparsemax::sparsemax;
