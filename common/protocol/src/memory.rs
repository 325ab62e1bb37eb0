//! What one client keeps between rounds for itself, and never sends: a control variate, personal weights, an optimiser.
//!
//! The bytes are the trainer's. The round that they come from stays beside them together with what that round began
//! with: a server that is killed repeats a round under its number, and a client that counted in it must then train from
//! where it trained before, or the two would drift apart.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Round};
use crate::wire;

/// A client's memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Memory(Option<Kept>);

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Kept {
    /// The memory of one foundation model means nothing to another.
    foundation: Digest,
    round: Round,
    before: Option<Bytes>,
    after: Bytes,
}

impl Memory {
    /// From what [`Memory::commit`] gave to the disk. Bytes that are no memory are forgotten: training begins anew.
    pub(crate) fn restore(saved: Option<&Bytes>) -> Self {
        Self(saved.and_then(|bytes| wire::from_disk(bytes).ok()))
    }

    /// What a training for `round` begins with.
    pub(crate) fn before(&self, foundation: Digest, round: Round) -> Option<Bytes> {
        let kept = self.0.as_ref().filter(|kept| kept.foundation == foundation)?;
        if kept.round == round { kept.before.clone() } else { Some(kept.after.clone()) }
    }

    /// What an evaluation sees.
    pub(crate) fn latest(&self, foundation: Digest) -> Option<Bytes> {
        self.0.as_ref().filter(|kept| kept.foundation == foundation).map(|kept| kept.after.clone())
    }

    /// `round` counted and left `after`. Returns what the disk has to keep.
    pub(crate) fn commit(&mut self, foundation: Digest, round: Round, after: Bytes) -> Bytes {
        let kept = Kept { foundation, round, before: self.before(foundation, round), after };
        let saved = wire::to_disk(&kept).into();
        self.0 = Some(kept);
        saved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_round_that_is_repeated_begins_where_it_began() {
        let model = Digest::of(b"model");
        let mut memory = Memory::default();
        assert_eq!((memory.before(model, Round(1)), memory.latest(model)), (None, None));
        for repeated in 0..2 {
            let saved = memory.commit(model, Round(3), bytes("a"));
            memory = Memory::restore(Some(&saved));
            assert_eq!(memory.before(model, Round(3)), None, "repeated {repeated} times");
        }
        memory.commit(model, Round(4), bytes("b"));
        assert_eq!(memory.before(model, Round(4)), Some(bytes("a")));
        assert_eq!(memory.before(model, Round(5)), Some(bytes("b")));
        assert_eq!(memory.latest(model), Some(bytes("b")));
    }

    #[test]
    fn another_model_and_torn_bytes_are_no_memory() {
        let model = Digest::of(b"model");
        let mut memory = Memory::default();
        let saved = memory.commit(model, Round(1), bytes("a"));
        assert_eq!(memory.latest(Digest::of(b"other")), None);
        for cut in 0..saved.len() {
            assert_eq!(Memory::restore(Some(&saved.slice(..cut))), Memory::default());
        }
    }
}
