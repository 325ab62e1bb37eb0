//! The study of personal models: every row on the same people and epochs, the same numbers on any number of threads.

use std::path::Path;
use std::time::Instant;

use somnus_report::Summary;
use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::personal;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::{DataConfig, Scenario};
use somnus_sim::start::{Origin, Start};
use somnus_sim::transport::Transport;

fn smoke() -> Scenario {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim/personal-smoke.toml");
    Scenario::load(Path::new(path)).unwrap()
}

fn run(scenario: Scenario, jobs: usize) -> Summary {
    let people = People::of(&scenario, None).unwrap();
    let origin = Start::load(&scenario.foundation, scenario.device).unwrap();
    let config = scenario.personal.clone().unwrap();
    let means = Means { transport: Transport::Memory, jobs };
    let found =
        personal::run(scenario, &config, &origin, people, means, Instant::now(), |_| Progress::hidden());
    found.unwrap().summary
}

const ROWS: [&str; 8] = [
    "own data only",
    "federated",
    "federated, fine-tuned",
    "taking part, FedAvg",
    "taking part, FedPer",
    "taking part, FedRep",
    "taking part, local norms",
    "taking part, Ditto",
];

#[test]
fn every_row_judges_the_same_later_epochs_and_the_leak_is_named() {
    let found = run(smoke(), 2);
    assert_eq!(found.reproducible(), run(smoke(), 1).reproducible());

    let names: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
    let leaks = ROWS.map(|name| format!("{name}, random epochs"));
    assert_eq!(names[..8], ROWS);
    assert_eq!(names[8..], leaks.each_ref().map(String::as_str));
    let (later, leak) = found.rows.split_at(8);
    for (rows, seeds) in [(later, 2), (leak, 1)] {
        for row in rows {
            assert_eq!(row.subjects.len(), 6, "{}", row.name);
            assert_eq!(row.seeds.kappa.len(), seeds, "{}", row.name);
            for (person, counts) in &row.subjects {
                // Every row of a split has the same truth.
                for class in 0..4 {
                    let truth = rows[0].subjects[person].truth_total(class);
                    assert_eq!(counts.truth_total(class), truth, "{} of {person}", row.name);
                }
            }
        }
    }
    assert!(leak.iter().all(|row| row.note.as_ref().unwrap().contains("a leak")));
    assert!(later.iter().all(|row| row.note.is_none()));
    // What differs in what is learnt differs in what is said.
    for (number, row) in later.iter().enumerate() {
        for other in &later[..number] {
            assert_ne!(row.subjects, other.subjects, "{} and {}", row.name, other.name);
        }
    }

    assert_eq!(found.clients.len(), 6);
    for client in &found.clients {
        assert_eq!(client.role, "held-out, later");
        // Clients are those of the first of two seeds.
        assert!(2 * client.confusion.total() == later[1].subjects[&client.id].total());
    }
    let pairs: Vec<(&str, &str)> =
        found.comparisons.iter().map(|c| (c.row.as_str(), c.baseline.as_str())).collect();
    assert!(pairs.contains(&("federated, fine-tuned", "federated")));
    assert!(pairs.contains(&("taking part, FedPer", "taking part, FedAvg")));
    assert!(pairs.iter().all(|(row, baseline)| !row.contains("random") && !baseline.contains("random")));
}

#[test]
fn several_nights_are_judged_on_the_last_and_a_foundation_brings_its_row() {
    let mut scenario = smoke();
    scenario.seeds = vec![1];
    scenario.foundation = Origin::Base;
    let config = scenario.personal.as_mut().unwrap();
    config.leak = false;
    config.methods.clear();
    let DataConfig::Synthetic(cohort) = &mut scenario.data else { unreachable!("the smoke is synthetic") };
    // With one person in training there is nobody to hide among.
    scenario.federation.danger_plain_aggregation = true;
    cohort.people = 2;
    cohort.nights_per_person = 2;
    let people = People::of(&scenario, None).unwrap();
    let found = run(scenario, 2);
    let names: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["own data only", "foundation, own head", "federated", "federated, fine-tuned"]);
    for client in &found.clients {
        assert_eq!((client.nights.len(), client.nights[0].id.as_str()), (1, "night-2"));
        let nights = people.nights();
        let last = nights.iter().rfind(|night| night.person.as_str() == client.id).unwrap();
        assert_eq!(client.confusion.total() as usize, last.quality.scored);
    }
}
