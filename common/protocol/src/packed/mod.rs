//! Sums of many small integers as few large ones: what clients mask and a server adds without unpacking.
//!
//! - [`Packed`]: words in blocks that are integers of their own: add, subtract, bytes;
//! - [`Lanes`]: where in the words each small integer is: write and read.
//!
//! A coordinate is an integer `0..=L`; a lane of `ceil(log2(n L + 1))` bits holds the sum of `n` of them, so no lane ever
//! reaches into the next one, and adding words adds all lanes. No lane crosses the border of a block.

mod blocks;
mod lanes;

pub use blocks::{BLOCK, Packed, add_block, sub_block};
pub use lanes::{Lanes, MAX_LANE_BITS, MIN_LANE_BITS, lane_bits};
