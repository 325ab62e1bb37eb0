//! A game against an adversary (Cheng et al. 2020, arXiv 2007.04871): it learns to name the sleeper of an epoch, and
//! embeddings learn to leave it without a clue.
//!
//! The adversary is a softmax regression on standardised embeddings, trained by Adam on what it remembers of everybody, so
//! that the night at hand is no hint by being at hand. Embeddings are pushed down KL(uniform || answer), which keeps its
//! slope when the adversary is certain, where the reversed gradient of its own loss would fade.

use somnus_protocol::moments::Embedding;

use super::Align;

/// Epochs of each person that the adversary remembers, spread over the last view of a night.
const KEPT: usize = 24;
/// Steps of the adversary before each step of the network.
const STEPS: usize = 2;
const RATE: f32 = 0.01;
const BETAS: [f32; 2] = [0.9, 0.999];

/// The adversary and what it remembers.
pub(crate) struct Adversary {
    weight: f32,
    width: usize,
    /// Whose each night is.
    people: Vec<usize>,
    /// Of each person up to [`KEPT`] embeddings; none before the first view.
    memory: Vec<Vec<f32>>,
    /// `[C + 1, people]`; the last row is the bias.
    weights: Vec<f32>,
    /// Adam's two, and its steps.
    moments: [Vec<f32>; 2],
    steps: i32,
}

/// What makes every channel of the memory have mean 0 and variance 1.
struct Scale {
    mean: Vec<f32>,
    inverse: Vec<f32>,
}

impl Adversary {
    pub(crate) fn new(weight: f32, shape: Embedding, people: &[usize]) -> Self {
        let number = people.iter().max().map_or(0, |last| last + 1);
        let width = usize::from(shape.width);
        let zeros = vec![0.0; (width + 1) * number];
        Self {
            weight,
            width,
            people: people.to_vec(),
            memory: vec![Vec::new(); number],
            moments: [zeros.clone(), zeros.clone()],
            weights: zeros,
            steps: 0,
        }
    }

    fn remember(&mut self, person: usize, h: &[f32]) {
        let epochs = h.len() / self.width;
        let kept = (0..KEPT.min(epochs)).map(|i| i * epochs / KEPT.min(epochs));
        self.memory[person] = kept.flat_map(|e| &h[e * self.width..][..self.width]).copied().collect();
    }

    fn scale(&self) -> Scale {
        let rows = || self.memory.iter().flat_map(|rows| rows.chunks_exact(self.width));
        let part = 1.0 / rows().count().max(1) as f32;
        let (mut mean, mut variance) = (vec![0.0; self.width], vec![0.0; self.width]);
        for row in rows() {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += part * x);
        }
        for row in rows() {
            for ((variance, x), mean) in variance.iter_mut().zip(row).zip(&mean) {
                *variance += part * (x - mean).powi(2);
            }
        }
        // A silent channel stays silent.
        let inverse = variance.iter().map(|v: &f32| 1.0 / v.sqrt().max(1e-6)).collect();
        Scale { mean, inverse }
    }

    /// What the adversary makes of one embedding: a probability for each person.
    fn answer(&self, scale: &Scale, h: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let people = self.memory.len();
        let (rows, bias) = self.weights.split_at(self.width * people);
        let x: Vec<f32> = scale.apply(h).collect();
        let mut answer = bias.to_vec();
        for (row, x) in rows.chunks_exact(people).zip(&x) {
            answer.iter_mut().zip(row).for_each(|(logit, w)| *logit += w * x);
        }
        crate::loss::softmax(&mut answer, people);
        (x, answer)
    }

    /// One step of Adam down the cross-entropy of everything that is remembered.
    fn learn(&mut self, scale: &Scale) {
        let people = self.memory.len();
        let mut gradient = vec![0.0; self.weights.len()];
        for (person, rows) in self.memory.iter().enumerate() {
            let part = self.width as f32 / rows.len() as f32 / people as f32;
            for h in rows.chunks_exact(self.width) {
                let (x, mut slope) = self.answer(scale, h);
                slope[person] -= 1.0;
                for (row, x) in gradient.chunks_exact_mut(people).zip(x.iter().chain([&1.0])) {
                    row.iter_mut().zip(&slope).for_each(|(g, s)| *g += part * s * x);
                }
            }
        }
        self.steps += 1;
        let bias = BETAS.map(|beta| 1.0 - beta.powi(self.steps));
        let [first, second] = &mut self.moments;
        for (((w, g), m), v) in self.weights.iter_mut().zip(&gradient).zip(first).zip(second) {
            *m += (1.0 - BETAS[0]) * (g - *m);
            *v += (1.0 - BETAS[1]) * (g * g - *v);
            *w -= RATE * (*m / bias[0]) / ((*v / bias[1]).sqrt() + 1e-8);
        }
    }

    /// The mean divergence of the answers from no answer, KL(uniform || answer); adds its gradient to `dh`.
    fn confuse(&self, scale: &Scale, h: &[f32], dh: &mut [f32]) -> f64 {
        let people = self.memory.len();
        let even = 1.0 / people as f32;
        let part = self.weight * self.width as f32 / h.len() as f32;
        let mut loss = 0.0;
        for (h, dh) in h.chunks_exact(self.width).zip(dh.chunks_exact_mut(self.width)) {
            let (_, answer) = self.answer(scale, h);
            loss -= answer
                .iter()
                .map(|p| f64::from(even * (p.max(f32::MIN_POSITIVE) * people as f32).ln()))
                .sum::<f64>();
            for ((d, row), inverse) in
                dh.iter_mut().zip(self.weights.chunks_exact(people)).zip(&scale.inverse)
            {
                let slope: f32 = row.iter().zip(&answer).map(|(w, p)| w * (p - even)).sum();
                *d += part * inverse * slope;
            }
        }
        loss * f64::from(part)
    }
}

impl Scale {
    fn apply<'a>(&'a self, h: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        h.iter().zip(&self.mean).zip(&self.inverse).map(|((h, mean), inverse)| (h - mean) * inverse)
    }
}

impl Align for Adversary {
    /// The game begins once everybody was seen.
    fn pull(&mut self, night: usize, h: &[f32], _: &[Option<u8>], dh: &mut [f32]) {
        self.remember(self.people[night], h);
        if self.memory.iter().any(Vec::is_empty) {
            return;
        }
        let scale = self.scale();
        for _ in 0..STEPS {
            self.learn(&scale);
        }
        self.confuse(&scale, h, dh);
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SHAPE: Embedding = Embedding { classes: 2, width: 3 };

    /// Three people, each at another level of the second channel.
    fn night(person: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(person as u64);
        let row = |_| {
            let [a, b, c] = [(); 3].map(|()| rng.random_range(-1.0..1.0f32));
            [a, 0.3 * b + person as f32, c]
        };
        (0..40).flat_map(row).collect()
    }

    fn trained(steps: usize) -> Adversary {
        let mut adversary = Adversary::new(1.0, SHAPE, &[0, 1, 2]);
        for step in 0..steps {
            adversary.pull(step % 3, &night(step % 3), &[], &mut [0.0; 120]);
        }
        adversary
    }

    #[test]
    fn it_learns_who_is_who() {
        let adversary = trained(150);
        let scale = adversary.scale();
        let hits = |person: usize| {
            let right = |h: &&[f32]| {
                let (_, answer) = adversary.answer(&scale, h);
                (0..3).max_by(|a, b| answer[*a].total_cmp(&answer[*b])) == Some(person)
            };
            night(person).chunks_exact(3).filter(right).count()
        };
        assert!([0, 1, 2].map(hits).iter().sum::<usize>() > 108, "of 120: {:?}", [0, 1, 2].map(hits));
    }

    #[test]
    fn embeddings_are_pushed_down_the_divergence() {
        let adversary = trained(60);
        let (scale, mut h) = (adversary.scale(), night(2));
        let mut dh = vec![0.0; h.len()];
        adversary.confuse(&scale, &h, &mut dh);
        assert!(dh.iter().any(|d| d.abs() > 1e-4));
        for i in 0..h.len() {
            let here = h[i];
            let mut at = |d: f32| {
                h[i] = here + d;
                let loss = adversary.confuse(&scale, &h, &mut vec![0.0; 120]);
                h[i] = here;
                loss
            };
            let expected = (at(1.0 / 32.0) - at(-1.0 / 32.0)) * 16.0;
            assert!((f64::from(dh[i]) - expected).abs() < 2e-5, "{i}: {} {expected}", dh[i]);
        }
    }

    #[test]
    fn it_waits_until_everybody_was_seen() {
        let mut adversary = Adversary::new(1.0, SHAPE, &[0, 1, 2]);
        let mut dh = vec![0.0; 120];
        for person in [0, 1, 1] {
            adversary.pull(person, &night(person), &[], &mut dh);
        }
        assert!(dh.iter().all(|d| *d == 0.0));
        adversary.pull(2, &night(2), &[], &mut dh);
        assert!(dh.iter().any(|d| *d != 0.0));
    }
}
