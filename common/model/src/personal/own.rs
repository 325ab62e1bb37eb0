//! Weights that are a client's own: which, and how they are remembered.

use bytes::Bytes;
use somnus_protocol::checkpoint::{bytes_of, floats};

use crate::error::ModelError;
use crate::stager::Stager;

/// Bytes in front of the weights.
const TAG: usize = 4;

/// What kind of weights a memory holds: a memory of another method is no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Head,
    Norms,
    Copy,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Head, Self::Norms, Self::Copy];

    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Norms => "norms",
            Self::Copy => "copy",
        }
    }

    const fn tag(self) -> &'static [u8; TAG] {
        match self {
            Self::Head => b"head",
            Self::Norms => b"norm",
            Self::Copy => b"copy",
        }
    }
}

/// Some weights of a network.
///
/// As memory: a tag of four letters, then the weights as little-endian f32 in release order, which later versions of the
/// program keep.
pub(super) struct Own {
    kind: Kind,
    /// Places in the flat vector, in release order.
    places: Vec<u32>,
}

impl Own {
    pub(super) fn new(kind: Kind, places: Vec<u32>) -> Self {
        Self { kind, places }
    }

    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// The release with these weights from memory; the release itself for who has none.
    ///
    /// # Errors
    /// [`ModelError::Memory`] if the bytes are other weights.
    pub(super) fn recall(&self, release: &Stager, memory: Option<&[u8]>) -> Result<Stager, ModelError> {
        let Some(memory) = memory else { return Ok(release.clone()) };
        let mut weights = release.weights().to_vec();
        for (place, value) in self.places.iter().zip(self.read(memory)?) {
            weights[*place as usize] = value;
        }
        Ok(release.clone().with_weights(weights))
    }

    /// The bytes to remember.
    pub(super) fn remember(&self, stager: &Stager) -> Bytes {
        let values: Vec<f32> = self.places.iter().map(|place| stager.weights()[*place as usize]).collect();
        [self.kind.tag().as_slice(), &bytes_of(&values)].concat().into()
    }

    /// `stager` with the release's values in place of these.
    pub(super) fn leave_out(&self, stager: Stager, release: &Stager) -> Stager {
        let mut weights = stager.weights().to_vec();
        for place in &self.places {
            weights[*place as usize] = release.weights()[*place as usize];
        }
        stager.with_weights(weights)
    }

    fn read(&self, memory: &[u8]) -> Result<Vec<f32>, ModelError> {
        let wrong = |got: String| ModelError::Memory { expected: self.kind.name(), got };
        let kind = |tag: &[u8; TAG]| Kind::ALL.into_iter().find(|kind| kind.tag() == tag);
        let Some((Some(found), weights)) = memory.split_first_chunk().map(|(tag, rest)| (kind(tag), rest))
        else {
            return Err(wrong(format!("{} bytes that are no personal weights", memory.len())));
        };
        if found != self.kind {
            return Err(wrong(format!("personal weights of the {}", found.name())));
        }
        if weights.len() != 4 * self.places.len() {
            return Err(wrong(format!("{} bytes of {}", weights.len(), 4 * self.places.len())));
        }
        let values = floats(weights);
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(wrong(format!("the value {} at {index}", values[index]))),
            None => Ok(values),
        }
    }
}
