//! RelCon's learnable motif distance (Xu et al. 2025, arXiv 2411.18822): how badly a window can be rebuilt from the motifs
//! of another.
//!
//! Three dilated convolutional networks read the anchor (queries) and the candidate (keys, values); attention over the
//! candidate's moments rebuilds the anchor. It is trained to rebuild a window from a changed copy of itself, then frozen
//! to rank candidates.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Int, Tensor, TensorData};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::encoder::layers::{EPSILON, Padding, column, conv, filtered, instance_norm};
use crate::encoder::weights::{Spec, Start, Weights, affine};
use crate::objective::sparsemax::sparsemax;

/// Taps of every dilated convolution.
const TAPS: usize = 15;
/// The share of attention weights that is dropped in training.
const DROPOUT: f32 = 0.1;

/// How scores become weights.
///
/// The paper says sparsemax for both uses. The reference trains with sparsemax but ranks with softmax, since its fused
/// attention knows nothing else; both are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// Few moments of the candidate, the others exactly zero.
    Sparsemax,
    /// All moments of the candidate.
    Softmax,
}

/// The network's size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotifDistance {
    /// Channels of a window.
    pub channels: usize,
    /// Width of queries, keys and values, a multiple of 8.
    pub width: usize,
    /// Residual blocks with dilations 1, 2, 4, ..
    pub blocks: usize,
    /// Whether both windows are brought to the candidate's level and scale first (reversible instance norm, Kim et al.
    /// 2022), as published; without it the network is shown them as they are.
    pub revin: bool,
}

/// A candidate's attempt at an anchor.
pub struct Comparison {
    /// The squared error summed over time and channels, `[B]`; not symmetric.
    pub distance: Tensor<1>,
    /// The anchor as rebuilt from the candidate, `[C, B, T]`.
    pub reconstruction: Tensor<3>,
    /// For each moment of the anchor, the weights of the candidate's, `[B, T, T]`.
    pub attention: Tensor<3>,
}

/// Windows as they answer queries.
struct Candidates {
    /// Their statistics, or 0 and 1, `[C, B, 1]`.
    mean: Tensor<3>,
    spread: Tensor<3>,
    /// `[B, E, T]`.
    keys: Tensor<3>,
    /// `[B, T, E]`.
    values: Tensor<3>,
}

impl Candidates {
    /// Some of them, in another order.
    fn select(&self, rows: Vec<i64>) -> Self {
        let len = rows.len();
        let rows: Tensor<1, Int> = Tensor::from_data(TensorData::new(rows, [len]), &self.keys.device());
        let of = |tensor: &Tensor<3>, axis: usize| tensor.clone().select(axis, rows.clone());
        Self {
            mean: of(&self.mean, 1),
            spread: of(&self.spread, 1),
            keys: of(&self.keys, 0),
            values: of(&self.values, 0),
        }
    }
}

impl MotifDistance {
    /// The published size: 58,617 weights, sees 57 samples.
    pub fn relcon() -> Self {
        Self { channels: 3, width: 64, blocks: 2, revin: true }
    }

    /// Its weights, by their PyTorch names.
    pub fn specs(&self) -> Vec<Spec> {
        let (c, e) = (self.channels, self.width);
        let mut specs = vec![
            Spec::new("revin.affine_weight", &[c], Start::Constant(1.0)),
            Spec::new("revin.affine_bias", &[c], Start::Constant(0.0)),
        ];
        for func in ["q_func", "k_func", "v_func"] {
            specs.extend(affine(&format!("{func}.layer0.dilated_conv"), &[e, c, TAPS]));
            for i in 0..self.blocks {
                specs.extend(affine(&format!("{func}.layers.{i}.bottle"), &[e / 8, e, 1]));
                specs.extend(affine(&format!("{func}.layers.{i}.dilated_conv"), &[e, e / 8, TAPS]));
            }
        }
        specs.extend(affine("out_proj", &[c, e]));
        specs
    }

    /// Rebuilds each anchor from its candidate, both `[C, B, T]`.
    pub fn compare(
        &self,
        weights: &Weights,
        anchor: Tensor<3>,
        candidate: Tensor<3>,
        attention: Attention,
    ) -> Comparison {
        let candidates = self.learn_by_heart(weights, candidate);
        self.rebuild(weights, anchor, candidates, attention, None)
    }

    /// The training loss: `segments` rebuilt from `changed` copies of themselves, both `[C, B, T]`; the mean distance.
    ///
    /// A tenth of the attention weights is dropped, drawn from `rng`.
    pub fn training_loss(
        &self,
        weights: &Weights,
        segments: Tensor<3>,
        changed: Tensor<3>,
        rng: &mut impl Rng,
    ) -> Tensor<1> {
        let [_, batch, len] = segments.dims();
        let keep = |_| if rng.random::<f32>() < DROPOUT { 0.0 } else { 1.0 / (1.0 - DROPOUT) };
        let kept: Vec<f32> = (0..batch * len * len).map(keep).collect();
        let kept = Tensor::from_data(TensorData::new(kept, [batch, len, len]), &segments.device());
        let candidates = self.learn_by_heart(weights, changed);
        self.rebuild(weights, segments, candidates, Attention::Sparsemax, Some(kept)).distance.mean()
    }

    /// What [`RelativeLoss`](super::RelativeLoss) ranks by: distances `[B - 1 + C, B]` from each of `anchors` `[c, B, T]`
    /// to the others (row r: anchor (i + 1 + r) mod B) and to its `C` own candidates in `within` `[c, B * C, T]`, anchor
    /// by anchor. Weights are taken as constants.
    ///
    /// # Panics
    /// When `within` is no multiple of the anchors.
    pub fn table(
        &self,
        weights: &Weights,
        anchors: Tensor<3>,
        within: Tensor<3>,
        attention: Attention,
    ) -> Tensor<2> {
        let weights = weights.frozen();
        let (anchors, within) = (anchors.inner(), within.inner());
        let [_, batch, _] = anchors.dims();
        let own = within.dims()[1] / batch;
        assert_eq!(within.dims()[1], own * batch, "as many candidates for each anchor");
        // Every window is read as a candidate once, however many anchors it is compared with.
        let others = self.learn_by_heart(&weights, anchors.clone());
        let within = self.learn_by_heart(&weights, within);
        let turned = |by: usize| (by..by + batch).map(|i| (i % batch) as i64).collect();
        let own = (0..own).map(|j| (0..batch).map(|i| (i * own + j) as i64).collect());
        let rows =
            (1..batch).map(turned).map(|chosen| others.select(chosen)).chain(own.map(|c| within.select(c)));
        let row = |candidates: Candidates| {
            self.rebuild(&weights, anchors.clone(), candidates, attention, None).distance.unsqueeze()
        };
        Tensor::cat(rows.map(row).collect(), 0)
    }

    /// What a candidate offers to every anchor, `[C, B, T]`.
    fn learn_by_heart(&self, weights: &Weights, candidate: Tensor<3>) -> Candidates {
        let [channels, batch, _] = candidate.dims();
        // Reversible instance norm by the candidate's statistics: a match must agree in level and scale too.
        let (mean, spread) = if self.revin {
            let mean = candidate.clone().inner().mean_dim(2);
            let variance = (candidate.clone().inner() - mean.clone()).square().mean_dim(2);
            (mean, (variance + EPSILON).sqrt())
        } else {
            let zero = Tensor::zeros([channels, batch, 1], &candidate.device().inner());
            (zero.clone(), zero + 1.0)
        };
        let from = self.normed(weights, candidate, &mean, &spread);
        let keys = self.read(weights, "k_func", from.clone()).permute([1, 0, 2]);
        let values = self.read(weights, "v_func", from).permute([1, 2, 0]);
        Candidates { mean, spread, keys, values }
    }

    fn normed(&self, weights: &Weights, x: Tensor<3>, mean: &Tensor<3>, spread: &Tensor<3>) -> Tensor<3> {
        let gain = column(weights.get("revin.affine_weight"));
        (x - mean.clone()) / spread.clone() * gain + column(weights.get("revin.affine_bias"))
    }

    fn rebuild(
        &self,
        weights: &Weights,
        anchor: Tensor<3>,
        candidates: Candidates,
        attention: Attention,
        kept: Option<Tensor<3>>,
    ) -> Comparison {
        let [channels, batch, len] = anchor.dims();
        let Candidates { mean, spread, keys, values } = candidates;
        let to = self.normed(weights, anchor.clone(), &mean, &spread);
        let queries = self.read(weights, "q_func", to).permute([1, 2, 0]); // [B, T, E]
        let scores = queries.matmul(keys) / (self.width as f32).sqrt();
        let attention = match attention {
            Attention::Sparsemax => sparsemax(scores),
            Attention::Softmax => softmax(scores, 2),
        };
        let used = match kept {
            Some(kept) => attention.clone() * kept,
            None => attention.clone(),
        };
        let mixed = used.matmul(values).permute([2, 0, 1]).reshape([self.width, batch * len]);
        let out = weights.get::<2>("out_proj.weight").matmul(mixed).reshape([channels, batch, len])
            + column(weights.get("out_proj.bias"));
        let gain = column(weights.get("revin.affine_weight"));
        let shift = column(weights.get("revin.affine_bias"));
        let reconstruction = (out - shift) / (gain + EPSILON * EPSILON) * spread + mean;
        let error = (reconstruction.clone() - anchor).square();
        let distance = error.sum_dim(2).sum_dim(0).reshape([batch]);
        Comparison { distance, reconstruction, attention }
    }

    /// One of the three networks, `[C, B, T]` to `[E, B, T]`.
    fn read(&self, weights: &Weights, func: &str, x: Tensor<3>) -> Tensor<3> {
        let name = format!("{func}.layer0.dilated_conv");
        // A partial convolution (Liu et al. 2018): where taps hang over the border, the others count for more.
        let len = x.dims()[2];
        let half = TAPS / 2;
        let taps_inside = |t: usize| half.min(t) + 1 + half.min(len - 1 - t);
        let ratio: Vec<f32> = (0..len).map(|t| TAPS as f32 / taps_inside(t) as f32).collect();
        let ratio = Tensor::from_data(TensorData::new(ratio, [1, 1, len]), &x.device());
        let bias = column(weights.get(&format!("{name}.bias")));
        let h = filtered(weights, &name, x, 1, 1, Padding::Same) * ratio + bias;
        let mut h = instance_norm(gelu(h));
        for i in 0..self.blocks {
            let narrow = conv(weights, &format!("{func}.layers.{i}.bottle"), h.clone(), 1, 1, Padding::Same);
            let name = format!("{func}.layers.{i}.dilated_conv");
            h = instance_norm(gelu(conv(weights, &name, narrow, 1, 1 << i, Padding::Same) + h));
        }
        h
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::encoder::windows;
    use crate::matrix::Host;
    use crate::objective::{Adam, AdamRule, augment};

    const TINY: MotifDistance = MotifDistance { channels: 2, width: 8, blocks: 1, revin: true };

    fn fresh() -> Weights {
        Weights::new(&TINY.specs(), &mut ChaCha8Rng::seed_from_u64(1), DeviceKind::Flex)
    }

    fn waves(count: usize, rng: &mut impl Rng) -> Vec<Vec<f32>> {
        let wave = |_| {
            let (speed, phase) = (rng.random_range(0.1..0.8f32), rng.random_range(0.0..6.0));
            (0..80).map(|i| ((i / 2) as f32 * speed + phase + (i % 2) as f32).sin()).collect()
        };
        (0..count).map(wave).collect()
    }

    #[test]
    fn the_published_size_has_the_published_number_of_weights() {
        let specs = MotifDistance::relcon().specs();
        assert_eq!(specs.iter().map(|s| s.shape.iter().product::<usize>()).sum::<usize>(), 58_617);
    }

    #[test]
    fn the_table_lists_the_other_anchors_in_turn_and_then_its_own_candidates() {
        let weights = fresh();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (anchors, own) = (waves(4, &mut rng), waves(8, &mut rng));
        let tensor = |w: &[Vec<f32>]| windows(w, 2, weights.device());
        let table = Host::of(TINY.table(&weights, tensor(&anchors), tensor(&own), Attention::Softmax));
        let distance = |anchor: &Vec<f32>, candidate: &Vec<f32>| -> f32 {
            let (anchor, candidate) =
                (tensor(std::slice::from_ref(anchor)), tensor(std::slice::from_ref(candidate)));
            TINY.compare(&weights, anchor, candidate, Attention::Softmax).distance.into_scalar()
        };
        for (i, anchor) in anchors.iter().enumerate() {
            for (r, row) in table.values().chunks(4).enumerate() {
                let candidate = if r < 3 { &anchors[(i + 1 + r) % 4] } else { &own[i * 2 + r - 3] };
                let expected = distance(anchor, candidate);
                assert!((row[i] - expected).abs() < 1e-4 * expected, "anchor {i}, row {r}");
            }
        }
    }

    #[test]
    fn level_and_scale_of_the_candidate_matter_less_with_its_norm() {
        let weights = fresh();
        let windows_of = |gain: f32| {
            let mut rng = ChaCha8Rng::seed_from_u64(5);
            let waves: Vec<Vec<f32>> =
                waves(6, &mut rng).iter().map(|w| w.iter().map(|v| gain * v + gain).collect()).collect();
            windows(&waves, 2, weights.device())
        };
        // Both windows at another gain: the same comparison in other units, if the norm is there.
        let error = |revin: bool, gain: f32| {
            let net = MotifDistance { revin, ..TINY };
            let (anchor, candidate) = (windows_of(gain), windows_of(gain).flip([1]));
            let found = net.compare(&weights, anchor, candidate, Attention::Softmax).distance;
            Host::of(found / (gain * gain)).values().to_vec()
        };
        let apart = |revin| {
            let pairs = error(revin, 1.0).into_iter().zip(error(revin, 30.0));
            pairs.map(|(a, b)| (a - b).abs() / a).fold(0.0, f32::max)
        };
        assert!(apart(true) < 1e-3 && apart(false) > 0.1, "{} {}", apart(true), apart(false));
    }

    #[test]
    fn it_learns_to_see_through_changes() {
        let mut weights = fresh();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut adam = Adam::new(AdamRule::default());
        let mut losses = Vec::new();
        for _ in 0..60 {
            let segments = waves(16, &mut rng);
            let changed: Vec<Vec<f32>> = segments.iter().map(|s| augment(s, 2, &mut rng)).collect();
            let [segments, changed] = [&segments, &changed].map(|w| windows(w, 2, weights.device()));
            let loss = TINY.training_loss(&weights, segments, changed, &mut rng);
            losses.push(loss.clone().into_scalar::<f32>());
            adam.step(&mut weights, &mut loss.backward(), 1e-2);
        }
        let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
        assert!(mean(&losses[50..]) < 0.6 * mean(&losses[..5]), "{losses:?}");
    }
}
