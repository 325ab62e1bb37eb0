//! All guards, and their last word, which the threads that work can ask for without looking themselves.

use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LOOK;
use super::config::Limits;
use super::guard::{Guard, Machine, guards};
use super::reason::Reason;

/// Looks at this machine.
pub struct Watch {
    guards: Vec<Box<dyn Guard>>,
    verdict: Verdict,
    every: Duration,
}

/// The last word; copies are of the same.
#[derive(Clone, Default)]
pub struct Verdict(Arc<Mutex<Word>>);

#[derive(Default)]
struct Word {
    binds: Option<Reason>,
    misfit: Option<Reason>,
}

/// What is new since the last look.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A limit binds that did not, or not first.
    Binds(Reason),
    /// No limit binds any more.
    Free,
}

impl Watch {
    /// With the guards that the limits ask for.
    pub fn new(limits: &Limits, machine: &Machine) -> Self {
        Self::with(guards(limits, machine))
    }

    /// With these guards.
    pub fn with(guards: Vec<Box<dyn Guard>>) -> Self {
        Self { guards, verdict: Verdict::default(), every: LOOK }
    }

    /// One that looks more or less often.
    #[must_use]
    pub fn looking_every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// How often it wants to look.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Their last word, for whoever works.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Looks at everything, at `now` in seconds since 1970 UTC. A guard that does not pass by itself has the last word before one
    /// that does.
    pub fn look(&mut self, now: u64) -> Option<Change> {
        let reasons = self.guards.iter_mut().filter_map(|guard| guard.look(now).verdict.err());
        let binds = reasons.min_by_key(Reason::passes);
        let mut word = self.verdict.word();
        let before = std::mem::replace(&mut word.binds, binds);
        let kind = |reason: &Option<Reason>| reason.as_ref().map(discriminant);
        match &word.binds {
            binds if kind(binds) == kind(&before) => None,
            Some(reason) => Some(Change::Binds(reason.clone())),
            None => Some(Change::Free),
        }
    }
}

impl Verdict {
    /// The limit that binds, if any does.
    pub fn binds(&self) -> Option<Reason> {
        self.word().binds.clone()
    }

    /// Work that was begun turned out not to fit.
    pub(crate) fn misfit(&self, reason: Reason) {
        self.word().misfit = Some(reason);
    }

    /// What [`Verdict::misfit`] said since the last call.
    pub(crate) fn take_misfit(&self) -> Option<Reason> {
        self.word().misfit.take()
    }

    #[cfg(test)]
    pub(crate) fn set(&self, binds: Option<Reason>) {
        self.word().binds = binds;
    }

    /// A word is replaced whole, so what a panicking holder leaves behind is still one.
    fn word(&self) -> MutexGuard<'_, Word> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Look;
    use super::*;

    /// Says what it is told for each second.
    struct Script(fn(u64) -> Result<(), Reason>);

    impl Guard for Script {
        fn limit(&self) -> (&'static str, String) {
            ("script", String::new())
        }

        fn look(&mut self, now: u64) -> Look {
            Look { reading: String::new(), verdict: (self.0)(now) }
        }
    }

    fn hot(celsius: u64) -> Reason {
        Reason::Hot { celsius: celsius as f64, most: 75.0 }
    }

    #[test]
    fn a_change_is_told_once_and_what_does_not_pass_comes_first() {
        let heat = Script(|now| if (10..40).contains(&now) { Err(hot(now)) } else { Ok(()) });
        let mains = Script(|now| if (20..30).contains(&now) { Err(Reason::OnBattery) } else { Ok(()) });
        let mut watch = Watch::with(vec![Box::new(heat), Box::new(mains)]);
        let told: Vec<_> = (0..60).filter_map(|now| watch.look(now).map(|change| (now, change))).collect();
        let expected = [
            (10, Change::Binds(hot(10))),
            (20, Change::Binds(Reason::OnBattery)),
            (30, Change::Binds(hot(30))),
            (40, Change::Free),
        ];
        assert_eq!(told, expected);
        // The word is the newest one also while nothing is told.
        watch.look(15);
        watch.look(17);
        assert_eq!(watch.verdict().binds(), Some(hot(17)));
    }

    #[test]
    fn a_misfit_is_told_once() {
        let verdict = Verdict::default();
        let other = verdict.clone();
        other.misfit(Reason::OnBattery);
        assert_eq!((verdict.take_misfit(), verdict.take_misfit()), (Some(Reason::OnBattery), None));
        assert_eq!(verdict.binds(), None);
    }
}
