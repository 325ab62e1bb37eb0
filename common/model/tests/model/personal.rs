//! What stays with its client: zero in the update, kept in the memory, and used when that client is staged.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use somnus_model::{DeviceKind, FineTuning, NetConfig, NightPart, NightTrainer, Stager};
use somnus_protocol::checkpoint::{bytes_of, floats};
use somnus_protocol::ids::Round;
use somnus_protocol::plan::{Invariance, Optimiser, Personalisation, TrainPlan, TrainableSet};
use somnus_protocol::trainer::{EvaluateTask, LocalUpdate, TrainTask, Trainer};
use somnus_protocol::update::Sections;
use somnus_signals::synthetic::{self, SyntheticConfig};
use somnus_signals::{Night, NightRules};

const REP: Personalisation = Personalisation::Rep { head_steps: 3 };
const DITTO: Personalisation = Personalisation::Ditto { lambda: 1.0 };
const ALL: [Personalisation; 4] = [Personalisation::Head, REP, Personalisation::Norms, DITTO];

/// One client, its night, and a network to start from.
struct World {
    night: Arc<Night>,
    client: NightTrainer,
    stager: Stager,
    file: Bytes,
}

impl World {
    fn new() -> Self {
        let config = SyntheticConfig { people: 1, ..SyntheticConfig::default() };
        let night = Arc::new(synthetic::cohort(&config, &NightRules::default()).nights.remove(0));
        let net = NetConfig { width: 16, dilations: vec![1, 4], adapters: 4, ..NetConfig::default() };
        let stager = Stager::new(&net, 7, DeviceKind::Flex).unwrap();
        let file = stager.to_checkpoint("foundation", BTreeMap::new()).to_bytes().unwrap().into();
        let parts = vec![NightPart::whole(Arc::clone(&night))];
        Self { night, client: NightTrainer::new(DeviceKind::Flex, parts.clone(), parts), stager, file }
    }

    fn task(&self, personal: Personalisation, set: TrainableSet) -> TrainTask {
        TrainTask {
            round: Round(1),
            plan: TrainPlan { personal, trainable: set, steps: 2, ..TrainPlan::default() },
            seed: 11,
            foundation: self.file.clone(),
            weights: bytes_of(&self.stager.trainable(set).unwrap()).into(),
            ..TrainTask::default()
        }
    }

    fn full(&self, personal: Personalisation) -> TrainTask {
        self.task(personal, TrainableSet::Full)
    }

    fn train(&self, task: &TrainTask) -> LocalUpdate {
        self.client.train(task).unwrap()
    }

    /// Which weights of the full set belong to tensors that `wanted` names, in release order.
    fn belong(&self, wanted: impl Fn(&str) -> bool) -> Vec<bool> {
        let checkpoint = self.stager.to_checkpoint("x", BTreeMap::new());
        let names = &checkpoint.manifest.trainable[&TrainableSet::Full];
        let of = |name: &String| vec![wanted(name); checkpoint.tensors[name].values.len()];
        names.iter().flat_map(of).collect()
    }

    fn counts(&self, task: &TrainTask, memory: Option<Bytes>) -> Vec<u32> {
        let evaluation = EvaluateTask {
            plan: task.plan.clone(),
            foundation: task.foundation.clone(),
            weights: task.weights.clone(),
            memory,
            ..EvaluateTask::default()
        };
        self.client.evaluate(&evaluation).unwrap().confusion
    }

    /// What a network with these weights of the full set counts on the night.
    fn counts_of(&self, weights: &[f32]) -> Vec<u32> {
        let mut stager = self.stager.clone();
        stager.set_trainable(TrainableSet::Full, weights).unwrap();
        let mut counts = vec![0; 16];
        let predicted = stager.predict(&self.night).unwrap().argmax();
        for (truth, predicted) in self.night.classes(stager.task()).into_iter().zip(predicted) {
            if let Some(truth) = truth {
                counts[4 * truth + predicted] += 1;
            }
        }
        counts
    }
}

/// The weights behind a memory's tag.
fn kept(memory: &Bytes) -> Vec<f32> {
    floats(&memory[4..])
}

/// Whether a weight of this name stays with its client.
type Stays<'a> = &'a dyn Fn(&str) -> bool;

fn head(name: &str) -> bool {
    name.starts_with("head.")
}

#[test]
fn what_stays_changes_by_zero_and_the_rest_does_not() {
    let world = World::new();
    let norm = |name: &str| name.contains(".norm.");
    let cases: [(Personalisation, Stays<'_>); 4] =
        [(Personalisation::Head, &head), (REP, &head), (Personalisation::Norms, &norm), (DITTO, &|_| false)];
    for (personal, stays) in cases {
        let update = world.train(&world.full(personal));
        let stays = world.belong(stays);
        assert_eq!(update.delta.len(), stays.len());
        for (index, (delta, stays)) in update.delta.iter().zip(&stays).enumerate() {
            assert!(!stays || *delta == 0.0, "{personal:?}: weight {index} changed by {delta}");
        }
        let moved =
            update.delta.iter().zip(&stays).filter(|(delta, stays)| !**stays && **delta != 0.0).count();
        assert!(moved > stays.len() / 2, "{personal:?}: only {moved} of {} weights moved", stays.len());
        let own = if personal == DITTO { stays.len() } else { stays.iter().filter(|stays| **stays).count() };
        let own_weights = kept(update.memory.as_ref().unwrap());
        assert_eq!(own_weights.len(), own, "{personal:?}");
        let began = world.stager.trainable(TrainableSet::Full).unwrap();
        let began: Vec<f32> = match personal {
            Personalisation::Ditto { .. } => began,
            _ => began.into_iter().zip(&stays).filter(|(_, stays)| **stays).map(|(value, _)| value).collect(),
        };
        assert_ne!(own_weights, began, "{personal:?}: nothing personal was learnt");
    }
}

#[test]
fn the_same_task_and_memory_give_the_same_bits_and_another_memory_others() {
    let world = World::new();
    for personal in ALL {
        let first = world.full(personal);
        let update = world.train(&first);
        assert_eq!(world.train(&first), update);
        let second = TrainTask { memory: update.memory.clone(), ..first.clone() };
        let again = world.train(&second);
        assert_eq!(world.train(&second), again);
        assert_ne!(again.memory, update.memory, "{personal:?}");
        // Whoever trains on, trains from what was kept; the ordinary half of Ditto does not.
        assert_eq!(again.delta == update.delta, personal == DITTO, "{personal:?}");
    }
}

#[test]
fn fed_per_with_one_client_is_ordinary_local_training() {
    let world = World::new();
    let set = TrainableSet::Full;
    let is_head = world.belong(head);
    let mut body = world.stager.trainable(set).unwrap();
    let mut memory = None;
    for round in 1..=3 {
        // What this client would train on if the whole network were its own.
        let mut own = body.clone();
        if let Some(memory) = &memory {
            let mut values = kept(memory).into_iter();
            own.iter_mut()
                .zip(&is_head)
                .filter(|(_, head)| **head)
                .for_each(|(w, _)| *w = values.next().unwrap());
        }
        let task =
            TrainTask { seed: round, weights: bytes_of(&own).into(), ..world.full(Personalisation::None) };
        let plain = world.train(&task).delta;
        let task = TrainTask {
            seed: round,
            weights: bytes_of(&body).into(),
            memory: memory.clone(),
            ..world.full(Personalisation::Head)
        };
        let update = world.train(&task);
        let mut head = kept(update.memory.as_ref().unwrap()).into_iter();
        for (index, is_head) in is_head.iter().enumerate() {
            if *is_head {
                let moved = head.next().unwrap() - own[index];
                assert_eq!(moved, plain[index], "round {round}, weight {index}");
            } else {
                assert_eq!(update.delta[index], plain[index], "round {round}, weight {index}");
            }
        }
        body.iter_mut().zip(&update.delta).for_each(|(weight, delta)| *weight += delta);
        memory = update.memory;
    }
}

#[test]
fn what_is_shared_is_still_pulled_towards_everybodys_moments() {
    let world = World::new();
    let invariance = Some(Invariance { weight: 10.0, from_round: 2 });
    let sections = Sections { moments: Some(world.stager.embedding()), ..Sections::default() };
    let moments = world.train(&TrainTask { sections, ..world.full(Personalisation::None) }).moments;
    let pulled = |personal| {
        let task = world.full(personal);
        let plan = TrainPlan { invariance, ..task.plan };
        world.train(&TrainTask { plan, moments: moments.clone(), ..task })
    };
    let plain = pulled(Personalisation::None).delta;
    for personal in ALL {
        assert!(
            pulled(personal).delta != world.train(&world.full(personal)).delta,
            "{personal:?} is not pulled"
        );
    }
    let of_body = pulled(Personalisation::Head).delta.into_iter().zip(&plain).zip(world.belong(head));
    assert!(of_body.into_iter().all(|((own, plain), head)| head || own == *plain));
    assert!(pulled(DITTO).delta == plain);
    assert!(
        pulled(DITTO).memory == world.train(&world.full(DITTO)).memory,
        "the own copy is pulled away from its client"
    );
}

#[test]
fn moments_are_of_the_training_of_what_is_shared() {
    let world = World::new();
    let sections = Sections { moments: Some(world.stager.embedding()), ..Sections::default() };
    let train = |personal, memory: Option<Bytes>| {
        let task = world.full(personal);
        let plan = TrainPlan { steps: 1, ..task.plan };
        world.train(&TrainTask { sections, plan, memory, ..task })
    };
    let plain = train(Personalisation::None, None).moments;
    assert!(plain.as_ref().unwrap().total() > 0.0);
    for personal in ALL {
        // With nothing of its own yet, a client's one step sees what it would see without a plan for it.
        let first = train(personal, None);
        assert_eq!(first.moments, plain, "{personal:?}");
        // Of what clients keep, norms alone stand before an embedding of the network that is shared.
        let again = train(personal, first.memory);
        assert_eq!(again.moments != plain, personal == Personalisation::Norms, "{personal:?}");
    }
}

#[test]
fn fed_rep_trains_the_head_first_and_then_the_body_under_it() {
    let world = World::new();
    let set = TrainableSet::Full;
    let update = world.train(&world.full(REP));
    // Nothing of the body can have moved the head: it is what three steps on the release's embeddings give.
    let other =
        world.train(&TrainTask { plan: TrainPlan { steps: 9, ..world.full(REP).plan }, ..world.full(REP) });
    assert_eq!(other.memory, update.memory);
    assert_ne!(other.delta, update.delta);
    // And the body learns under the new head, not under the release's.
    let longer = world.train(&world.full(Personalisation::Rep { head_steps: 6 }));
    assert_ne!(longer.memory, update.memory);
    assert_ne!(longer.delta, update.delta);
    let adapters = world.train(&world.task(REP, TrainableSet::Adapters));
    assert_eq!(adapters.delta.len(), world.stager.trainable(TrainableSet::Adapters).unwrap().len());
    assert!(adapters.delta.len() < world.stager.trainable(set).unwrap().len());
}

#[test]
fn ditto_sends_what_fed_avg_sends_and_its_copy_goes_as_far_as_it_is_let() {
    let world = World::new();
    for set in [TrainableSet::Head, TrainableSet::Adapters, TrainableSet::Full] {
        let plain = world.train(&world.task(Personalisation::None, set));
        let release = world.stager.trainable(set).unwrap();
        let copy = |lambda| {
            let update = world.train(&world.task(Personalisation::Ditto { lambda }, set));
            assert!(update.delta == plain.delta && update.loss == plain.loss, "{set:?}, lambda {lambda}");
            kept(&update.memory.unwrap())
        };
        // Without a pull the first round of the copy is the ordinary one.
        let free: Vec<f32> = copy(0.0).iter().zip(&release).map(|(own, w)| own - w).collect();
        assert!(free == plain.delta, "{set:?}: the free copy went elsewhere");
        let far = |own: &[f32]| own.iter().zip(&release).map(|(own, w)| (own - w).abs()).fold(0.0, f32::max);
        let (loose, tight, held) = (far(&copy(1.0)), far(&copy(100.0)), far(&copy(1e6)));
        assert!(loose > tight && tight > held, "{set:?}: {loose}, {tight}, {held}");
        assert!(held < 1e-5, "{set:?}: a copy that may not leave the release is {held} away");
    }
}

#[test]
fn who_has_a_memory_is_staged_with_it_and_a_new_person_with_the_release() {
    let world = World::new();
    let set = TrainableSet::Full;
    let release = world.stager.trainable(set).unwrap();
    for personal in ALL {
        let mut task = world.full(personal);
        task.plan.steps = 12;
        let memory = world.train(&task).memory.unwrap();
        assert_eq!(world.counts(&task, None), world.counts_of(&release), "{personal:?}");
        let stays = match personal {
            Personalisation::Norms => world.belong(|name| name.contains(".norm.")),
            Personalisation::Ditto { .. } => world.belong(|_| true),
            _ => world.belong(head),
        };
        let mut own = release.clone();
        let places = own.iter_mut().zip(&stays).filter(|(_, stays)| **stays).map(|(weight, _)| weight);
        places.zip(kept(&memory)).for_each(|(weight, value)| *weight = value);
        assert_eq!(world.counts(&task, Some(memory)), world.counts_of(&own), "{personal:?}");
    }
}

#[test]
fn a_memory_that_is_not_this_plans_is_refused_by_name() {
    let world = World::new();
    let memory = |personal| world.train(&world.full(personal)).memory.unwrap();
    let (of_head, of_norms) = (memory(Personalisation::Head), memory(Personalisation::Norms));
    let with = |last: f32| Bytes::from([&of_head[..of_head.len() - 4], &last.to_le_bytes()].concat());
    let cases = [
        (
            Personalisation::Head,
            of_norms,
            "holds personal weights of the norms, personal weights of the head are due",
        ),
        (DITTO, of_head.clone(), "holds personal weights of the head, personal weights of the copy are due"),
        (REP, of_head.slice(..of_head.len() - 4), "268 bytes of 272"),
        (Personalisation::Head, of_head.slice(..3), "3 bytes that are no personal weights"),
        (Personalisation::Head, bytes_of(&[1.0, 2.0]).into(), "8 bytes that are no personal weights"),
        (Personalisation::Head, with(f32::NAN), "the value NaN at 67"),
    ];
    for (personal, memory, expected) in cases {
        let task = TrainTask { memory: Some(memory.clone()), ..world.full(personal) };
        let error = world.client.train(&task).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        let TrainTask { plan, foundation, weights, .. } = task;
        let evaluation =
            EvaluateTask { plan, foundation, weights, memory: Some(memory), ..EvaluateTask::default() };
        assert_eq!(world.client.evaluate(&evaluation).unwrap_err().to_string(), error);
    }
    // FedPer and FedRep keep the same thing.
    assert!(world.client.train(&TrainTask { memory: Some(of_head), ..world.full(REP) }).is_ok());
}

#[test]
fn fine_tuning_moves_what_it_may_as_far_as_it_may() {
    let world = World::new();
    let night = world.stager.prepare(&world.night).unwrap();
    let optimiser = Optimiser::Sgd { momentum: 0.0 };
    let plan =
        TrainPlan { optimiser, personal: DITTO, trainable: TrainableSet::Full, ..TrainPlan::default() };
    let tune = |trainable, pull| {
        let tuning = FineTuning { trainable, pull, steps: 4, learning_rate: 0.05 };
        tuning.check().unwrap();
        tuning
            .tune(&world.stager, &[&night], &plan, 5)
            .unwrap()
            .change_from(&world.stager, TrainableSet::Full)
            .unwrap()
    };
    let is_head = world.belong(head);
    let of_head = tune(TrainableSet::Head, 0.0);
    assert!(of_head.iter().zip(&is_head).all(|(change, head)| *head == (*change != 0.0)));
    let of_all = tune(TrainableSet::Full, 0.0);
    assert!(of_all.iter().zip(&is_head).any(|(change, head)| !head && *change != 0.0));
    let norm = |change: &[f32]| change.iter().map(|c| c * c).sum::<f32>();
    assert!(norm(&tune(TrainableSet::Full, 1e6)) < 1e-6 * norm(&of_all));
    assert_eq!(tune(TrainableSet::Full, 0.0), of_all);
    let bad = FineTuning { learning_rate: f32::NAN, ..FineTuning::default() };
    assert!(bad.check().unwrap_err().to_string().contains("learning_rate"));
    let bad = FineTuning { pull: -1.0, ..FineTuning::default() };
    assert!(bad.check().unwrap_err().to_string().contains("pull"));
}
