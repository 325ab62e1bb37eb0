//! One vector's way into lanes: clip, weigh, rotate, round.

use rand_chacha::ChaCha20Rng;

use super::codec::DecodeError;
use super::config::{EncodingConfig, Rounding, Spread};
use super::counters::within;
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
    pub(super) fn encode(
        &self,
        x: &[f32],
        weight: f64,
        seed: &Seed,
        noise: Option<Noise<'_>>,
        packed: &mut Packed,
    ) -> Result<bool, Fault> {
        let norm = norm(x)?;
        let scale = (weight * (self.norm * MARGIN / norm).min(1.0)) as f32;
        let spread = match &self.rotation {
            Some(rotation) => rotation.forward(x, scale),
            None => x.iter().map(|x| x * scale).collect(),
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

    /// The sum over `clients`, times `scale`.
    pub(super) fn decode(&self, sum: &Packed, clients: u32, scale: f64) -> Result<Vec<f32>, DecodeError> {
        let limit = u64::from(clients) * self.largest();
        let zero = (u64::from(clients) * (u64::from(self.grid.zero()) + self.room)) as i64;
        let unit = self.grid.step() * scale;
        let mut most = 0;
        let mut spread = Vec::with_capacity(self.lanes.count());
        spread.extend(self.lanes.read(sum).map(|lane| {
            most = most.max(lane);
            ((lane as i64 - zero) as f64 * unit) as f32
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
pub(super) fn norm(x: &[f32]) -> Result<f64, Fault> {
    // Eight sums at a time become vector code. No square of a finite single overflows a double.
    let (groups, rest) = x.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for group in groups {
        for (sum, x) in sums.iter_mut().zip(group) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    let squared = sums.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
    if squared.is_finite() {
        return Ok(squared.sqrt());
    }
    Err(Fault::NotFinite { index: x.iter().position(|x| !x.is_finite()).unwrap_or_default() })
}
