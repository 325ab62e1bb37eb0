//! Masked modelling of nights: spans of epochs are hidden, and what was measured there is guessed from what is around
//! them. Nobody has to have scored anything.
//!
//! Each stream is hidden in places of its own, before the context windows are computed, so that a hidden number reaches
//! the network by no way but one: heart rate was put relative to the level of its whole night. The guess is a linear map
//! of the mixer's embedding, which is thrown away afterwards.

use std::ops::Range;

use burn::tensor::Device;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use somnus_protocol::plan::Augmentation;
use somnus_signals::Night;

use crate::augment;
use crate::block::Dropout;
use crate::error::ModelError;
use crate::input::Prepared;
use crate::matrix::{Host, matrix};
use crate::net::Net;
use crate::objective::Spans;
use crate::vector::{add, add_columns};

/// How nights are hidden and learned from. The optimiser is AdamW, the rate one cycle, gradients are clipped at 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskedPlan {
    /// Steps; each sees one night. Default 1000.
    pub steps: u32,
    /// Peak of the rate. Default .004.
    pub learning_rate: f32,
    /// Decoupled weight decay. Default .01.
    pub weight_decay: f32,
    /// Dropout inside the network. Default .1.
    pub dropout: f32,
    /// The part of each stream's epochs that is hidden. Default .4.
    pub share: f32,
    /// Epochs of a hidden span; spans may overlap. Default 15: its middle cannot be read off its ends.
    pub span: usize,
    /// The shortest random part of a night that a step sees, as a fraction; 1 for whole nights. Default .5.
    pub crop: f32,
}

impl Default for MaskedPlan {
    fn default() -> Self {
        Self {
            steps: 1000,
            learning_rate: 4e-3,
            weight_decay: 0.01,
            dropout: 0.1,
            share: 0.4,
            span: 15,
            crop: 0.5,
        }
    }
}

impl MaskedPlan {
    /// Refuses numbers that nothing could be learned by.
    ///
    /// # Errors
    /// The key and what is wrong with its value.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let rules: [(&'static str, f32, f32, f32); 7] = [
            ("steps", self.steps as f32, 1.0, 1e6),
            ("learning_rate", self.learning_rate, f32::MIN_POSITIVE, 10.0),
            ("weight_decay", self.weight_decay, 0.0, 1.0),
            ("dropout", self.dropout, 0.0, 0.95),
            ("share", self.share, 0.01, 0.95),
            ("span", self.span as f32, 1.0, 500.0),
            ("crop", self.crop, 0.1, 1.0),
        ];
        match rules.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value)) {
            Some((key, value, low, high)) => Err((key, format!("{value} is not within {low} to {high}"))),
            None => Ok(()),
        }
    }
}

/// What one step sees of a night, and what it does not.
pub(crate) struct Masked {
    /// Without what is hidden, `[epochs, inputs]`.
    values: Vec<f32>,
    /// What the network's streams measured, `[epochs, targets]`.
    truth: Vec<f32>,
    /// Where the loss counts: hidden, and measured. `[epochs, targets]`.
    counts: Vec<bool>,
}

impl Masked {
    /// A random part of a night, with random spans hidden.
    ///
    /// # Errors
    /// [`ModelError::StreamWidth`].
    pub(crate) fn draw(
        net: &Net,
        night: &Night,
        plan: &MaskedPlan,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, ModelError> {
        let crop = Augmentation { crop: plan.crop, ..Augmentation::default() };
        let shown = augment::epochs(night.epochs, &crop, rng);
        let range = shown.first().map_or(0..0, |first| *first..first + shown.len());
        let targets = Decoder::targets(net);
        let spans = Spans { share: plan.share, span: plan.span };
        let mut hidden_night = night.clone();
        let mut truth = vec![0.0; range.len() * targets];
        let mut counts = vec![false; range.len() * targets];
        let mut column = 0;
        for (stream, width) in &net.config.streams {
            // Drawn for every stream, so that one that is missing changes nothing about the others.
            let hidden = spans.draw(range.len(), rng);
            if let Some(features) = hidden_night.features.get_mut(stream).filter(|f| f.width == *width) {
                for (row, epoch) in range.clone().enumerate().filter(|(row, _)| hidden[*row]) {
                    let there = std::mem::take(&mut features.present[epoch]);
                    let values = &mut features.values[epoch * width..][..*width];
                    let place = row * targets + column..row * targets + column + width;
                    if there {
                        truth[place.clone()].copy_from_slice(values);
                        counts[place].fill(true);
                    }
                    values.fill(0.0);
                }
            }
            column += width;
        }
        let Prepared { values, .. } = Prepared::new(net, &hidden_night, range)?;
        Ok(Self { values, truth, counts })
    }

    /// The loss of a guess `[epochs, targets]`, the mean squared error of what counts, and its gradient; `None` where
    /// nothing counts.
    fn error(&self, guess: &[f32]) -> Option<(f32, Vec<f32>)> {
        let n = self.counts.iter().filter(|counts| **counts).count();
        if n == 0 {
            return None;
        }
        let part = 1.0 / n as f32;
        let mut total = 0.0f64;
        let mut slope = vec![0.0; guess.len()];
        for (((d, guess), truth), counts) in slope.iter_mut().zip(guess).zip(&self.truth).zip(&self.counts) {
            if *counts {
                let apart = guess - truth;
                total += f64::from(apart * apart);
                *d = 2.0 * part * apart;
            }
        }
        Some(((total * f64::from(part)) as f32, slope))
    }

    /// One step's loss; adds to `gradients`, which has the network's weights and the decoder's behind them.
    pub(crate) fn learn(
        self,
        net: &Net,
        decoder: &Decoder,
        weights: &[f32],
        dropout: f32,
        rng: &mut ChaCha8Rng,
        gradients: &mut [f32],
    ) -> Option<f32> {
        if !self.counts.contains(&true) {
            return None;
        }
        let mut dropout = Dropout::new(dropout, rng);
        let (h, tape) = net.embed_taped(weights, self.values.clone(), dropout.as_mut());
        let (loss, d_guess) = self.error(&decoder.guess(weights, &h))?;
        let dh = decoder.backward(weights, &h, &d_guess, gradients);
        net.backward(weights, tape, dh, gradients, false);
        Some(loss)
    }
}

/// The linear map from an embedding to the features of all streams; its weights lie behind the network's.
pub(crate) struct Decoder {
    /// `[C, targets]`.
    pub(crate) weight: Range<usize>,
    /// `[targets]`.
    pub(crate) bias: Range<usize>,
    channels: usize,
    device: Device,
}

impl Decoder {
    /// Its place behind the `len` weights of a network.
    pub(crate) fn behind(net: &Net, len: usize) -> Self {
        let (channels, targets) = (net.config.width, Self::targets(net));
        let weight = len..len + channels * targets;
        let bias = weight.end..weight.end + targets;
        Self { weight, bias, channels, device: net.device.clone() }
    }

    /// Features of all the network's streams; without what is derived from them.
    fn targets(net: &Net) -> usize {
        net.config.streams.values().sum()
    }

    /// First weights: it begins by guessing what an untrained layer would.
    pub(crate) fn start(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let bound = 1.0 / (self.channels as f32).sqrt();
        let mut values: Vec<f32> = self.weight.clone().map(|_| rng.random_range(-bound..=bound)).collect();
        values.resize(self.weight.len() + self.bias.len(), 0.0);
        values
    }

    /// `[epochs, targets]` from embeddings `[epochs, C]`.
    fn guess(&self, weights: &[f32], h: &[f32]) -> Vec<f32> {
        let (c, targets) = (self.channels, self.bias.len());
        let map = matrix(weights[self.weight.clone()].to_vec(), c, targets, &self.device);
        let mut out =
            Host::of(matrix(h.to_vec(), h.len() / c, c, &self.device).matmul(map)).values().to_vec();
        for row in out.chunks_exact_mut(targets) {
            add(row, &weights[self.bias.clone()]);
        }
        out
    }

    /// Fills its places of `gradients`; returns the gradient of the embeddings `[epochs, C]`.
    fn backward(&self, weights: &[f32], h: &[f32], d_guess: &[f32], gradients: &mut [f32]) -> Vec<f32> {
        let (c, targets) = (self.channels, self.bias.len());
        let epochs = h.len() / c;
        let d = matrix(d_guess.to_vec(), epochs, targets, &self.device);
        let h = matrix(h.to_vec(), epochs, c, &self.device);
        add(&mut gradients[self.weight.clone()], Host::of(h.transpose().matmul(d.clone())).values());
        add_columns(&mut gradients[self.bias.clone()], d_guess);
        let map = matrix(weights[self.weight.clone()].to_vec(), c, targets, &self.device);
        Host::of(d.matmul(map.transpose())).values().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use somnus_signals::synthetic::{self, SyntheticConfig};
    use somnus_signals::{NightRules, StreamKind};

    use super::*;
    use crate::config::{DeviceKind, NetConfig};
    use crate::course::Course;
    use crate::stager::Stager;

    fn nights(people: usize, seed: u64) -> Vec<Night> {
        let config = SyntheticConfig { people, seed, ..SyntheticConfig::default() };
        synthetic::cohort(&config, &NightRules::default()).nights
    }

    fn small() -> NetConfig {
        NetConfig { width: 16, dilations: vec![1, 4], context: vec![3], ..NetConfig::default() }
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// What is hidden is changed beyond recognition; the network's input does not change.
    #[test]
    fn nothing_that_is_hidden_reaches_the_input() {
        let net = Net::new(NetConfig { context: vec![2, 40], ..NetConfig::default() }, DeviceKind::Flex);
        let night = &nights(1, 3)[0];
        let plan = MaskedPlan { crop: 1.0, ..MaskedPlan::default() };
        let first = Masked::draw(&net, night, &plan, &mut rng(5)).unwrap();
        let mut other = night.clone();
        let targets = Decoder::targets(&net);
        let mut column = 0;
        for (stream, width) in &net.config.streams {
            let features = other.features.get_mut(stream).unwrap();
            for (place, value) in features.values.iter_mut().enumerate() {
                let (epoch, feature) = (place / width, place % width);
                if first.counts[epoch * targets + column + feature] {
                    *value = 1e6;
                }
            }
            column += width;
        }
        let second = Masked::draw(&net, &other, &plan, &mut rng(5)).unwrap();
        assert_eq!(first.counts, second.counts);
        assert_eq!(first.values, second.values);
        assert_ne!(first.truth, second.truth);
        let hidden = first.counts.iter().filter(|c| **c).count() as f32 / first.counts.len() as f32;
        assert!((0.3..0.45).contains(&hidden), "{hidden}");
    }

    #[test]
    fn a_missing_stream_counts_nowhere_and_alone_teaches_nothing() {
        let net = Net::new(small(), DeviceKind::Flex);
        let mut night = nights(1, 3)[0].clone();
        night.features.retain(|stream, _| *stream == StreamKind::Hr);
        let masked = Masked::draw(&net, &night, &MaskedPlan::default(), &mut rng(1)).unwrap();
        for row in masked.counts.chunks_exact(18) {
            // Heart rate first; activity and posture were not measured.
            assert!(row[12..].iter().all(|counts| !counts));
        }
        assert!(masked.error(&vec![0.0; masked.truth.len()]).is_some());
        night.features.clear();
        let nothing = Masked::draw(&net, &night, &MaskedPlan::default(), &mut rng(1)).unwrap();
        assert!(nothing.error(&vec![0.0; nothing.truth.len()]).is_none());
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let net = Net::new(small(), DeviceKind::Flex);
        let mut weights = net.layout.start(&mut rng(1));
        let decoder = Decoder::behind(&net, weights.len());
        weights.extend(decoder.start(&mut rng(2)));
        let night = &nights(1, 4)[0];
        let plan = MaskedPlan { crop: 0.1, ..MaskedPlan::default() };
        let learn = |weights: &[f32], gradients: &mut [f32]| {
            let masked = Masked::draw(&net, night, &plan, &mut rng(7)).unwrap();
            masked.learn(&net, &decoder, weights, 0.2, &mut rng(8), gradients).unwrap()
        };
        let mut slope = vec![0.0; weights.len()];
        learn(&weights, &mut slope);
        // Along the gradient of each part alone, so that a wrong one cannot hide behind the others.
        let body = 0..net.layout.head.start;
        for part in [net.layout.input.clone(), body, decoder.weight.clone(), decoder.bias.clone()] {
            let norm = slope[part.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
            assert!(norm > 1e-3, "{part:?}");
            let at = |d: f32| {
                let mut moved = weights.clone();
                for (weight, g) in moved[part.clone()].iter_mut().zip(&slope[part.clone()]) {
                    *weight += d * g / norm;
                }
                f64::from(learn(&moved, &mut vec![0.0; weights.len()]))
            };
            let measured = (at(4e-3) - at(-4e-3)) / 8e-3;
            assert!((measured / f64::from(norm) - 1.0).abs() < 1e-2, "{part:?}: {measured} {norm}");
        }
        assert!(slope[net.layout.head.clone()].iter().all(|g| *g == 0.0), "the head has no part in it");
    }

    /// On people it never saw, against the best constant: the mean of the training people's features.
    #[test]
    fn hidden_features_of_new_nights_are_predicted_better_than_by_their_mean() {
        let config = NetConfig { width: 32, dilations: vec![1, 2, 4, 8], ..NetConfig::default() };
        let stager = Stager::new(&config, 1, DeviceKind::Flex).unwrap();
        let plan = MaskedPlan { steps: 120, ..MaskedPlan::default() };
        let known = nights(8, 1);
        let targets: usize = config.streams.values().sum();
        let net = Net::new(config.clone(), DeviceKind::Flex);
        let (mut mean, mut n) = (vec![0.0f64; targets], vec![0.0f64; targets]);
        let mut column = 0;
        for (stream, width) in &config.streams {
            for features in known.iter().filter_map(|night| night.features.get(stream)) {
                for (row, _) in features.values.chunks_exact(*width).zip(&features.present).filter(|r| *r.1) {
                    for (i, value) in row.iter().enumerate() {
                        mean[column + i] += f64::from(*value);
                        n[column + i] += 1.0;
                    }
                }
            }
            column += width;
        }
        let mean: Vec<f32> = mean.iter().zip(n).map(|(sum, n)| (sum / n) as f32).collect();

        let mut course = Course::masked(&stager, known, &plan, 1).unwrap();
        while course.done() < plan.steps {
            course.step().unwrap();
        }
        let weights = course.weights();
        let decoder = Decoder::behind(&net, stager.parameters());
        let (mut ours, mut constant) = (0.0, 0.0);
        for (i, night) in nights(6, 99).iter().enumerate() {
            let masked = Masked::draw(&net, night, &plan, &mut rng(i as u64)).unwrap();
            let h = net.embed(weights, masked.values.clone(), None);
            let means = mean.repeat(h.len() / config.width);
            ours += masked.error(&decoder.guess(weights, &h)).unwrap().0;
            constant += masked.error(&means).unwrap().0;
        }
        assert!(ours < 0.9 * constant, "{ours}, the mean has {constant}");
    }
}
