//! One scenario, one release: bit for bit the same from one thread, from two, through the codec and over QUIC.

use std::path::Path;

use somnus_protocol::ids::Version;
use somnus_protocol::plan::{Invariance, Optimiser};
use somnus_protocol::strategy::StrategyConfig;
use somnus_sim::cohort::People;
use somnus_sim::federation::Outcome;
use somnus_sim::network::WorldConfig;
use somnus_sim::recipe::recipe;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::transport::Transport;

fn smoke() -> Scenario {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/sim");
    Scenario::load(&folder.join("smoke.toml")).unwrap()
}

fn release(transport: Transport, wire: bool, jobs: usize, seed: u64) -> Outcome {
    release_of(&smoke(), transport, wire, jobs, seed)
}

fn release_of(scenario: &Scenario, transport: Transport, wire: bool, jobs: usize, seed: u64) -> Outcome {
    let people = People::of(scenario, None).unwrap();
    let recipe = recipe(scenario, &Start::Random, &people, &people.folds[0], seed).unwrap();
    let world = WorldConfig { wire, ..scenario.world.clone() };
    transport.run(&recipe.federation, &world, jobs, &mut ()).unwrap()
}

#[test]
fn one_thread_two_threads_the_codec_and_quic_give_the_same_release() {
    let one = release(Transport::Memory, false, 1, 7);
    assert_eq!(one.version, Version(2));
    let others = [
        release(Transport::Memory, false, 2, 7),
        release(Transport::Memory, true, 2, 7),
        release(Transport::Quic, false, 1, 7),
        release(Transport::Quic, false, 2, 7),
    ];
    others.iter().for_each(|other| assert_same(&one, other));
    assert_ne!(one.weights, release(Transport::Memory, false, 2, 8).weights);
}

fn assert_same(one: &Outcome, other: &Outcome) {
    assert_eq!(one.weights, other.weights);
    assert_eq!(one.evaluations, other.evaluations);
    for (a, b) in one.rounds.iter().zip(&other.rounds) {
        assert_eq!((&a.cohort, &a.counted, a.examples), (&b.cohort, &b.counted, b.examples));
        assert_eq!((a.loss.to_bits(), &a.evaluations), (b.loss.to_bits(), &b.evaluations));
        assert_eq!(a.tally, b.tally);
        assert_eq!((a.bytes_up, a.bytes_down), (b.bytes_up, b.bytes_down));
    }
    assert_eq!(one.rounds.len(), other.rounds.len());
}

/// Control variates and moments go up in the update and down beside the release, and each client remembers its own.
#[test]
fn companions_and_memories_are_the_same_everywhere() {
    let mut scenario = smoke();
    scenario.federation.rounds = 3;
    let plain = release_of(&scenario, Transport::Memory, false, 2, 7);
    scenario.federation.strategy = StrategyConfig::Scaffold { rate: 1.0, population: 100 };
    scenario.federation.plan.optimiser = Optimiser::Sgd { momentum: 0.0 };
    scenario.federation.plan.invariance = Some(Invariance { weight: 0.1, from_round: 2 });
    let one = release_of(&scenario, Transport::Memory, false, 1, 7);
    assert_same(&one, &release_of(&scenario, Transport::Memory, true, 2, 7));
    assert_same(&one, &release_of(&scenario, Transport::Quic, false, 2, 7));
    // The last round has no update.
    for (with, without) in one.rounds.iter().zip(&plain.rounds).take(3) {
        // Each update has the weights twice, and the moments.
        assert!(with.bytes_up > 2 * without.bytes_up, "{} and {}", with.bytes_up, without.bytes_up);
    }
}

/// The federation's own counts are those of the release scored outside of it.
#[test]
fn what_clients_count_is_what_the_release_scores() {
    use somnus_model::Stager;
    use somnus_protocol::checkpoint::{Checkpoint, floats};
    use somnus_sim::baselines::score;

    let scenario = smoke();
    let people = People::of(&scenario, None).unwrap();
    let fold = &people.folds[1];
    let recipe = recipe(&scenario, &Start::Random, &people, fold, 1).unwrap();
    let outcome = Transport::Memory.run(&recipe.federation, &scenario.world, 2, &mut ()).unwrap();
    let foundation = Checkpoint::from_bytes(&recipe.federation.start.foundation).unwrap();
    let mut stager = Stager::from_checkpoint(&foundation, scenario.device).unwrap();
    stager.set_trainable(recipe.rules.plan.trainable, &floats(&outcome.weights)).unwrap();
    let everyone: Vec<_> = fold.train.iter().chain(&fold.test).cloned().collect();
    let scores =
        score(&people, &everyone, scenario.task, |night| Ok(stager.predict(night)?.argmax())).unwrap();
    assert_eq!(outcome.evaluations.len(), everyone.len());
    for (client, scored) in &outcome.evaluations {
        let evaluation = &scored[&outcome.version];
        let counted: Vec<u64> = evaluation.confusion.iter().copied().map(u64::from).collect();
        assert_eq!(scores[client.as_str()].to_rows().concat(), counted, "{client}");
    }
}
