//! Real numbers to integers and back, unbiased.

use rand::RngCore;

/// The integers `0..=levels` over `-range..=range`. `levels` is even, so that zero is one of the integers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Grid {
    range: f64,
    levels: u32,
}

/// Adding 1.5 * 2^52 to a double below 2^51 rounds it and leaves the integer in the low bits of its representation: the
/// fastest conversion that compilers turn into vector code on every CPU.
const MAGIC: f64 = 6_755_399_441_055_744.0;

/// Numbers per draw of random bytes.
const DRAW: usize = 1024;

impl Grid {
    /// As many integers as fit `bits` bits and leave zero in the middle.
    pub(super) fn new(range: f64, bits: u32) -> Self {
        Self { range, levels: ((1u64 << bits) - 2) as u32 }
    }

    /// The largest integer.
    pub(super) fn levels(&self) -> u32 {
        self.levels
    }

    /// The integer of zero.
    pub(super) fn zero(&self) -> u32 {
        self.levels / 2
    }

    /// What one integer more is worth.
    pub(super) fn step(&self) -> f64 {
        2.0 * self.range / f64::from(self.levels)
    }

    /// Each number as one of its two neighbours, by chance, so that the mean is the number (stochastic rounding). Beyond the
    /// range it is the range's end.
    ///
    /// A number takes one word of the generator, so a vector is rounded alike in pieces of any lengths.
    pub(super) fn round(&self, x: &[f32], rng: &mut impl RngCore, out: &mut [u64]) {
        let (unit, zero) = (1.0 / self.step(), f64::from(self.zero()));
        let mut random = [0u8; 4 * DRAW];
        for (x, out) in x.chunks(DRAW).zip(out.chunks_mut(DRAW)) {
            let random = &mut random[..4 * x.len()];
            rng.fill_bytes(random);
            for ((x, out), random) in x.iter().zip(out).zip(random.as_chunks::<4>().0) {
                // Rounding to nearest after a shift by -1/2 to 1/2 is rounding down after one by 0 to 1.
                let shift = (f64::from(i32::from_le_bytes(*random)) + 0.5) * (1.0 / 4_294_967_296.0);
                let level = (f64::from(*x) * unit).max(-zero).min(zero) + zero;
                *out = (level + shift + MAGIC).to_bits() & 0xffff_ffff;
            }
        }
    }

    /// Each number as its neighbour towards zero: never longer than what it came from.
    pub(super) fn towards_zero(&self, x: &[f32], out: &mut [u64]) {
        let (unit, zero) = (1.0 / self.step(), f64::from(self.zero()));
        for (x, out) in x.iter().zip(out) {
            *out = ((f64::from(*x) * unit).clamp(-zero, zero).trunc() + zero) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::Seed;

    proptest! {
        #[test]
        fn a_number_becomes_one_of_its_neighbours(x in -1.5f32..1.5, bits in 2u32..=32, seed: u64) {
            let grid = Grid::new(1.0, bits);
            let level = f64::from(x.clamp(-1.0, 1.0)) / grid.step() + f64::from(grid.zero());
            let mut out = [0; 40];
            grid.round(&[x; 40], &mut Seed::from_number(seed).rng(), &mut out);
            for got in out {
                prop_assert!((got as f64 - level).abs() <= 1.0 + 1e-6, "{got} for {level}");
                prop_assert!(got <= u64::from(grid.levels()));
            }
            grid.towards_zero(&[x], &mut out);
            let inwards = out[0] as f64 - f64::from(grid.zero());
            prop_assert!(inwards.abs() <= (level - f64::from(grid.zero())).abs() + 1e-6);
        }

        #[test]
        fn the_ends_and_zero_are_exact(range in 1e-6f64..1e6, bits in 2u32..=32, seed: u64) {
            let grid = Grid::new(range, bits);
            let beyond = 2.0 * range as f32;
            let mut out = [0; 3];
            grid.round(&[0.0, beyond, -beyond], &mut Seed::from_number(seed).rng(), &mut out);
            prop_assert_eq!(out, [u64::from(grid.zero()), u64::from(grid.levels()), 0]);
        }
    }

    /// A coin with probability p has a mean within five standard errors of p, except once in two million.
    #[test]
    fn rounding_has_no_bias() {
        let grid = Grid::new(1.0, 8);
        let mut rng = Seed::from_number(5).rng();
        let draws = 1 << 18;
        for level in [0.01, 0.25, 0.5, 3.9, -0.3, -100.75, 126.125] {
            let x = (level * grid.step()) as f32;
            let exact = f64::from(x) / grid.step();
            let mut out = vec![0; draws];
            grid.round(&vec![x; draws], &mut rng, &mut out);
            let sum: f64 = out.iter().map(|q| *q as f64 - f64::from(grid.zero())).sum();
            let p = exact - exact.floor();
            let error = (p * (1.0 - p) / draws as f64).sqrt();
            let mean = sum / draws as f64;
            assert!((mean - exact).abs() < 5.0 * error, "{mean} for {exact}");
        }
    }
}
