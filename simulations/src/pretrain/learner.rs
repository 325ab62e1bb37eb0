//! Weights under autodiff and the Adam that moves them, step by step and resumable.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Spec, Weights};
use somnus_model::objective::{Adam, AdamRule};
use somnus_model::tensor::Tensor;
use somnus_model::{DeviceKind, ModelError, Stager, one_cycle};

use super::stage::Tensors;

/// The largest gradient of a step.
const CLIP: f32 = 5.0;

/// Steps on named weights; the rate makes one cycle.
pub(crate) struct Learner {
    specs: Vec<Spec>,
    weights: Weights,
    adam: Adam,
    rule: AdamRule,
    device: DeviceKind,
    seed: u64,
    steps: u32,
    peak: f32,
    done: u32,
}

impl Learner {
    /// Weights from `stager` where it has them, others by chance.
    pub(crate) fn new(
        specs: Vec<Spec>,
        stager: &Stager,
        device: DeviceKind,
        seed: u64,
        (steps, peak): (u32, f32),
    ) -> Result<Self, ModelError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = Weights::new(&specs, &mut rng, device).to_tensors();
        let known = stager.frozen().iter().filter(|(name, _)| specs.iter().any(|spec| spec.name == **name));
        tensors.extend(known.map(|(name, tensor)| (name.clone(), tensor.clone())));
        Self::from(specs, &tensors, device, seed, (steps, peak))
    }

    /// Weights by chance.
    pub(crate) fn fresh(
        specs: Vec<Spec>,
        device: DeviceKind,
        seed: u64,
        pace: (u32, f32),
    ) -> Result<Self, ModelError> {
        let tensors = Weights::new(&specs, &mut ChaCha8Rng::seed_from_u64(seed), device).to_tensors();
        Self::from(specs, &tensors, device, seed, pace)
    }

    fn from(
        specs: Vec<Spec>,
        tensors: &Tensors,
        device: DeviceKind,
        seed: u64,
        (steps, peak): (u32, f32),
    ) -> Result<Self, ModelError> {
        let weights = Weights::from_tensors(&specs, tensors, device)?;
        let rule = AdamRule { weight_decay: 0.01, clip: CLIP };
        Ok(Self { specs, weights, adam: Adam::new(rule), rule, device, seed, steps, peak, done: 0 })
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done == self.steps
    }

    /// One step down a loss whose chance depends on the seed and the step's number alone.
    pub(crate) fn step(
        &mut self,
        loss: impl FnOnce(&Weights, &mut ChaCha8Rng) -> Tensor<1>,
    ) -> Result<f32, ModelError> {
        let diverged = ModelError::Diverged { step: self.done as usize };
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Stream 0 drew the first weights.
        rng.set_stream(u64::from(self.done) + 1);
        let loss = loss(&self.weights, &mut rng);
        let value: f32 = loss.clone().into_scalar();
        let rate = one_cycle(self.done, self.steps, self.peak);
        let norm = self.adam.step(&mut self.weights, &mut loss.backward(), rate);
        if !value.is_finite() || !norm.is_finite() {
            return Err(diverged);
        }
        self.done += 1;
        Ok(value)
    }

    /// Weights and moments, all under `prefix`.
    pub(crate) fn to_tensors(&self, prefix: &str) -> Tensors {
        let all = self.weights.to_tensors().into_iter().chain(self.adam.to_tensors());
        all.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
    }

    /// Goes on after `done` steps.
    pub(crate) fn resume(&mut self, done: u32, prefix: &str, tensors: &Tensors) -> Result<(), ModelError> {
        let own = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
        let own: Tensors = own.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        let weights = Weights::from_tensors(&self.specs, &own, self.device)?;
        self.adam = Adam::from_tensors(self.rule, &weights, &own)?;
        (self.weights, self.done) = (weights, done);
        Ok(())
    }

    /// Puts the encoders beside the network; what only served to train them is forgotten.
    pub(crate) fn give_to(&self, mut stager: Stager) -> Result<Stager, ModelError> {
        let mut tensors = self.weights.to_tensors();
        tensors.retain(|name, _| name.starts_with("encoder."));
        stager.add_frozen(tensors)?;
        Ok(stager)
    }
}

#[cfg(test)]
mod tests {
    use somnus_model::encoder::Wave;
    use somnus_model::objective::Game;
    use somnus_model::{NetConfig, Stager};
    use somnus_signals::StreamKind;

    use super::super::beats::{Ecg, Neighbours};
    use super::super::focal::{Matching, Paired};
    use super::super::relcon::{Ranking, Relcon};
    use super::super::stage::Work;
    use super::super::windows::testing::swingers;
    use super::*;

    fn stager() -> Stager {
        let config = NetConfig { width: 16, dilations: vec![1], ..NetConfig::default() };
        Stager::new(&config, 1, DeviceKind::Flex).unwrap()
    }

    /// 1.875 s.
    fn tiny(stream: StreamKind) -> Wave {
        let wave = Wave::hub(stream).unwrap();
        Wave { window: wave.rate * 15 / 8, widths: vec![8, 8], embedding: 16, ..wave }
    }

    fn relcon() -> Box<dyn Work> {
        let stage = Relcon { motif_steps: 6, steps: 24, batch: 4, candidates: 2, ..Relcon::default() };
        let bank = swingers(6, &[(3, 32)], 1.875);
        let wave = tiny(StreamKind::Accel);
        Box::new(Ranking::new(&stage, bank, wave, &stager(), DeviceKind::Flex, 1).unwrap())
    }

    fn focal() -> Box<dyn Work> {
        let game = Some(Game::Confusion { strength: 0.5 });
        let stage = Paired { steps: 30, batch: 8, learning_rate: 3e-3, game, ..Paired::default() };
        let bank = swingers(6, &[(3, 32), (1, 64)], 1.875);
        let waves = [StreamKind::Accel, StreamKind::Ppg].map(tiny);
        Box::new(Matching::drill(&stage, bank, waves, &stager(), DeviceKind::Flex, 1).unwrap())
    }

    fn ecg() -> Box<dyn Work> {
        let stage = Ecg { steps: 30, batch: 8, learning_rate: 3e-3, ..Ecg::default() };
        let bank = swingers(6, &[(1, 128)], 2.0 * 1.875);
        let wave = tiny(StreamKind::Ecg);
        Box::new(Neighbours::drill(&stage, bank, wave, &stager(), DeviceKind::Flex, 1).unwrap())
    }

    fn run(work: &mut dyn Work, steps: u32) -> Vec<f32> {
        (0..steps).map(|_| work.step().unwrap().unwrap()).collect()
    }

    #[test]
    fn each_loss_falls_and_only_encoders_are_kept() {
        let names = [&["accel"][..], &["accel", "ppg"], &["ecg"]];
        for ((make, from), kinds) in
            [(relcon as fn() -> Box<dyn Work>, 6), (focal, 0), (ecg, 0)].into_iter().zip(names)
        {
            let mut work = make();
            let losses = run(&mut *work, 30);
            let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
            let (first, last) = (mean(&losses[from..from + 5]), mean(&losses[25..]));
            assert!(last < first, "{}: {losses:?}", work.part());
            let stager = work.finish().unwrap();
            let begins =
                |name: &String| kinds.iter().any(|kind| name.starts_with(&format!("encoder.{kind}.")));
            assert!(stager.frozen().keys().all(begins), "{:?}", stager.frozen().keys());
            for kind in kinds {
                assert!(stager.frozen().contains_key(&format!("encoder.{kind}.stem.weight")));
            }
        }
    }

    #[test]
    fn put_away_and_taken_up_again_encoders_end_with_the_same_bits() {
        for make in [relcon as fn() -> Box<dyn Work>, focal, ecg] {
            let mut straight = make();
            run(&mut *straight, 9);
            // With the distance half learned, and with the encoder.
            for pause in [4, 7] {
                let (mut first, mut second) = (make(), make());
                run(&mut *first, pause);
                second.resume(pause, &first.to_tensors()).unwrap();
                run(&mut *second, 9 - pause);
                assert_eq!(second.to_tensors(), straight.to_tensors());
                assert_eq!(second.part(), straight.part());
            }
        }
    }

    #[test]
    fn an_encoder_begins_where_the_stage_before_left_it() {
        let mut first = relcon();
        run(&mut *first, 30);
        let stager = first.finish().unwrap();
        let wave = tiny(StreamKind::Accel);
        let again = Learner::new(wave.specs(), &stager, DeviceKind::Flex, 99, (1, 1e-3)).unwrap();
        assert_eq!(again.weights().to_tensors(), *stager.frozen());
    }
}
