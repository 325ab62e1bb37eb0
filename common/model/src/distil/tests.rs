use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use somnus_protocol::plan::{Augmentation, TrainPlan};
use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Night, NightRules};

use super::lesson::Distilled;
use super::{Strategy, Teacher};
use crate::config::{DeviceKind, NetConfig};
use crate::course::Course;
use crate::input::Prepared;
use crate::stager::{Posterior, Stager};

fn nights(people: usize, seed: u64) -> Vec<Night> {
    let config = SyntheticConfig { people, seed, ..SyntheticConfig::default() };
    synthetic::cohort(&config, &NightRules::default()).nights
}

/// The same nights; nobody scored them.
fn unscored(mut nights: Vec<Night>) -> Vec<Night> {
    nights.iter_mut().for_each(|night| night.stages.fill(None));
    nights
}

fn teacher() -> Stager {
    let config = NetConfig { dilations: vec![1, 4, 16], context: vec![3, 10], ..NetConfig::default() };
    Stager::new(&config, 1, DeviceKind::Flex).unwrap()
}

fn student(seed: u64) -> Stager {
    let config =
        NetConfig { width: 16, kernel: 3, dilations: vec![1, 4], context: vec![3], ..NetConfig::default() };
    Stager::new(&config, seed, DeviceKind::Flex).unwrap()
}

fn prepared(stager: &Stager, nights: &[Night]) -> Vec<Prepared> {
    nights.iter().map(|night| stager.prepare(night).unwrap()).collect()
}

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn plan(steps: u32) -> TrainPlan {
    let augmentation =
        Augmentation { crop: 0.3, input_noise: 0.1, time_warp: 0.1, ..Augmentation::default() };
    TrainPlan { steps, augmentation, ..TrainPlan::default() }
}

/// Along the gradient of each part alone, so that a wrong one cannot hide behind the others.
#[test]
fn gradients_agree_with_finite_differences() {
    let (big, small) = (teacher(), student(2));
    let net = small.net();
    let hard = Strategy::Hard { labels: 0.5 };
    for strategy in [hard, Strategy::ALL[1], Strategy::ALL[2], Strategy::ALL[3]] {
        let nights = prepared(&big, &nights(1, 4));
        let distilled = Distilled::new(&small, Teacher::Network(&big), nights, plan(1), strategy).unwrap();
        let mut weights = small.weights().to_vec();
        let mut parts = vec![0..net.layout.head.start, net.layout.head.clone()];
        if let Some(projection) = &distilled.projection {
            weights.extend(projection.start(&mut rng(2)));
            parts.push(projection.weight.clone());
        }
        let learn = |weights: &[f32], gradients: &mut [f32]| {
            distilled.learn(net, 0, 0.8, weights, &mut rng(8), gradients).unwrap()
        };
        let mut slope = vec![0.0; weights.len()];
        learn(&weights, &mut slope);
        for part in parts {
            let norm = slope[part.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
            assert!(norm > 1e-3, "{strategy:?} {part:?}");
            let at = |d: f32| {
                let mut moved = weights.clone();
                for (weight, g) in moved[part.clone()].iter_mut().zip(&slope[part.clone()]) {
                    *weight += d * g / norm;
                }
                f64::from(learn(&moved, &mut vec![0.0; weights.len()]))
            };
            let measured = (at(4e-3) - at(-4e-3)) / 8e-3;
            let apart = (measured / f64::from(norm) - 1.0).abs();
            assert!(apart < 1e-2, "{strategy:?} {part:?}: {measured} {norm}");
        }
    }
}

/// Without one label, on nights that nobody learned from.
#[test]
fn a_student_comes_to_say_what_its_teacher_says() {
    let (known, new) = (nights(6, 1), nights(3, 2));
    let mut big = teacher();
    let own = prepared(&big, &known);
    big.fit(&own.iter().collect::<Vec<_>>(), &TrainPlan::default(), 15, 1).unwrap();
    let agreement = |stager: &Stager| {
        let same = new.iter().map(|night| {
            let (a, b) = (big.predict(night).unwrap().argmax(), stager.predict(night).unwrap().argmax());
            a.iter().zip(b).filter(|(a, b)| **a == *b).count()
        });
        same.sum::<usize>() as f64 / new.iter().map(|night| night.epochs).sum::<usize>() as f64
    };
    let before = agreement(&student(2));
    for strategy in &Strategy::ALL[..3] {
        let lessons = prepared(&big, &unscored(known.clone()));
        let course =
            Course::distilled(&student(2), Teacher::Network(&big), lessons, &plan(240), *strategy, 0.25, 3);
        let after = agreement(&course.unwrap().complete().unwrap());
        assert!(after > before + 0.3, "{}: {before} then {after}", strategy.name());
    }
}

#[test]
fn posteriors_teach_without_a_network_and_match_their_nights() {
    let (big, small, known) = (teacher(), student(2), unscored(nights(2, 1)));
    let posteriors: Vec<Posterior> = known.iter().map(|night| big.predict(night).unwrap()).collect();
    let own = prepared(&small, &known);
    let course = |posteriors: &[Posterior], strategy| {
        Course::distilled(&small, Teacher::Posteriors(posteriors), own.clone(), &plan(30), strategy, 0.0, 1)
    };
    let mut taught = course(&posteriors, Strategy::ALL[1]).unwrap();
    let losses: Vec<f32> = (0..30).map(|_| taught.step().unwrap().unwrap()).collect();
    assert!(losses[25..].iter().sum::<f32>() < losses[3..8].iter().sum::<f32>(), "{losses:?}");
    let refused =
        |posteriors: &[Posterior], strategy| course(posteriors, strategy).err().unwrap().to_string();
    assert!(refused(&posteriors[1..], Strategy::ALL[1]).contains("other nights"));
    assert!(refused(&posteriors, Strategy::ALL[3]).contains("no embeddings"));
    let wrong =
        Course::distilled(&small, Teacher::Network(&big), own.clone(), &plan(1), Strategy::ALL[0], 0.0, 1);
    assert!(wrong.err().unwrap().to_string().contains("numbers an epoch"));
}
