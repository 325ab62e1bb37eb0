//! Adversarial subject-invariance (Cheng et al. 2020, arXiv 2007.04871): an adversary learns to tell people apart by their
//! embeddings, and the encoder learns to leave it nothing to tell by.

use burn::tensor::activation::{leaky_relu, log_softmax};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::encoder::layers::linear;
use crate::encoder::weights::{Spec, Weights, affine};

/// A classifier of people: two hidden layers, then a softmax over subjects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adversary {
    /// Width of an embedding.
    pub inputs: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// How many people there are.
    pub subjects: usize,
}

/// What the encoder is after. Both keep their pull when the adversary is certain, and both are bounded below where it can
/// only guess.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Game {
    /// The opposite of the adversary's gradient, times `strength` (Ganin and Lempitsky 2015).
    Reversal {
        /// How hard the encoder is pushed.
        strength: f32,
    },
    /// `strength` times the divergence of the adversary's answer from no answer, KL(uniform || answer).
    Confusion {
        /// How hard the encoder is pushed.
        strength: f32,
    },
}

impl Adversary {
    /// Its weights, all under `adversary.`.
    pub fn specs(&self) -> Vec<Spec> {
        let layers = [
            ("adversary.0", self.hidden, self.inputs),
            ("adversary.1", self.hidden, self.hidden),
            ("adversary.2", self.subjects, self.hidden),
        ];
        layers.into_iter().flat_map(|(name, to, from)| affine(name, &[to, from])).collect()
    }

    /// The logarithm of each subject's probability, `[B, subjects]`, for embeddings `[B, E]`.
    pub fn log_probabilities(&self, weights: &Weights, embeddings: Tensor<2>) -> Tensor<2> {
        let h = leaky_relu(linear(weights, "adversary.0", embeddings), 0.01);
        let h = leaky_relu(linear(weights, "adversary.1", h), 0.01);
        log_softmax(linear(weights, "adversary.2", h), 1)
    }

    /// The adversary's own loss, mean cross-entropy; embeddings are taken as they are, whatever made them is not moved.
    ///
    /// # Panics
    /// When `subjects` is not one number below [`Adversary::subjects`] for each embedding.
    pub fn loss(&self, weights: &Weights, embeddings: Tensor<2>, subjects: &[usize]) -> Tensor<1> {
        self.cross_entropy(weights, embeddings.detach(), subjects)
    }

    /// A scalar to add to the encoder's objective: one backward pass moves both players, each for its own end only.
    ///
    /// # Panics
    /// As [`Adversary::loss`].
    pub fn play(
        &self,
        weights: &Weights,
        embeddings: Tensor<2>,
        subjects: &[usize],
        game: Game,
    ) -> Tensor<1> {
        match game {
            Game::Reversal { strength } => {
                self.cross_entropy(weights, reverse(embeddings, strength), subjects)
            }
            Game::Confusion { strength } => {
                let answer = self.log_probabilities(&weights.frozen(), embeddings.clone());
                let divergence = answer.mean() * -1.0 - (self.subjects as f32).ln();
                self.loss(weights, embeddings, subjects) + divergence * strength
            }
        }
    }

    fn cross_entropy(&self, weights: &Weights, embeddings: Tensor<2>, subjects: &[usize]) -> Tensor<1> {
        let [batch, _] = embeddings.dims();
        assert_eq!(subjects.len(), batch, "a subject for each embedding");
        let mut truth = vec![0.0; batch * self.subjects];
        for (row, subject) in truth.chunks_exact_mut(self.subjects).zip(subjects) {
            row[*subject] = -1.0 / batch as f32;
        }
        let truth = TensorData::new(truth, [batch, self.subjects]);
        let answers = self.log_probabilities(weights, embeddings);
        let truth = Tensor::from_data(truth, &answers.device());
        (answers * truth).sum()
    }
}

/// The same value, with the opposite gradient times `strength`.
fn reverse(x: Tensor<2>, strength: f32) -> Tensor<2> {
    x.clone().detach() * (1.0 + strength) - x * strength
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::config::DeviceKind;
    use crate::encoder::Start;
    use crate::matrix::{Host, matrix};
    use crate::objective::{Adam, AdamRule};

    const PEOPLE: Adversary = Adversary { inputs: 4, hidden: 16, subjects: 3 };
    const GAMES: [Game; 2] = [Game::Reversal { strength: 0.7 }, Game::Confusion { strength: 0.7 }];

    fn weights(seed: u64) -> Weights {
        Weights::new(&PEOPLE.specs(), &mut ChaCha8Rng::seed_from_u64(seed), DeviceKind::Flex)
    }

    fn embeddings(rows: usize, device: &Device) -> Tensor<2> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        matrix((0..rows * 4).map(|_| rng.random_range(-1.0..1.0)).collect(), rows, 4, device).require_grad()
    }

    fn subjects(rows: usize) -> Vec<usize> {
        (0..rows).map(|i| i % 3).collect()
    }

    #[test]
    fn answers_are_a_distribution() {
        let weights = weights(1);
        let p = PEOPLE.log_probabilities(&weights, embeddings(20, weights.device())).exp().sum_dim(1);
        assert!(Host::of(p).values().iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    #[test]
    fn losses_do_not_grow_with_the_batch() {
        let weights = weights(1);
        let few = embeddings(6, weights.device());
        let many = Tensor::cat(vec![few.clone(); 50], 0);
        let close = |a: Tensor<1>, b: Tensor<1>| {
            let (a, b): (f32, f32) = (a.into_scalar(), b.into_scalar());
            assert!((a - b).abs() < 1e-4 * b.abs(), "{a} {b}");
        };
        close(
            PEOPLE.loss(&weights, many.clone(), &subjects(300)),
            PEOPLE.loss(&weights, few.clone(), &subjects(6)),
        );
        for game in GAMES {
            let played = |x: &Tensor<2>, n| PEOPLE.play(&weights, x.clone(), &subjects(n), game);
            close(played(&many, 300), played(&few, 6));
        }
    }

    #[test]
    fn the_adversarys_step_leaves_the_encoder_alone() {
        let weights = weights(1);
        let x = embeddings(9, weights.device());
        let gradients = PEOPLE.loss(&weights, x.clone(), &subjects(9)).backward();
        assert!(x.grad(&gradients).is_none());
        assert!(weights.names().all(|name| weights.gradient(name, &gradients).is_some()));
    }

    #[test]
    fn the_encoders_part_leaves_the_adversary_alone() {
        let weights = weights(1);
        let x = embeddings(9, weights.device());
        let alone = PEOPLE.loss(&weights, x.clone(), &subjects(9)).backward();
        for game in GAMES {
            let both = PEOPLE.play(&weights, x.clone(), &subjects(9), game).backward();
            for name in weights.names() {
                let [a, b] = [&alone, &both].map(|g| weights.gradient(name, g).unwrap().values);
                let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-6, "{name} moves for the encoder's sake by {worst}");
            }
            assert!(x.grad(&both).is_some());
        }
    }

    #[test]
    fn reversal_hands_back_the_opposite_gradient() {
        let weights = weights(1);
        let x = embeddings(9, weights.device());
        let plain = PEOPLE.cross_entropy(&weights, x.clone(), &subjects(9)).backward();
        let reversed = PEOPLE.play(&weights, x.clone(), &subjects(9), GAMES[0]).backward();
        let sum = x.grad(&plain).unwrap() * 0.7 + x.grad(&reversed).unwrap();
        let worst: f32 = sum.abs().max().into_scalar();
        assert!(worst < 1e-6, "{worst}");
    }

    #[test]
    fn confusion_is_zero_where_nobody_can_be_told_and_finite_where_all_can() {
        let constant = |bound| {
            let specs: Vec<Spec> =
                PEOPLE.specs().into_iter().map(|s| Spec { start: Start::Uniform(bound), ..s }).collect();
            Weights::new(&specs, &mut ChaCha8Rng::seed_from_u64(2), DeviceKind::Flex)
        };
        let confusion = |weights: &Weights| {
            let x = embeddings(9, weights.device());
            let game = Game::Confusion { strength: 1.0 };
            let played = PEOPLE.play(weights, x.clone(), &subjects(9), game);
            let term = played.clone() - PEOPLE.loss(weights, x.clone(), &subjects(9));
            let slope = x.grad(&played.backward()).unwrap().abs().max().into_scalar::<f32>();
            (term.into_scalar::<f32>(), slope)
        };
        let (silent, _) = confusion(&constant(0.0));
        assert!(silent.abs() < 1e-6, "{silent}");
        let (certain, slope) = confusion(&constant(100.0));
        assert!(
            certain > 10.0 && certain.is_finite() && slope > 0.0 && slope.is_finite(),
            "{certain} {slope}"
        );
    }

    /// Inputs are two numbers that say what is going on and two that say who it is; the encoder is a matrix that would
    /// rather keep them all.
    #[test]
    fn a_fresh_adversary_finds_less_after_the_game() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let who = subjects(300);
        let row = |s: &usize| {
            let [a, b, c, d] = [(); 4].map(|()| rng.random_range(-1.0..1.0f32));
            [a, b, c * 0.3 + (*s as f32 - 1.0), d * 0.3 + if *s == 1 { 1.0 } else { 0.0 }]
        };
        let x: Vec<f32> = who.iter().flat_map(row).collect();
        let blur: Vec<f32> = (0..1_200).map(|_| rng.random_range(-0.3..0.3)).collect();
        let spec = [Spec::new("encoder", &[4, 4], Start::Uniform(0.5))];
        let probed = |game: Option<Game>| {
            let mut encoder = Weights::new(&spec, &mut ChaCha8Rng::seed_from_u64(4), DeviceKind::Flex);
            let mut adversary = weights(5);
            let [mut ours, mut theirs] = [(); 2].map(|()| Adam::new(AdamRule::default()));
            let x = matrix(x.clone(), 300, 4, encoder.device());
            // What is small drowns in this, as it would in the next layer's dropout.
            let blur = matrix(blur.clone(), 300, 4, encoder.device());
            let embed = |encoder: &Weights| x.clone().matmul(encoder.get::<2>("encoder")) + blur.clone();
            for step in 0..400 {
                let z = embed(&encoder);
                for _ in 0..4 {
                    let loss = PEOPLE.loss(&adversary, z.clone(), &who);
                    theirs.step(&mut adversary, &mut loss.backward(), 0.01);
                }
                let task = (z.clone() - x.clone()).square().mean();
                let loss = match game {
                    Some(game) => task + PEOPLE.play(&adversary, z, &who, game),
                    None => task,
                };
                let mut gradients = loss.backward();
                theirs.step(&mut adversary, &mut gradients, 0.01);
                ours.step(&mut encoder, &mut gradients, 0.005 * (1.0 - step as f32 / 400.0));
            }
            let z = embed(&encoder).detach();
            let (mut fresh, mut adam) = (weights(6), Adam::new(AdamRule::default()));
            for _ in 0..200 {
                let loss = PEOPLE.loss(&fresh, z.clone(), &who);
                adam.step(&mut fresh, &mut loss.backward(), 0.01);
            }
            PEOPLE.loss(&fresh, z, &who).into_scalar::<f32>()
        };
        let before = probed(None);
        assert!(before < 0.1, "{before}");
        for game in [Game::Confusion { strength: 1.0 }, Game::Reversal { strength: 1.0 }] {
            let after = probed(Some(game));
            // A guess costs ln 3 = 1.1.
            assert!(after > 0.6, "{game:?}: a fresh adversary still comes down to {after}");
        }
    }
}
