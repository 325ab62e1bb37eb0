//! Encoders learn: a loss, steps down it, and the weights that are left. What each loss is, is a function here.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use somnus_model::encoder::{Mlp, Patches, Spec, Wave, Weights, windows};
use somnus_model::objective::{Change, nt_xent};
use somnus_model::tensor::activation::{log_sigmoid, log_softmax};
use somnus_model::tensor::{Tensor, TensorData};
use somnus_model::{DeviceKind, ModelError};

use crate::pretrain::learner::Learner;
use crate::pretrain::windows::Bank;
use crate::progress::Progress;

/// How long, and how fast at most; the rate makes one cycle.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Pace {
    pub(super) steps: u32,
    pub(super) rate: f32,
}

/// Weights after all steps, without autodiff.
pub(super) fn learn(
    specs: Vec<Spec>,
    pace: Pace,
    seed: u64,
    bar: &Progress,
    mut loss: impl FnMut(&Weights, &mut ChaCha8Rng) -> Tensor<1>,
) -> Result<Weights, ModelError> {
    let mut learner = Learner::fresh(specs, DeviceKind::Flex, seed, (pace.steps, pace.rate))?;
    while !learner.is_done() {
        learner.step(&mut loss)?;
        bar.steps(1);
    }
    Ok(learner.weights().frozen())
}

/// Weights by chance, without autodiff: what a method that learns is compared with.
pub(super) fn untrained(specs: Vec<Spec>, seed: u64) -> Result<Weights, ModelError> {
    let nothing = Pace { steps: 0, rate: 1.0 };
    Ok(Learner::fresh(specs, DeviceKind::Flex, seed, (nothing.steps, nothing.rate))?.weights().frozen())
}

/// Windows of one track, each of another person while there are enough.
pub(super) fn drawn(bank: &Bank, track: usize, batch: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
    let people = bank.choose(batch, rng);
    people.into_iter().map(|person| bank.draw(person, rng).swap_remove(track)).collect()
}

/// A random view of a window of so many channels.
pub(super) type View = fn(&[f32], usize, &mut ChaCha8Rng) -> Vec<f32>;

/// SimCLR (Chen et al. 2020): two views of a window should be alike behind a projection.
pub(super) fn simclr(
    bank: &Bank,
    (wave, head, view): (&Wave, &Mlp, View),
    (batch, temperature): (usize, f32),
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let channels = wave.stream.channels();
    let all = drawn(bank, 0, batch, rng);
    let views: Vec<Vec<f32>> = (0..2).flat_map(|_| &all).map(|w| view(w, channels, rng)).collect();
    let z = wave.embed(weights, windows(&views, channels, weights.device()));
    let z = head.apply(weights, z);
    let width = z.dims()[1];
    let part = |from: usize| z.clone().slice([from..from + batch, 0..width]);
    nt_xent(part(0), part(batch), temperature)
}

/// What is done to a window of so many channels before it is changed.
pub(super) type Preparation = fn(Vec<f32>, usize) -> Vec<f32>;

/// Which of the changes were made to a window (Saeed et al. 2019, arXiv 1907.11879; of 700,000 person-days in Yuan et al.
/// 2024): each by the toss of a coin, in random order; the mean of as many binary cross-entropies. Windows are `prepared`
/// before they are changed.
pub(super) fn changes_made(
    bank: &Bank,
    (wave, head, prepared): (&Wave, &Mlp, Preparation),
    batch: usize,
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let channels = wave.stream.channels();
    let mut signs = Vec::with_capacity(batch * Change::ALL.len());
    let drawn = drawn(bank, 0, batch, rng).into_iter();
    let mut changed: Vec<Vec<f32>> = drawn.map(|window| prepared(window, channels)).collect();
    for window in &mut changed {
        let made = Change::ALL.map(|_| rng.random::<bool>());
        let mut chosen: Vec<Change> =
            Change::ALL.into_iter().zip(made).filter_map(|(change, made)| made.then_some(change)).collect();
        chosen.shuffle(rng);
        chosen.into_iter().for_each(|change| change.apply(window, channels, rng));
        signs.extend(made.map(|made| if made { 1.0f32 } else { -1.0 }));
    }
    let z = wave.embed(weights, windows(&changed, channels, weights.device()));
    let logits = head.apply(weights, z);
    let signs = TensorData::new(signs, [batch, Change::ALL.len()]);
    let signs: Tensor<2> = Tensor::from_data(signs, &weights.device().clone().inner());
    -log_sigmoid(logits * signs).mean()
}

/// Masked autoencoding: [`Patches::loss`] with `share` hidden.
pub(super) fn hidden(
    bank: &Bank,
    track: usize,
    patches: &Patches,
    (batch, share): (usize, f32),
    weights: &Weights,
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let all = drawn(bank, track, batch, rng);
    patches.loss(weights, windows(&all, patches.channels, weights.device()), share, rng)
}

/// The mean cross-entropy of `logits` `[B, classes]` with each row's class.
pub(super) fn cross_entropy(logits: Tensor<2>, labels: &[usize]) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let mut own = vec![0.0f32; batch * classes];
    labels.iter().enumerate().for_each(|(row, label)| own[row * classes + label] = -1.0 / batch as f32);
    let device = logits.device();
    let own: Tensor<2> = Tensor::from_data(TensorData::new(own, [batch, classes]), &device.inner());
    (log_softmax(logits, 1) * own).sum()
}
