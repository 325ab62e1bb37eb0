//! Hubs that die in the middle of a round: what the round makes of it. (Who is killed and comes back: `kills.rs`.)

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::harness::{Log, Place, Process};

#[test]
fn clients_that_are_killed_cost_the_round_its_deadline_and_no_more() {
    for seed in [5, 6] {
        two_hubs_die(seed);
    }
}

/// Two of four hubs die somewhere in the first round; one of them comes back.
fn two_hubs_die(seed: u64) {
    let rounds = "rounds = 3\ncohort = 4\nmin_clients = 4\nmin_reports = 2\nselection_seconds = 0.5\n\
                  training_seconds = 6.0\nevaluation_seconds = 4.0\npause_seconds = 0.2\n";
    let mut chance = SmallRng::seed_from_u64(seed);
    // Rounds after the first have to do with three.
    let place = Place::plain(4, &rounds.replace("min_clients = 4", "min_clients = 3"));
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", "round opened");
    for victim in [3, 2] {
        for _ in 0..chance.random_range(0..6) {
            log.next();
        }
        hubs.remove(victim).kill();
    }
    hubs.push(log.start(&names[2], &mut place.running(&names[2])));
    hubs.into_iter().for_each(|hub| hub.done(&log));
    drop(server);
    let status = place.status();
    let told = || format!("seed {seed}: {status:#}\n{}", log.seen().join("\n"));
    assert_eq!(status["release"], 3, "{}", told());
    // Each of the three rounds made its release at its deadline or before; none had to be repeated.
    assert_eq!(status["rounds"].as_array().map(Vec::len), Some(3), "{}", told());
}

/// One of five hubs dies somewhere in a masked round and stays away: before its keys, its shares, its upload or its part
/// of the unmasking.
#[test]
fn a_masked_round_goes_on_without_a_hub_that_dies_in_any_of_its_phases() {
    for (seed, line) in
        [(1, "round opened"), (2, "trained, keys advertised"), (3, "update counted"), (4, "unmasking")]
    {
        one_hub_dies(seed, line);
    }
}

fn one_hub_dies(seed: usize, line: &str) {
    let rounds = "rounds = 2\ncohort = 5\nmin_clients = 4\nmin_reports = 4\nselection_seconds = 0.5\n\
                  training_seconds = 8.0\nevaluation_seconds = 4.0\npause_seconds = 0.2\n\
                  secure = { patience_seconds = 3.0 }\n";
    let place = Place::new(5, rounds);
    let log = Log::new();
    let server = place.serve(&log);
    let names = place.enrol_everybody();
    let mut hubs: Vec<Process> = names.iter().map(|name| log.start(name, &mut place.running(name))).collect();
    log.until("server", line);
    hubs.remove(seed).kill();
    hubs.into_iter().for_each(|hub| hub.done(&log));
    // It would wait for the dead hub to hear of the last release.
    drop(server);
    let status = place.status();
    let told = || format!("{line}: {status:#}\n{}", log.seen().join("\n"));
    assert_eq!(status["release"], 2, "{}", told());
    // Two releases, and the counts of the last one.
    assert_eq!(status["rounds"].as_array().map(Vec::len), Some(3), "no round was repeated; {}", told());
    assert_eq!(status["rounds"][2]["evaluated"]["clients"], 4, "{}", told());
}
