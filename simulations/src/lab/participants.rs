//! Contrast of people (arXiv 2312.05409): two windows of one wearer should be alike, or two views of one window; a slowly
//! following copy of the encoder gives the targets, and KoLeo keeps directions apart.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_model::DeviceKind;
use somnus_model::ModelError;
use somnus_model::encoder::{Mlp, Wave, Weights, windows};
use somnus_model::objective::{info_nce, koleo};
use somnus_model::tensor::Tensor;

use super::learn::Pace;
use super::wrist::gently;
use crate::pretrain::learner::Learner;
use crate::pretrain::windows::Bank;
use crate::progress::Progress;

/// What two views that should be alike have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positives {
    /// The wearer: two windows of any time.
    Participant,
    /// The window: changed twice.
    Segment,
}

/// How people are contrasted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Contrast {
    pub(super) positives: Positives,
    /// The weight of KoLeo; 0 for none.
    pub(super) koleo: f32,
    pub(super) temperature: f32,
    pub(super) batch: usize,
    /// What stays of the following copy in a step.
    pub(super) momentum: f32,
}

/// The encoder of one track of a bank after all steps, without autodiff.
pub(super) fn contrast(
    bank: &Bank,
    track: usize,
    wave: &Wave,
    how: Contrast,
    pace: Pace,
    seed: u64,
    bar: &Progress,
) -> Result<Weights, ModelError> {
    let head = Mlp { name: "head", sizes: vec![wave.embedding, 128, 64] };
    let specs = [wave.specs(), head.specs()].concat();
    let mut learner = Learner::fresh(specs, DeviceKind::Flex, seed, (pace.steps, pace.rate))?;
    let mut follower = learner.weights().frozen();
    while !learner.is_done() {
        learner.step(|online, rng| regularised(bank, track, (wave, &head), how, [online, &follower], rng))?;
        follower.follow(learner.weights(), how.momentum);
        bar.steps(1);
    }
    Ok(learner.weights().frozen())
}

/// `1/2 [l(h1, h2') + l(h2, h1')] + koleo/2 [K(h1) + K(h2)]`, with targets h' of the following copy.
fn regularised(
    bank: &Bank,
    track: usize,
    (wave, head): (&Wave, &Mlp),
    how: Contrast,
    [online, follower]: [&Weights; 2],
    rng: &mut ChaCha8Rng,
) -> Tensor<1> {
    let channels = wave.stream.channels();
    // Of a wearer who came twice, one window would be the other's negative.
    let batch = how.batch.min(bank.people());
    let people = bank.choose(batch, rng);
    let mut draw = |person: &usize| bank.draw(*person, rng).swap_remove(track);
    let first: Vec<Vec<f32>> = people.iter().map(&mut draw).collect();
    let second = match how.positives {
        Positives::Participant => people.iter().map(&mut draw).collect(),
        Positives::Segment => first.clone(),
    };
    let changed: Vec<Vec<f32>> =
        first.iter().chain(&second).map(|window| gently(window, channels, rng)).collect();
    let look = |weights: &Weights| {
        let z = wave.embed(weights, windows(&changed, channels, weights.device()));
        let z = head.apply(weights, z);
        let width = z.dims()[1];
        [0, batch].map(|from| z.clone().slice([from..from + batch, 0..width]))
    };
    let ([a, b], [a_target, b_target]) = (look(online), look(follower));
    let pull =
        info_nce(a.clone(), b_target, how.temperature) + info_nce(b.clone(), a_target, how.temperature);
    let loss = pull * 0.5;
    if how.koleo > 0.0 { loss + (koleo(a) + koleo(b)) * (how.koleo / 2.0) } else { loss }
}
