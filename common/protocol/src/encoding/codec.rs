//! The encoding of one round.

use super::config::EncodingConfig;
use super::contribution::{Beside, Contribution, Encoded};
use super::counters::{Counters, Evaluated};
use super::decoded::{DecodeError, Decoded};
use super::reduction::Reduction;
use super::vector::{Noise, Sensitivity, Single, Vector, norm};
use crate::checkpoint::bytes_of;
use crate::evaluation::MAX_EPOCHS;
use crate::fault::{ConfigError, Fault};
use crate::packed::{Lanes, MAX_LANE_BITS, Packed};
use crate::privacy::veil::Veil;
use crate::seed::{Label, Seed};
use crate::sum::{MAX_DELTA, MAX_EXAMPLES, MAX_UPDATES, Weighting};
use crate::update::{MAX_STEPS, STEP, UpdateLayout};

/// Losses beyond this are cut off.
const MAX_LOSS: f64 = 4096.0;

/// Units of the loss, in parts of one.
const LOSS: f64 = 65536.0;

/// The count of a loss of zero, so that no count is negative.
const ZERO_LOSS: f64 = MAX_LOSS * LOSS * MAX_EXAMPLES as f64;

/// Bits of a moment: within ±[`MAX_DELTA`] as fine as single precision.
const MOMENT_BITS: u32 = 32;

/// What all who encode and decode in one round must agree on, beside the [`EncodingConfig`].
pub struct Setup<'a> {
    /// The sections of an update.
    pub layout: UpdateLayout,
    /// What one update weighs.
    pub weighting: Weighting,
    /// Clients whose contributions the lanes must be able to hold, 1 to [`MAX_UPDATES`].
    pub roster: u32,
    /// Classes of the evaluations that ride along, if they do.
    pub evaluation: Option<u8>,
    /// Not a secret: what is drawn by lot for all, another one each round.
    pub public: &'a Seed,
    /// What a contribution says beside the update.
    pub beside: Beside,
    /// What [`Reduce::TopK`](super::Reduce::TopK) sent beside the release; none before there is one.
    pub favourites: Option<&'a [u8]>,
}

/// The encoding of one round: the same at all clients and at the server.
pub struct Codec {
    layout: UpdateLayout,
    weighting: Weighting,
    roster: u32,
    classes: Option<u8>,
    reduction: Reduction,
    weights: Vector,
    control: Vector,
    moments: Vector,
    counts: Counts,
    beside: Beside,
}

/// The sections that are exact.
struct Counts {
    steps: Counters,
    examples: Counters,
    clipped: Counters,
    loss: Counters,
    evaluated: Counters,
    confusion: Counters,
}

impl Counts {
    fn after(after: &Lanes, steps: usize, beside: Beside, classes: Option<u8>, roster: u32) -> Self {
        let everything = usize::from(beside == Beside::Everything);
        let cap = u64::from(MAX_EXAMPLES);
        let cells = classes.map_or(0, |classes| usize::from(classes).pow(2));
        let next =
            |after: &Lanes, section, count, largest| Counters::after(after, section, count, largest, roster);
        let steps = next(after, "steps", steps, u64::from(MAX_STEPS) * cap);
        let examples = next(steps.lanes(), "examples", everything, cap);
        let clipped = next(examples.lanes(), "clipped", usize::from(beside != Beside::Nothing), 1);
        let loss = next(clipped.lanes(), "loss", everything, 2 * ZERO_LOSS as u64);
        let evaluated = next(loss.lanes(), "evaluated", usize::from(classes.is_some()), 1);
        let confusion = next(evaluated.lanes(), "confusion", cells, u64::from(MAX_EPOCHS));
        Self { steps, examples, clipped, loss, evaluated, confusion }
    }
}

impl Codec {
    /// The encoding for a round, without noise.
    ///
    /// # Errors
    /// [`ConfigError`] if a number cannot be used.
    pub fn new(config: &EncodingConfig, setup: &Setup<'_>) -> Result<Self, ConfigError> {
        config.check()?;
        let Setup { layout, weighting, roster, evaluation: classes, public, beside, favourites } = *setup;
        if !(1..=MAX_UPDATES).contains(&roster) {
            let why = format!("{roster} clients, 1 to {MAX_UPDATES} can be added");
            return Err(ConfigError::value("cohort", why));
        }
        let drawn = |what: &str| public.derive(Label::Encoding, what.as_bytes());
        let all = layout.weights().len();
        let reduction = Reduction::new(config.reduce, all, favourites, &drawn("reduction"));
        let vector = |section, len, norm| Vector::new(config, section, len, norm, &drawn(section));
        let weights = vector("weights", reduction.reduced(all), config.clip_norm);
        let control = vector("control", layout.control().len(), config.control_norm);
        let moments = Vector::plain("moments", layout.moments().len(), f64::from(MAX_DELTA), MOMENT_BITS);
        let counts = Counts::after(&Lanes::new(MAX_LANE_BITS, 0), 0, beside, None, roster);
        let codec =
            Self { layout, weighting, roster, classes, reduction, weights, control, moments, counts, beside };
        codec.laid(0)
    }

    /// The same with room for noise on the weights, of standard deviation `sd` at each client, in lane units.
    ///
    /// Noise beyond `10 sd + 20` is cut off there. By Bernstein's inequality that happens with probability below 1e-13 for
    /// discrete Gaussian and Skellam noise of any size, at one lane of one client.
    ///
    /// # Errors
    /// [`ConfigError`] if no lane is wide enough for it.
    pub fn with_noise(self, sd: f64) -> Result<Self, ConfigError> {
        if !(0.0..=1e12).contains(&sd) {
            return Err(ConfigError::value("privacy", format!("noise of {sd} lane units cannot be added")));
        }
        self.laid((10.0 * sd + 20.0).ceil() as u64)
    }

    fn laid(mut self, room: u64) -> Result<Self, ConfigError> {
        let roster = self.roster;
        let wide = |bits: u32| {
            let why = format!("the sum of {roster} clients needs {bits} bits, a lane has {MAX_LANE_BITS}");
            ConfigError::value("encoding.levels_bits", why)
        };
        let lanes = self.weights.lay(&Lanes::new(MAX_LANE_BITS, 0), roster, room).map_err(wide)?;
        let lanes = self.control.lay(&lanes, roster, 0).map_err(wide)?;
        let lanes = self.moments.lay(&lanes, roster, 0).map_err(wide)?;
        self.counts = Counts::after(&lanes, self.layout.steps().len(), self.beside, self.classes, roster);
        Ok(self)
    }

    /// Length of an encoding in words.
    pub fn words(&self) -> usize {
        self.counts.confusion.lanes().words().end
    }

    /// Length of an encoding in bytes.
    pub fn bytes(&self) -> u64 {
        8 * self.words() as u64
    }

    /// How far one client can move the sum of the weights' lanes. The other sections have no noise.
    pub fn sensitivity(&self) -> Sensitivity {
        self.weights.sensitivity()
    }

    /// Encodes a contribution; what is rounded by chance takes it from `rounding`, which serves once. It need be no secret:
    /// rounding hides nothing, masks and noise do.
    ///
    /// # Errors
    /// A [`Fault`] of the client's own training.
    pub fn encode(&self, contribution: &Contribution<'_>, rounding: &Seed) -> Result<Encoded, Fault> {
        self.encoded(contribution, rounding, None)
    }

    /// The same with one draw of `noise`, in lane units, on each lane of the weights. The codec must come from
    /// [`Codec::with_noise`].
    ///
    /// # Errors
    /// A [`Fault`] of the client's own training.
    pub fn encode_noisy(
        &self,
        contribution: &Contribution<'_>,
        rounding: &Seed,
        noise: &mut dyn FnMut() -> i64,
    ) -> Result<Encoded, Fault> {
        self.encoded(contribution, rounding, Some(noise))
    }

    fn encoded(
        &self,
        contribution: &Contribution<'_>,
        rounding: &Seed,
        noise: Option<Noise<'_>>,
    ) -> Result<Encoded, Fault> {
        let Contribution { update, examples, loss, evaluation, residual } = *contribution;
        if !(1..=MAX_EXAMPLES).contains(&examples) {
            return Err(Fault::BadExamples { got: examples, limit: MAX_EXAMPLES });
        }
        let layout = &self.layout;
        let numbers = numbers(update, layout.numbers())?;
        let counted = match self.weighting {
            Weighting::Examples => examples,
            Weighting::Uniform => 1,
        };
        let weight = f64::from(counted) / f64::from(self.heaviest());
        let chance = |section: &[u8]| rounding.derive(Label::Rounding, section);
        let mut packed = Packed::zero(self.words());

        let weights = &numbers[layout.weights()];
        let (clipped, residual) = if residual.is_none() && matches!(self.reduction, Reduction::None) {
            (self.weights.encode(weights, weight, &chance(b"weights"), noise, &mut packed)?, None)
        } else {
            let whole = self.with_residual(weights, residual)?;
            let reduced = self.reduction.forward(&whole);
            let clipped = self.weights.encode(&reduced, weight, &chance(b"weights"), noise, &mut packed)?;
            (clipped, self.reduction.rest(&whole, &reduced).map(|rest| bytes_of(&rest).into()))
        };
        let control =
            self.control.encode(&numbers[layout.control()], weight, &chance(b"control"), None, &mut packed);
        control.map_err(|fault| within_update(fault, layout.control().start))?;
        let moments = &numbers[layout.moments()];
        let limit = MAX_DELTA;
        if let Some(index) = moments.iter().position(|moment| moment.single().abs() > limit as f32) {
            let fault = norm(moments).err().unwrap_or(Fault::OutOfRange { index, limit });
            return Err(within_update(fault, layout.moments().start));
        }
        let moments = self.moments.encode(moments, weight, &chance(b"moments"), None, &mut packed);
        moments.map_err(|fault| within_update(fault, layout.moments().start))?;

        let steps = &numbers[layout.steps()];
        norm(steps).map_err(|fault| within_update(fault, layout.steps().start))?;
        let steps = steps.first().map_or(0.0, |steps| steps.single() / STEP);
        if !(0.0..=MAX_STEPS as f32).contains(&steps) {
            return Err(Fault::OutOfRange { index: layout.steps().start, limit: MAX_STEPS });
        }
        let counts = &self.counts;
        counts.steps.write(&mut packed, [steps.round() as u64 * u64::from(counted)]);
        counts.examples.write(&mut packed, [u64::from(examples)]);
        counts.clipped.write(&mut packed, [u64::from(clipped)]);
        let loss = if loss.is_finite() { f64::from(loss).clamp(-MAX_LOSS, MAX_LOSS) } else { 0.0 };
        counts.loss.write(&mut packed, [(loss * LOSS * f64::from(counted) + ZERO_LOSS).round() as u64]);
        self.write_evaluation(evaluation, &mut packed)?;
        Ok(Encoded { packed, residual })
    }

    fn with_residual(&self, weights: &[[u8; 4]], residual: Option<&[u8]>) -> Result<Vec<f32>, Fault> {
        let mut whole: Vec<f32> = weights.iter().map(|weight| weight.single()).collect();
        if let Some(residual) = residual {
            let residual = numbers(residual, whole.len())?;
            whole.iter_mut().zip(residual).for_each(|(weight, rest)| *weight += rest.single());
        }
        norm(&whole)?;
        Ok(whole)
    }

    fn write_evaluation(&self, evaluation: Option<&[u32]>, packed: &mut Packed) -> Result<(), Fault> {
        let Some(confusion) = evaluation else { return Ok(()) };
        let epochs: u64 = confusion.iter().copied().map(u64::from).sum();
        if confusion.len() != self.counts.confusion.lanes().count()
            || self.classes.is_none()
            || epochs > u64::from(MAX_EPOCHS)
        {
            return Err(Fault::BadEvaluation);
        }
        self.counts.evaluated.write(packed, [1]);
        self.counts.confusion.write(packed, confusion.iter().copied().map(u64::from));
        Ok(())
    }

    /// Reads the sum of the contributions of `survivors`.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be one.
    pub fn decode(&self, sum: &Packed, survivors: u32) -> Result<Decoded, DecodeError> {
        self.read(sum, survivors, None)
    }

    /// The same for people who may not know the sum: with the noise of `veil` on the weights' lanes, which are whole numbers,
    /// and over its fixed denominator.
    ///
    /// # Errors
    /// [`DecodeError`] if it cannot be one.
    pub fn decode_veiled(&self, sum: &Packed, survivors: u32, veil: &Veil) -> Result<Decoded, DecodeError> {
        self.read(sum, survivors, Some(veil))
    }

    fn read(&self, sum: &Packed, survivors: u32, veil: Option<&Veil>) -> Result<Decoded, DecodeError> {
        let (expected, got) = (self.words(), sum.len());
        if expected != got {
            return Err(DecodeError::Length { expected, got });
        }
        if survivors > self.roster {
            return Err(DecodeError::Clients { got: survivors, limit: self.roster });
        }
        let counts = &self.counts;
        let everything = self.beside == Beside::Everything;
        let examples = if everything { counts.examples.first(sum, survivors)? } else { u64::from(survivors) };
        if examples < u64::from(survivors) {
            return Err(DecodeError::Examples { got: examples, clients: survivors });
        }
        let weight = match self.weighting {
            Weighting::Examples => examples,
            Weighting::Uniform => u64::from(survivors),
        };
        let among = veil.map_or(weight, |veil| u64::from(veil.denominator()));
        let each = if among == 0 { 0.0 } else { 1.0 / among as f64 };
        let scale = each * f64::from(self.heaviest());
        let lanes = self.sensitivity();
        let noise = veil.map(|veil| veil.noise(lanes.lanes, lanes.l2, &sum.to_bytes()));
        let noise = noise.unwrap_or_default();
        let mut mean = self.reduction.back(self.weights.decode(sum, survivors, scale, &noise)?);
        mean.reserve_exact(self.layout.numbers() - mean.len());
        mean.extend(self.control.decode(sum, survivors, scale, &[])?);
        mean.extend(self.moments.decode(sum, survivors, scale, &[])?);
        let steps = counts.steps.read(sum, survivors)?;
        mean.extend(steps.iter().map(|steps| (*steps as f64 * each * f64::from(STEP)) as f32));
        let zero = if everything { f64::from(survivors) * ZERO_LOSS } else { 0.0 };
        let loss = counts.loss.first(sum, survivors)? as f64 - zero;
        let clients = counts.evaluated.first(sum, survivors)? as u32;
        let confusion = counts.confusion.read(sum, clients)?;
        Ok(Decoded {
            mean,
            updates: survivors,
            weight,
            examples,
            loss: (loss * each / LOSS) as f32,
            clipped: counts.clipped.first(sum, survivors)? as u32,
            evaluation: self.classes.map(|_| Evaluated { clients, confusion }),
        })
    }

    /// The heaviest weight of a contribution.
    fn heaviest(&self) -> u32 {
        match self.weighting {
            Weighting::Examples => MAX_EXAMPLES,
            Weighting::Uniform => 1,
        }
    }
}

/// So many little-endian f32.
fn numbers(bytes: &[u8], count: usize) -> Result<&[[u8; 4]], Fault> {
    let (expected, got) = (4 * count as u64, bytes.len() as u64);
    if expected == got { Ok(bytes.as_chunks().0) } else { Err(Fault::WrongLength { expected, got }) }
}

/// What is wrong with a section that starts there, counted from the beginning of the update.
fn within_update(fault: Fault, start: usize) -> Fault {
    match fault {
        Fault::NotFinite { index } => Fault::NotFinite { index: index + start },
        Fault::OutOfRange { index, limit } => Fault::OutOfRange { index: index + start, limit },
        other => other,
    }
}
