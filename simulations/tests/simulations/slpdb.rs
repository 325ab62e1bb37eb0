//! Sleepers of whom only heart beats are known.

use std::path::{Path, PathBuf};
use std::time::Instant;

use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::{Baselines, Scenario};
use somnus_sim::start::Start;
use somnus_sim::study;
use somnus_sim::transport::Transport;

fn scenario() -> Scenario {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/slpdb.toml");
    Scenario::load(Path::new(file)).unwrap()
}

fn recordings(test: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/slpdb"));
    let here = folder.is_dir();
    if !here {
        println!("SKIPPED {test}: {} is absent", folder.display());
    }
    here.then_some(folder)
}

#[test]
fn parts_of_a_night_are_held_out_together() {
    let Some(folder) = recordings("parts_of_a_night_are_held_out_together") else { return };
    let people = People::of(&scenario(), Some(&folder)).unwrap();
    assert_eq!((people.folds.len(), people.nights().len(), people.excluded.len()), (12, 14, 0));
    for fold in &people.folds {
        assert_eq!((fold.train.len(), fold.test.len()), (11, 1));
        let nights = people.nights_of_all(&fold.test);
        let two = ["slp01", "slp02"].contains(&fold.test[0].as_str());
        assert_eq!(nights.len(), if two { 2 } else { 1 });
    }
}

#[test]
fn hearts_alone_can_be_learned_from() {
    let Some(folder) = recordings("hearts_alone_can_be_learned_from") else { return };
    let mut scenario = Scenario { folds: 2, seeds: vec![1], ..scenario() };
    (scenario.net.width, scenario.net.dilations) = (16, vec![1, 4]);
    (scenario.federation.rounds, scenario.federation.plan.steps) = (2, 1);
    scenario.baselines = Baselines { donors: 0, shuffled: false, time_only: false, ..Baselines::default() };
    let people = People::of(&scenario, Some(&folder)).unwrap();
    let means = Means { transport: Transport::Memory, jobs: 2 };
    let hidden = |_| Progress::hidden();
    let found = study::run(scenario, &Start::Random, people, means, Instant::now(), hidden).unwrap();
    let rows: Vec<(&str, u64)> =
        found.summary.rows.iter().map(|row| (row.name.as_str(), row.pooled.n)).collect();
    // All that was scored, whoever was held out.
    assert_eq!(rows, [("majority", 7_867), ("central", 7_867), ("federated", 7_867)]);
}
