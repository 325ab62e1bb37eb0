//! What one client keeps between rounds for itself, and never sends as it is: what its trainer remembers (a control
//! variate, personal weights), and what a reduction left out of its last update.
//!
//! An update may count though its client was killed before it heard of it, and may not count though it was sent. So what a
//! round leaves behind is on the disk before its update leaves, beside what the round began with, and which of the two
//! holds is settled later: by the server's word that the update counts, or by the next assignment, which names the last
//! round that it knows this client in. A round that came to nothing never happened: its update goes with it, for the next
//! one is made from the same release and says it again, and what was left out before stays to be said. A server that is
//! killed repeats a round under its number; who counted in it then begins where it began before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Round};
use crate::participant::Secret;
use crate::wire;

/// What a round leaves behind.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The trainer's own bytes.
    pub(crate) trainer: Option<Bytes>,
    /// What a reduction left out, little-endian f32, one for each weight (error feedback, Stich et al. 2018).
    pub(crate) residual: Option<Bytes>,
}

/// A client's memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Memory(Option<Kept>);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Kept {
    /// The memory of one foundation model means nothing to another.
    foundation: Digest,
    /// The last round that left anything.
    round: Round,
    before: Left,
    after: Left,
    /// Whether that round's release has this client's update.
    counted: bool,
}

impl Memory {
    /// From what [`Memory::saved`] gave to the disk. Bytes that are no memory are forgotten: training begins anew.
    pub(crate) fn restore(saved: Option<&Secret>) -> Self {
        Self(saved.and_then(|bytes| wire::from_disk(bytes.as_bytes()).ok()).flatten())
    }

    /// For the disk.
    pub(crate) fn saved(&self) -> Secret {
        wire::to_disk_secretly(&self.0)
    }

    /// What a training for `round` begins with.
    pub(crate) fn before(&self, foundation: Digest, round: Round) -> Left {
        match self.of(foundation) {
            Some(kept) if kept.counted && kept.round != round => kept.after.clone(),
            Some(kept) => kept.before.clone(),
            None => Left::default(),
        }
    }

    /// What an evaluation sees.
    pub(crate) fn latest(&self, foundation: Digest) -> Option<Bytes> {
        let kept = self.of(foundation)?;
        if kept.counted { kept.after.trainer.clone() } else { kept.before.trainer.clone() }
    }

    fn of(&self, foundation: Digest) -> Option<&Kept> {
        self.0.as_ref().filter(|kept| kept.foundation == foundation)
    }

    /// The update of `round` is about to leave, and leaves `after` behind if it counts. Says whether there is anything to
    /// write down.
    pub(crate) fn leave(&mut self, foundation: Digest, round: Round, after: Left) -> bool {
        let before = self.before(foundation, round);
        if before == Left::default() && after == Left::default() {
            return false;
        }
        let next = Kept { foundation, round, before, after, counted: false };
        let news = self.0.as_ref().is_none_or(|kept| Kept { counted: false, ..kept.clone() } != next);
        if news {
            self.0 = Some(next);
        }
        news
    }

    /// `round` counts. Says whether that is news.
    pub(crate) fn count(&mut self, round: Round) -> bool {
        self.settle(|kept| kept.counted || kept.round == round)
    }

    /// `next` begins, and the server knows this client in the release of `counted`. Says whether that is news.
    pub(crate) fn begin(&mut self, next: Round, counted: Option<Round>) -> bool {
        self.settle(|kept| if kept.round == next { kept.counted } else { counted == Some(kept.round) })
    }

    fn settle(&mut self, counted: impl FnOnce(&Kept) -> bool) -> bool {
        let Some(kept) = &mut self.0 else { return false };
        let now = counted(kept);
        std::mem::replace(&mut kept.counted, now) != now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(trainer: &'static str, residual: Option<&'static str>) -> Left {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        Left { trainer: Some(bytes(trainer)), residual: residual.map(bytes) }
    }

    fn reborn(memory: &Memory) -> Memory {
        Memory::restore(Some(&memory.saved()))
    }

    #[test]
    fn a_round_that_is_repeated_begins_where_it_began() {
        let model = Digest::of(b"model");
        let mut memory = Memory::default();
        assert_eq!((memory.before(model, Round(1)), memory.latest(model)), (Left::default(), None));
        for repeated in 0..2 {
            memory.leave(model, Round(3), left("a", None));
            memory.count(Round(3));
            memory = reborn(&memory);
            assert_eq!(memory.before(model, Round(3)), Left::default(), "repeated {repeated} times");
        }
        memory.leave(model, Round(4), left("b", Some("r")));
        memory.count(Round(4));
        assert_eq!(memory.before(model, Round(4)), left("a", None));
        assert_eq!(memory.before(model, Round(5)), left("b", Some("r")));
        assert_eq!(memory.latest(model), left("b", None).trainer);
    }

    #[test]
    fn what_was_sent_is_settled_by_whoever_tells_first() {
        let model = Digest::of(b"model");
        for told in [true, false] {
            for counts in [true, false] {
                let mut memory = Memory::default();
                assert!(memory.leave(model, Round(3), left("a", Some("r"))));
                assert!(!memory.leave(model, Round(3), left("a", Some("r"))), "the same again");
                memory = reborn(&memory);
                assert_eq!(memory.latest(model), None, "not yet");
                if told && counts {
                    assert!(memory.count(Round(3)) && !memory.count(Round(3)));
                }
                assert_eq!(memory.begin(Round(4), counts.then_some(Round(3))), counts && !told);
                let expected = if counts { left("a", Some("r")) } else { Left::default() };
                assert_eq!(memory.before(model, Round(4)), expected, "told {told}, counts {counts}");
            }
        }
    }

    #[test]
    fn a_round_that_came_to_nothing_after_all_leaves_nothing() {
        let model = Digest::of(b"model");
        let mut memory = Memory::default();
        memory.leave(model, Round(3), left("a", None));
        memory.count(Round(3));
        // A plain round's server says that an update counts before there is a release, and may be killed in between.
        assert!(!memory.begin(Round(3), None) && memory.begin(Round(4), None));
        assert_eq!(memory.before(model, Round(4)), Left::default());
    }

    #[test]
    fn nothing_to_keep_is_not_written() {
        let mut memory = Memory::default();
        assert!(!memory.leave(Digest::of(b"model"), Round(1), Left::default()));
        assert!(!memory.count(Round(1)) && !memory.begin(Round(2), Some(Round(1))));
    }

    #[test]
    fn another_model_and_torn_bytes_are_no_memory() {
        let model = Digest::of(b"model");
        let mut memory = Memory::default();
        memory.leave(model, Round(1), left("a", Some("r")));
        memory.count(Round(1));
        let saved = memory.saved();
        assert_eq!(memory.latest(Digest::of(b"other")), None);
        for cut in 0..saved.as_bytes().len() {
            let torn = Secret::new(saved.as_bytes()[..cut].to_vec());
            assert_eq!(Memory::restore(Some(&torn)), Memory::default());
        }
    }
}
