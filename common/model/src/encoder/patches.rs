//! A transformer over patches of a waveform, pretrained by masked autoencoding (He et al. 2022, arXiv 2111.06377; for
//! pulse waves arXiv 2412.11276): a window is cut into equal patches, most are hidden, and what is left must suffice to
//! rebuild them.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;
use rand::seq::index::sample;

use crate::encoder::layers::{EPSILON, linear, windows};
use crate::encoder::weights::{Spec, Start, Weights, affine, norm};
use crate::error::ModelError;
use crate::matrix::Host;

/// Hidden units of a block's perceptron for each of its width (Vaswani et al. 2017).
const WIDEN: usize = 4;
/// Blocks of the decoder, which is thrown away.
const DECODER: usize = 1;
/// Windows that are embedded at once.
const BATCH: usize = 32;

/// The shape of a masked autoencoder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patches {
    /// Before the names of its weights, which begin `encoder.<name>.`; the decoder's begin `decoder.<name>.`.
    pub name: String,
    /// Channels of the signal.
    pub channels: usize,
    /// Samples of a window.
    pub window: usize,
    /// Samples of a patch; a whole number of patches makes a window.
    pub patch: usize,
    /// Width of a token, and of the embedding; a multiple of `heads`.
    pub width: usize,
    /// Blocks of the encoder.
    pub depth: usize,
    /// Heads of attention.
    pub heads: usize,
}

impl Patches {
    /// Refuses what no network can be built from.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the key.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |key, reason: String| Err(ModelError::Config { key, reason });
        if self.patch == 0 || !self.window.is_multiple_of(self.patch) || self.window < 2 * self.patch {
            let reason = format!("patches of {} do not tile a window of {}", self.patch, self.window);
            return refuse("patches.patch", reason);
        }
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) || !(2..=1024).contains(&self.width) {
            let reason = format!("{} is not a multiple of {} heads from 2 to 1024", self.width, self.heads);
            return refuse("patches.width", reason);
        }
        if !(1..=24).contains(&self.depth) {
            return refuse("patches.depth", format!("{} blocks, not 1 to 24", self.depth));
        }
        Ok(())
    }

    /// Patches of a window.
    pub fn tokens(&self) -> usize {
        self.window / self.patch
    }

    /// Numbers of a patch.
    fn numbers(&self) -> usize {
        self.patch * self.channels
    }

    /// The encoder's weights and then the decoder's.
    pub fn specs(&self) -> Vec<Spec> {
        let encoder = |what: &str| format!("encoder.{}.{what}", self.name);
        let decoder = |what: &str| format!("decoder.{}.{what}", self.name);
        let mut specs = affine(&encoder("tokens"), &[self.width, self.numbers()]).to_vec();
        (0..self.depth).for_each(|i| specs.extend(self.block_specs(&encoder(&format!("blocks.{i}")))));
        specs.extend(norm(&encoder("norm"), self.width));
        specs.push(Spec::new(decoder("hidden"), &[self.width], Start::Uniform(0.02)));
        (0..DECODER).for_each(|i| specs.extend(self.block_specs(&decoder(&format!("blocks.{i}")))));
        specs.extend(norm(&decoder("norm"), self.width));
        specs.extend(affine(&decoder("patches"), &[self.numbers(), self.width]));
        specs
    }

    fn block_specs(&self, name: &str) -> Vec<Spec> {
        let w = self.width;
        let mut specs = norm(&format!("{name}.norm1"), w).to_vec();
        specs.extend(affine(&format!("{name}.qkv"), &[3 * w, w]));
        specs.extend(affine(&format!("{name}.out"), &[w, w]));
        specs.extend(norm(&format!("{name}.norm2"), w));
        specs.extend(affine(&format!("{name}.wide"), &[WIDEN * w, w]));
        specs.extend(affine(&format!("{name}.narrow"), &[w, WIDEN * w]));
        specs
    }

    /// Embeddings `[B, width]` of windows `[C, B, T]` of which nothing is hidden: the mean over the tokens.
    pub fn embed(&self, weights: &Weights, x: Tensor<3>) -> Tensor<2> {
        let batch = x.dims()[1];
        let all: Vec<usize> = (0..self.tokens()).collect();
        let tokens = self.encode(weights, self.cut(standardised(x)), &vec![all; batch]);
        tokens.reshape([batch, self.tokens(), self.width]).mean_dim(1).reshape([batch, self.width])
    }

    /// Embeddings of the `parts` of each window, `[B, parts * width]`: the means over so many runs of tokens.
    ///
    /// # Panics
    /// When there are more parts than tokens.
    pub fn embed_parts(&self, weights: &Weights, x: Tensor<3>, parts: usize) -> Tensor<2> {
        let (batch, tokens) = (x.dims()[1], self.tokens());
        assert!((1..=tokens).contains(&parts), "{parts} parts of {tokens} tokens");
        let all: Vec<usize> = (0..tokens).collect();
        let rows = self.encode(weights, self.cut(standardised(x)), &vec![all; batch]);
        let rows: Tensor<3> = rows.reshape([batch, tokens, self.width]);
        let part = |i: usize| {
            let (from, to) = (i * tokens / parts, (i + 1) * tokens / parts);
            rows.clone().narrow(1, from, to - from).mean_dim(1).reshape([batch, self.width])
        };
        Tensor::cat((0..parts).map(part).collect(), 1)
    }

    /// [`Patches::embed_windows`] of the parts of each window: `[windows, parts * width]`.
    ///
    /// # Panics
    /// As [`Patches::embed_parts`].
    pub fn embed_windows_parts<W: AsRef<[f32]>>(
        &self,
        weights: &Weights,
        all: &[W],
        parts: usize,
    ) -> Vec<f32> {
        let weights = weights.frozen();
        let rows = |batch: &[W]| {
            let x = windows(batch, self.channels, weights.device());
            Host::of(self.embed_parts(&weights, x, parts)).values().to_vec()
        };
        all.chunks(BATCH).flat_map(rows).collect()
    }

    /// Embeddings of windows in host memory, each `[window, channels]`: `[windows, width]`, without autodiff.
    pub fn embed_windows<W: AsRef<[f32]>>(&self, weights: &Weights, all: &[W]) -> Vec<f32> {
        let weights = weights.frozen();
        let rows = |batch: &[W]| {
            let x = windows(batch, self.channels, weights.device());
            Host::of(self.embed(&weights, x)).values().to_vec()
        };
        all.chunks(BATCH).flat_map(rows).collect()
    }

    /// The mean squared error of hidden patches of windows `[C, B, T]`; `share` of each window's patches is hidden, at
    /// least one patch is and one is not. Windows are brought to mean 0 and variance 1 first, so an error of 1 is that of
    /// the mean.
    pub fn loss(&self, weights: &Weights, x: Tensor<3>, share: f32, rng: &mut impl Rng) -> Tensor<1> {
        let (batch, tokens) = (x.dims()[1], self.tokens());
        let seen = (((1.0 - share) * tokens as f32).round() as usize).clamp(1, tokens - 1);
        let visible: Vec<Vec<usize>> = (0..batch)
            .map(|_| {
                let mut kept = sample(rng, tokens, seen).into_vec();
                kept.sort_unstable();
                kept
            })
            .collect();
        let patches = self.cut(standardised(x));
        let encoded = self.encode(weights, patches.clone(), &visible);
        // One row behind all encoded ones stands for whatever is hidden.
        let hidden = weights.get::<1>(&format!("decoder.{}.hidden", self.name)).reshape([1, self.width]);
        let rows = Tensor::cat(vec![encoded, hidden], 0);
        let mut sources = vec![(batch * seen) as i64; batch * tokens];
        for (window, kept) in visible.iter().enumerate() {
            for (row, token) in kept.iter().enumerate() {
                sources[window * tokens + token] = (window * seen + row) as i64;
            }
        }
        let places: Vec<usize> = (0..batch).flat_map(|_| 0..tokens).collect();
        let guessed: Vec<i64> = (0..(batch * tokens) as i64)
            .filter(|place| sources[*place as usize] == (batch * seen) as i64)
            .collect();
        let device = rows.device();
        let mut h = rows.select(0, indices(sources, &device)) + self.positions(&places, &device);
        for i in 0..DECODER {
            h = self.block(weights, &format!("decoder.{}.blocks.{i}", self.name), h, tokens);
        }
        let h = layer_norm(weights, &format!("decoder.{}.norm", self.name), h);
        let guess = linear(weights, &format!("decoder.{}.patches", self.name), h);
        let guessed = indices(guessed, &device);
        (guess.select(0, guessed.clone()) - patches.select(0, guessed)).square().mean()
    }

    /// Windows `[C, B, T]` as patches `[B * tokens, C * patch]`.
    fn cut(&self, x: Tensor<3>) -> Tensor<2> {
        let [channels, batch, _] = x.dims();
        let tokens = self.tokens();
        let x = x.reshape([channels, batch * tokens, self.patch]);
        x.permute([1, 0, 2]).reshape([batch * tokens, self.numbers()])
    }

    /// The tokens of each window that are `visible`, as many of each, `[B * visible, width]`.
    fn encode(&self, weights: &Weights, patches: Tensor<2>, visible: &[Vec<usize>]) -> Tensor<2> {
        let (tokens, seen) = (self.tokens(), visible.first().map_or(0, Vec::len));
        let device = patches.device();
        let rows = visible.iter().enumerate();
        let rows =
            rows.flat_map(|(window, kept)| kept.iter().map(move |token| (window * tokens + token) as i64));
        let patches = match seen == tokens {
            true => patches,
            false => patches.select(0, indices(rows.collect(), &device)),
        };
        let places: Vec<usize> = visible.iter().flatten().copied().collect();
        let name = |what: &str| format!("encoder.{}.{what}", self.name);
        let mut h = linear(weights, &name("tokens"), patches) + self.positions(&places, &device);
        for i in 0..self.depth {
            h = self.block(weights, &name(&format!("blocks.{i}")), h, seen);
        }
        layer_norm(weights, &name("norm"), h)
    }

    /// Sines and cosines of places (Vaswani et al. 2017, section 3.5), `[rows, width]`.
    fn positions(&self, places: &[usize], device: &Device) -> Tensor<2> {
        let row = |place: &usize| {
            let place = *place as f32;
            (0..self.width).map(move |i| {
                let turn = place / 10_000f32.powf((i / 2 * 2) as f32 / self.width as f32);
                if i % 2 == 0 { turn.sin() } else { turn.cos() }
            })
        };
        let values: Vec<f32> = places.iter().flat_map(row).collect();
        Tensor::from_data(TensorData::new(values, [places.len(), self.width]), &device.clone().inner())
    }

    /// A pre-norm block on `[B * len, width]`: attention within each window, then a perceptron.
    fn block(&self, weights: &Weights, name: &str, h: Tensor<2>, len: usize) -> Tensor<2> {
        let (w, heads) = (self.width, self.heads);
        let rows = h.dims()[0];
        let (batch, each) = (rows / len, w / heads);
        let qkv =
            linear(weights, &format!("{name}.qkv"), layer_norm(weights, &format!("{name}.norm1"), h.clone()));
        let part = |number: usize| {
            let part: Tensor<2> = qkv.clone().narrow(1, number * w, w);
            part.reshape([batch, len, heads, each]).permute([0, 2, 1, 3])
        };
        let scores = part(0).matmul(part(1).permute([0, 1, 3, 2])) / (each as f32).sqrt();
        let seen = softmax(scores, 3).matmul(part(2)).permute([0, 2, 1, 3]).reshape([rows, w]);
        let h = h + linear(weights, &format!("{name}.out"), seen);
        let wide = linear(
            weights,
            &format!("{name}.wide"),
            layer_norm(weights, &format!("{name}.norm2"), h.clone()),
        );
        h + linear(weights, &format!("{name}.narrow"), gelu(wide))
    }
}

/// Each window's channels together to mean 0 and variance 1.
fn standardised(x: Tensor<3>) -> Tensor<3> {
    let centred = x.clone() - x.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2).mean_dim(0);
    centred / (variance + EPSILON).sqrt()
}

/// Each row to mean 0 and variance 1, then gain and shift.
fn layer_norm(weights: &Weights, name: &str, x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    let gain = weights.get::<1>(&format!("{name}.weight")).unsqueeze::<2>();
    let shift = weights.get::<1>(&format!("{name}.bias")).unsqueeze::<2>();
    centred / (variance + EPSILON).sqrt() * gain + shift
}

fn indices(rows: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let len = rows.len();
    Tensor::from_data(TensorData::new(rows, [len]), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::objective::{Adam, AdamRule};

    fn small() -> Patches {
        Patches { name: "ppg".into(), channels: 1, window: 64, patch: 8, width: 16, depth: 2, heads: 2 }
    }

    fn fresh(patches: &Patches) -> Weights {
        Weights::new(&patches.specs(), &mut ChaCha8Rng::seed_from_u64(1), DeviceKind::Flex)
    }

    fn waves(count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        let wave = |_| {
            let (speed, phase) = (rng.random_range(0.1..0.6f32), rng.random_range(0.0..6.0f32));
            (0..64).map(|i| (i as f32 * speed + phase).sin()).collect()
        };
        (0..count).map(wave).collect()
    }

    #[test]
    fn a_window_is_embedded_the_same_in_any_company_at_any_gain() {
        let (patches, mut rng) = (small(), ChaCha8Rng::seed_from_u64(2));
        let weights = fresh(&patches).frozen();
        let all = waves(5, &mut rng);
        let rows = |w: &[Vec<f32>]| {
            Host::of(patches.embed(&weights, windows(w, 1, weights.device()))).values().to_vec()
        };
        let (together, louder) = (rows(&all), all[3].iter().map(|v| 7.0 * v - 2.0).collect::<Vec<f32>>());
        for alone in [rows(&all[3..4]), rows(&[louder])] {
            for (a, b) in alone.iter().zip(&together[3 * 16..4 * 16]) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
        // The order of patches means something.
        let swapped: Vec<f32> =
            all[3][8..16].iter().chain(&all[3][..8]).chain(&all[3][16..]).copied().collect();
        assert!(rows(&[swapped]).iter().zip(&together[48..64]).any(|(a, b)| (a - b).abs() > 1e-3));
    }

    #[test]
    fn it_learns_to_guess_what_is_hidden() {
        let (patches, mut rng) = (small(), ChaCha8Rng::seed_from_u64(3));
        let mut weights = fresh(&patches);
        let mut adam = Adam::new(AdamRule::default());
        let mut losses = Vec::new();
        for _ in 0..400 {
            let x = windows(&waves(16, &mut rng), 1, weights.device());
            let loss = patches.loss(&weights, x, 0.5, &mut rng);
            losses.push(loss.clone().into_scalar::<f32>());
            adam.step(&mut weights, &mut loss.backward(), 3e-3);
        }
        let late = losses[390..].iter().sum::<f32>() / 10.0;
        assert!(late < 0.5 && losses[0] > 0.9, "{late} after {losses:?}");
    }

    #[test]
    fn of_noise_nothing_can_be_guessed_however_long_it_learns() {
        // What leaked from behind the mask would be copied.
        let (patches, mut rng) = (small(), ChaCha8Rng::seed_from_u64(4));
        let mut weights = fresh(&patches);
        let mut adam = Adam::new(AdamRule::default());
        let mut last = Vec::new();
        for _ in 0..300 {
            let mut noise = || (0..64).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
            let noise: Vec<Vec<f32>> = (0..16).map(|_| noise()).collect();
            let loss = patches.loss(&weights, windows(&noise, 1, weights.device()), 0.5, &mut rng);
            last.push(loss.clone().into_scalar::<f32>());
            adam.step(&mut weights, &mut loss.backward(), 3e-3);
        }
        let late = last[290..].iter().sum::<f32>() / 10.0;
        assert!(late > 0.9, "{late}");
    }

    #[test]
    fn absurd_shapes_name_their_key() {
        small().check().unwrap();
        let cases = [
            ("net.patches.patch", Patches { patch: 9, ..small() }),
            ("net.patches.patch", Patches { patch: 64, ..small() }),
            ("net.patches.width", Patches { heads: 3, ..small() }),
            ("net.patches.depth", Patches { depth: 0, ..small() }),
        ];
        for (key, patches) in cases {
            assert!(patches.check().unwrap_err().to_string().starts_with(key), "{key}");
        }
    }
}
