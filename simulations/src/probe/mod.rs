//! What is in an embedding: questions to rows of numbers that know nothing of how the rows were made.
//!
//! | file | asks |
//! |---|---|
//! | [`ridge`] | how near a line comes to a number, such as heart rate |
//! | [`classes`] | how well a line tells classes apart, such as stages |
//! | [`subjects`](mod@subjects) | whose a row is |
//! | [`retrieval`](mod@retrieval) | which row of another stream is of the same moment |
//! | [`rank`] | how many directions the rows use |
//! | [`efficiency`] | what a score is with few labelled people |
//! | [`checkpoint`] | all of them, of a checkpoint and a folder |
//!
//! Every probe is small and fitted afresh, so that what it finds was there before it. People who fit it are never those who
//! judge it, except where the question is who they are.

pub mod checkpoint;
pub mod classes;
pub mod efficiency;
pub mod rank;
pub mod retrieval;
pub mod ridge;
pub mod subjects;

pub use classes::LinearProbe;
pub use efficiency::{Point, label_efficiency};
pub use rank::{centred, effective_rank};
pub use retrieval::{Retrieval, retrieval};
pub use ridge::{Ridge, median_error};
pub use subjects::{Gallery, Identity, Look, identification, nights_of, subjects};
