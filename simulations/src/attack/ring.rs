//! Liars who know one another: from honest training of their own they estimate what honest updates look like, and all send
//! the same lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use somnus_protocol::ids::{Digest, Round};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::trainer::{LocalUpdate, TrainError, TrainTask, Trainer};

/// The lie that a ring tells.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lie {
    /// The mean minus so many standard deviations, coordinate by coordinate.
    Deviations(f32),
    /// The mean, times a factor.
    Mean(f32),
}

/// Liars and what they have found out. What they find depends on the round and its release alone, not on who asks first.
pub struct Ring {
    hands: Vec<Arc<dyn Trainer>>,
    lie: Lie,
    seed: Seed,
    known: Mutex<BTreeMap<(Round, Digest), Arc<Forged>>>,
}

type Forged = OnceLock<Result<LocalUpdate, TrainError>>;

/// Honest trainings behind an estimate, at least: few liars train several times, each time with other chance.
const TRAININGS: usize = 3;

impl Ring {
    /// A ring of liars with honest hands; at least one.
    #[must_use]
    pub fn new(hands: Vec<Arc<dyn Trainer>>, lie: Lie, seed: Seed) -> Self {
        Self { hands, lie, seed, known: Mutex::default() }
    }

    /// What every liar of the ring sends.
    ///
    /// # Errors
    /// That of the first honest training that failed.
    pub fn forge(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let key = (task.round, Digest::of(&task.weights));
        let forged = {
            // Entries are replaced whole, so what a panicking holder leaves behind is still sound.
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let forged = Arc::clone(known.entry(key).or_default());
            while known.len() > 2 {
                known.pop_first();
            }
            forged
        };
        forged.get_or_init(|| self.estimate(task)).clone()
    }

    fn estimate(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        let times = TRAININGS.div_ceil(self.hands.len().max(1));
        let mut updates = Vec::new();
        for (number, hands) in self.hands.iter().enumerate() {
            for time in 0..times {
                let context = [task.round.0, number as u64, time as u64].map(u64::to_le_bytes).concat();
                let seed = self.seed.derive(Label::Client, &context).number();
                updates.push(hands.train(&TrainTask { seed, memory: None, ..task.clone() })?);
            }
        }
        let deltas: Vec<&[f32]> = updates.iter().map(|update| update.delta.as_slice()).collect();
        let delta = self.lie.tell(&deltas);
        let first = updates.swap_remove(0);
        Ok(LocalUpdate { delta, memory: None, ..first })
    }
}

impl Lie {
    /// Made of honest updates.
    fn tell(self, honest: &[&[f32]]) -> Vec<f32> {
        let count = honest.len() as f64;
        let of = |at: usize| {
            let values = || honest.iter().map(|update| f64::from(update[at]));
            let mean = values().sum::<f64>() / count;
            match self {
                Self::Mean(factor) => (f64::from(factor) * mean) as f32,
                Self::Deviations(z) => {
                    let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
                    (mean - f64::from(z) * (squares / (count - 1.0).max(1.0)).sqrt()) as f32
                }
            }
        };
        (0..honest.first().map_or(0, |update| update.len())).map(of).collect()
    }
}

/// The deviations that hide `liars` among `cohort` clients (Baruch et al. 2019): the lie and enough honest updates beyond it
/// are a majority. Not below 0.
#[must_use]
pub fn hiding(cohort: usize, liars: usize) -> f32 {
    let (n, f) = (cohort as f64, liars as f64);
    if f >= n {
        return 0.0;
    }
    quantile((n - (n / 2.0 + 1.0).floor()) / (n - f)).max(0.0) as f32
}

/// The standard normal quantile to 4.5e-4 (Abramowitz and Stegun 26.2.23), 0 to 1 exclusive; ends are cut to 1e-9.
fn quantile(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    let t = (-2.0 * p.min(1.0 - p).ln()).sqrt();
    let tail = t
        - (2.515_517 + t * (0.802_853 + t * 0.010_328))
            / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308)));
    if p < 0.5 { -tail } else { tail }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use somnus_protocol::checkpoint::bytes_of;
    use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation};

    use super::*;

    /// Hands that always make the same update.
    pub(crate) struct Fixed(pub(crate) Vec<f32>);

    impl Trainer for Fixed {
        fn train(&self, _: &TrainTask) -> Result<LocalUpdate, TrainError> {
            Ok(LocalUpdate { delta: self.0.clone(), examples: 5, steps: 1, ..LocalUpdate::default() })
        }

        fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
            Err(TrainError("these hands do not evaluate".into()))
        }
    }

    /// Hands whose update is their seed.
    struct Seeded;

    impl Trainer for Seeded {
        fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
            Ok(LocalUpdate { delta: vec![(task.seed % 1000) as f32], examples: 5, ..LocalUpdate::default() })
        }

        fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
            Fixed(Vec::new()).evaluate(task)
        }
    }

    pub(crate) fn task(round: u64, weights: &[f32], seed: u64) -> TrainTask {
        TrainTask {
            round: Round(round),
            weights: Bytes::from(bytes_of(weights)),
            seed,
            ..TrainTask::default()
        }
    }

    fn ring(lie: Lie, hands: &[[f32; 2]]) -> Ring {
        let hands = hands.iter().map(|own| Arc::new(Fixed(own.to_vec())) as Arc<dyn Trainer>).collect();
        Ring::new(hands, lie, Seed::from_number(1))
    }

    #[test]
    fn attack_lies_are_made_of_the_liars_own_honest_updates() {
        let own = [[1.0, 0.0], [2.0, 0.0], [3.0, 6.0]];
        let task = task(1, &[0.0], 9);
        assert_eq!(ring(Lie::Mean(-2.0), &own).forge(&task).unwrap().delta, [-4.0, -4.0]);
        let alie = ring(Lie::Deviations(0.5), &own).forge(&task).unwrap().delta;
        // Standard deviations 1 and sqrt 12.
        assert!((alie[0] - 1.5).abs() < 1e-6 && (alie[1] - (2.0 - 3f32.sqrt())).abs() < 1e-6, "{alie:?}");
    }

    #[test]
    fn attack_rings_agree_whoever_asks_first_and_few_liars_train_often() {
        let ring = || Ring::new(vec![Arc::new(Seeded)], Lie::Deviations(1.0), Seed::from_number(1));
        let (here, there) = (ring(), ring());
        let one = here.forge(&task(1, &[0.0], 11)).unwrap();
        assert_eq!(one, there.forge(&task(1, &[0.0], 12)).unwrap());
        assert_eq!(one, here.forge(&task(1, &[0.0], 13)).unwrap());
        let mean = Ring::new(vec![Arc::new(Seeded)], Lie::Mean(1.0), Seed::from_number(1));
        assert_ne!(one.delta, mean.forge(&task(1, &[0.0], 11)).unwrap().delta, "there is a deviation");
        assert_ne!(one, here.forge(&task(2, &[0.0], 11)).unwrap());
        assert!(here.known.lock().unwrap().len() <= 2);
    }

    #[test]
    fn attack_deviations_hide_as_the_paper_s_example() {
        // 50 clients of which 24 lie: the quantile of (50 - 26) / (50 - 24).
        assert!((hiding(50, 24) - 1.4261).abs() < 1e-3, "{}", hiding(50, 24));
        assert_eq!(hiding(5, 1), 0.0);
        assert_eq!(hiding(3, 3), 0.0);
        for (p, z) in [(0.5, 0.0), (0.8413, 1.0), (0.9772, 2.0), (0.1587, -1.0)] {
            assert!((quantile(p) - z).abs() < 1e-3, "{p}: {}", quantile(p));
        }
    }
}
