//! Lies that are made of an update.

use std::sync::Arc;

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use somnus_protocol::checkpoint::{bytes_of, floats};
use somnus_protocol::sum::MAX_DELTA;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};

use super::ring::Ring;

/// What a liar sends in place of what its hands have trained.
#[derive(Clone)]
pub enum Forgery {
    /// The update, times a factor.
    Scaled(f32),
    /// What its ring makes of honest updates.
    Colluding(Arc<Ring>),
    /// Nothing, or noise as large as the last change times a factor.
    Idle(f32),
    /// Its first update.
    Old,
}

/// A client that lies in training and is honest in evaluation.
pub struct Liar {
    hands: Arc<dyn Trainer>,
    forgery: Forgery,
}

/// What who does not train says of its training: a usual night.
const CLAIMED: u32 = 900;

impl Liar {
    /// A liar whose own training `hands` do, on whatever nights they have.
    #[must_use]
    pub fn new(hands: Arc<dyn Trainer>, forgery: Forgery) -> Self {
        Self { hands, forgery }
    }
}

impl Trainer for Liar {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let mut update = match &self.forgery {
            Forgery::Scaled(factor) => {
                let mut update = self.hands.train(task)?;
                update.delta.iter_mut().for_each(|delta| *delta *= factor);
                update
            }
            Forgery::Colluding(ring) => ring.forge(task)?,
            Forgery::Idle(noise) => idle(task, *noise),
            Forgery::Old => {
                let update = self.hands.train(task)?;
                let first = task.memory.clone().unwrap_or_else(|| Bytes::from(bytes_of(&update.delta)));
                LocalUpdate { delta: floats(&first), memory: Some(first), ..update }
            }
        };
        // A refused update would change nothing.
        let limit = MAX_DELTA as f32;
        update.delta.iter_mut().for_each(|delta| *delta = delta.clamp(-limit, limit));
        Ok(update)
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        // A memory is a lie's own.
        self.hands.evaluate(&EvaluateTask { memory: None, ..task.clone() })
    }
}

/// Zeros, or normal noise that is as long as what the last round has changed. The release before is in the memory.
fn idle(task: &TrainTask, noise: f32) -> LocalUpdate {
    let weights = floats(&task.weights);
    let before = task.memory.as_deref().map(floats).filter(|before| before.len() == weights.len());
    let squares =
        |before: &Vec<f32>| weights.iter().zip(before).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    let change = before.as_ref().map_or(0.0, |before| (squares(before) / weights.len() as f64).sqrt());
    let scale = noise * change as f32;
    let mut rng = ChaCha8Rng::seed_from_u64(task.seed);
    let delta = weights.iter().map(|_| if scale > 0.0 { scale * normal(&mut rng) } else { 0.0 }).collect();
    let memory = (noise > 0.0).then(|| task.weights.clone());
    LocalUpdate { delta, steps: 1, examples: CLAIMED, loss: 1.0, memory, ..LocalUpdate::default() }
}

/// A standard normal number (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, angle): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::ring::tests::{Fixed, task};

    fn sent(forgery: Forgery, task: &TrainTask) -> LocalUpdate {
        Liar::new(Arc::new(Fixed(vec![1.0, -2.0])), forgery).train(task).unwrap()
    }

    #[test]
    fn attack_scaled_updates_stay_within_what_a_server_takes() {
        assert_eq!(sent(Forgery::Scaled(-1.0), &task(1, &[0.0; 2], 7)).delta, [-1.0, 2.0]);
        assert_eq!(sent(Forgery::Scaled(100.0), &task(1, &[0.0; 2], 7)).delta, [100.0, -128.0]);
    }

    #[test]
    fn attack_replay_sends_what_it_sent_first() {
        let first = sent(Forgery::Old, &task(1, &[0.0; 2], 7));
        assert_eq!(first.delta, [1.0, -2.0]);
        let later = Liar::new(Arc::new(Fixed(vec![9.0, 9.0])), Forgery::Old);
        let task = TrainTask { memory: first.memory, ..task(2, &[5.0; 2], 8) };
        assert_eq!(later.train(&task).unwrap().delta, [1.0, -2.0]);
    }

    #[test]
    fn attack_free_riders_send_zeros_or_noise_of_the_last_change() {
        let weights = vec![0.5; 4000];
        let first = task(1, &weights, 7);
        assert!(sent(Forgery::Idle(0.0), &first).delta.iter().all(|delta| *delta == 0.0));
        let start = sent(Forgery::Idle(2.0), &first);
        assert!(start.delta.iter().all(|delta| *delta == 0.0), "there was no change yet");
        let moved: Vec<f32> = weights.iter().map(|weight| weight + 0.1).collect();
        let next = TrainTask { memory: start.memory, ..task(2, &moved, 8) };
        let noise = sent(Forgery::Idle(2.0), &next).delta;
        let sd = (noise.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>() / 4000.0).sqrt();
        // Five standard errors of a deviation from 4,000 numbers.
        assert!((sd - 0.2).abs() < 0.2 * 5.0 / 8000f64.sqrt(), "{sd}");
        assert_eq!(noise, sent(Forgery::Idle(2.0), &next).delta);
    }
}
