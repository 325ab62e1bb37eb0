//! What stands between an update and who looks at it.
//!
//! Masks cancel in a sum, bit by bit, and one masked upload is uniform, whatever is in it: the protocol's tests show both. So
//! what is left to attack in a masked round is the sum of its encodings, and that is made here by the protocol's own
//! encoder, clipping and noise.

use somnus_protocol::checkpoint::bytes_of;
use somnus_protocol::encoding::{Codec, Contribution, DecodeError, EncodingConfig};
use somnus_protocol::fault::{ConfigError, Fault};
use somnus_protocol::ids::Round;
use somnus_protocol::packed::Packed;
use somnus_protocol::privacy::clip::Clip;
use somnus_protocol::privacy::mechanism::{Distributed, Mechanism, PrivacyConfig, Sampling};
use somnus_protocol::privacy::terms::Terms;
use somnus_protocol::privacy::veil::{Source, Veil};
use somnus_protocol::secure::{SecureConfig, SecurePlan};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::sum::Weighting;
use somnus_protocol::update::{Sections, UpdateLayout};

/// Lane units in a clip norm: so many that rounding plays no part beside the noise.
const UNITS: f64 = 4096.0;

/// A defence of sums.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Defence {
    /// Masks alone: the exact sum.
    Masks,
    /// Clipping, and the server's Gaussian noise for this epsilon over all rounds: what whoever gets releases sees.
    Central(f64),
    /// Clipping, and Skellam noise of the clients inside their masks: what the server sees.
    Distributed(f64),
}

/// The federation whose sums they are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Setting {
    /// Weights of an update.
    pub weights: usize,
    /// Rounds that epsilon is for.
    pub rounds: u64,
    /// People of whom one is to be hidden.
    pub population: u64,
    /// Longer updates are shortened to this norm.
    pub norm: f64,
}

/// Why there is no sum.
#[derive(Debug, thiserror::Error)]
pub enum SumError {
    /// The defence does not go with the federation.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An update that cannot be encoded.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A sum that cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Makes sums under a defence.
pub struct Sums {
    layout: UpdateLayout,
    plan: SecurePlan,
    cohort: u32,
    /// The server's noise, in clip norms.
    multiplier: Option<f64>,
}

impl Sums {
    /// For cohorts of `cohort` at most, of which `least` are always there.
    ///
    /// # Errors
    /// [`SumError::Config`] naming what cannot be met.
    pub fn new(defence: Defence, setting: &Setting, cohort: usize, least: usize) -> Result<Self, SumError> {
        let size = |people: usize| u32::try_from(people).unwrap_or(u32::MAX);
        let layout = UpdateLayout::new(setting.weights, Sections::default());
        let encoding = EncodingConfig { clip_norm: setting.norm, ..EncodingConfig::default() };
        let (plan, _) = SecureConfig { encoding, ..SecureConfig::default() }.check(Weighting::Uniform)?;
        let distributed = Distributed { survivors: size(least), colluders: 0, units: UNITS };
        let (epsilon, mechanism) = match defence {
            Defence::Masks => return Ok(Self { layout, plan, cohort: size(cohort), multiplier: None }),
            Defence::Central(epsilon) => (epsilon, Mechanism::Gaussian),
            Defence::Distributed(epsilon) => (epsilon, Mechanism::Skellam(distributed)),
        };
        let privacy = private(epsilon, mechanism, setting.population, setting.norm);
        let people = (setting.rounds, size(cohort), size(cohort));
        let terms = Terms::new(&privacy, Some(&plan), people, setting.weights)?;
        let multiplier = (mechanism == Mechanism::Gaussian).then_some(terms.plan.multiplier);
        Ok(Self { layout, plan: terms.secure.unwrap_or(plan), cohort: size(cohort), multiplier })
    }

    /// The sum of updates as it is seen; `seed` draws rotation, rounding and noise.
    ///
    /// # Errors
    /// [`SumError`] if there are too many updates, or one that is no update.
    pub fn of(&self, updates: &[&[f32]], seed: &Seed) -> Result<Vec<f32>, SumError> {
        let codec: Codec =
            self.plan.codec(self.layout, self.cohort, &self.plan.public(seed.number()), None)?;
        let mut sum = Packed::zero(codec.words());
        for (number, update) in updates.iter().enumerate() {
            let own = seed.derive(Label::Client, &(number as u64).to_le_bytes());
            let update = bytes_of(update);
            let contribution =
                Contribution { update: &update, examples: 1, loss: 0.0, evaluation: None, residual: None };
            let rounding = own.derive(Label::Rounding, b"");
            sum.add_assign(&self.plan.encode(&codec, &contribution, &rounding, &own)?.packed);
        }
        let there = u32::try_from(updates.len()).unwrap_or(u32::MAX);
        let (mean, among) = match self.multiplier {
            None => (codec.decode(&sum, there)?.mean, there),
            Some(multiplier) => {
                let source =
                    Source::Round { secret: seed.derive(Label::Privacy, b"server"), round: Round(1) };
                let veil = Veil::new(self.cohort, multiplier, 0.0, source);
                (codec.decode_veiled(&sum, there, &veil)?.mean, self.cohort)
            }
        };
        Ok(mean.into_iter().map(|value| value * among as f32).collect())
    }

    /// The same of one update alone, whose company an attacker knows and has subtracted: the others add nothing but their share
    /// of noise, if that is theirs to add.
    ///
    /// # Errors
    /// [`SumError`].
    pub fn alone(&self, update: &[f32], seed: &Seed) -> Result<Vec<f32>, SumError> {
        let nothing = vec![0.0; update.len()];
        let others = if self.plan.noise.is_some() { self.cohort as usize - 1 } else { 0 };
        let updates: Vec<&[f32]> =
            [update].into_iter().chain(std::iter::repeat_n(&nothing[..], others)).collect();
        self.of(&updates, seed)
    }
}

/// What an operator would write for this epsilon.
pub(super) fn private(epsilon: f64, mechanism: Mechanism, population: u64, norm: f64) -> PrivacyConfig {
    let clip = Clip::Fixed { norm };
    PrivacyConfig { epsilon, delta: None, population, sampling: Sampling::Fixed, mechanism, clip }
}

/// The Euclidean norm.
pub(super) fn norm(update: &[f32]) -> f64 {
    update.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// The median norm of updates: half of them are clipped to it. A deployment cannot look; this study is generous to whoever learns.
pub(super) fn median_norm<'a>(updates: impl Iterator<Item = &'a [f32]>) -> f64 {
    let mut norms: Vec<f64> = updates.map(norm).collect();
    norms.sort_by(f64::total_cmp);
    // An update of nothing has to be encoded too.
    norms.get(norms.len() / 2).copied().unwrap_or(1.0).max(1e-6)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn updates(number: usize, weights: usize) -> Vec<Vec<f32>> {
        let mut rng = Seed::from_number(1).rng();
        (0..number).map(|_| (0..weights).map(|_| rng.random_range(-0.1..0.1)).collect()).collect()
    }

    #[test]
    fn privacy_defences_leave_what_they_say() {
        let (cohort, weights) = (6, 500);
        let updates = updates(cohort, weights);
        let refs: Vec<&[f32]> = updates.iter().map(Vec::as_slice).collect();
        let exact: Vec<f32> = (0..weights).map(|at| updates.iter().map(|update| update[at]).sum()).collect();
        let setting = Setting { weights, rounds: 20, population: 50, norm: 2.0 };
        let error = |defence| {
            let sums = Sums::new(defence, &setting, cohort, cohort).unwrap();
            let seen = sums.of(&refs, &Seed::from_number(7)).unwrap();
            let off: Vec<f32> = seen.iter().zip(&exact).map(|(seen, exact)| seen - exact).collect();
            norm(&off) / (weights as f64).sqrt()
        };
        assert!(error(Defence::Masks) < 1e-3);
        // The noise that the plan of such a federation asks for, whoever adds it.
        let privacy = private(8.0, Mechanism::Gaussian, setting.population, setting.norm);
        let plan = Terms::new(&privacy, None, (setting.rounds, 6, 6), weights).unwrap().plan;
        let expected = plan.multiplier * setting.norm;
        for (defence, most) in [(Defence::Central(8.0), 1.15), (Defence::Distributed(8.0), 1.4)] {
            let ratio = error(defence) / expected;
            assert!(ratio > 0.85 && ratio < most, "{defence:?}: {ratio}");
        }
        assert!(error(Defence::Central(2.0)) > 2.0 * error(Defence::Central(8.0)));
    }
}
