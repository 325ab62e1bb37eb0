//! Class-conditional moments of embeddings: what a federation learns of where each class lies, without an embedding
//! leaving its client.
//!
//! Per class `c` a client has its number of epochs `n_c` and, for each of the embedding's `D` coordinates, the sums of
//! `h` and of `h^2`. Sums of clients add up, so mean and variance of the pooled epochs come out exactly.

use serde::{Deserialize, Serialize};

/// Largest magnitude of a coordinate that moments tell apart: what is beyond counts as this much. Embeddings of a residual
/// network have no bound of their own, and a federation whose embeddings grow must not end at what the ring can add.
const MOST: f32 = 256.0;

/// An embedding's coordinate in a section: a power of two, so that nothing is rounded, and small enough for the square of
/// [`MOST`] to fit the ring.
const UNIT: f64 = 1.0 / 32.0;

/// What a network's head sees of an epoch, as far as moments care.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// Classes that the head tells apart.
    pub classes: u8,
    /// Numbers per epoch.
    pub width: u16,
}

impl Embedding {
    /// Numbers that moments of this shape take: per class a count and two vectors.
    pub fn numbers(self) -> usize {
        usize::from(self.classes) * self.row()
    }

    fn row(self) -> usize {
        1 + 2 * usize::from(self.width)
    }

    /// What each number of a section is a multiple of.
    fn units(self) -> impl Iterator<Item = f64> {
        let (row, width) = (self.row(), usize::from(self.width));
        (0..self.numbers()).map(move |at| match at % row {
            0 => 1.0,
            sum if sum <= width => UNIT,
            _ => UNIT * UNIT,
        })
    }
}

/// Counts, sums and sums of squares per class.
#[derive(Clone, PartialEq, Debug)]
pub struct Moments {
    shape: Embedding,
    /// Per class `[n_c, sum h: D, sum h^2: D]`.
    values: Vec<f64>,
}

impl Moments {
    /// Of no epochs.
    pub fn new(shape: Embedding) -> Self {
        Self { shape, values: vec![0.0; shape.numbers()] }
    }

    /// The shape.
    pub fn shape(&self) -> Embedding {
        self.shape
    }

    /// Takes in one epoch of `class` with its embedding `[D]`; coordinates beyond ±256 count as ±256.
    ///
    /// # Panics
    /// If there is no such class or the embedding has another width: a mistake of the caller, not of its data.
    pub fn add(&mut self, class: u8, embedding: &[f32]) {
        let width = usize::from(self.shape.width);
        assert_eq!(embedding.len(), width, "an embedding of another network");
        let row = self.shape.row();
        let values = &mut self.values[usize::from(class) * row..][..row];
        let (sums, squares) = values[1..].split_at_mut(width);
        for ((h, sum), square) in
            embedding.iter().map(|h| f64::from(h.clamp(-MOST, MOST))).zip(sums).zip(squares)
        {
            *sum += h;
            *square += h * h;
        }
        values[0] += 1.0;
    }

    /// Takes in the epochs of others.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.shape, other.shape, "moments of another network");
        self.values.iter_mut().zip(&other.values).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Epochs of a class; none of a class that does not exist.
    pub fn count(&self, class: u8) -> f64 {
        self.row(class).map_or(0.0, |row| row[0])
    }

    /// Mean embedding of a class, `[D]`, if it has at least `least` epochs.
    pub fn mean(&self, class: u8, least: f64) -> Option<Vec<f32>> {
        let (count, sums, _) = self.of(class, least)?;
        Some(sums.iter().map(|sum| (sum / count) as f32).collect())
    }

    /// Variance of each coordinate in a class, `[D]`, over the number of epochs, if it has at least `least` of them.
    pub fn variance(&self, class: u8, least: f64) -> Option<Vec<f32>> {
        let (count, sums, squares) = self.of(class, least)?;
        // Rounding, and clients that lie, can make it negative.
        let variance = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0) as f32;
        Some(sums.iter().zip(squares).map(variance).collect())
    }

    /// Epochs of all classes.
    pub fn total(&self) -> f64 {
        self.values.chunks_exact(self.shape.row()).map(|row| row[0]).sum()
    }

    /// The section of an update: every number over the number of epochs, so that the mean of sections, weighted by
    /// epochs, times all clients' epochs is the sum of the clients' moments. Where the weight is another, as of clients
    /// that saw their epochs more than once, each counts by its weight. Sums are in 32nds and squares in 1024ths, so that
    /// no embedding is more than the ring can add.
    pub fn section(&self) -> impl Iterator<Item = f32> + '_ {
        let total = self.total().max(1.0);
        self.values.iter().zip(self.shape.units()).map(move |(value, unit)| (value * unit / total) as f32)
    }

    /// The inverse of [`Moments::section`]; `None` if the length is another.
    pub fn from_section(shape: Embedding, section: &[f32], weight: f64) -> Option<Self> {
        let of = |(value, unit): (&f32, f64)| f64::from(*value) * weight / unit;
        let fits = section.len() == shape.numbers();
        fits.then(|| Self { shape, values: section.iter().zip(shape.units()).map(of).collect() })
    }

    /// Count, sums and sums of squares of a class with at least `least` epochs.
    fn of(&self, class: u8, least: f64) -> Option<(f64, &[f64], &[f64])> {
        let row = self.row(class).filter(|row| row[0] > 0.0 && row[0] >= least)?;
        let (sums, squares) = row[1..].split_at(usize::from(self.shape.width));
        Some((row[0], sums, squares))
    }

    fn row(&self, class: u8) -> Option<&[f64]> {
        self.values.chunks_exact(self.shape.row()).nth(usize::from(class))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::bytes_of;
    use crate::sum::Sum;

    const SHAPE: Embedding = Embedding { classes: 3, width: 2 };

    /// The epochs of one client: class and embedding.
    type Epochs = Vec<(u8, [f32; 2])>;

    fn epochs() -> impl Strategy<Value = Epochs> {
        let embedding = (-8f32..8.0, -8f32..8.0).prop_map(|(a, b)| [a, b]);
        prop::collection::vec((0u8..3, embedding), 1..60)
    }

    fn moments(epochs: &Epochs) -> Moments {
        let mut moments = Moments::new(SHAPE);
        epochs.iter().for_each(|(class, h)| moments.add(*class, h));
        moments
    }

    proptest! {
        /// Through the ring and back: as if all epochs had been in one place.
        #[test]
        fn the_weighted_mean_of_sections_gives_the_pooled_moments(clients in prop::collection::vec(epochs(), 1..8)) {
            let mut sum = Sum::new(SHAPE.numbers());
            for client in &clients {
                let section: Vec<f32> = moments(client).section().collect();
                sum.add(&bytes_of(&section), client.len() as u32, 0.0).unwrap();
            }
            let pooled = Moments::from_section(SHAPE, &sum.mean(), sum.examples() as f64).unwrap();
            let everything: Epochs = clients.concat();
            for class in 0..3u8 {
                let of_class: Vec<[f32; 2]> =
                    everything.iter().filter(|(c, _)| *c == class).map(|(_, h)| *h).collect();
                let n = of_class.len() as f64;
                prop_assert!((pooled.count(class) - n).abs() < 1e-3);
                if of_class.is_empty() {
                    prop_assert!(pooled.mean(class, 1.0).is_none());
                    continue;
                }
                let (mean, variance) =
                    (pooled.mean(class, 0.5).unwrap(), pooled.variance(class, 0.5).unwrap());
                for d in 0..2 {
                    let exact = of_class.iter().map(|h| f64::from(h[d])).sum::<f64>() / n;
                    let spread = of_class.iter().map(|h| (f64::from(h[d]) - exact).powi(2)).sum::<f64>() / n;
                    prop_assert!((f64::from(mean[d]) - exact).abs() < 1e-3, "{} and {exact}", mean[d]);
                    prop_assert!((f64::from(variance[d]) - spread).abs() < 1e-2, "{} and {spread}", variance[d]);
                }
            }
        }

        /// Whatever the embeddings: moments are never why an update is refused.
        #[test]
        fn every_section_fits_the_ring(h in prop::collection::vec((0u8..3, [-3e38f32..3e38, -300f32..300.0]), 1..20)) {
            let section: Vec<f32> = moments(&h).section().collect();
            prop_assert!(section.iter().all(|value| value.abs() <= 64.0), "{section:?}");
            prop_assert_eq!(Sum::new(SHAPE.numbers()).add(&bytes_of(&section), h.len() as u32, 0.0), Ok(()));
        }

        #[test]
        fn merging_is_pooling(a in epochs(), b in epochs()) {
            let mut merged = moments(&a);
            merged.merge(&moments(&b));
            let pooled = moments(&[a, b].concat());
            for (one, other) in merged.values.iter().zip(&pooled.values) {
                prop_assert!((one - other).abs() <= 1e-9 * (1.0 + other.abs()));
            }
        }
    }

    #[test]
    fn a_class_with_too_few_epochs_has_no_moments() {
        let few = moments(&vec![(0, [1.0, 2.0]); 4]);
        assert_eq!(few.mean(0, 4.0), Some(vec![1.0, 2.0]));
        assert_eq!(few.variance(0, 4.0), Some(vec![0.0, 0.0]));
        assert_eq!((few.mean(0, 5.0), few.variance(0, 5.0)), (None, None));
        assert_eq!((few.mean(1, 0.0), few.variance(9, 0.0), few.count(9)), (None, None, 0.0));
    }
}
