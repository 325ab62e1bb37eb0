//! What a client remembers of a masked round, so that nothing it says twice could take its mask off.
//!
//! All secrets of a round come from one seed, bound to what the round asks for: who asks for anything else gets other
//! secrets, and the old ones are gone. What a secret was used for is pinned beside it, before the use: a second roster,
//! a second set of shares, a second update or a second list of survivors is refused, also after a restart.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Secret;
use crate::fault::Fault;
use crate::ids::Digest;
use crate::secagg::RoundSeed;
use crate::wire;

/// The steps of a masked round that may happen in one way only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pin {
    /// The roster that shares are made for.
    Roster,
    /// The shares of neighbours, which decide whose masks are added.
    Shares,
    /// The masked update.
    Upload,
    /// The survivors whose masks may be removed.
    Survivors,
}

impl Pin {
    pub(super) fn text(self) -> &'static str {
        match self {
            Pin::Roster => "roster",
            Pin::Shares => "set of shares",
            Pin::Upload => "masked update",
            Pin::Survivors => "list of survivors",
        }
    }
}

/// The secrets of at most one round.
#[derive(Default)]
pub(super) struct Guard(Option<Kept>);

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    /// What the round asked for, in one digest.
    promise: Digest,
    seed: Zeroizing<[u8; 32]>,
    pins: [Option<Digest>; 4],
}

impl Guard {
    /// From what [`Guard::saved`] gave to the disk; bytes that are none mean a client that takes no part any more in the
    /// round that they were of.
    pub(super) fn restore(saved: Option<&Secret>) -> Self {
        Self(saved.and_then(|bytes| wire::from_disk(bytes.as_bytes()).ok()).flatten())
    }

    /// For the disk. It holds the secrets in the clear, as the disk holds the recordings.
    pub(super) fn saved(&self) -> Secret {
        wire::to_disk_secretly(&self.0)
    }

    /// The seed for what `promise` asks for: the one that was used for it before, or `fresh`, which replaces another
    /// round's for good.
    pub(super) fn seed(&mut self, promise: Digest, fresh: impl FnOnce() -> [u8; 32]) -> RoundSeed {
        let same = self.0.take().filter(|kept| kept.promise == promise);
        let fresh = || Kept { promise, seed: Zeroizing::new(fresh()), pins: [None; 4] };
        RoundSeed::new(*self.0.insert(same.unwrap_or_else(fresh)).seed)
    }

    /// Allows one use. Says whether it is the first, which has to be on the disk before anything follows from it.
    ///
    /// # Errors
    /// [`Fault::Equivocated`] naming the step if it was done in another way before.
    pub(super) fn pin(&mut self, promise: Digest, pin: Pin, digest: Digest) -> Result<bool, Fault> {
        let again = Fault::Equivocated(pin.text());
        let kept = self.0.as_mut().filter(|kept| kept.promise == promise).ok_or(again.clone())?;
        let before = &mut kept.pins[pin as usize];
        match before {
            Some(known) if *known == digest => Ok(false),
            Some(_) => Err(again),
            None => {
                *before = Some(digest);
                Ok(true)
            }
        }
    }

    /// Forgets the secrets. Says whether there were any.
    pub(super) fn forget(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    #[test]
    fn each_step_happens_in_one_way_also_after_a_restart() {
        let mut guard = Guard::default();
        let (promise, other) = (digest("round 1"), digest("round 2"));
        guard.seed(promise, || [1; 32]);
        for pin in [Pin::Roster, Pin::Shares, Pin::Upload, Pin::Survivors] {
            assert_eq!(guard.pin(promise, pin, digest("a")), Ok(true));
            guard = Guard::restore(Some(&guard.saved()));
            assert_eq!(guard.pin(promise, pin, digest("a")), Ok(false));
            assert_eq!(guard.pin(promise, pin, digest("b")), Err(Fault::Equivocated(pin.text())));
            assert_eq!(guard.pin(other, pin, digest("a")), Err(Fault::Equivocated(pin.text())));
        }
    }

    #[test]
    fn another_promise_gets_other_secrets_and_the_old_ones_never_come_back() {
        let mut guard = Guard::default();
        let (first, second) = (digest("round 1"), digest("round 2"));
        let key = |seed: RoundSeed| *seed.as_bytes();
        assert_eq!(key(guard.seed(first, || [1; 32])), [1; 32]);
        assert_eq!(key(guard.seed(first, || [2; 32])), [1; 32]);
        assert_eq!(key(guard.seed(second, || [3; 32])), [3; 32]);
        assert_eq!(key(guard.seed(first, || [4; 32])), [4; 32]);
        assert!(guard.forget() && !guard.forget());
        assert_eq!(key(guard.seed(first, || [5; 32])), [5; 32]);
    }

    #[test]
    fn torn_bytes_are_no_memory() {
        let mut guard = Guard::default();
        guard.seed(digest("round 1"), || [1; 32]);
        let saved = guard.saved();
        for cut in 0..saved.as_bytes().len() {
            let torn = Secret::new(saved.as_bytes()[..cut].to_vec());
            assert!(!Guard::restore(Some(&torn)).forget());
        }
    }
}
