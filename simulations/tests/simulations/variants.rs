//! The same federation under several settings: what differs is what a variant says, and the table tells what it cost.

use std::path::Path;
use std::time::Instant;

use somnus_sim::cohort::People;
use somnus_sim::federate::Means;
use somnus_sim::progress::Progress;
use somnus_sim::scenario::Scenario;
use somnus_sim::start::Start;
use somnus_sim::transport::Transport;
use somnus_sim::{study, variants};

fn smoke() -> Scenario {
    load("privacy-smoke")
}

fn load(name: &str) -> Scenario {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/sim"));
    Scenario::load(&folder.join(name).with_extension("toml")).unwrap()
}

fn run(scenario: Scenario) -> (study::Findings, Vec<variants::Outcome>) {
    run_by(scenario, Transport::Memory, 2)
}

fn run_by(
    scenario: Scenario,
    transport: Transport,
    jobs: usize,
) -> (study::Findings, Vec<variants::Outcome>) {
    let people = People::of(&scenario, None).unwrap();
    let origin = Start::load(&scenario.foundation, scenario.device).unwrap();
    let means = Means { transport, jobs };
    variants::run(scenario, &origin, people, means, Instant::now(), |_| Progress::hidden()).unwrap()
}

#[test]
fn variants_spend_what_they_may_and_send_what_they_train() {
    let (found, outcomes) = run(smoke());
    let names: Vec<&str> = outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
    assert_eq!(names, ["head, no guarantee", "head, epsilon 8", "adapters, epsilon 1"]);
    let [free, head, adapters] = &outcomes[..] else { panic!("{names:?}") };
    assert_eq!(free.epsilon, None);
    // Noise is planned to use the budget up, and never more.
    let spent = |outcome: &variants::Outcome, budget: f64| {
        let epsilon = outcome.epsilon.unwrap();
        assert!(epsilon > 0.9 * budget && epsilon <= budget, "{}: {epsilon}", outcome.name);
    };
    spent(head, 8.0);
    spent(adapters, 1.0);
    assert!(adapters.bytes_up > head.bytes_up, "{} {}", adapters.bytes_up, head.bytes_up);
    assert!(outcomes.iter().all(|outcome| outcome.aborted == 0));
    // Two folds of one seed each; noise is no accident that repeats.
    let releases: Vec<&str> = found.releases.iter().map(|release| release.sha256.as_str()).collect();
    assert_eq!(releases.len(), 6);
    assert_ne!(releases[..2], releases[2..4]);
    assert_eq!(found.summary.comparisons.len(), 2);
}

#[test]
fn variants_see_the_same_people_as_the_study_alone() {
    let (found, _) = run(smoke());
    let mut alone = smoke();
    alone.variants.clear();
    let people = People::of(&alone, None).unwrap();
    let origin = Start::load(&alone.foundation, alone.device).unwrap();
    let means = Means { transport: Transport::Memory, jobs: 1 };
    let alone = study::run(alone, &origin, people, means, Instant::now(), |_| Progress::hidden()).unwrap();
    assert_eq!(found.releases[..2], alone.releases[..]);
}

#[test]
fn encodings_cost_what_they_should_and_threads_and_transport_change_nothing() {
    let (found, outcomes) = run(load("encoding-smoke"));
    assert_eq!((outcomes.len(), found.summary.rows.len()), (9, 9));
    assert_eq!((outcomes[0].name.as_str(), outcomes[0].bytes_a_weight), ("plain", 4.0));
    // Two folds each, all of them other releases.
    let releases: Vec<_> = found.releases.chunks(2).collect();
    assert!(releases.iter().enumerate().all(|(at, row)| !releases[..at].contains(row)));
    for pair in outcomes[1..].chunks(2) {
        assert!(pair[0].bytes_up < pair[1].bytes_up, "fewer bits, fewer bytes: {pair:?}");
    }
    let a_weight: Vec<f64> = outcomes.iter().skip(2).step_by(2).map(|one| one.bytes_a_weight).collect();
    let [all, tenth, quarter, low_rank] = a_weight[..] else { panic!("{a_weight:?}") };
    // Four clients a fold: 18 bits, and up to an eighth of padding.
    assert!((18.0 / 8.0..18.0 / 8.0 * 1.2).contains(&all), "{all}");
    assert!(tenth < 0.2 * all && quarter < 0.4 * all && low_rank < 0.2 * all, "{a_weight:?}");
    assert!(outcomes.iter().all(|one| one.kappa.mean.is_some()), "{outcomes:?}");
    let (alone, _) = run_by(load("encoding-smoke"), Transport::Memory, 1);
    assert_eq!(found.summary.reproducible(), alone.summary.reproducible());
    assert_eq!(found.releases, run_by(load("encoding-smoke"), Transport::Quic, 2).0.releases);
}

#[test]
fn who_does_not_wait_is_sooner_there_and_threads_change_nothing() {
    let (found, outcomes) = run(load("stragglers-smoke"));
    let [waits, learns, goes] = &outcomes[..] else { panic!("{outcomes:?}") };
    let timing = |outcome: &variants::Outcome| outcome.timing.clone().unwrap();
    let seconds = |outcome| timing(outcome).seconds.mean.unwrap();
    // As many updates in each, and less time for them the less they wait.
    assert!(seconds(waits) > seconds(learns) && seconds(learns) > seconds(goes), "{outcomes:?}");
    for (outcome, releases) in [(waits, 4), (learns, 6), (goes, 8)] {
        let courses = timing(outcome).courses;
        let made: usize = courses.iter().map(|course| course.points.len()).sum();
        // Two folds, of which one begins before the other.
        assert!((releases + 1..2 * releases).contains(&made), "{}: {made} points", outcome.name);
    }
    // A deadline that was learnt on a quick day may be too short for a slow one.
    assert_eq!((waits.aborted, goes.aborted), (0, 0));
    let itself = timing(waits).seconds_to_kappa;
    assert!(itself.n == 1 && itself.mean <= timing(waits).seconds.mean, "{itself:?}");
    assert_eq!(timing(waits).times_as_fast.mean, Some(1.0));
    let (again, _) = run_by(load("stragglers-smoke"), Transport::Memory, 1);
    assert_eq!(found.releases, again.releases);
}
