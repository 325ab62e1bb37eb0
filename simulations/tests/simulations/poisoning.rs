//! The study of poisoning: every rule against every attack, the same numbers on any number of threads.

use std::path::Path;
use std::time::Instant;

use somnus_sim::attack::Attack;
use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::poisoning::{self, Cell, Findings};
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::study;
use somnus_sim::transport::Transport;

fn smoke() -> Scenario {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/poisoning-smoke.toml");
    Scenario::load(Path::new(path)).unwrap()
}

fn run(scenario: &Scenario, jobs: usize) -> Findings {
    let people = People::of(scenario, None).unwrap();
    let config = scenario.poisoning.clone().unwrap();
    let means = Means { transport: Transport::Memory, jobs };
    let hidden = |_| Progress::hidden();
    poisoning::run(scenario, &config, &Start::Random, people, means, Instant::now(), hidden).unwrap()
}

#[test]
fn attack_every_rule_meets_every_attack() {
    let scenario = smoke();
    let config = scenario.poisoning.clone().unwrap();
    let found = run(&scenario, 2);
    // Of each row two seeds of two folds.
    let releases: Vec<_> = found.releases.chunks(4).collect();
    let lines = 1 + config.attacks.len();
    assert_eq!(found.cells.len(), config.rules.len() * lines);
    assert_eq!((found.summary.rows.len(), releases.len()), (found.cells.len(), found.cells.len()));
    for (row, cell) in found.summary.rows.iter().zip(&found.cells) {
        assert_eq!((row.subjects.len(), row.seeds.kappa.len()), (10, 2), "{}", row.name);
        let looked_for = cell.attack.is_none_or(|attack| attack == "backdoor");
        assert_eq!((cell.success.is_some(), row.note.is_some()), (looked_for, looked_for), "{}", row.name);
    }
    let names: Vec<&str> = found.summary.rows[..3].iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["mean, honest", "mean, label-flip 20 %", "mean, sign-flip 20 %"]);

    // Nothing is the same as without liars, and no rule is the mean.
    for (rule, of_rule) in releases.chunks(lines).enumerate() {
        for (attack, attacked) in of_rule[1..].iter().enumerate() {
            // Krum may never choose a liar: then a lie changes nothing.
            if config.rules[rule].name() != "krum" {
                assert_ne!(
                    *attacked,
                    of_rule[0],
                    "{} under {}",
                    config.attacks[attack].name(),
                    config.rules[rule].name()
                );
            }
        }
        assert!(rule == 0 || of_rule[0] != releases[0], "{} is the mean", config.rules[rule].name());
    }

    // Without liars and under the mean it is the usual federation.
    let mut usual = scenario;
    usual.poisoning = None;
    usual.baselines = serde_json::from_value(serde_json::json!({
        "majority": false, "time_only": false, "donors": 0, "central": false, "shuffled": false,
    }))
    .unwrap();
    let people = People::of(&usual, None).unwrap();
    let means = Means { transport: Transport::Memory, jobs: 2 };
    let usual =
        study::run(usual, &Start::Random, people, means, Instant::now(), |_| Progress::hidden()).unwrap();
    assert_eq!(usual.releases, releases[0]);
}

/// Attacks that change the release on threads that come in any order, and a rule that does not let them.
#[test]
fn attack_costs_the_mean_more_than_the_median_and_threads_change_nothing() {
    let mut scenario = smoke();
    scenario.seeds = vec![1];
    scenario.federation.rounds = 8;
    scenario.federation.plan.steps = 2;
    let config = scenario.poisoning.as_mut().unwrap();
    config.rules.retain(|defence| ["mean", "median"].contains(&defence.name().as_str()));
    config.attacks = vec![Attack::SignFlip { scale: 50.0 }, Attack::Alie { z: Some(1.0) }];
    let found = run(&scenario, 2);
    assert_eq!(found.summary.reproducible(), run(&scenario, 1).summary.reproducible());
    let kappa = |rule: &str, attack: Option<&str>| {
        let wanted = |cell: &&Cell| cell.rule == rule && cell.attack == attack;
        found.cells.iter().find(wanted).unwrap().kappa.mean.unwrap_or(0.0)
    };
    let honest = kappa("mean", None);
    assert!(honest > 0.2, "the federation learns something: {honest}");
    let (mean, median) = (kappa("mean", Some("sign-flip")), kappa("median", Some("sign-flip")));
    assert!(
        mean < honest / 2.0,
        "one of five who sends -50 times its update costs the mean: {honest} to {mean}"
    );
    assert!(median > honest / 2.0, "and not the median: {honest} to {median}");
}
