//! The world against an oracle: whatever happens on the way, the release is what the rules say.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use somnus_protocol::checkpoint::{bytes_of, floats};
use somnus_protocol::config::FederationConfig;
use somnus_protocol::coordinator::Event;
use somnus_protocol::ids::{ClientId, Round, Version};
use somnus_protocol::message::Role;
use somnus_protocol::plan::{Optimiser, TrainPlan};
use somnus_protocol::record::{Outcome, Record, Snapshot};
use somnus_protocol::seed::{Label, Seed};
use somnus_protocol::strategy::StrategyConfig;
use somnus_protocol::sum::Sum;
use somnus_protocol::time::Instant;
use somnus_protocol::trainer::{EvaluateTask, LocalEvaluation, LocalUpdate, TrainError, TrainTask, Trainer};
use somnus_protocol::update::UpdateLayout;
use somnus_sim::federation::{Client, Federation, Observer};
use somnus_sim::network::WorldConfig;
use somnus_sim::world::{WorldError, run};

/// More than one chunk of weights.
const WEIGHTS: usize = 70_000;

/// An update that depends on everything that a real one may depend on.
struct Scripted(u32);

impl Trainer for Scripted {
    fn train(&self, task: &TrainTask) -> Result<LocalUpdate, TrainError> {
        assert_eq!(task.foundation, foundation());
        let weights = floats(&task.weights);
        let mut state = task.seed ^ u64::from(self.0);
        let mut delta = Vec::with_capacity(weights.len());
        for weight in &weights {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            delta.push(task.plan.learning_rate * (noise - 0.1 * weight));
        }
        let (examples, loss) = (500 + self.0, 1.0 / self.0 as f32);
        // A control variate that depends on the server's and on how often this client has counted.
        let count = task.memory.as_deref().map_or(0, |bytes| bytes.len());
        let control = task.control.as_ref().map(|server| {
            delta.iter_mut().zip(server).for_each(|(delta, c)| *delta += 0.1 * c + 0.01 * count as f32);
            delta.iter().zip(server).map(|(delta, c)| delta - 0.5 * c).collect()
        });
        let memory = Some(vec![1; count + 1].into());
        Ok(LocalUpdate { delta, control, examples, loss, memory, ..LocalUpdate::default() })
    }

    fn evaluate(&self, task: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Ok(LocalEvaluation { classes: 2, confusion: vec![self.0, task.version.0 as u32, 1, 2] })
    }
}

struct Unwilling;

impl Trainer for Unwilling {
    fn train(&self, _: &TrainTask) -> Result<LocalUpdate, TrainError> {
        Err(TrainError("no usable night".into()))
    }

    fn evaluate(&self, _: &EvaluateTask) -> Result<LocalEvaluation, TrainError> {
        Err(TrainError("no usable night".into()))
    }
}

fn foundation() -> Bytes {
    Bytes::from_static(b"the foundation is opaque to the world")
}

fn rules() -> FederationConfig {
    FederationConfig {
        rounds: 4,
        cohort: 6,
        min_clients: 6,
        min_reports: 6,
        upload_slots: 2,
        average_late: 0.0,
        danger_plain_aggregation: true,
        strategy: StrategyConfig::FedAvgM { momentum: 0.5, rate: 1.0 },
        plan: TrainPlan { learning_rate: 0.1, ..TrainPlan::default() },
        ..FederationConfig::default()
    }
}

fn federation(rules: FederationConfig, seed: u64, trainers: u32) -> Federation {
    let client = |n: u32, role| Client {
        id: format!("client-{n}").parse().unwrap(),
        role,
        trainer: Arc::new(Scripted(n)),
    };
    let mut clients: Vec<Client> = (1..=trainers).map(|n| client(n, Role::Trains)).collect();
    clients.extend((101..=102).map(|n| client(n, Role::Evaluates)));
    let weights: Vec<f32> = (0..WEIGHTS).map(|n| (n as f32).sin()).collect();
    Federation {
        config: rules.check().unwrap(),
        start: Snapshot::fresh(foundation(), Bytes::from(bytes_of(&weights))),
        seed: Seed::from_number(seed),
        clients,
    }
}

/// The release as the formulas say, without machines and world.
fn oracle(seed: u64, trainers: u32) -> Bytes {
    oracle_of(&rules(), seed, trainers)
}

fn oracle_of(config: &FederationConfig, seed: u64, trainers: u32) -> Bytes {
    let sections = config.clone().check().unwrap().sections(&foundation()).unwrap();
    let layout = UpdateLayout::new(WEIGHTS, sections);
    let mut memories = BTreeMap::new();
    let seed = Seed::from_number(seed);
    let mut weights: Vec<f32> = (0..WEIGHTS).map(|n| (n as f32).sin()).collect();
    let mut strategy = config.strategy.build(WEIGHTS);
    for round in 1..=config.rounds {
        let mut plan = config.plan.clone();
        plan.learning_rate = plan.rate(round - 1, config.rounds);
        let number = seed.derive(Label::Training, &round.to_le_bytes()).number();
        let mut sum = Sum::new(layout.numbers());
        for n in (1..=trainers).rev() {
            let own =
                Seed::from_number(number).derive(Label::Client, format!("client-{n}").as_bytes()).number();
            let task = TrainTask {
                round: Round(round),
                plan: plan.clone(),
                seed: own,
                foundation: foundation(),
                weights: Bytes::from(bytes_of(&weights)),
                control: strategy.control().map(<[f32]>::to_vec),
                memory: memories.remove(&n),
                ..TrainTask::default()
            };
            let mut update = Scripted(n).train(&task).unwrap();
            memories.extend(update.memory.take().map(|memory| (n, memory)));
            let (examples, loss) = (update.examples, update.loss);
            sum.add(&layout.pack(update).unwrap(), examples, loss).unwrap();
        }
        strategy.step(&mut weights, &layout.mean(&sum.mean(), sum.updates()));
    }
    Bytes::from(bytes_of(&weights))
}

fn stormy() -> WorldConfig {
    WorldConfig {
        crashes_per_hour: 20.0,
        disconnects_per_hour: 40.0,
        server_restarts_per_hour: 15.0,
        away_seconds: 30.0,
        ..WorldConfig::default()
    }
}

#[test]
fn the_release_is_what_the_formulas_say_for_any_number_of_threads_and_through_the_codec() {
    let expected = oracle(5, 6);
    for (jobs, wire) in [(1, false), (2, false), (3, true)] {
        let config = WorldConfig { wire, ..WorldConfig::default() };
        let outcome = run(&federation(rules(), 5, 6), &config, jobs, &mut ()).unwrap();
        assert_eq!(outcome.weights, expected, "jobs {jobs}, codec {wire}");
        assert_eq!((outcome.version, outcome.rounds.len()), (Version(4), 4));
        assert!(outcome.rounds.iter().all(|round| round.counted.len() == 6 && round.dropped.is_empty()));
        // Each round every client uploads once; each client fetches the foundation once and every release.
        let upload = 6 * 4 * WEIGHTS as u64 * 4;
        assert_eq!(outcome.rounds.iter().map(|round| round.bytes_up).sum::<u64>(), upload);
    }
}

fn scaffold() -> FederationConfig {
    let optimiser = Optimiser::Sgd { momentum: 0.0 };
    let plan = TrainPlan { optimiser, ..rules().plan };
    FederationConfig { strategy: StrategyConfig::Scaffold { rate: 1.0, population: 8 }, plan, ..rules() }
}

#[test]
fn companions_and_memories_reach_whom_they_are_for() {
    let expected = oracle_of(&scaffold(), 5, 6);
    for (jobs, wire) in [(1, false), (3, true)] {
        let config = WorldConfig { wire, ..WorldConfig::default() };
        let outcome = run(&federation(scaffold(), 5, 6), &config, jobs, &mut ()).unwrap();
        assert_eq!(outcome.weights, expected, "jobs {jobs}, codec {wire}");
    }
}

#[test]
fn seeds_matter() {
    let release = |seed| run(&federation(rules(), seed, 6), &WorldConfig::default(), 2, &mut ()).unwrap();
    assert_eq!(release(5).weights, release(5).weights);
    assert_ne!(release(5).weights, release(6).weights);
    assert_ne!(release(5).statistics.virtual_time, release(6).statistics.virtual_time);
}

#[test]
fn people_who_only_evaluate_are_scored_and_never_train() {
    let outcome = run(&federation(rules(), 1, 6), &WorldConfig::default(), 2, &mut ()).unwrap();
    let last = outcome.rounds.last().unwrap();
    assert_eq!(last.cohort.len(), 6);
    assert_eq!(last.evaluations.len(), 8);
    let new: ClientId = "client-101".parse().unwrap();
    assert!(!last.cohort.contains(&new));
    assert_eq!(outcome.evaluations[&new][&Version(4)].confusion, last.evaluations[&new].confusion);
}

/// When everybody has to be there, a storm costs time and nothing else.
#[test]
fn crashes_of_everybody_do_not_change_a_release_that_needs_everybody() {
    let mut storms = 0;
    for seed in 0..6 {
        let rules = FederationConfig { training_seconds: 1e6, evaluation_seconds: 1e3, ..rules() };
        let outcome = run(&federation(rules, seed, 6), &stormy(), 2, &mut ()).unwrap();
        assert_eq!(outcome.weights, oracle(seed, 6), "seed {seed}");
        storms += outcome.statistics.failures + outcome.statistics.restarts;
    }
    assert!(storms > 50, "the storms were {storms} failures");
}

#[test]
fn a_storm_is_the_same_for_any_number_of_threads() {
    let rules = FederationConfig {
        rounds: 6,
        cohort: 5,
        over_select: 1.4,
        min_clients: 4,
        min_reports: 3,
        training_seconds: 200.0,
        ..rules()
    };
    let scaffold = FederationConfig { strategy: scaffold().strategy, plan: scaffold().plan, ..rules.clone() };
    for (seed, rules) in (0..4).map(|seed| (seed, &rules)).chain([(4, &scaffold), (5, &scaffold)]) {
        let one = run(&federation(rules.clone(), seed, 9), &stormy(), 1, &mut ()).unwrap();
        let two = run(&federation(rules.clone(), seed, 9), &stormy(), 2, &mut ()).unwrap();
        assert_eq!(one.weights, two.weights);
        assert_eq!(one.rounds, two.rounds);
        assert_eq!(one.statistics, two.statistics);
        for round in &one.rounds {
            assert!(round.counted.iter().all(|client| round.cohort.contains(client)));
            assert!(round.counted.len() >= 3 || matches!(round.outcome, Outcome::Aborted(_)));
        }
    }
}

/// Releases reach the disk before anybody hears of them, in order and once each.
#[test]
fn releases_are_written_in_order_before_they_are_announced() {
    #[derive(Default)]
    struct Diary {
        written: Vec<u64>,
        announced: Vec<u64>,
        rounds: BTreeMap<u64, usize>,
    }
    impl Observer for Diary {
        fn server(&mut self, _: Instant, event: &Event) {
            if let Event::Released(version, _) = event {
                self.announced.push(version.0);
                assert_eq!(self.written, self.announced);
            }
        }

        fn record(&mut self, record: &Record) {
            match record {
                Record::Release(release) => self.written.push(release.version.0),
                Record::Round(round) => *self.rounds.entry(round.round.0).or_default() += 1,
                Record::Masked(..) | Record::Privacy(_) => {}
            }
        }
    }
    let mut diary = Diary::default();
    let rules = FederationConfig { training_seconds: 1e6, ..rules() };
    run(&federation(rules, 3, 6), &stormy(), 2, &mut diary).unwrap();
    assert_eq!(diary.written, [1, 2, 3, 4]);
    // With the release and with its evaluation, which a crash of the server may have lost.
    assert!(diary.rounds.len() >= 4 && diary.rounds.values().all(|times| *times <= 2), "{:?}", diary.rounds);
}

#[test]
fn a_client_that_declines_costs_the_round_only_itself() {
    let rules = FederationConfig { min_reports: 5, rounds: 2, ..rules() };
    let mut federation = federation(rules, 3, 6);
    federation.clients[2].trainer = Arc::new(Unwilling);
    let outcome = run(&federation, &WorldConfig::default(), 2, &mut ()).unwrap();
    for round in &outcome.rounds {
        assert_eq!(round.counted.len(), 5);
        assert_eq!(round.dropped.values().collect::<Vec<_>>(), ["no usable night"]);
    }
}

#[test]
fn a_federation_that_cannot_end_says_where_it_stands() {
    let config = WorldConfig { longest_hours: 5.0, ..WorldConfig::default() };
    let error = run(&federation(rules(), 3, 5), &config, 2, &mut ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the federation is not complete after 5 virtual hours: 0 of 4 releases made, round 0 is selecting"
    );
    let rules = FederationConfig { training_seconds: 1.0, ..rules() };
    let error = run(&federation(rules, 3, 6), &config, 2, &mut ()).unwrap_err().to_string();
    assert!(error.ends_with("; the last round was aborted: 0 of 6 updates needed"), "{error}");
}

#[test]
fn two_clients_of_one_name_are_refused() {
    let mut twins = federation(rules(), 3, 6);
    twins.clients[1].id = twins.clients[0].id.clone();
    let error = run(&twins, &WorldConfig::default(), 1, &mut ()).unwrap_err();
    assert!(matches!(error, WorldError::Twins(_)), "{error}");
}
