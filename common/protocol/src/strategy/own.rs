//! A rule that is none of ours, inside of a checked configuration.

use std::fmt;
use std::sync::Arc;

use super::Strategy;

type Build = dyn Fn(usize) -> Box<dyn Strategy> + Send + Sync;

/// Makes a [`Strategy`] for so many weights, with an empty memory.
#[derive(Clone)]
pub(crate) struct OwnRule(Arc<Build>);

impl OwnRule {
    pub(crate) fn new(build: impl Fn(usize) -> Box<dyn Strategy> + Send + Sync + 'static) -> Self {
        Self(Arc::new(build))
    }

    pub(crate) fn build(&self, len: usize) -> Box<dyn Strategy> {
        (self.0)(len)
    }
}

impl fmt::Debug for OwnRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnRule")
    }
}

/// The same code, not merely code that does the same.
impl PartialEq for OwnRule {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
