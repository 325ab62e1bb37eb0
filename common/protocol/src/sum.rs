//! The weighted sum of updates, in a fixed-point ring: arrival order cannot change a model.
//!
//! Each coordinate is `round(delta * examples * 2^30)` in `i64`, added modulo 2^64. Adding is associative and
//! commutative, unlike floating-point addition, and it is what masks will need. Bounds: `|delta| <= 128` and at most
//! [`MAX_EXAMPLES`] examples keep one term below 2^50, so 8,192 clients cannot wrap.

use crate::fault::Fault;
use crate::privacy::veil::Veil;

/// Most examples that one update may claim: two nights of 17 hours.
pub const MAX_EXAMPLES: u32 = 4096;

/// Largest magnitude of one coordinate of an update.
pub const MAX_DELTA: u32 = 128;

/// Most updates in one sum.
pub const MAX_UPDATES: u32 = 8192;

const SCALE: f64 = (1u64 << 30) as f64;

/// Adding 1.5 * 2^52 rounds a double below 2^51 to the nearest integer and leaves that integer in the low bits of
/// its representation: the fastest exact conversion that compilers turn into vector code on every CPU.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// A running sum over `len` weights; 8 bytes a weight, whatever the number of clients.
#[derive(Clone, PartialEq, Eq)]
pub struct Sum {
    values: Vec<i64>,
    examples: u64,
    loss: i64,
    updates: u32,
}

/// How much one update weighs in the mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// By its examples, as FedAvg does.
    #[default]
    Examples,
    /// Every person the same.
    Uniform,
}

impl Sum {
    /// An empty sum of `len` coordinates.
    pub fn new(len: usize) -> Self {
        Self { values: vec![0; len], examples: 0, loss: 0, updates: 0 }
    }

    /// Adds one update: `delta` is little-endian f32, `weight` its examples or 1.
    ///
    /// # Errors
    /// A [`Fault`] of the client; the sum is unchanged then.
    pub fn add(&mut self, delta: &[u8], weight: u32, loss: f32) -> Result<(), Fault> {
        if delta.len() != self.values.len() * 4 {
            return Err(Fault::WrongLength {
                expected: self.values.len() as u64 * 4,
                got: delta.len() as u64,
            });
        }
        if weight == 0 || weight > MAX_EXAMPLES {
            return Err(Fault::BadExamples { got: weight, limit: MAX_EXAMPLES });
        }
        let (coordinates, _) = delta.as_chunks::<4>();
        check(coordinates)?;
        let scale = SCALE * f64::from(weight);
        for (value, bytes) in self.values.iter_mut().zip(coordinates) {
            let shifted = f64::from(f32::from_le_bytes(*bytes)) * scale + MAGIC;
            *value = value.wrapping_add(shifted.to_bits() as i64 - MAGIC.to_bits() as i64);
        }
        let loss = if loss.is_finite() { f64::from(loss.clamp(-1e6, 1e6)) } else { 0.0 };
        self.loss = self.loss.wrapping_add((loss * f64::from(weight) * 65536.0).round() as i64);
        self.examples += u64::from(weight);
        self.updates += 1;
        Ok(())
    }

    /// Adds another sum of the same length.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.values.len(), other.values.len(), "sums of different models");
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.loss = self.loss.wrapping_add(other.loss);
        self.examples += other.examples;
        self.updates += other.updates;
    }

    /// The weighted mean of the updates; zeros if there are none.
    pub fn mean(&self) -> Vec<f32> {
        let unit = if self.examples == 0 { 0.0 } else { 1.0 / (SCALE * self.examples as f64) };
        self.values.iter().map(|value| (*value as f64 * unit) as f32).collect()
    }

    /// The sum over a fixed denominator, for people who may not know the sum: with the noise of `veil`. No update in it has a
    /// norm above `norm`, and all weigh 1.
    pub fn veiled(&self, norm: f64, veil: &Veil) -> Vec<f32> {
        // Rounding to whole numbers moves each coordinate by half a unit at most.
        let longest = norm * SCALE + (self.values.len() as f64).sqrt();
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let noise = veil.noise(self.values.len(), longest, &bytes);
        let unit = 1.0 / (SCALE * f64::from(veil.denominator()));
        let noise = noise.into_iter().chain(std::iter::repeat(0.0));
        self.values.iter().zip(noise).map(|(value, noise)| ((*value as f64 + noise) * unit) as f32).collect()
    }

    /// The weighted mean of the clients' losses.
    pub fn mean_loss(&self) -> f32 {
        if self.examples == 0 { 0.0 } else { (self.loss as f64 / 65536.0 / self.examples as f64) as f32 }
    }

    /// Total weight.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// Number of updates.
    pub fn updates(&self) -> u32 {
        self.updates
    }
}

/// Finds a coordinate that the ring cannot hold. The common case is one pass without branches.
fn check(coordinates: &[[u8; 4]]) -> Result<(), Fault> {
    // Bit patterns of magnitudes order like the magnitudes; infinities and NaNs are above every number.
    let limit = (MAX_DELTA as f32).to_bits();
    let magnitude = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes) & 0x7fff_ffff;
    let worst = coordinates.iter().fold(0, |worst, bytes| worst.max(magnitude(bytes)));
    if worst <= limit {
        return Ok(());
    }
    let index = coordinates.iter().position(|bytes| magnitude(bytes) > limit).unwrap_or(0);
    if f32::from_le_bytes(coordinates[index]).is_finite() {
        Err(Fault::OutOfRange { index, limit: MAX_DELTA })
    } else {
        Err(Fault::NotFinite { index })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::bytes_of;

    fn update() -> impl Strategy<Value = (Vec<f32>, u32)> {
        (prop::collection::vec(-128f32..=128.0, 5), 1..=MAX_EXAMPLES)
    }

    proptest! {
        #[test]
        fn order_and_grouping_do_not_matter(updates in prop::collection::vec(update(), 1..20), cut in 0usize..20) {
            let add = |sum: &mut Sum, (delta, weight): &(Vec<f32>, u32)| sum.add(&bytes_of(delta), *weight, 0.3).unwrap();
            let mut forward = Sum::new(5);
            let mut backward = Sum::new(5);
            updates.iter().for_each(|u| add(&mut forward, u));
            updates.iter().rev().for_each(|u| add(&mut backward, u));
            let (left, right) = updates.split_at(cut.min(updates.len()));
            let mut grouped = Sum::new(5);
            let mut rest = Sum::new(5);
            left.iter().for_each(|u| add(&mut grouped, u));
            right.iter().for_each(|u| add(&mut rest, u));
            grouped.merge(&rest);
            prop_assert!(forward == backward && forward == grouped);
        }

        #[test]
        fn the_mean_is_the_weighted_mean(updates in prop::collection::vec(update(), 1..20)) {
            let mut sum = Sum::new(5);
            let total: f64 = updates.iter().map(|(_, w)| f64::from(*w)).sum();
            for (delta, weight) in &updates {
                sum.add(&bytes_of(delta), *weight, 0.0).unwrap();
            }
            for (i, mean) in sum.mean().iter().enumerate() {
                let exact: f64 = updates.iter().map(|(d, w)| f64::from(d[i]) * f64::from(*w)).sum::<f64>() / total;
                // One rounding to 2^-31 a client, and one to f32.
                prop_assert!((f64::from(*mean) - exact).abs() <= 1e-9 + exact.abs() * 1e-7, "{mean} against {exact}");
            }
        }
    }

    #[test]
    fn bad_updates_change_nothing() {
        let mut sum = Sum::new(2);
        sum.add(&bytes_of(&[1.0, -1.0]), 2, 0.5).unwrap();
        let before = sum.clone();
        let cases = [
            (bytes_of(&[1.0]), 1, Fault::WrongLength { expected: 8, got: 4 }),
            (bytes_of(&[0.0, f32::NAN]), 1, Fault::NotFinite { index: 1 }),
            (bytes_of(&[f32::NEG_INFINITY, 0.0]), 1, Fault::NotFinite { index: 0 }),
            (bytes_of(&[0.0, 128.5]), 1, Fault::OutOfRange { index: 1, limit: MAX_DELTA }),
            (bytes_of(&[0.0, 0.0]), 0, Fault::BadExamples { got: 0, limit: MAX_EXAMPLES }),
            (bytes_of(&[0.0, 0.0]), 5000, Fault::BadExamples { got: 5000, limit: MAX_EXAMPLES }),
        ];
        for (delta, weight, fault) in cases {
            assert_eq!(sum.add(&delta, weight, 0.0), Err(fault));
            assert!(sum == before);
        }
    }

    #[test]
    fn the_largest_terms_do_not_wrap() {
        let mut sum = Sum::new(1);
        let mut one = Sum::new(1);
        one.add(&bytes_of(&[MAX_DELTA as f32]), MAX_EXAMPLES, 0.0).unwrap();
        for _ in 0..MAX_UPDATES {
            sum.merge(&one);
        }
        assert_eq!(sum.mean(), [MAX_DELTA as f32]);
    }
}
