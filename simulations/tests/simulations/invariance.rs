//! Hiding who sleeps, from the scenario to the summary.

use std::time::Instant;

use somnus_report::Summary;
use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::invariance;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::transport::Transport;

const SMOKE: &str = "
name = 'invariance-smoke'
folds = 2
seeds = [1, 2]
[data]
kind = 'synthetic'
people = 6
seed = 5
[net]
width = 16
dilations = [1, 4]
[invariance]
moments = [1.0]
adversary = [2.0]
[federation]
rounds = 3
danger_plain_aggregation = true
[federation.plan]
steps = 1
";

fn run(jobs: usize) -> Summary {
    let scenario = Scenario::from_text(SMOKE).unwrap();
    let sweep = scenario.invariance.clone().unwrap();
    let people = People::of(&scenario, None).unwrap();
    let means = Means { transport: Transport::Memory, jobs };
    let hidden = |_| Progress::hidden();
    invariance::run(scenario, &sweep, &Start::Random, people, means, Instant::now(), hidden).unwrap()
}

#[test]
fn every_way_is_staged_and_probed_and_threads_change_nothing() {
    let summary = run(2);
    assert_eq!(summary.reproducible(), run(1).reproducible());
    let names: Vec<&str> = summary.rows.iter().map(|row| row.name.as_str()).collect();
    let ways = ["central", "central, moments 1", "central, adversary 2", "federated", "federated, moments 1"];
    assert_eq!(names, ways);
    assert!(summary.rows.iter().all(|row| row.subjects.len() == 6 && row.seeds.kappa.len() == 2));
    let compared: Vec<[&str; 2]> =
        summary.comparisons.iter().map(|c| [c.row.as_str(), c.baseline.as_str()]).collect();
    assert_eq!(compared, [[ways[1], "central"], [ways[2], "central"], [ways[4], "federated"]]);
    for who in ["trained", "held-out"] {
        let told: Vec<_> = summary.identification.iter().filter(|one| one.who == who).collect();
        let rows: Vec<&str> = told.iter().map(|one| one.row.as_str()).collect();
        assert_eq!(rows, [&["inputs"], &ways[..]].concat());
        assert!(told.iter().all(|one| (one.chance - 1.0 / 3.0).abs() < 1e-12));
        // Two folds of two seeds; the inputs know no seed.
        assert!(told.iter().all(|one| one.epoch.n == if one.row == "inputs" { 2 } else { 4 }));
    }
    // The pull did something, in either place.
    for (pulled, plain) in [(1, 0), (2, 0), (4, 3)] {
        assert_ne!(summary.rows[pulled].confusion, summary.rows[plain].confusion, "{}", names[pulled]);
    }
}
