//! Subject-invariance inside the federation: what a client tells of its embeddings, and nothing more.

use somnus_protocol::moments::{Embedding, Moments};

use crate::train::Embedded;

/// The class-conditional moments of embedded nights, over their scored epochs. `shape` is the network's own.
pub(crate) fn moments(shape: Embedding, nights: &[Embedded]) -> Moments {
    let mut moments = Moments::new(shape);
    for night in nights {
        let epochs = night.values.chunks_exact(usize::from(shape.width));
        for (class, embedding) in night.classes.iter().zip(epochs) {
            if let Some(class) = class {
                moments.add(*class, embedding);
            }
        }
    }
    moments
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
