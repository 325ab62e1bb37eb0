//! A device that streams: samples come line by line, and leave as nights in the plain format.
//!
//! A [`Recorder`] writes a night into a hidden folder, where nobody looks for recordings, and shows it by renaming the folder once
//! the night is over: after `end`, or when nothing came for [`GAP`]. What a crash left behind is taken up again.

mod line;
mod order;
mod recorder;

pub use line::{Line, Sample};
pub use recorder::{GAP, Recorder};
