//! Subject-invariance: embeddings that tell the stage and not the sleeper.
//!
//! [`Alignment`] pulls a night's embeddings, class by class, towards where everybody's are. In a federation those places
//! are the aggregated [`Moments`] of the round before: all that a client tells of its embeddings. Central training has all
//! nights in one place and can do the same ([`Others`]) or play against an adversary that learns to tell the people apart
//! ([`Adversary`]).

mod adversary;
mod align;
mod others;

use somnus_protocol::moments::{Embedding, Moments};

pub(crate) use adversary::Adversary;
pub(crate) use align::Alignment;
pub(crate) use others::Others;

use crate::train::Embedded;

/// What else embeddings are to be, beside good for staging.
pub(crate) trait Align {
    /// Adds to `dh` `[epochs, C]` the gradient of a second loss of `h`, the embeddings of a view of night `night`, as
    /// training counts its nights.
    fn pull(&mut self, night: usize, h: &[f32], classes: &[Option<u8>], dh: &mut [f32]);
}

/// How central training makes embeddings of different people alike.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Likeness {
    /// Each night is pulled towards the class-conditional moments of all other people with this weight.
    Moments(f32),
    /// An adversary learns to name the sleeper of an epoch, and embeddings are pushed with this weight to leave it without
    /// a clue.
    Adversary(f32),
}

/// [`Likeness`] and who is whose: night `n` is of person `people[n]`.
#[derive(Clone, Copy, Debug)]
pub struct Alike<'a> {
    /// How.
    pub likeness: Likeness,
    /// People as numbers from 0.
    pub people: &'a [usize],
}

impl Alike<'_> {
    /// What training with it takes.
    pub(crate) fn pull(self, shape: Embedding) -> Box<dyn Align> {
        match self.likeness {
            Likeness::Moments(weight) => Box::new(Others::new(weight, shape, self.people)),
            Likeness::Adversary(weight) => Box::new(Adversary::new(weight, shape, self.people)),
        }
    }
}

/// The class-conditional moments of embedded nights, over their scored epochs. `shape` is the network's own.
pub(crate) fn moments(shape: Embedding, nights: &[Embedded]) -> Moments {
    let mut moments = Moments::new(shape);
    nights.iter().for_each(|night| add(&mut moments, &night.values, &night.classes));
    moments
}

/// Takes in the scored epochs of `h` `[epochs, C]`.
pub(crate) fn add(moments: &mut Moments, h: &[f32], classes: &[Option<u8>]) {
    let epochs = h.chunks_exact(usize::from(moments.shape().width));
    for (class, embedding) in classes.iter().zip(epochs) {
        if let Some(class) = class {
            moments.add(*class, embedding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scored_epochs_are_told_of() {
        let values = vec![1.0, 2.0, 3.0, 9.0, 9.0, 9.0, 3.0, 4.0, 5.0];
        let night = Embedded { values, classes: vec![Some(1), None, Some(1)] };
        let moments = moments(Embedding { classes: 2, width: 3 }, &[night.clone(), night]);
        assert_eq!([0, 1].map(|class| moments.count(class)), [0.0, 4.0]);
        assert_eq!(moments.mean(1, 4.0).unwrap(), [2.0, 3.0, 4.0]);
        assert_eq!(moments.variance(1, 4.0).unwrap(), [1.0; 3]);
    }
}
