//! Looks at pages in a headless Chromium, for tests: what a reader would find fault with, found by measuring.
//!
//! * [`look`] opens a page as each [`View`] and tells its [faults](Look); pictures of it stay in `target/pages`.
//! * [`markup`] reads it as the HTML standard says, without a browser.
//!
//! Chromium is asked over its DevTools protocol through a pipe. A machine without one skips by name.

mod browser;
mod look;
pub mod markup;
mod pipe;
mod view;

pub use browser::Browser;
pub use look::{Look, look, pictures};
pub use view::{Medium, VIEWS, View};
