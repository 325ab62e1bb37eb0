//! Masked reconstruction: spans are hidden, and what a network makes of them is compared with what was there.

use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// How much is hidden, and in pieces of which length.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spans {
    /// The share of positions that is hidden, above 0 and below 1.
    pub share: f32,
    /// Positions of one span; neighbours can be guessed, so a span is longer than what the signal repeats itself by.
    pub span: usize,
}

impl Spans {
    /// Which of `len` positions are hidden: at least the share, and less than one span more.
    pub fn draw(&self, len: usize, rng: &mut impl Rng) -> Vec<bool> {
        let wanted = ((len as f32 * self.share).ceil() as usize).clamp(usize::from(len > 0), len);
        let span = self.span.clamp(1, len.max(1));
        let mut hidden = vec![false; len];
        let mut count = 0;
        while count < wanted {
            let start = rng.random_range(0..=len - span);
            for place in &mut hidden[start..start + span] {
                count += usize::from(!*place);
                *place = true;
            }
        }
        hidden
    }
}

/// The mean squared error where `hidden` is 1; all three `[B, N]`. Zero when nothing is hidden.
pub fn masked_error(prediction: Tensor<2>, truth: Tensor<2>, hidden: Tensor<2>) -> Tensor<1> {
    let count = hidden.clone().sum().clamp_min(1.0);
    ((prediction - truth).square() * hidden).sum() / count
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::matrix::{Host, matrix};

    #[test]
    fn the_share_is_hidden_in_whole_spans() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (len, share, span) in [(960, 0.5, 20), (100, 0.15, 5), (1, 0.5, 10), (50, 0.01, 50), (0, 0.5, 3)]
        {
            for _ in 0..50 {
                let hidden = Spans { share, span }.draw(len, &mut rng);
                let count = hidden.iter().filter(|h| **h).count();
                let wanted = (len as f32 * share).ceil() as usize;
                assert!(count >= wanted && count < wanted + span.max(1), "{count} of {len}");
                let shortest = hidden.chunk_by(|a, b| a == b).filter(|run| run[0]).map(<[bool]>::len).min();
                assert!(shortest.is_none_or(|run| run >= span.min(len)));
            }
        }
    }

    #[test]
    fn only_what_is_hidden_counts_and_is_learnt_from() {
        let device = Device::flex().autodiff();
        let prediction = matrix(vec![1.0, 5.0, 3.0, 9.0], 2, 2, &device).require_grad();
        let truth = matrix(vec![0.0; 4], 2, 2, &device);
        let hidden = matrix(vec![1.0, 0.0, 1.0, 0.0], 2, 2, &device);
        let loss = masked_error(prediction.clone(), truth.clone(), hidden);
        assert_eq!(loss.clone().into_scalar::<f32>(), 5.0);
        let slope = Host::of(prediction.grad(&loss.backward()).unwrap());
        assert_eq!(slope.values(), [1.0, 0.0, 3.0, 0.0]);
        let nothing = masked_error(prediction, truth.clone(), truth);
        assert_eq!(nothing.into_scalar::<f32>(), 0.0);
    }
}
