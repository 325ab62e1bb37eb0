//! A client's hands: what a round's task does to the private nights, and what it may not see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use somnus_model::{
    Alike, Between, DeviceKind, Foundations, Likeness, NetConfig, NightPart, NightTrainer, Stager,
};
use somnus_protocol::checkpoint::{bytes_of, floats};
use somnus_protocol::ids::{Round, Version};
use somnus_protocol::moments::{Embedding, Moments};
use somnus_protocol::plan::{Augmentation, Invariance, Optimiser, Personalisation, TrainPlan, TrainableSet};
use somnus_protocol::trainer::{EvaluateTask, TrainTask, Trainer};
use somnus_protocol::update::Sections;
use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Features, Night, NightRules};

fn nights(people: usize) -> Vec<Arc<Night>> {
    let config = SyntheticConfig { people, ..SyntheticConfig::default() };
    synthetic::cohort(&config, &NightRules::default()).nights.into_iter().map(Arc::new).collect()
}

fn foundation() -> (Stager, Bytes) {
    let config = NetConfig { width: 16, adapters: 4, ..NetConfig::default() };
    let stager = Stager::new(&config, 7, DeviceKind::Flex).unwrap();
    let file = stager.to_checkpoint("foundation", BTreeMap::new()).to_bytes().unwrap();
    (stager, file.into())
}

fn task(stager: &Stager, foundation: &Bytes, set: TrainableSet) -> TrainTask {
    TrainTask {
        round: Round(1),
        plan: TrainPlan { trainable: set, steps: 2, ..TrainPlan::default() },
        seed: 11,
        foundation: foundation.clone(),
        weights: bytes_of(&stager.trainable(set).unwrap()).into(),
        ..TrainTask::default()
    }
}

#[test]
fn an_update_is_what_training_changed_and_can_be_had_again() {
    let nights = nights(2);
    let (stager, file) = foundation();
    let shared = Foundations::default();
    let client = |i: usize| {
        let parts = vec![NightPart::whole(Arc::clone(&nights[i]))];
        NightTrainer::new(DeviceKind::Flex, parts.clone(), parts).sharing(&shared)
    };
    let (one, two) = (client(0), client(1));
    for set in [TrainableSet::Head, TrainableSet::Adapters, TrainableSet::Full] {
        let task = task(&stager, &file, set);
        let update = one.train(&task).unwrap();
        assert_eq!(update.delta.len(), stager.trainable(set).unwrap().len());
        assert_eq!(update.examples as usize, nights[0].quality.scored);
        assert!(update.delta.iter().any(|d| *d != 0.0));
        assert_ne!(two.train(&task).unwrap().delta, update.delta);
        assert_eq!(one.train(&task).unwrap(), update);
        assert_eq!(client(0).train(&task).unwrap(), update);

        let mut trained = stager.clone();
        let prepared = trained.prepare(&nights[0]).unwrap();
        trained.train(&[&prepared], &task.plan, task.seed).unwrap();
        let before = stager.trainable(set).unwrap();
        let moved = trained.trainable(set).unwrap();
        let delta: Vec<f32> = moved.iter().zip(&before).map(|(a, b)| a - b).collect();
        assert_eq!(update.delta, delta);

        // The next release of the same set, which whoever has seen this one must not mistake for it.
        let next = TrainTask { weights: bytes_of(&moved).into(), ..task };
        let parts = vec![NightPart::whole(Arc::clone(&nights[0]))];
        let stranger = NightTrainer::new(DeviceKind::Flex, parts.clone(), parts);
        assert_eq!(one.train(&next).unwrap(), stranger.train(&next).unwrap());
        assert_ne!(one.train(&next).unwrap(), update);
    }
}

#[test]
fn whoever_is_asked_between_steps_can_end_a_training_and_change_nothing_else() {
    let nights = nights(1);
    let (stager, file) = foundation();
    for set in [TrainableSet::Head, TrainableSet::Full] {
        for personal in [Personalisation::None, Personalisation::Ditto { lambda: 0.1 }] {
            let mut task = task(&stager, &file, set);
            (task.plan.steps, task.plan.personal) = (4, personal);
            // Answers yes so many times.
            let client = |most: u32| {
                let (asked, parts) =
                    (Arc::new(AtomicU32::new(0)), vec![NightPart::whole(Arc::clone(&nights[0]))]);
                let count = Arc::clone(&asked);
                let ask = move || {
                    let before = count.fetch_add(1, Ordering::Relaxed);
                    if before < most { Ok(()) } else { Err("the window has closed".to_owned()) }
                };
                let client = NightTrainer::new(DeviceKind::Flex, parts.clone(), parts);
                (client.asking(Between::asking(ask)), asked)
            };
            let (patient, asked) = client(u32::MAX);
            let parts = vec![NightPart::whole(Arc::clone(&nights[0]))];
            let nobody_asked = NightTrainer::new(DeviceKind::Flex, parts.clone(), parts).train(&task);
            assert_eq!(patient.train(&task), nobody_asked);
            // A personal copy is trained beside what is shared.
            let trainings = if personal == Personalisation::None { 1 } else { 2 };
            assert_eq!(asked.load(Ordering::Relaxed), 4 * trainings);
            let (stopped, asked) = client(3);
            assert_eq!(stopped.train(&task).unwrap_err().to_string(), "the window has closed");
            assert_eq!(asked.load(Ordering::Relaxed), 4);
        }
    }
}

#[test]
fn a_chronological_cut_hides_the_later_part_from_training_and_counts_only_it() {
    let night = nights(1).remove(0);
    let (stager, file) = foundation();
    let (cut, end) = (night.epochs / 2, night.epochs);
    let client = |night: &Arc<Night>| {
        let train = vec![NightPart::part(Arc::clone(night), 0..cut)];
        let evaluate = vec![NightPart::part(Arc::clone(night), cut + 10..end)];
        NightTrainer::new(DeviceKind::Flex, train, evaluate)
    };
    let task = task(&stager, &file, TrainableSet::Full);
    let update = client(&night).train(&task).unwrap();
    assert_eq!(update.examples as usize, night.stages[..cut].iter().flatten().count());

    let mut other = Night::clone(&night);
    for Features { width, values, .. } in other.features.values_mut() {
        values[cut * *width..].fill(9.0);
    }
    other.stages[cut..].fill(None);
    assert_eq!(client(&Arc::new(other)).train(&task).unwrap(), update);

    let evaluation = EvaluateTask {
        version: Version(0),
        plan: task.plan.clone(),
        foundation: file,
        weights: task.weights,
        memory: None,
    };
    let result = client(&night).evaluate(&evaluation).unwrap();
    let counted = night.stages[cut + 10..].iter().flatten().count();
    assert_eq!((result.classes, result.confusion.len()), (4, 16));
    assert_eq!(result.confusion.iter().sum::<u32>() as usize, counted);
    let predicted = stager.predict(&night).unwrap().argmax();
    let truth = night.classes(stager.task());
    let right = (cut + 10..end).filter(|e| truth[*e] == Some(predicted[*e])).count();
    assert_eq!((0..4).map(|i| result.confusion[i * 5]).sum::<u32>() as usize, right);
}

#[test]
fn what_cannot_be_used_is_said() {
    let night = nights(1).remove(0);
    let (stager, file) = foundation();
    let parts = vec![NightPart::whole(night)];
    let client = NightTrainer::new(DeviceKind::Flex, parts.clone(), parts);
    let good = task(&stager, &file, TrainableSet::Head);
    let torn = TrainTask { foundation: file.slice(..100), ..good.clone() };
    assert!(client.train(&torn).unwrap_err().to_string().contains("safetensors"));
    let short = TrainTask { weights: good.weights.slice(4..), ..good.clone() };
    assert!(client.train(&short).unwrap_err().to_string().contains("67 weights"));
    let nan = bytes_of(&vec![f32::NAN; 68]).into();
    assert!(
        client.train(&TrainTask { weights: nan, ..good.clone() }).unwrap_err().to_string().contains("finite")
    );
    assert!(client.train(&good).is_ok());
    let idle = NightTrainer::new(DeviceKind::Flex, vec![], vec![]);
    assert!(idle.train(&good).unwrap_err().to_string().contains("no night"));
}

/// One client of one night, that trains and is judged on it.
fn client(night: &Arc<Night>) -> NightTrainer {
    let parts = vec![NightPart::whole(Arc::clone(night))];
    NightTrainer::new(DeviceKind::Flex, parts.clone(), parts)
}

#[test]
fn scaffold_corrects_each_step_by_what_it_remembers() {
    let night = &nights(1)[0];
    let (stager, file) = foundation();
    for set in [TrainableSet::Head, TrainableSet::Full] {
        let mut plain = task(&stager, &file, set);
        plain.plan.optimiser = Optimiser::Sgd { momentum: 0.0 };
        plain.plan.learning_rate = 0.05;
        let delta = client(night).train(&plain).unwrap().delta;
        let len = delta.len();

        // Nobody is heading anywhere yet: the same steps, and the mean gradient is remembered.
        let first = TrainTask { control: Some(vec![0.0; len]), ..plain.clone() };
        let update = client(night).train(&first).unwrap();
        assert_eq!((&update.delta, update.steps), (&delta, 2));
        let gradient: Vec<f32> = delta.iter().map(|d| -d * (1.0 / (2.0 * 0.05))).collect();
        assert_eq!(update.control.as_ref(), Some(&gradient));
        assert_eq!(floats(update.memory.as_ref().unwrap()), gradient);

        // Where everybody heads as this client does there is nothing to correct, and nothing moves on.
        let same = TrainTask { control: Some(gradient.clone()), memory: update.memory, ..plain.clone() };
        let update = client(night).train(&same).unwrap();
        assert_eq!(update.delta, delta);
        assert!(update.control.unwrap().iter().all(|change| change.abs() < 1e-6));

        // Without the memory every step is corrected; what comes of it is the mean gradient again, not the correction.
        let mut steps = plain.clone();
        steps.plan.steps = 1;
        let bare = client(night).train(&steps).unwrap().delta;
        let lost = TrainTask { control: Some(vec![0.5; len]), ..steps };
        let update = client(night).train(&lost).unwrap();
        for (i, (with, without)) in update.delta.iter().zip(&bare).enumerate() {
            assert!((with - (without - 0.05 * 0.5)).abs() < 1e-6, "{set:?} weight {i}: {with} and {without}");
        }
        for (own, without) in floats(&update.memory.unwrap()).iter().zip(&bare) {
            assert!((own - -without / 0.05).abs() < 1e-4, "{own} and {without}");
        }
    }
}

/// The moments of a night as it is.
fn clean(stager: &Stager, night: &Night) -> Moments {
    let embedded = stager.embed(&stager.prepare(night).unwrap());
    let mut moments = Moments::new(stager.embedding());
    for (class, h) in night.classes(stager.task()).into_iter().zip(embedded.values().chunks_exact(16)) {
        class.into_iter().for_each(|class| moments.add(class as u8, h));
    }
    moments
}

#[test]
fn moments_tell_of_the_views_that_were_trained_on() {
    let night = &nights(1)[0];
    let (stager, file) = foundation();
    let shape = stager.embedding();
    assert_eq!(shape, Embedding { classes: 4, width: 16 });
    let train = |plan: &TrainPlan, moments| {
        let sections = Sections { moments, ..Sections::default() };
        let task = task(&stager, &file, plan.trainable);
        client(night).train(&TrainTask { sections, plan: plan.clone(), ..task })
    };
    let told = |plan: &TrainPlan| train(plan, Some(shape)).unwrap().moments.unwrap();
    let counts = |moments: &Moments| [0, 1, 2, 3].map(|class| moments.count(class));

    // A single step that changes nothing of the night sees it as it is, under the release.
    let still = Augmentation { input_noise: 0.0, ..Augmentation::default() };
    let bare = TrainPlan {
        trainable: TrainableSet::Full,
        steps: 1,
        dropout: 0.0,
        augmentation: still,
        ..TrainPlan::default()
    };
    let clean = clean(&stager, night);
    assert_eq!(clean.total() as usize, night.quality.scored);
    assert_eq!(told(&bare), clean);
    let changed = [
        TrainPlan { dropout: 0.3, ..bare },
        TrainPlan { augmentation: Augmentation { input_noise: 0.5, ..still }, ..bare },
        TrainPlan { augmentation: Augmentation { scale: 0.2, ..still }, ..bare },
    ];
    for plan in changed {
        let moments = told(&plan);
        assert_eq!(counts(&moments), counts(&clean));
        assert_ne!(moments, clean, "{plan:?}");
    }
    let crop = told(&TrainPlan { augmentation: Augmentation { crop: 0.5, ..still }, ..bare });
    assert!(crop.total() < clean.total());

    // Every step tells, the second of what the first has moved.
    let twice = told(&TrainPlan { steps: 2, ..bare });
    let mut unmoved = clean.clone();
    unmoved.merge(&clean);
    assert_eq!(counts(&twice), counts(&unmoved));
    assert_ne!(twice, unmoved);

    // Nothing moves what a head sees, whatever is done to it in training.
    let head = TrainPlan { trainable: TrainableSet::Head, steps: 2, ..TrainPlan::default() };
    assert_eq!(told(&head), clean);

    // Telling changes no training.
    let (with, without) = (train(&bare, Some(shape)).unwrap(), train(&bare, None).unwrap());
    assert_eq!((without.delta, without.moments), (with.delta, None));
    for plan in [&bare, &head] {
        let error = train(plan, Some(Embedding { width: 8, ..shape })).unwrap_err().to_string();
        assert!(error.contains("width: 8") && error.contains("width: 16"), "{error}");
    }
}

#[test]
fn a_client_is_pulled_towards_everybodys_moments() {
    let nights = nights(2);
    let (stager, file) = foundation();
    let sections = Sections { moments: Some(stager.embedding()), ..Sections::default() };
    let invariance = Some(Invariance { weight: 10.0, from_round: 2 });
    let base = task(&stager, &file, TrainableSet::Full);
    let plan = |invariance| TrainPlan { invariance, steps: 20, dropout: 0.0, ..base.plan.clone() };
    let task = |moments, invariance| TrainTask { sections, moments, plan: plan(invariance), ..base.clone() };
    let one = client(&nights[0]);
    let everybody = clean(&stager, &nights[1]);

    let without = one.train(&task(None, invariance)).unwrap();
    assert_eq!(one.train(&task(Some(everybody.clone()), None)).unwrap().delta, without.delta);
    let pulled = one.train(&task(Some(everybody.clone()), invariance)).unwrap();
    let away = |delta: &[f32]| {
        let before = stager.trainable(TrainableSet::Full).unwrap();
        let moved: Vec<f32> = before.iter().zip(delta).map(|(w, d)| w + d).collect();
        let mut after = stager.clone();
        after.set_trainable(TrainableSet::Full, &moved).unwrap();
        let own = clean(&after, &nights[0]);
        let classes = (0..4).filter_map(|class| {
            let scale = everybody.variance(class, 10.0)?;
            let (own, aim) = (own.mean(class, 10.0)?, everybody.mean(class, 10.0)?);
            Some(own.iter().zip(&aim).zip(&scale).map(|((a, b), v)| (a - b).powi(2) / v).sum::<f32>())
        });
        classes.sum::<f32>()
    };
    let [free, held] = [&without.delta, &pulled.delta].map(|delta| away(delta));
    assert!(held < 0.3 * free, "{held} after the pull, {free} without");

    let foreign = Moments::new(Embedding { width: 8, ..stager.embedding() });
    let error = one.train(&task(Some(foreign), invariance)).unwrap_err().to_string();
    assert!(error.contains("width: 8") && error.contains("width: 16"), "{error}");
}

#[test]
fn people_can_be_made_alike_in_one_place_too() {
    let nights = nights(3);
    let (stager, _) = foundation();
    let prepared: Vec<_> = nights.iter().map(|night| stager.prepare(night).unwrap()).collect();
    let prepared: Vec<_> = prepared.iter().collect();
    let plan = TrainPlan { steps: 60, ..TrainPlan::default() };
    let people = [0, 1, 2];
    // Between the people's means, over the spread within people, summed over channels; whatever the class.
    let apart = |likeness: Option<Likeness>| {
        let mut trained = stager.clone();
        let rate = |_| 4e-3;
        match likeness {
            Some(likeness) => {
                let alike = Alike { likeness, people: &people };
                trained.train_alike(&prepared, &plan, 5, &rate, 60, alike).unwrap();
            }
            None => drop(trained.train_averaged(&prepared, &plan, 5, &rate, 60).unwrap()),
        }
        let own = prepared.iter().map(|night| trained.embed(night));
        let moments: Vec<(Vec<f32>, Vec<f32>)> = own
            .map(|night| {
                let mut all = Moments::new(Embedding { classes: 1, width: 16 });
                night.values().chunks_exact(16).for_each(|h| all.add(0, h));
                (all.mean(0, 1.0).unwrap(), all.variance(0, 1.0).unwrap())
            })
            .collect();
        let channel = |c: usize| {
            let mean = moments.iter().map(|(mean, _)| mean[c]).sum::<f32>() / 3.0;
            let within: f32 = moments.iter().map(|(_, variance)| variance[c]).sum();
            moments.iter().map(|(own, _)| (own[c] - mean).powi(2)).sum::<f32>() / within
        };
        (0..16).map(channel).sum::<f32>()
    };
    let free = apart(None);
    for likeness in [Likeness::Moments(1.0), Likeness::Adversary(0.3)] {
        let held = apart(Some(likeness));
        assert!(held < 0.6 * free, "{likeness:?}: {held}, {free} without");
    }
}
