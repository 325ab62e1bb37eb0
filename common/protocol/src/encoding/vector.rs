//! One vector's way into lanes: clip, weigh, rotate, round.

use rand_chacha::ChaCha20Rng;

use super::config::{EncodingConfig, Rounding, Spread};
use super::counters::within;
use super::decoded::DecodeError;
use super::grid::Grid;
use super::rotation::Rotation;
use crate::fault::Fault;
use crate::packed::{Lanes, MAX_LANE_BITS, Packed, lane_bits};
use crate::seed::{Label, Seed};

/// A rotated coordinate lies within this many times its root mean square, except with probability `2 exp(-z^2 / 2)` =
/// 3e-8 for an update at the norm bound; then it is cut off there. Lighter or shorter updates are further inside.
const Z: f64 = 6.0;

/// Updates are clipped this much below the bound, so that the rounding of single precision cannot lift them over it.
const MARGIN: f64 = 1.0 - 1.0 / 65536.0;

/// Attempts at a rounding that keeps its bound. Each one succeeds with probability above .39.
const ATTEMPTS: u32 = 100;

/// How far one client can move the sum of the weights' lanes, in lane units. What privacy accountants ask for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sensitivity {
    /// L2 norm of one client's integers, at most.
    pub l2: f64,
    /// L1 norm of one client's integers, at most.
    pub l1: f64,
    /// What one lane unit is worth in the units of the weights, before the mean is taken.
    pub unit: f64,
    /// Lanes.
    pub lanes: usize,
}

/// A number as it travels or as it is computed with.
pub(super) trait Single: Copy {
    fn single(self) -> f32;
}

impl Single for f32 {
    fn single(self) -> f32 {
        self
    }
}

/// Little-endian.
impl Single for [u8; 4] {
    fn single(self) -> f32 {
        f32::from_le_bytes(self)
    }
}

/// A noise source in lane units.
pub(super) type Noise<'a> = &'a mut dyn FnMut() -> i64;

/// Real numbers of one section, in lanes with room for noise.
pub(super) struct Vector {
    section: &'static str,
    norm: f64,
    rotation: Option<Rotation>,
    grid: Grid,
    rounding: Rounding,
    /// Most noise that one client may add to a lane, either way.
    room: u64,
    lanes: Lanes,
}

impl Vector {
    /// For vectors of `len` numbers; its lanes are where [`Vector::lay`] puts them.
    pub(super) fn new(
        config: &EncodingConfig,
        section: &'static str,
        len: usize,
        norm: f64,
        seed: &Seed,
    ) -> Self {
        let rotation = matches!(config.spread, Spread::Rotation).then(|| Rotation::new(len, seed));
        let lanes = rotation.as_ref().map_or(len, Rotation::padded);
        let range = match config.spread {
            // No coordinate exceeds the norm of the whole.
            Spread::Rotation => norm * (Z / (lanes as f64).sqrt()).min(1.0),
            Spread::Range(range) => range,
        };
        let grid = Grid::new(range, config.levels_bits);
        let lanes = Lanes::new(config.levels_bits, lanes);
        Self { section, norm, rotation, grid, rounding: config.rounding, room: 0, lanes }
    }

    /// For `len` numbers within ±`range` that nothing is done to.
    pub(super) fn plain(section: &'static str, len: usize, range: f64, bits: u32) -> Self {
        Self {
            section,
            norm: f64::INFINITY,
            rotation: None,
            grid: Grid::new(range, bits),
            rounding: Rounding::Independent,
            room: 0,
            lanes: Lanes::new(bits, len),
        }
    }

    /// Puts the lanes right after `after`, wide enough for a roster and for so much noise of each of its clients.
    ///
    /// # Errors
    /// The bits that each lane would need, if that is more than a lane can have.
    pub(super) fn lay(&mut self, after: &Lanes, roster: u32, room: u64) -> Result<Lanes, u32> {
        self.room = room;
        let bits = lane_bits(roster, self.largest());
        if bits > MAX_LANE_BITS {
            return Err(bits);
        }
        self.lanes = after.then(bits, self.lanes.count());
        Ok(self.lanes)
    }

    /// The most that one client puts into a lane.
    fn largest(&self) -> u64 {
        u64::from(self.grid.levels()) + 2 * self.room
    }

    /// Writes `weight` (up to 1) times `x`, clipped, with its noise. Tells whether it had to be clipped.
    ///
    /// # Errors
    /// [`Fault::NotFinite`] if a number is none.
    pub(super) fn encode<T: Single>(
        &self,
        x: &[T],
        weight: f64,
        seed: &Seed,
        noise: Option<Noise<'_>>,
        packed: &mut Packed,
    ) -> Result<bool, Fault> {
        let norm = norm(x)?;
        let scale = (weight * (self.norm * MARGIN / norm).min(1.0)) as f32;
        let spread = match &self.rotation {
            Some(rotation) => rotation.forward(x, scale),
            None => x.iter().map(|x| x.single() * scale).collect(),
        };
        let mut levels = self.rounding(&spread, seed);
        match noise {
            None => self.lanes.write_blocks(packed, |first, out| {
                levels(&spread[first..first + out.len()], out);
                out.iter_mut().for_each(|level| *level += self.room);
            }),
            Some(noise) => {
                let room = self.room as i64;
                self.lanes.write_blocks(packed, |first, out| {
                    levels(&spread[first..first + out.len()], out);
                    out.iter_mut().for_each(|level| *level += (noise().clamp(-room, room) + room) as u64);
                });
            }
        }
        Ok(norm > self.norm)
    }

    /// The sum over `clients`, with `noise` in lane units if it is not empty, times `scale`.
    pub(super) fn decode(
        &self,
        sum: &Packed,
        clients: u32,
        scale: f64,
        noise: &[f64],
    ) -> Result<Vec<f32>, DecodeError> {
        let limit = u64::from(clients) * self.largest();
        let zero = (u64::from(clients) * (u64::from(self.grid.zero()) + self.room)) as i64;
        let unit = self.grid.step() * scale;
        let mut most = 0;
        let mut spread = Vec::with_capacity(self.lanes.count());
        let noise = noise.iter().copied().chain(std::iter::repeat(0.0));
        spread.extend(self.lanes.read(sum).zip(noise).map(|(lane, noise)| {
            most = most.max(lane);
            (((lane as i64 - zero) as f64 + noise) * unit) as f32
        }));
        if most > limit {
            within(self.section, self.lanes.read(sum), limit)?;
        }
        Ok(match &self.rotation {
            Some(rotation) => rotation.back(spread),
            None => spread,
        })
    }

    /// Bounds of one client's integers; with [`Rounding::Bounded`] each encoding has been checked against them.
    pub(super) fn sensitivity(&self) -> Sensitivity {
        let (dim, unit) = (self.lanes.count() as f64, self.grid.step());
        let exact = self.norm / unit;
        // Rounding moves each coordinate by less than one.
        let any = exact + dim.sqrt();
        // Kairouz, Liu and Steinke 2021, proposition 26, with beta = e^(-1/2), for which sqrt(2 log(1 / beta)) = 1.
        let likely = (exact * exact + dim / 4.0 + exact + dim.sqrt() / 2.0).sqrt();
        let l2 = match self.rounding {
            Rounding::Independent => any,
            Rounding::Bounded => any.min(likely),
        };
        // Integers: none is smaller than its square.
        Sensitivity { l2, l1: (dim.sqrt() * l2).min(l2 * l2), unit, lanes: self.lanes.count() }
    }

    /// How this vector is rounded, from its first number to its last.
    fn rounding(&self, spread: &[f32], seed: &Seed) -> impl FnMut(&[f32], &mut [u64]) {
        let mut chance = match self.rounding {
            Rounding::Independent => Some(seed.rng()),
            Rounding::Bounded => self.bounded(spread, seed),
        };
        let grid = self.grid;
        move |x, out| match &mut chance {
            Some(rng) => grid.round(x, rng, out),
            None => grid.towards_zero(x, out),
        }
    }

    /// The first generator whose rounding keeps the bound, if one of [`ATTEMPTS`] does.
    fn bounded(&self, spread: &[f32], seed: &Seed) -> Option<ChaCha20Rng> {
        let most = self.sensitivity().l2.powi(2);
        let zero = i64::from(self.grid.zero());
        let mut levels = [0; 1024];
        (0..ATTEMPTS).find_map(|attempt| {
            let start = seed.derive(Label::Rounding, &attempt.to_le_bytes()).rng();
            let mut rng = start.clone();
            let squares = spread.chunks(levels.len()).map(|x| {
                let levels = &mut levels[..x.len()];
                self.grid.round(x, &mut rng, levels);
                levels.iter().map(|level| (*level as i64 - zero).pow(2)).sum::<i64>()
            });
            // Below 2^40 each, at most 2^24 of them.
            (squares.sum::<i64>() as f64 <= most).then_some(start)
        })
    }
}

/// The L2 norm, in double precision.
///
/// # Errors
/// [`Fault::NotFinite`] with the index of the first number that is none.
pub(super) fn norm<T: Single>(x: &[T]) -> Result<f64, Fault> {
    // Eight sums at a time become vector code. No square of a finite single overflows a double.
    let (groups, rest) = x.as_chunks::<8>();
    let square = |x: &T| f64::from(x.single()) * f64::from(x.single());
    let mut sums = [0.0f64; 8];
    for group in groups {
        sums.iter_mut().zip(group).for_each(|(sum, x)| *sum += square(x));
    }
    let squared = sums.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>();
    if squared.is_finite() {
        return Ok(squared.sqrt());
    }
    Err(Fault::NotFinite { index: x.iter().position(|x| !x.single().is_finite()).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(rounding: Rounding, len: usize) -> Vector {
        let config = EncodingConfig { levels_bits: 8, clip_norm: 1.0, rounding, ..EncodingConfig::default() };
        let mut vector = Vector::new(&config, "weights", len, 1.0, &Seed::from_number(1));
        vector.lay(&Lanes::new(2, 0), 1, 0).unwrap();
        vector
    }

    /// What one client puts into the lanes, as integers around zero: L2 and L1 norm.
    fn norms(vector: &Vector, x: &[f32], seed: u64) -> (f64, f64) {
        let mut packed = Packed::zero(vector.lanes.words().end);
        vector.encode(x, 1.0, &Seed::from_number(seed), None, &mut packed).unwrap();
        let zero = f64::from(vector.grid.zero());
        let lanes = vector.lanes.read(&packed).map(|lane| (lane as f64 - zero).abs());
        lanes.fold((0.0, 0.0), |(l2, l1), lane| (f64::hypot(l2, lane), l1 + lane))
    }

    #[test]
    fn no_client_exceeds_the_sensitivity() {
        let x = vec![1.0f32; 3000];
        for rounding in [Rounding::Independent, Rounding::Bounded] {
            let vector = vector(rounding, x.len());
            let Sensitivity { l2, l1, .. } = vector.sensitivity();
            for seed in 0..50 {
                let norms = norms(&vector, &x, seed);
                assert!(norms.0 <= l2 * (1.0 + 1e-9) && norms.1 <= l1, "{norms:?} of {l2}, {l1}");
            }
        }
    }

    /// With the bound just below what rounding gives by chance, some attempts fail, and what is sent still keeps it.
    #[test]
    fn a_rounding_that_is_too_long_is_thrown_away() {
        let mut bounded = vector(Rounding::Bounded, 3000);
        let free = vector(Rounding::Independent, 3000);
        let x = vec![1.0f32; 3000];
        let mut lengths: Vec<f64> = (0..21).map(|seed| norms(&free, &x, seed).0).collect();
        lengths.sort_by(f64::total_cmp);
        // The norm decides the bound alone; what is encoded is as long as before.
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..60 {
            bounded.norm = (low + high) / 2.0;
            if bounded.sensitivity().l2 < lengths[10] { low = bounded.norm } else { high = bounded.norm }
        }
        assert!((bounded.sensitivity().l2 - lengths[10]).abs() < 1e-6 * lengths[10]);
        let spread = bounded.rotation.as_ref().unwrap().forward(&x, (1.0 / norm(&x).unwrap()) as f32);
        let start = |seed: u64| bounded.bounded(&spread, &Seed::from_number(seed)).unwrap();
        let first = |seed: u64| Seed::from_number(seed).derive(Label::Rounding, &0u32.to_le_bytes()).rng();
        let again = (0..40).filter(|seed| start(*seed) != first(*seed)).count();
        assert!((5..35).contains(&again), "{again} of 40 took more than one attempt");
        for seed in 0..40 {
            let mut out = vec![0; spread.len()];
            bounded.grid.round(&spread, &mut start(seed), &mut out);
            let zero = f64::from(bounded.grid.zero());
            let length = out.iter().map(|q| (*q as f64 - zero).powi(2)).sum::<f64>().sqrt();
            assert!(length <= bounded.sensitivity().l2);
        }
    }
}
