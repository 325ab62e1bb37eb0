//! One client's contribution as [`Packed`](crate::packed::Packed) words that add up, and the sum as a mean.
//!
//! - [`EncodingConfig`]: what an operator decides: levels, norms, rotation or range, rounding, reduction;
//! - [`Codec`]: the encoding of one round: [`Contribution`] to words, sum of words to [`Decoded`];
//! - `vector`: one vector's way: clip, weigh, rotate, round, lanes; [`Sensitivity`] for differential privacy;
//! - `grid`: real numbers to integers, unbiased; `rotation` and `hadamard`: every coordinate about equally large;
//! - `counters`: what is counted exactly: examples, losses, evaluations;
//! - `reduction` with `top_k` and `low_rank`: fewer numbers by a linear map that all clients share.
//!
//! ```text
//! words: [ weights | control | moments | steps | examples, clipped, loss | evaluated, confusion ]
//! ```
//!
//! Each section has lanes of its own width. Everything is linear up to rounding, so the sum of encodings is the encoding of
//! the sum, in any order, and nothing of a single client is needed to read it.

mod codec;
mod config;
mod contribution;
mod counters;
mod decoded;
mod grid;
mod hadamard;
mod low_rank;
mod reduction;
mod rotation;
mod top_k;
mod vector;

#[cfg(test)]
mod tests;

pub use codec::{Codec, Setup};
pub use config::{EncodingConfig, Reduce, Rounding, Spread};
pub use contribution::{Beside, Contribution, Encoded};
pub use counters::Evaluated;
pub use decoded::{DecodeError, Decoded};
pub use vector::Sensitivity;
