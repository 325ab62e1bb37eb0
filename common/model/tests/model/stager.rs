//! The network from outside: it learns, it repeats itself, it travels, and it says what is wrong with a file.

use std::collections::BTreeMap;

use somnus_model::{DeviceKind, ModelError, NetConfig, NightPart, Posterior, Prepared, Stager};
use somnus_protocol::checkpoint::{Checkpoint, Tensor};
use somnus_protocol::plan::{Augmentation, Optimiser, Schedule, TrainPlan, TrainableSet};
use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Features, Night, NightRules, StreamKind, Task};

fn nights(people: usize) -> Vec<Night> {
    let config = SyntheticConfig { people, ..SyntheticConfig::default() };
    synthetic::cohort(&config, &NightRules::default()).nights
}

fn small() -> NetConfig {
    NetConfig { width: 16, adapters: 4, ..NetConfig::default() }
}

fn stager() -> Stager {
    Stager::new(&small(), 7, DeviceKind::Flex).unwrap()
}

fn plan(steps: u32) -> TrainPlan {
    TrainPlan {
        steps,
        schedule: Schedule::Constant,
        augmentation: Augmentation {
            crop: 0.6,
            scale: 0.1,
            stream_dropout: 0.2,
            time_warp: 0.1,
            ..Augmentation::default()
        },
        ..TrainPlan::default()
    }
}

fn bits(stager: &Stager) -> Vec<u32> {
    stager.trainable(TrainableSet::Full).unwrap().iter().map(|w| w.to_bits()).collect()
}

#[test]
fn a_tiny_night_can_be_learned_by_heart() {
    let night = &nights(1)[0];
    let mut stager = stager();
    let part = stager.prepare_part(night, 0..120).unwrap();
    let plain = TrainPlan {
        dropout: 0.0,
        augmentation: Augmentation { input_noise: 0.0, ..Augmentation::default() },
        ..plan(150)
    };
    let first = stager.train(&[&part], &TrainPlan { steps: 1, ..plain.clone() }, 1).unwrap();
    stager.train(&[&part], &plain, 1).unwrap();
    let last = stager.train(&[&part], &TrainPlan { steps: 1, ..plain }, 1).unwrap();
    assert!(first.loss > 0.5 && last.loss < 0.1, "from {} to {}", first.loss, last.loss);
    assert_eq!((last.steps, last.examples as usize), (1, part.scored()));
}

#[test]
fn training_is_a_function_of_its_arguments_on_any_number_of_threads() {
    let nights = nights(2);
    let run = |seed| {
        let mut stager = stager();
        let prepared: Vec<Prepared> = nights.iter().map(|night| stager.prepare(night).unwrap()).collect();
        stager.train(&prepared.iter().collect::<Vec<_>>(), &plan(6), seed).unwrap();
        bits(&stager)
    };
    let alone = [run(1), run(2), run(3)];
    assert_ne!(alone[0], alone[1]);
    let together = std::thread::scope(|scope| {
        [1, 2, 3].map(|seed| scope.spawn(move || run(seed))).map(|handle| handle.join().unwrap())
    });
    assert_eq!(alone, together);
}

#[test]
fn flex_and_ndarray_agree_on_a_training_step() {
    let nights = nights(1);
    let step = |device| {
        let mut stager = Stager::new(&small(), 7, device).unwrap();
        let night = stager.prepare(&nights[0]).unwrap();
        // Plain descent: Adam's first step is the sign of the gradient, which rounding can turn over near zero.
        let sgd = TrainPlan { optimiser: Optimiser::Sgd { momentum: 0.0 }, learning_rate: 0.5, ..plan(1) };
        let report = stager.train(&[&night], &sgd, 3).unwrap();
        (report.loss, stager.trainable(TrainableSet::Full).unwrap(), stager.predict(&nights[0]).unwrap())
    };
    let (loss, weights, posterior) = step(DeviceKind::Flex);
    let (other_loss, other_weights, other_posterior) = step(DeviceKind::Ndarray);
    assert!((loss - other_loss).abs() < 1e-4);
    let worst = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst(&weights, &other_weights) < 1e-4);
    assert!(worst(&posterior.values, &other_posterior.values) < 1e-4);
}

#[test]
fn training_the_head_on_kept_embeddings_is_training_the_head_and_nothing_else_moves() {
    let nights = nights(2);
    let head = TrainPlan { trainable: TrainableSet::Head, ..plan(8) };
    let mut uncached = stager();
    let prepared: Vec<Prepared> = nights.iter().map(|night| uncached.prepare(night).unwrap()).collect();
    let mut cached = uncached.clone();
    let before = uncached.to_checkpoint("before", BTreeMap::new());
    let report = uncached.train(&prepared.iter().collect::<Vec<_>>(), &head, 4).unwrap();

    let embedded: Vec<_> = prepared.iter().map(|night| cached.embed(night)).collect();
    let again = cached.train_head(&embedded.iter().collect::<Vec<_>>(), &head, 4, &[]).unwrap();
    assert_eq!((report, bits(&uncached)), (again, bits(&cached)));

    let after = uncached.to_checkpoint("after", BTreeMap::new());
    for (name, tensor) in &before.tensors {
        assert_eq!(*tensor == after.tensors[name], !name.starts_with("head."), "{name}");
    }
}

#[test]
fn a_pass_is_as_many_steps_as_there_are_nights() {
    let nights = nights(3);
    let (mut by_steps, mut by_passes) = (stager(), stager());
    let prepared: Vec<Prepared> = nights.iter().map(|night| by_steps.prepare(night).unwrap()).collect();
    let prepared: Vec<&Prepared> = prepared.iter().collect();
    let report = by_steps.train(&prepared, &plan(6), 4).unwrap();
    let again = by_passes.train(&prepared, &TrainPlan { passes: 2, ..plan(1) }, 4).unwrap();
    assert_eq!((report.steps, report, bits(&by_steps)), (6, again, bits(&by_passes)));
}

#[test]
fn adapters_start_as_nothing_and_train_alone() {
    let night = &nights(1)[0];
    let mut stager = stager();
    let prepared = stager.prepare(night).unwrap();
    let before = stager.to_checkpoint("before", BTreeMap::new());
    let plain = Stager::new(&NetConfig { adapters: 0, ..small() }, 7, DeviceKind::Flex).unwrap();
    let mut bare = before.clone();
    bare.tensors.retain(|name, _| !name.contains("adapter"));
    bare.manifest = plain.to_checkpoint("bare", BTreeMap::new()).manifest;
    let bare = Stager::from_checkpoint(&bare, DeviceKind::Flex).unwrap();
    assert_eq!(bare.predict(night).unwrap(), stager.predict(night).unwrap());

    let plan = TrainPlan { trainable: TrainableSet::Adapters, ..plan(4) };
    stager.train(&[&prepared], &plan, 5).unwrap();
    let after = stager.to_checkpoint("after", BTreeMap::new());
    for (name, tensor) in &before.tensors {
        let moves = name.contains("adapter") || name.starts_with("head.");
        assert_eq!(*tensor == after.tensors[name], !moves, "{name}");
    }
}

#[test]
fn adapters_are_put_into_a_trained_network_without_changing_it() {
    let night = &nights(1)[0];
    let mut bare = Stager::new(&NetConfig { adapters: 0, ..small() }, 7, DeviceKind::Flex).unwrap();
    bare.train(&[&bare.prepare(night).unwrap()], &plan(3), 1).unwrap();
    let mut adapted = bare.with_adapters(4, 9).unwrap();
    assert_eq!(adapted.predict(night).unwrap(), bare.predict(night).unwrap());
    assert_eq!(bits(&bare.with_adapters(4, 9).unwrap()), bits(&adapted));

    let plan = TrainPlan { trainable: TrainableSet::Adapters, ..plan(4) };
    adapted.train(&[&adapted.prepare(night).unwrap()], &plan, 5).unwrap();
    assert_ne!(adapted.predict(night).unwrap(), bare.predict(night).unwrap());
    let twice = adapted.with_adapters(4, 9).err().expect("a refusal").to_string();
    assert_eq!(twice, "net.adapters: there are adapters of 4 already");
    let wide = bare.with_adapters(17, 9).err().expect("a refusal").to_string();
    assert!(wide.contains("17"), "{wide}");
}

#[test]
fn a_checkpoint_carries_the_whole_network() {
    let night = &nights(1)[0];
    let mut stager = stager();
    let prepared = stager.prepare(night).unwrap();
    stager.train(&[&prepared], &plan(3), 1).unwrap();
    let checkpoint = stager.to_checkpoint("trained", BTreeMap::from([("seed".into(), "7".into())]));
    let bytes = checkpoint.to_bytes().unwrap();
    let back = Checkpoint::from_bytes(&bytes).unwrap();
    let back = Stager::from_checkpoint(&back, DeviceKind::Flex).unwrap();
    assert_eq!(bits(&back), bits(&stager));
    assert_eq!(back.predict(night).unwrap(), stager.predict(night).unwrap());
    assert_eq!(checkpoint.tensors["blocks.0.conv.weight"].shape, [16, 16, 7]);
    assert_eq!(checkpoint.tensors["head.weight"].shape, [4, 16]);
    for set in [TrainableSet::Head, TrainableSet::Adapters, TrainableSet::Full] {
        assert_eq!(checkpoint.flatten(set).unwrap(), stager.trainable(set).unwrap());
    }
}

#[test]
fn a_malformed_checkpoint_names_the_tensor() {
    let good = stager().to_checkpoint("good", BTreeMap::new());
    let refuse = |spoil: &dyn Fn(&mut Checkpoint)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        Stager::from_checkpoint(&bad, DeviceKind::Flex).err().expect("a refusal").to_string()
    };
    let name = "blocks.3.conv.weight";
    let missing = refuse(&|c| drop(c.tensors.remove(name)));
    assert_eq!(missing, format!("the checkpoint has no tensor `{name}`"));
    let shape = refuse(&|c| c.tensors.get_mut(name).unwrap().shape = vec![16, 7, 16]);
    assert!(shape.contains(name) && shape.contains("[16, 7, 16]"), "{shape}");
    let nan = refuse(&|c| c.tensors.get_mut(name).unwrap().values[5] = f32::NAN);
    assert!(nan.contains(name), "{nan}");
    let order = refuse(&|c| c.manifest.trainable.get_mut(&TrainableSet::Full).unwrap().reverse());
    assert!(order.contains("Full"), "{order}");
    let family = refuse(&|c| c.manifest.architecture = serde_json::json!({"family": "other"}));
    assert!(family.contains("other"), "{family}");
}

#[test]
fn frozen_encoders_travel_with_the_network_and_nothing_else_does() {
    let tensor = |value| Tensor { shape: vec![2], values: vec![value; 2] };
    let mut stager = stager();
    for name in ["encoder.hr.weight", "head.extra", "decoder.weight"] {
        let error = stager.add_frozen([(name.to_owned(), tensor(1.0))].into()).unwrap_err();
        assert!(matches!(error, ModelError::UnknownTensor(unknown) if unknown == name));
    }
    stager.add_frozen([("encoder.accel.stem.bias".to_owned(), tensor(1.0))].into()).unwrap();
    stager.add_frozen([("encoder.ppg.stem.bias".to_owned(), tensor(3.0))].into()).unwrap();
    let mut checkpoint = stager.to_checkpoint("x", BTreeMap::new());
    let listed = checkpoint.manifest.trainable.values().flatten().any(|name| name.contains("stem"));
    assert!(!listed, "no client trains them");

    // As a federation does: the release goes over the foundation, and the rest stays.
    let release = vec![0.5; stager.trainable(TrainableSet::Full).unwrap().len()];
    checkpoint.overlay(TrainableSet::Full, &release).unwrap();
    let again = Checkpoint::from_bytes(&checkpoint.to_bytes().unwrap()).unwrap();
    let back = Stager::from_checkpoint(&again, DeviceKind::Flex).unwrap();
    assert_eq!((back.frozen(), back.trainable(TrainableSet::Full).unwrap()), (stager.frozen(), release));
    assert_eq!(back.to_checkpoint("x", BTreeMap::new()).tensors, again.tensors);

    let mut strange = again;
    strange.tensors.insert("adam.first".to_owned(), tensor(0.0));
    let error = Stager::from_checkpoint(&strange, DeviceKind::Flex).err().unwrap().to_string();
    assert!(error.contains("a tensor `adam.first`"), "{error}");
}

#[test]
fn foreign_releases_are_refused_and_change_nothing() {
    let mut stager = stager();
    let before = bits(&stager);
    let mut release = stager.trainable(TrainableSet::Head).unwrap();
    release[0] = f32::INFINITY;
    let infinite = stager.set_trainable(TrainableSet::Head, &release);
    assert!(matches!(infinite, Err(ModelError::NotFinite(name)) if name == "head.weight"));
    let short = stager.set_trainable(TrainableSet::Head, &release[1..]);
    assert!(matches!(short, Err(ModelError::Length { expected: 68, got: 67 })));
    assert_eq!(bits(&stager), before);
}

#[test]
fn a_missing_stream_is_normal_and_an_unknown_one_is_ignored() {
    let whole = &nights(1)[0];
    let stager = stager();
    let mut without = whole.clone();
    without.features.remove(&StreamKind::Hr).unwrap();
    let all = stager.predict(whole).unwrap();
    let some = stager.predict(&without).unwrap();
    assert_ne!(all, some);
    assert!(some.values.iter().all(|p| p.is_finite()));

    let mut absent = whole.clone();
    let hr = absent.features.get_mut(&StreamKind::Hr).unwrap();
    hr.present.fill(false);
    assert_eq!(stager.predict(&absent).unwrap(), some);

    let mut more = whole.clone();
    let ecg = Features { width: 2, values: vec![1.0; 2 * more.epochs], present: vec![true; more.epochs] };
    more.features.insert(StreamKind::Ecg, ecg.clone());
    assert_eq!(stager.predict(&more).unwrap(), all);

    more.features.insert(StreamKind::Hr, ecg);
    let error = stager.predict(&more).unwrap_err().to_string();
    assert!(error.contains("hr has 2 features") && error.contains("takes 12"), "{error}");
}

#[test]
fn nights_without_a_score_teach_nothing() {
    let mut night = nights(1).remove(0);
    night.stages.fill(None);
    let mut stager = stager();
    let prepared = stager.prepare(&night).unwrap();
    assert!(matches!(stager.train(&[&prepared], &plan(1), 0), Err(ModelError::NoLabels)));
    assert!(matches!(stager.prepare_part(&night, 5..night.epochs + 1), Err(ModelError::Range { .. })));
    assert_eq!(NightPart::whole(night.clone()).epochs, 0..night.epochs);
}

#[test]
fn every_task_has_its_own_head_and_probabilities_sum_to_one() {
    let night = &nights(1)[0];
    for task in Task::ALL {
        let stager = Stager::new(&NetConfig { task, ..small() }, 1, DeviceKind::Flex).unwrap();
        let Posterior { classes, values } = stager.predict(night).unwrap();
        assert_eq!((classes, values.len()), (task.classes(), night.epochs * task.classes()));
        for row in values.chunks_exact(classes) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn averaging_gives_the_mean_of_the_late_steps() {
    let night = &nights(1)[0];
    let after = |steps: u32| {
        let mut stager = stager();
        let nights = [&stager.prepare(night).unwrap()];
        stager.train(&nights, &plan(steps), 3).unwrap();
        stager.trainable(TrainableSet::Full).unwrap()
    };
    let averaged = |from: u32| {
        let mut stager = stager();
        let nights = [&stager.prepare(night).unwrap()];
        let rate = plan(3).learning_rate;
        stager.train_averaged(&nights, &plan(3), 3, &|_| rate, from).unwrap();
        stager.trainable(TrainableSet::Full).unwrap()
    };
    let (second, third) = (after(2), after(3));
    assert_eq!(averaged(2), third);
    for ((mean, a), b) in averaged(1).iter().zip(&second).zip(&third) {
        assert!((mean - 0.5 * (a + b)).abs() <= 1e-6 * (1.0 + a.abs() + b.abs()), "{mean} of {a} and {b}");
    }
    assert_eq!(averaged(3), third, "no step is late: nothing is averaged");
}

#[test]
fn absurd_rates_are_called_divergence() {
    let night = &nights(1)[0];
    let mut stager = stager();
    let prepared = stager.prepare(night).unwrap();
    let plan = TrainPlan { optimiser: Optimiser::Sgd { momentum: 0.9 }, learning_rate: 1e30, ..plan(20) };
    let error = stager.train(&[&prepared], &plan, 0).unwrap_err();
    assert!(matches!(error, ModelError::Diverged { .. }), "{error}");
}
